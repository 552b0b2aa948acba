"""A model's parts without their weights: which tensors they need, and in which shapes.

The classes of diffusers and transformers themselves say so: they are made on torch's `meta` device, which keeps shapes
and no numbers.
"""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from diffusion.checks.json_file import read_json
from diffusion.errors import ModelError

# A part whose configuration names more layers would take minutes to build.
MOST_LAYERS = 1000


class Loaded(NamedTuple):
    """How the tensors of files fit a part: the names that are missing, unexpected, or of another shape."""

    missing: Collection[str]
    unexpected: Collection[str]
    mismatched: Collection[str]


def skeleton(folder: Path, part: str) -> Any:
    """Return the module of a model's part, on torch's `meta` device.

    Raises:
        ModelError: the index or the configuration of the part describes no module.
    """
    return module_of(_class_of(folder, part), folder / part)


def module_of(owner: Any, folder: Path) -> Any:
    """Return the module of a class of diffusers or transformers that a folder's config.json describes.

    Raises:
        ModelError: the configuration describes no such module.
    """
    import torch

    config = read_json(folder / "config.json")
    _check_layers(folder / "config.json", config)
    if config.get("quantization_config") is not None:
        raise ModelError(
            f"{folder} holds quantized weights (quantization_config)", "weights in float32, float16 or bfloat16",
            "use the model that it was made from",
        )  # fmt: skip
    try:
        with torch.device("meta"):
            if hasattr(owner, "load_config"):
                return owner.from_config(config)
            return owner(owner.config_class.from_pretrained(folder, local_files_only=True))
    except Exception as error:
        raise ModelError(
            f"{folder / 'config.json'} describes no {owner.__name__}: {short(error)}",
            "the file that save_pretrained writes",
            "save the pipeline again with save_pretrained",
        ) from error


def as_loaded(module: Any, shapes: Mapping[str, tuple[int, ...]]) -> Loaded:
    """Return how tensors of these shapes would be loaded into a module of `skeleton`, older names included."""
    import torch

    tensors: dict[str, Any] = {name: torch.empty(shape, device="meta") for name, shape in shapes.items()}
    if hasattr(module, "_fix_state_dict_keys_on_load"):
        module._fix_state_dict_keys_on_load(tensors)
        needed = {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}
        mismatched = [
            f"{name} ({list(tensors[name].shape)} and not {list(shape)})"
            for name, shape in needed.items()
            if name in tensors and tuple(tensors[name].shape) != shape
        ]
        return Loaded(sorted(set(needed) - set(tensors)), sorted(set(tensors) - set(needed)), mismatched)
    from transformers.utils import logging

    # Both libraries report what is wrong, which the caller does in its own words.
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    _, info = type(module).from_pretrained(
        None, config=module.config, state_dict=tensors, output_loading_info=True, device_map={"": "meta"},
        ignore_mismatched_sizes=True,
    )  # fmt: skip
    mismatched = [f"{name} ({list(has)} and not {list(needs)})" for name, has, needs in info["mismatched_keys"]]
    return Loaded(sorted(info["missing_keys"]), sorted(info["unexpected_keys"]), sorted(mismatched))


def _class_of(folder: Path, part: str) -> Any:
    """The class that the index names for a part, of diffusers or transformers."""
    import diffusers
    import torch
    import transformers

    entry = read_json(folder / "model_index.json").get(part)
    library, name = entry if isinstance(entry, list) and len(entry) == 2 else (None, None)
    owner = {"diffusers": diffusers, "transformers": transformers}.get(library) if isinstance(library, str) else None
    found = getattr(owner, name, None) if owner is not None and isinstance(name, str) else None
    if not isinstance(found, type) or not issubclass(found, torch.nn.Module):
        raise ModelError(
            f"{folder / 'model_index.json'} gives {entry} as the {part}",
            'a class of diffusers or transformers, such as ["diffusers", "UNet2DConditionModel"]',
            "save the pipeline again with save_pretrained",
        )
    return found


def _check_layers(path: Path, config: Mapping[str, Any]) -> None:
    for key, value in config.items():
        if isinstance(value, dict):
            _check_layers(path, value)
        elif ("layer" in key or "block" in key) and "channels" not in key and _counted(value) > MOST_LAYERS:
            raise ModelError(
                f"{path} has {key} {str(value)[:100]}", f"at most {MOST_LAYERS} layers", f"correct {key} in the file"
            )


def _counted(value: Any) -> int:
    """The number of layers that a value of a configuration stands for: its own, or those of a list, at least."""
    if isinstance(value, list):
        return max(len(value), sum(_counted(one) for one in value))
    return value if isinstance(value, int) else 0


def short(error: Exception) -> str:
    """Return the first line of an error's message, cut."""
    text = str(error).strip()
    return (text.splitlines()[0] if text else type(error).__name__)[:300]
