"""Checks whether a LoRA fits a model, from the names and shapes in its file."""

import json
import math
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from diffusion.checks.skeleton import skeleton
from diffusion.checks.tensor_file import FLOATING, TensorFile, TensorInfo, read_tensor_file
from diffusion.errors import ModelError
from diffusion.families import Family
from diffusion.folder import absent_parts
from diffusion.lora.layout import Layer, Places, layers_of
from diffusion.source import PEFT_CONFIG, is_of_peft

_KEY = "model.adapters"
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


@dataclass(frozen=True)
class Scaling:
    """The alphas that a LoRA's file or folder gives beside its tensors. Without any, alpha is the rank of a layer.

    Attributes:
        alpha: alpha of all layers of a part; None if not given.
        pattern: pattern of module names -> alpha, which precedes `alpha`.
        by_root: whether B A is multiplied by alpha / sqrt(r) and not by alpha / r.
    """

    alpha: float | None = None
    pattern: tuple[tuple[str, float], ...] = ()
    by_root: bool = False

    def of(self, module: str, rank: int) -> float:
        """Return alpha of a module."""
        for pattern, alpha in self.pattern:
            if re.match(rf"(.*\.)?({pattern})$", module):
                return alpha
        return float(rank) if self.alpha is None else self.alpha


def adapted_layers(path: Path) -> dict[str, Layer]:
    """Return the layers that an adapter changes, by the stem of their tensors' names.

    Raises:
        ModelError: the file cannot be read, is not a LoRA in safetensors, or holds more than a LoRA.
    """
    return _layers(path, read_tensor_file(path, _KEY))


def check_adapter(path: Path, folder: Path, family: Family) -> list[Change]:
    """Check that a model has a place for every layer of an adapter, and return what it changes.

    Args:
        path: file of the adapter.
        folder: folder of the model, or of its configuration files alone.
        family: family of the model.

    Raises:
        ModelError: a layer has no place in the model, or not its size.
    """
    content = read_tensor_file(path, _KEY)
    layers, modules = _layers(path, content), _modules(folder, family)
    places = Places(modules, family.denoiser, _per_block(folder, family))
    changes, without_place, misfits = dict[tuple[str, str], Change](), list[str](), list[str]()
    for stem, names in layers.items():
        place = places.find(stem)
        change = "" if place is None else _change(place, names, content, modules[place[0]][place[1]])
        if place is None:
            without_place.append(stem)
        elif isinstance(change, str):
            misfits.append(f"{stem} {change}")
        elif place in changes:
            misfits.append(f"{stem} is in the file twice, under different names")
        else:
            changes[place] = change
    if not changes and not any("matri" in misfit for misfit in misfits):
        raise _refused(f"{path} is a LoRA of another family or size, because none of its {len(layers)} layers fits the "
                       f"{family.denoiser} or a text encoder: {_listed([*without_place, *misfits])}")  # fmt: skip
    if without_place:
        raise _refused(f"{len(without_place)} of its {len(layers)} layers found no place in the model when {path} was "
                       f"read: {_listed(without_place)}")  # fmt: skip
    if misfits:
        raise _refused(f"{path} does not fit the model: {_listed(misfits)}")
    scalings(path, content, {change.part for change in changes.values()})
    return list(changes.values())


def scalings(path: Path, content: TensorFile, parts: Collection[str]) -> dict[str, Scaling]:
    """Return the alphas of a LoRA for each part: those in peft's adapter_config.json, or in the file's metadata.

    Raises:
        ModelError: the file needs an adapter_config.json that is not there, or the alphas are no numbers.
    """
    if is_of_peft(path):
        config = path.with_name(PEFT_CONFIG)
        if not config.is_file():
            raise _refused(
                f"{path} was saved by peft, and {PEFT_CONFIG} is not beside it, so its alpha is not known",
                f"name the folder that save_pretrained wrote, or put its {PEFT_CONFIG} beside the file",
            )
        return dict.fromkeys(parts, _scaling(config, _json(config, config.read_text(encoding="utf-8")), ""))
    if text := content.metadata.get("lora_adapter_metadata"):
        values = _json(path, text)
        return {part: _scaling(path, values, f"{part}.") for part in parts}
    return dict.fromkeys(parts, Scaling())


def _layers(path: Path, content: TensorFile) -> dict[str, Layer]:
    layers, others = layers_of(content.tensors)
    if not layers:
        raise _refused(f"{path} holds no LoRA{_kinds(others)}")
    if others:
        raise _refused(f"{path} holds more than a LoRA: {_listed(others)}{_kinds(others)}")
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
    count = json.loads((folder / family.denoiser / "config.json").read_text(encoding="utf-8")).get("layers_per_block")
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
    # A square weight may have its magnitudes by input, shape (1, in).
    if len(magnitudes) == 2 and magnitudes[0] == 1:
        return "has DoRA magnitudes by input and not by output"
    return Change(*place, names, down.shape[0], shape)


def _core(tensor: TensorInfo | tuple[int, ...]) -> tuple[int, ...]:
    """A shape without the sizes of a kernel of one pixel, which a linear layer may have and may lack."""
    shape = tensor.shape if isinstance(tensor, TensorInfo) else tensor
    return shape[:2] if shape[2:] == (1, 1) else shape


def _sizes(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))


def _scaling(path: Path, config: Mapping[str, Any], prefix: str) -> Scaling:
    def number(value: Any) -> float:
        if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
            raise _refused(f"{path} gives {str(value)[:100]} as an alpha", "correct lora_alpha and alpha_pattern")
        return float(value)

    kind = config.get("peft_type", "LORA")
    if kind != "LORA":
        raise _refused(f"{path} describes an adapter of the kind {str(kind)[:100]}")
    alpha, pattern = config.get(f"{prefix}lora_alpha"), config.get(f"{prefix}alpha_pattern") or {}
    if not isinstance(pattern, dict):
        raise _refused(f"{path} has an alpha_pattern that is no object", "correct alpha_pattern")
    return Scaling(
        None if alpha is None else number(alpha),
        tuple((str(name), number(value)) for name, value in pattern.items()),
        bool(config.get(f"{prefix}use_rslora")),
    )


def _json(path: Path, text: str) -> dict[str, Any]:
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _refused(f"{path} has a description of its LoRA that is not JSON: {str(error)[:200]}") from error
    if not isinstance(data, dict):
        raise _refused(f"{path} has a description of its LoRA that is no JSON object")
    return data


def _listed(names: Collection[str]) -> str:
    shown = ", ".join(name[:200] for name in list(names)[:3])
    return f"{shown} and {len(names) - 3} more" if len(names) > 3 else shown


def _refused(problem: str, fix: str | None = None) -> ModelError:
    return ModelError(
        problem,
        "a LoRA of this model's family, .safetensors, in the layout of diffusers, peft or (for a UNet) kohya",
        fix or "remove the adapter from model.adapters, or use the model that it was trained on",
        _KEY,
    )
