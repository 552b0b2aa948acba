"""Which model a name means, which family it is of, and which weights it holds. Reads files; imports no
torch."""

import hashlib
import importlib.util
import json
from pathlib import Path

# Pipeline class of `model_index.json` -> "module:Class" of ours.
FAMILIES = {"StableDiffusionPipeline": "diffusion.stable_diffusion:StableDiffusion"}
EMBEDDED = "mini"


class ModelFolderError(ValueError):
    """A model folder that cannot be used: what is wrong with it, what is allowed, and the mend."""

    def __init__(self, problem: str, allowed: str, mend: str) -> None:
        super().__init__(f"{problem}; allowed: {allowed}; mend: {mend}")
        self.problem, self.allowed, self.mend = problem, allowed, mend


def model_folder(name: str) -> Path:
    """The folder of a model: of the embedded one for "mini", else the path itself.

    Raises:
        ModelFolderError: there is no such folder, or no readable `model_index.json` in it, or its
            pipeline is of a family that is not supported, or a part of the model is missing.
    """
    folder = _embedded_folder() if name == EMBEDDED else Path(name)
    index = folder / "model_index.json"
    if not index.is_file():
        raise ModelFolderError(
            f"no model at {folder}: there is no model_index.json" if folder.is_dir() else f"no folder {folder}",
            f'"{EMBEDDED}" (the embedded model) or a local folder in diffusers layout',
            "give the path of a folder that a diffusers pipeline was saved to with save_pretrained",
        )
    family(folder)
    for part in ("scheduler", "text_encoder", "tokenizer", "unet", "vae"):
        if not (folder / part).is_dir():
            raise ModelFolderError(
                f"the model at {folder} has no {part}/",
                "a whole pipeline: scheduler, text_encoder, tokenizer, unet, vae",
                "save the pipeline again with save_pretrained",
            )
    return folder


def family(folder: Path) -> str:
    """ "module:Class" of the family that a model folder's own index names."""
    try:
        pipeline = json.loads((folder / "model_index.json").read_text(encoding="utf-8")).get("_class_name")
    except (ValueError, AttributeError) as error:
        raise ModelFolderError(
            f"{folder / 'model_index.json'} is no JSON object: {error}",
            "the index that save_pretrained writes",
            "save the pipeline again with save_pretrained",
        ) from error
    if pipeline not in FAMILIES:
        raise ModelFolderError(
            f"the model at {folder} is a {pipeline}",
            ", ".join(FAMILIES),
            "use a model of a supported family",
        )
    return FAMILIES[pipeline]


def revision(folder: Path) -> str:
    """SHA-256 over the names and contents of a model folder's files: any change of a weight changes it."""
    digest = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.suffix in (".json", ".safetensors", ".txt")):
        with path.open("rb") as file:
            content = hashlib.file_digest(file, "sha256").hexdigest()
        digest.update(f"{path.relative_to(folder).as_posix()}\0{content}\n".encode())
    return digest.hexdigest()


def _embedded_folder() -> Path:
    spec = importlib.util.find_spec("mini")
    if spec is None or spec.origin is None:
        raise ModelFolderError(
            "the embedded model is not installed", "the package `mini`", "install srsoup again, whole"
        )
    return Path(spec.origin).parent / "weights" / "pipeline"
