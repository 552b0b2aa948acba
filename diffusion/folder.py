"""Checks of a model folder that load no weights. Reads JSON files and imports no torch."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from diffusion.errors import ModelError
from diffusion.families import FAMILIES, Family
from diffusion.schedulers import check_scheduler
from diffusion.source import EMBEDDED

_SAVE_AGAIN = "save the pipeline again with save_pretrained"


def check_folder(folder: Path, steps: int, whole: bool = True) -> str:
    """Check that a model can be sampled, and return its pipeline class.

    Args:
        folder: folder of a diffusers pipeline, or of its configuration files alone.
        steps: T, the number of denoising steps.
        whole: whether the folder must also have the weights, in safetensors.

    Raises:
        ModelError: there is no such folder, its family is not supported, a part is missing, or the scheduler belongs
            to another process than the family's.
    """
    pipeline = pipeline_class(folder)
    family, absent = FAMILIES[pipeline], absent_parts(folder)
    for part in family.parts:
        if part in absent:
            continue
        if not (folder / part / _config_name(part)).is_file():
            raise ModelError(
                f"the model at {folder} has no {part}/", f"a whole pipeline: {', '.join(family.parts)}", _SAVE_AGAIN
            )
        if whole and _has_weights(part) and not list((folder / part).glob("*.safetensors")):
            raise ModelError(
                f"{folder / part} has no safetensors",
                "weights in safetensors, which run no code when they are loaded",
                "save the pipeline again with save_pretrained(safe_serialization=True)",
            )
    scheduler = _read(folder / "scheduler" / "scheduler_config.json")
    check_scheduler(str(folder), pipeline, scheduler, steps)
    check_denoiser(str(folder), family, *(_read(folder / part / "config.json") for part in (family.denoiser, "vae")))
    return pipeline


def pipeline_class(folder: Path) -> str:
    """Return the pipeline class that a model folder's index names.

    Raises:
        ModelError: there is no such folder or index, or the class is not supported.
    """
    if not (folder / "model_index.json").is_file():
        problem = f"there is no model at {folder}, because it has no model_index.json"
        raise ModelError(
            problem if folder.is_dir() else f"there is no folder {folder}",
            f'"{EMBEDDED}" (the embedded model), a local folder in diffusers layout, or, with model.revision, '
            "owner/name on the hub",
            "give the path of a folder that a diffusers pipeline was saved to with save_pretrained",
        )
    pipeline = _read(folder / "model_index.json").get("_class_name")
    if not isinstance(pipeline, str) or pipeline not in FAMILIES:
        raise ModelError(
            f"the model at {folder} is a {pipeline}, which is not supported",
            ", ".join(FAMILIES),
            "use a model of a supported family",
        )
    return pipeline


def absent_parts(folder: Path) -> frozenset[str]:
    """Return the optional parts of the family that this model does not have."""
    index = _read(folder / "model_index.json")
    optional = FAMILIES[pipeline_class(folder)].optional
    return frozenset(part for part in optional if index.get(part, [None])[0] is None)


def attention_width(folder: Path, family: Family) -> int:
    """Return the input width of the denoiser's attention: the text's in a UNet, its own tokens' in a transformer."""
    config = _read(folder / family.denoiser / "config.json")
    if family.denoiser == "transformer":
        return int(config["num_attention_heads"] * config["attention_head_dim"])
    return int(config["cross_attention_dim"])


def check_denoiser(folder: str, family: Family, config: Mapping[str, Any], vae: Mapping[str, Any]) -> None:
    """Check that a denoiser takes nothing but latents and text.

    Args:
        folder: folder of the model, for messages.
        family: family of the model.
        config: configuration of the denoiser.
        vae: configuration of the VAE.

    Raises:
        ModelError: the denoiser takes other inputs too.
    """
    takes, has = config.get("in_channels"), vae.get("latent_channels")
    if None not in (takes, has) and takes != has:
        raise ModelError(
            f"the {family.denoiser} of {folder} takes {takes} channels, but its latents have {has}",
            "a text-to-image model, which takes nothing but the latents and the text",
            "use a model that was not made for inpainting or editing",
        )
    if config.get("time_cond_proj_dim") is not None:
        raise ModelError(
            f"the {family.denoiser} of {folder} is distilled for guidance: the guidance scale is one of its inputs",
            "a denoiser with time_cond_proj_dim null",
            "use the model that it was distilled from",
        )


def _has_weights(part: str) -> bool:
    return part != "scheduler" and not part.startswith("tokenizer")


def _config_name(part: str) -> str:
    if part == "scheduler":
        return "scheduler_config.json"
    return "tokenizer_config.json" if part.startswith("tokenizer") else "config.json"


def _read(path: Path) -> dict[str, Any]:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ModelError(f"{path} is not JSON: {error}", "the file that save_pretrained writes", _SAVE_AGAIN) from error
    if not isinstance(data, dict):
        raise ModelError(f"{path} is not a JSON object", "the file that save_pretrained writes", _SAVE_AGAIN)
    return data
