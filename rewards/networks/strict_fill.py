"""Fills modules with the tensors of a file, and refuses tensors that are missing or left over."""

from collections.abc import Callable, Mapping
from typing import TypeVar

import torch
from torch import Tensor, nn

from rewards.errors import RewardError

Module = TypeVar("Module", bound=nn.Module)

_FIX = "check that this is the file that the reward declares and that transformers has a supported version"


def filled(build: Callable[[], Module], state: Mapping[str, Tensor], source: object) -> Module:
    """Return a module with the tensors of a file, in float32, in evaluation mode and without gradients.

    The module is built without weights, so that no time is spent on random values for a thousand million parameters.

    Args:
        build: function that makes the module.
        state: the module's complete state_dict.
        source: the file of the tensors, for messages.

    Raises:
        RewardError: a tensor is missing, left over or of another shape; the message names it.
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
            # Position counters 0, 1, 2, ... are made by the code and are not in the file.
            part.position_ids = torch.arange(counter.shape[-1])[None]
    unset = [name for name, tensor in (*module.named_parameters(), *module.named_buffers()) if tensor.is_meta]
    if unset:
        raise RewardError(
            f"{type(module).__name__} has {', '.join(unset)}, which {source} does not hold",
            "use a version of transformers that SRSoup supports",
        )
    return module.requires_grad_(False).eval()


def without_counters(state: dict[str, Tensor], names: tuple[str, ...], source: object) -> dict[str, Tensor]:
    """Return the state without the position counters that older files hold.

    Args:
        state: the tensors of the file.
        names: the names of the counters.
        source: the file, for messages.

    Raises:
        RewardError: a counter does not count 0, 1, 2, ...
    """
    for name in names:
        counter = state.get(name)
        if counter is not None and not torch.equal(counter.flatten().long(), torch.arange(counter.numel())):
            raise RewardError(f"{source} is another model: its {name} does not count from 0", _FIX)
    return {name: tensor for name, tensor in state.items() if name not in names}
