"""Checks whether a LoRA fits a model, from the names and shapes in its file."""

import math
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from diffusion.checks.json_file import read_json
from diffusion.checks.skeleton import skeleton
from diffusion.checks.tensor_file import FLOATING, TensorFile, TensorInfo, read_tensor_file
from diffusion.families import Family
from diffusion.folder import absent_parts
from diffusion.lora.layout import Layer, Places, layers_of
from diffusion.lora.refusal import KEY, listed, refused
from diffusion.lora.scaling import scalings

# Part of a tensor's name -> kind of adapter.
_OTHER_KINDS = {
    "hada_": "LoHa", "lokr_": "LoKr", "lora_mid": "LoCon with a Tucker core", "oft_": "OFT", ".diff": "full weights",
    "lora_B.bias": "biases", "lora_embedding": "embeddings",
}  # fmt: skip


@dataclass(frozen=True)
class Change:
    """What a LoRA does to one module.

    Attributes:
        part: name of the part in the pipeline.
        module: name of the module in the part.
        names: names of the tensors in the file.
        rank: r, the rows of A.
        shape: shape of the module's weight.
    """

    part: str
    module: str
    names: Layer
    rank: int
    shape: tuple[int, ...]


def adapted_layers(path: Path) -> dict[str, Layer]:
    """Return the layers that an adapter changes, by the stem of their tensors' names.

    Raises:
        ModelError: the file cannot be read, is not a LoRA in safetensors, or holds more than a LoRA.
    """
    return _layers(path, read_tensor_file(path, KEY))


def check_adapter(path: Path, folder: Path, family: Family) -> list[Change]:
    """Check that a model has a place for every layer of an adapter, and return what it changes.

    Args:
        path: file of the adapter.
        folder: folder of the model, or of its configuration files alone.
        family: family of the model.

    Raises:
        ModelError: a layer has no place in the model, or not its size.
    """
    content = read_tensor_file(path, KEY)
    layers, modules = _layers(path, content), _modules(folder, family)
    places = Places(modules, family.denoiser, _per_block(folder, family))
    changes, without_place, misfits = dict[tuple[str, str], Change](), list[str](), list[str]()
    for stem, names in layers.items():
        found = [_change(place, names, content, modules[place[0]][place[1]]) for place in places.find(stem)]
        fitting = [one for one in found if isinstance(one, Change)]
        if not found:
            without_place.append(stem)
        elif not fitting:
            misfits.append(f"{stem} {found[0]}")
        elif len(fitting) > 1:
            parts = " and ".join(one.part for one in fitting)
            misfits.append(f"{stem} fits {parts} alike, so its matrices need the name of one of them as a prefix")
        elif (place := (fitting[0].part, fitting[0].module)) in changes:
            misfits.append(f"{stem} is in the file twice, under different names")
        else:
            changes[place] = fitting[0]
    if not changes and not any("matri" in misfit for misfit in misfits):
        raise refused(f"{path} is a LoRA of another family or size, because none of its {len(layers)} layers fits the "
                       f"{family.denoiser} or a text encoder: {listed([*without_place, *misfits])}")  # fmt: skip
    if without_place:
        raise refused(f"{len(without_place)} of its {len(layers)} layers found no place in the model when {path} was "
                       f"read: {listed(without_place)}")  # fmt: skip
    if misfits:
        raise refused(f"{path} does not fit the model: {listed(misfits)}")
    scalings(path, content, {change.part for change in changes.values()})
    return list(changes.values())


def _layers(path: Path, content: TensorFile) -> dict[str, Layer]:
    layers, others = layers_of(content.tensors)
    if not layers:
        raise refused(f"{path} holds no LoRA{_kinds(others)}")
    if others:
        raise refused(f"{path} holds more than a LoRA: {listed(others)}{_kinds(others)}")
    return layers


def _kinds(names: Collection[str]) -> str:
    found = sorted({kind for mark, kind in _OTHER_KINDS.items() if any(mark in name for name in names)})
    return f" ({', '.join(found)}, which SRSoup does not load)" if found else ""


def _modules(folder: Path, family: Family) -> dict[str, dict[str, tuple[int, ...]]]:
    """The shape of the weight of every linear and convolution layer, by part and name of the module."""
    import torch

    absent = absent_parts(folder)
    parts = [
        family.denoiser,
        *(part for part in family.texts if part.startswith("text_encoder") and part not in absent),
    ]
    return {
        part: {
            name: tuple(module.weight.shape)
            for name, module in skeleton(folder, part).named_modules()
            if isinstance(module, torch.nn.Linear | torch.nn.Conv2d)
        }
        for part in parts
    }


def _per_block(folder: Path, family: Family) -> int:
    count = read_json(folder / family.denoiser / "config.json").get("layers_per_block")
    return count if isinstance(count, int) else 2


def _change(place: tuple[str, str], names: Layer, content: TensorFile, shape: tuple[int, ...]) -> Change | str:
    """What a layer changes, or, as a clause, why it does not fit its module."""
    if names.down is None or names.up is None:
        return "has only one of its two matrices"
    down, up = content.tensors[names.down], content.tensors[names.up]
    if not {down.dtype, up.dtype} <= FLOATING:
        return f"has numbers of the dtype {down.dtype}"
    if len(down.shape) < 2 or len(up.shape) < 2 or _core(up)[1:] != (down.shape[0],) or not down.shape[0]:
        return f"has matrices of the shapes {list(down.shape)} and {list(up.shape)}, which have no product"
    if _core(down)[1:] != _core(shape)[1:]:
        return f"has width {_sizes(_core(down)[1:])}, the model's {_sizes(_core(shape)[1:])}"
    if up.shape[0] != shape[0]:
        return f"writes {up.shape[0]} channels, the model's {shape[0]}"
    if names.alpha is not None and math.prod(content.tensors[names.alpha].shape) != 1:
        return "has an alpha that is not one number"
    magnitudes = () if names.magnitude is None else content.tensors[names.magnitude].shape
    if names.magnitude is not None and [size for size in magnitudes if size != 1] != [shape[0]]:
        return f"has DoRA magnitudes of the shape {list(magnitudes)}, and not one for each of {shape[0]} outputs"
    # A square weight may have its magnitudes by input, shape (1, in). peft's own are always by output.
    if names.magnitude is not None and names.magnitude.endswith("dora_scale") and magnitudes[0] != shape[0]:
        return "has DoRA magnitudes by input and not by output"
    return Change(*place, names, down.shape[0], shape)


def _core(tensor: TensorInfo | tuple[int, ...]) -> tuple[int, ...]:
    """A shape without the sizes of a kernel of one pixel, which a linear layer may have and may lack."""
    shape = tensor.shape if isinstance(tensor, TensorInfo) else tensor
    return shape[:2] if shape[2:] == (1, 1) else shape


def _sizes(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))
