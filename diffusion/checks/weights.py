"""Checks that a model folder has every tensor that its parts need, from the headers of its files."""

import re
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

from diffusion.checks.json_file import read_json
from diffusion.checks.one_pass import check_one_pass
from diffusion.checks.skeleton import as_loaded, module_of, skeleton
from diffusion.checks.tensor_file import FLOATING, TensorInfo, read_tensor_file
from diffusion.errors import ModelError
from diffusion.families import Family

_SAVE_AGAIN = "save the pipeline again with save_pretrained(safe_serialization=True), or download the part again"
# Towers and heads of the models that text encoders are taken from. A text encoder does not have them.
_OTHER_TOWERS = re.compile(r"^(vision_model\.|visual_projection\.|decoder\.|lm_head\.|logit_scale$)|position_ids$")
_SHARD = re.compile(r"-\d{5}-of-\d{5}$")


def weight_parts(family: Family, absent: Collection[str] = ()) -> dict[str, str]:
    """Return the parts of a model that have weights, each with the name of its file without the suffix."""
    names = {family.denoiser: "diffusion_pytorch_model", "vae": "diffusion_pytorch_model"}
    names |= {part: "model" for part in family.texts if part.startswith("text_encoder")}
    return {part: name for part, name in names.items() if part not in absent}


def variant_of(folder: str, files: Mapping[str, Collection[str]], parts: Mapping[str, str]) -> str | None:
    """Return the variant of the weights to load, such as "fp16": None if every part has its plain weights.

    Args:
        folder: name of the model, for messages.
        files: names of the files in the folder of each part.
        parts: what `weight_parts` returns.

    Raises:
        ModelError: a part has no weights in safetensors, or the parts have different variants only.
    """
    choices: list[set[str]] = []
    for part, base in parts.items():
        names = files.get(part, ())
        if f"{base}.safetensors" in names or f"{base}.safetensors.index.json" in names:
            continue
        tensors = sorted(name for name in names if name.endswith(".safetensors"))
        found = {variant for name in names if (variant := _variant(name, base)) is not None}
        if not found:
            there = f" but {', '.join(tensors[:3])}" if tensors else ""
            raise ModelError(
                f"{folder}/{part} has no safetensors of its weights: no {base}.safetensors, and no index of "
                f"shards,{there or ' nor anything else'}",
                "weights in safetensors, which run no code when they are loaded",
                _SAVE_AGAIN,
            )
        choices.append(found)
    if not choices:
        return None
    common = set.intersection(*choices)
    if not common:
        names_of = ", ".join(sorted(set().union(*choices)))
        raise ModelError(
            f"the parts of {folder} have their weights in different variants only: {names_of}",
            "one variant of all parts", _SAVE_AGAIN,
        )  # fmt: skip
    return "fp16" if "fp16" in common else min(common)


def files_of(folder: Path, parts: Iterable[str]) -> dict[str, list[str]]:
    """Return the names of the files in the folders of parts."""
    return {part: [path.name for path in (folder / part).glob("*")] for part in parts}


def check_weights(folder: Path, family: Family, absent: Collection[str]) -> str | None:
    """Check every file of weights by its header, and return the variant to load.

    Raises:
        ModelError: a file is broken or missing, the tensors are not those of the part, or a pass of the model fails.
    """
    parts = weight_parts(family, absent)
    variant = variant_of(str(folder), files_of(folder, parts), parts)
    modules = {part: skeleton(folder, part) for part in parts}
    for part, base in parts.items():
        _check_part(folder / part, modules[part], _tensors(folder / part, base, variant), part.startswith("text"))
    check_one_pass(folder, family, modules[family.denoiser], modules["vae"])
    return variant


def check_vae_weights(folder: Path) -> str | None:
    """Check the weights in the folder of an AutoencoderKL by their headers, and return the variant to load.

    Raises:
        ModelError: a file is broken or missing, or the tensors are not those of the VAE.
    """
    from diffusers import AutoencoderKL

    parts = {folder.name: "diffusion_pytorch_model"}
    variant = variant_of(str(folder.parent), files_of(folder.parent, parts), parts)
    module = module_of(AutoencoderKL, folder)
    _check_part(folder, module, _tensors(folder, parts[folder.name], variant), is_text=False)
    return variant


def _check_part(folder: Path, module: Any, tensors: Mapping[str, TensorInfo], is_text: bool) -> None:
    found = as_loaded(module, {name: info.shape for name, info in tensors.items()})
    name, problems = type(module).__name__, list[str]()
    if found.missing:
        problems.append(f"lacks {_listed(found.missing)}, which would be made up at random")
    if found.mismatched:
        problems.append(f"has another shape for {_listed(found.mismatched)}")
    unexpected = [one for one in found.unexpected if not (is_text and _OTHER_TOWERS.search(one))]
    if unexpected:
        problems.append(f"has {_listed(unexpected)}, for which the model has no place")
    odd = [f"{one} ({info.dtype})" for one, info in tensors.items() if info.dtype not in FLOATING]
    if odd := [one for one in odd if "position_ids" not in one]:
        problems.append(f"has {_listed(odd)}, which are no floating-point numbers")
    if problems:
        raise ModelError(
            f"{folder} {'; it '.join(problems)}",
            f"the tensors of a {name} with the sizes of {folder.name}/config.json", _SAVE_AGAIN,
        )  # fmt: skip


def weight_files(folder: Path, base: str, variant: str | None) -> list[Path]:
    """Return the files of a part's weights, of the variant if the part has it: one, or the shards of an index.

    Raises:
        ModelError: there are no weights, or an index cannot be read.
    """
    found = _single_or_index(folder, base, variant)
    if found.suffix != ".json":
        return [found]
    names = {str(place) for place in _places(found).values()}
    for name in names:
        if Path(name).name != name:
            raise ModelError(f"{found} names {name[:200]}, which is no file beside it", "names of files", _SAVE_AGAIN)
    return [folder / name for name in sorted(names)]


def _tensors(folder: Path, base: str, variant: str | None) -> dict[str, TensorInfo]:
    """The tensors of a part over all of its files."""
    tensors, found = dict[str, TensorInfo](), _single_or_index(folder, base, variant)
    for file in weight_files(folder, base, variant):
        if found.suffix == ".json" and not file.exists():
            raise ModelError(f"{folder} lacks the shard {file.name} that its index names", "all shards", _SAVE_AGAIN)
        tensors |= read_tensor_file(file).tensors
    absent = sorted(set(_places(found)) - set(tensors)) if found.suffix == ".json" else []
    if absent:
        raise ModelError(
            f"the shards of {found} lack {_listed(absent)} that the index names", "all tensors of the index",
            _SAVE_AGAIN,
        )  # fmt: skip
    return tensors


def _single_or_index(folder: Path, base: str, variant: str | None) -> Path:
    dotted = "" if variant is None else f".{variant}"
    for end in [dotted, ""] if dotted else [""]:
        for path in (folder / f"{base}.safetensors.index{end}.json", folder / f"{base}{end}.safetensors"):
            if path.exists() or path.is_symlink():
                return path
    raise ModelError(f"{folder} has no {base}.safetensors", "weights in safetensors", _SAVE_AGAIN)


def _places(index: Path) -> dict[str, Any]:
    """The file of each tensor, by an index."""
    content = read_json(index)
    places = content.get("weight_map")
    if not isinstance(places, dict) or not isinstance(content.get("metadata"), dict):
        raise ModelError(
            f"{index} has no weight_map or no metadata", "the index that save_pretrained writes", _SAVE_AGAIN
        )
    return places


def _variant(name: str, base: str) -> str | None:
    match = re.fullmatch(rf"{re.escape(base)}\.(?:safetensors\.index\.)?([\w-]+)\.(?:safetensors|json)", name)
    return match[1] if match and not _SHARD.search(match[1]) and match[1] != "safetensors" else None


def _listed(names: Collection[Any]) -> str:
    shown = ", ".join(str(name)[:200] for name in list(names)[:3])
    return f"{shown} and {len(names) - 3} more" if len(names) > 3 else shown
