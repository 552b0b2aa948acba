"""Modules of transformers filled from a file, every tensor in its place and none left over."""

from collections.abc import Callable, Mapping
from typing import TypeVar

import torch
from torch import Tensor, nn

from rewards.errors import RewardError

Module = TypeVar("Module", bound=nn.Module)

_FIX = "check that this is the file that the reward declares and that transformers has a supported version"


def filled(build: Callable[[], Module], state: Mapping[str, Tensor], source: object) -> Module:
    """A module with the tensors of a file, in float32, ready to be asked.

    It is built without weights, so that a model of a thousand million parameters is not drawn at random first.

    Args:
        build: makes the module.
        state: its whole state_dict.
        source: what the tensors come from, for messages.

    Raises:
        RewardError: names what is missing, left over or of another shape.
    """
    with torch.device("meta"):
        module = build()
    try:
        module.load_state_dict({name: tensor.float() for name, tensor in state.items()}, strict=True, assign=True)
    except RuntimeError as error:
        raise RewardError(f"{source} does not fit {type(module).__name__}: {error}", _FIX) from error
    for part in module.modules():
        counter = part._buffers.get("position_ids")
        if counter is not None:
            # 0, 1, 2, ...: of the code, not of the file.
            part.position_ids = torch.arange(counter.shape[-1])[None]
    unset = [name for name, tensor in (*module.named_parameters(), *module.named_buffers()) if tensor.is_meta]
    if unset:
        raise RewardError(
            f"{type(module).__name__} has {', '.join(unset)}, which {source} does not hold",
            "use a version of transformers that SRSoup supports",
        )
    return module.requires_grad_(False).eval()


def without_counters(state: dict[str, Tensor], names: tuple[str, ...], source: object) -> dict[str, Tensor]:
    """The state without the position counters that older files hold.

    Raises:
        RewardError: one of them does not count 0, 1, 2, ...
    """
    for name in names:
        counter = state.get(name)
        if counter is not None and not torch.equal(counter.flatten().long(), torch.arange(counter.numel())):
            raise RewardError(f"{source} is another model: its {name} does not count from 0", _FIX)
    return {name: tensor for name, tensor in state.items() if name not in names}
