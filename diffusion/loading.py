"""Downloads of the hub, and the errors and messages of the libraries that load a model."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from diffusion.checks.skeleton import short
from diffusion.checks.weights import files_of, variant_of, weight_parts
from diffusion.errors import ModelError
from diffusion.families import FAMILIES
from diffusion.folder import absent_parts, pipeline_class
from diffusion.source import Source, Vae, metadata_folder, of_hub
from diffusion.vae import refused, vae_variant


def download(source: Source, owner: Any, **options: Any) -> Path:
    """Download a model of the hub, if it is not on this machine, and return its folder.

    Args:
        source: a model with a revision.
        owner: its pipeline class in diffusers.
        options: arguments that the pipeline is loaded with, besides its files.

    Raises:
        ModelError: the hub does not give the model, or a part has no weights in safetensors.
    """
    folder = metadata_folder(source)
    parts = weight_parts(FAMILIES[pipeline_class(folder)], absent_parts(folder))
    with of_hub(f"{source.name} at {source.revision}", "model.name"):
        variant = None if _has_plain_weights(folder, parts) else variant_of(source.name, _on_hub(source), parts)
        path = owner.download(source.name, revision=source.revision, variant=variant, use_safetensors=True, **options)
    return Path(path)


def _has_plain_weights(folder: Path, parts: Mapping[str, str]) -> bool:
    """Whether every part is on this machine. If not, or if only a variant is, the hub tells which variants it has."""
    try:
        return variant_of(str(folder), files_of(folder, parts), parts) is None
    except ModelError:
        return False


def _on_hub(source: Source) -> dict[str, list[str]]:
    """The names of the files in each folder of a hub model."""
    from huggingface_hub import HfApi

    files = dict[str, list[str]]()
    for name in HfApi().list_repo_files(source.name, revision=source.revision):
        part, _, rest = name.partition("/")
        files.setdefault(part, []).append(rest)
    return files


def load_vae(vae: Vae, dtype: Any) -> Any:
    """Load the VAE that replaces a model's own.

    Raises:
        ModelError: the VAE cannot be loaded, or a tensor of it is missing.
    """
    from diffusers import AutoencoderKL

    variant = None if vae.revision else vae_variant(Path(vae.name))
    with only_model_errors(Path(vae.name), "model.vae"):
        loaded, info = AutoencoderKL.from_pretrained(
            vae.name, revision=vae.revision, variant=variant, dtype=dtype, use_safetensors=True,
            local_files_only=vae.revision is None, output_loading_info=True,
        )  # fmt: skip
    if missing := info["missing_keys"]:
        raise refused(f"{len(missing)} tensors of {vae.name} are missing, such as {missing[0]}")
    return loaded


@contextmanager
def only_model_errors(path: Path, key: str = "model.name") -> Iterator[None]:
    """Turn what diffusers, transformers and peft raise about a path into a ModelError, unless memory ran out.

    Args:
        path: folder of a model, or file of an adapter.
        key: key of the configuration that names it.

    Raises:
        ModelError: the model cannot be loaded, and a second try would end in the same way.
    """
    import torch

    try:
        yield
    except (ModelError, MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:
        raise ModelError(
            f"{path} cannot be loaded: {type(error).__name__}: {short(error)}",
            "a model or an adapter as diffusers saves it",
            "save it again with diffusers, or download it again",
            key,
        ) from error


def silence_libraries() -> None:
    """Silence both libraries, which print a bar for each load, and a cut prompt in full, however long it is."""
    from diffusers.utils import logging as diffusers_logging
    from transformers.utils import logging as transformers_logging

    diffusers_logging.disable_progress_bar()
    diffusers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    transformers_logging.set_verbosity_error()
