"""Checks of a model folder that load no weights. Reads JSON files and imports no torch."""

from pathlib import Path

from diffusion.checks.dimensions import check_denoiser, check_widths
from diffusion.checks.json_file import read_json
from diffusion.checks.schedulers import check_scheduler
from diffusion.checks.tensor_file import unreadable
from diffusion.errors import ModelError
from diffusion.families import FAMILIES
from diffusion.source import EMBEDDED

_SAVE_AGAIN = "save the pipeline again with save_pretrained"


def check_folder(folder: Path, steps: int, whole: bool = True) -> str:
    """Check that a model can be sampled, and return its pipeline class.

    Args:
        folder: folder of a diffusers pipeline, or of its configuration files alone.
        steps: T, the number of denoising steps.
        whole: whether the folder must also have the weights, in safetensors.

    Raises:
        ModelError: there is no such folder, its family is not supported, a part is missing or does not fit the others,
            or the scheduler belongs to another process than the family's.
    """
    pipeline = pipeline_class(folder)
    family, absent = FAMILIES[pipeline], absent_parts(folder)
    for part in absent:
        if part.startswith("tokenizer") and part.replace("tokenizer", "text_encoder") not in absent:
            raise ModelError(
                f"the model at {folder} has a text encoder without its {part}", "both, or neither", _SAVE_AGAIN
            )
    for part in family.parts:
        if part in absent:
            continue
        config = folder / part / _config_name(part)
        if not config.is_file():
            raise ModelError(
                f"the model at {folder} has no {part}/{config.name}: {unreadable(config)}",
                f"a whole pipeline: {', '.join(family.parts)}", _SAVE_AGAIN,
            )  # fmt: skip
        if whole and _has_weights(part) and not list((folder / part).glob("*.safetensors")):
            raise ModelError(
                f"{folder / part} has no safetensors",
                "weights in safetensors, which run no code when they are loaded",
                "save the pipeline again with save_pretrained(safe_serialization=True)",
            )
    check_scheduler(str(folder), pipeline, read_json(folder / "scheduler" / "scheduler_config.json"), steps)
    check_denoiser(
        str(folder), family, *(read_json(folder / part / "config.json") for part in (family.denoiser, "vae"))
    )
    check_widths(folder, family, absent)
    return pipeline


def pipeline_class(folder: Path) -> str:
    """Return the pipeline class that a model folder's index names.

    Raises:
        ModelError: there is no such folder or index, or the class is not supported.
    """
    index = folder / "model_index.json"
    if not index.is_file():
        if folder.is_dir():
            problem = f"there is no model at {folder}, because it has no model_index.json: {unreadable(index)}"
        else:
            problem = f"there is no folder {folder}: {unreadable(folder)}"
        raise ModelError(
            problem,
            f'"{EMBEDDED}" (the embedded model), a local folder in diffusers layout, or, with model.revision, '
            "owner/name on the hub",
            "give the path of a folder that a diffusers pipeline was saved to with save_pretrained; from_single_file "
            "of diffusers reads a checkpoint that is one file",
        )
    pipeline = read_json(index).get("_class_name")
    if not isinstance(pipeline, str) or pipeline not in FAMILIES:
        raise ModelError(
            f"the model at {folder} is a {pipeline}, which is not supported",
            ", ".join(FAMILIES),
            "use a model of a supported family",
        )
    return pipeline


def absent_parts(folder: Path) -> frozenset[str]:
    """Return the optional parts of the family that this model does not have."""
    index = read_json(folder / "model_index.json")
    optional = FAMILIES[pipeline_class(folder)].optional
    return frozenset(part for part in optional if not isinstance(index.get(part), list) or None in index[part])


def _has_weights(part: str) -> bool:
    return part != "scheduler" and not part.startswith("tokenizer")


def _config_name(part: str) -> str:
    if part == "scheduler":
        return "scheduler_config.json"
    return "tokenizer_config.json" if part.startswith("tokenizer") else "config.json"
