"""Checks whether a VAE fits a model in place of the model's own, from their configurations. Imports no torch."""

from pathlib import Path
from typing import Any

from diffusion.checks.image_size import pixels_of_a_latent
from diffusion.checks.json_file import read_json
from diffusion.checks.weights import check_vae_weights
from diffusion.errors import ModelError, for_key
from diffusion.source import Vae

CLASS = "AutoencoderKL"
# What the latents of two VAEs must have in common, besides their size, with the defaults of diffusers.
_SHARED: dict[str, Any] = {"latent_channels": 4, "scaling_factor": 0.18215, "shift_factor": None}


def vae_config(vae: Vae, folder: Path) -> dict[str, Any]:
    """Return the configuration of a VAE.

    Args:
        vae: the VAE, for messages.
        folder: folder with the VAE's config.json.

    Raises:
        ModelError: there is no such VAE, or it is of another class.
    """
    with for_key("model.vae"):
        config = read_json(folder / "config.json")
    if config.get("_class_name") != CLASS:
        raise refused(f"{vae.name} is a {str(config.get('_class_name'))[:100]}")
    return config


def vae_variant(folder: Path) -> str | None:
    """Check the weights in the folder of a VAE by their headers, and return their variant, such as "fp16".

    Raises:
        ModelError: a file is broken or missing, or the tensors are not those of the VAE.
    """
    with for_key("model.vae"):
        return check_vae_weights(folder)


def check_vae(vae: Vae, folder: Path, model: Path) -> None:
    """Check that a VAE decodes the latents of a model.

    Args:
        vae: the VAE.
        folder: folder with the VAE's config.json.
        model: folder of the model.

    Raises:
        ModelError: the VAE cannot be used, or its latents are not those of the model's own VAE.
    """
    config, own = vae_config(vae, folder), read_json(model / "vae" / "config.json")
    if own.get("_class_name", CLASS) != CLASS:
        raise refused(f"the model's own VAE is a {str(own['_class_name'])[:100]}, which no other VAE can replace")
    for key, default in _SHARED.items():
        value, own_value = (one.get(key, default) for one in (config, own))
        if value != own_value:
            raise refused(f"{vae.name} has {key} {value}, but the model's own VAE has {own_value}")
    factor, own_factor = (pixels_of_a_latent(one) for one in (config, own))
    if factor != own_factor:
        raise refused(f"images of {vae.name} are {factor} times as wide as latents, but the model's {own_factor} times")


def refused(problem: str) -> ModelError:
    """Return the error of a VAE that cannot be used."""
    return ModelError(
        problem,
        f"an {CLASS} for the latents of this model: the folder of a VAE that was saved with save_pretrained, or, with "
        "revision, owner/name on the hub",
        "remove model.vae, or name a VAE that was made for this model's family",
        "model.vae",
    )
