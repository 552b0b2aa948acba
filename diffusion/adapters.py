"""Checks whether a LoRA fits a model, from the names and shapes in its file. Imports no torch."""

import json
import re
from pathlib import Path
from typing import Any

from diffusion.errors import ModelError
from diffusion.families import Family

# The matrix that reads a layer's input, shape (rank, width), by its names in peft, diffusers and kohya's scripts.
_DOWN = re.compile(r"lora(_A|[._]down)\.weight$")
# The layers whose input width differs between the families; see `folder.attention_width`.
_ATTENTION = {
    "unet": re.compile(r"^(lora_)?unet[._].*attn2[._](processor[._])?to_[kv]"),
    "transformer": re.compile(r"^transformer\..*attn\.(to|add)_[qkv]"),
}


def adapted_layers(path: Path) -> dict[str, int]:
    """Return the input width of every layer that an adapter changes, by the name of its matrix.

    Raises:
        ModelError: there is no such file, or it is not a LoRA in safetensors.
    """
    layers = {name: int(entry["shape"][1]) for name, entry in _header(path).items() if _DOWN.search(name)}
    if not layers:
        raise _refused(f"{path} holds no LoRA")
    return layers


def check_adapter(path: Path, family: Family, width: int) -> None:
    """Check that an adapter was made for a model of this family.

    Args:
        path: file of the adapter.
        family: family of the model.
        width: input width of the model's attention.

    Raises:
        ModelError: the adapter changes no attention of this family's denoiser, or one of another width.
    """
    widths = {found for name, found in adapted_layers(path).items() if _ATTENTION[family.denoiser].search(name)}
    if not widths:
        raise _refused(f"{path} is a LoRA of another family: it changes no attention of a {family.denoiser}")
    if widths != {width}:
        made_for = ", ".join(str(found) for found in sorted(widths))
        raise _refused(f"{path} is a LoRA of another family: its attention has width {made_for}, the model's {width}")


def _header(path: Path) -> dict[str, Any]:
    """The names and shapes of a file's tensors.

    A safetensors file begins with the length of its header (8 bytes) and the header (JSON).
    """
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            header = json.loads(file.read(length)) if length <= path.stat().st_size else None
    except (OSError, ValueError) as error:
        raise _refused(f"{path} cannot be read as safetensors: {error}") from error
    if not isinstance(header, dict):
        raise _refused(f"{path} cannot be read as safetensors")
    return {name: entry for name, entry in header.items() if name != "__metadata__"}


def _refused(problem: str) -> ModelError:
    return ModelError(
        problem,
        "a LoRA of this model's family, .safetensors, in the layout of diffusers, peft or (for a UNet) kohya",
        "remove the adapter from model.adapters, or use the model that it was trained on",
        "model.adapters",
    )
