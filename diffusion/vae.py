"""Checks whether a VAE fits a model in place of its own, from their configurations, and loads it. Imports no torch."""

import json
from pathlib import Path
from typing import Any

from diffusion.errors import ModelError
from diffusion.source import VAE_WEIGHTS, Vae

CLASS = "AutoencoderKL"
# What the latents of two VAEs must have in common, besides their size, with the defaults of diffusers.
_SHARED: dict[str, Any] = {"latent_channels": 4, "scaling_factor": 0.18215, "shift_factor": None}


def vae_config(vae: Vae, folder: Path) -> dict[str, Any]:
    """Return the configuration of a VAE.

    Args:
        vae: the VAE, for messages. If it is a local one, the folder must also have its weights.
        folder: folder with the VAE's config.json.

    Raises:
        ModelError: there is no such VAE, it is of another class, or its weights are not in safetensors.
    """
    config = _read(folder / "config.json")
    if config.get("_class_name") != CLASS:
        raise refused(f"{vae.name} is a {config.get('_class_name')}")
    if vae.revision is None and not (folder / VAE_WEIGHTS).is_file():
        raise refused(f"{folder} has no {VAE_WEIGHTS}")
    return config


def check_vae(vae: Vae, folder: Path, model: Path) -> None:
    """Check that a VAE decodes the latents of a model.

    Args:
        vae: the VAE.
        folder: folder with the VAE's config.json.
        model: folder of the model.

    Raises:
        ModelError: the VAE cannot be used, or its latents are not those of the model's own VAE.
    """
    config, own = vae_config(vae, folder), _read(model / "vae" / "config.json")
    for key, default in _SHARED.items():
        value, own_value = (one.get(key, default) for one in (config, own))
        if value != own_value:
            raise refused(f"{vae.name} has {key} {value}, but the model's own VAE has {own_value}")
    factor, own_factor = (2 ** (len(one.get("block_out_channels", [64])) - 1) for one in (config, own))
    if factor != own_factor:
        raise refused(f"images of {vae.name} are {factor} times as wide as latents, but the model's {own_factor} times")


def _read(path: Path) -> dict[str, Any]:
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise refused(f"{path} cannot be read as JSON: {error}") from error
    if not isinstance(config, dict):
        raise refused(f"{path} is not a JSON object")
    return config


def refused(problem: str) -> ModelError:
    """Return the error of a VAE that cannot be used."""
    return ModelError(
        problem,
        f"an {CLASS} for the latents of this model: the folder of a VAE that was saved with save_pretrained, or, with "
        "revision, owner/name on the hub",
        "remove model.vae, or name a VAE that was made for this model's family",
        "model.vae",
    )


def load_vae(vae: Vae, dtype: Any) -> Any:
    """Load a VAE in place of the model's own, in a torch dtype.

    Raises:
        ModelError: some of its weights are missing.
    """
    from diffusers import AutoencoderKL

    loaded, info = AutoencoderKL.from_pretrained(
        vae.name, revision=vae.revision, dtype=dtype, use_safetensors=True, local_files_only=vae.revision is None,
        output_loading_info=True,
    )  # fmt: skip
    if missing := info["missing_keys"]:
        raise refused(f"{len(missing)} tensors of {vae.name} are missing, such as {missing[0]}")
    return loaded
