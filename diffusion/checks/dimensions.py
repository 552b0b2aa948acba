"""Checks that the sizes in the configurations of a model's parts are there and fit together. Imports no torch."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from diffusion.checks.image_size import MOST_LATENTS
from diffusion.checks.json_file import is_number, read_json
from diffusion.errors import ModelError
from diffusion.families import Family

_OTHER = "use a text-to-image model whose parts were trained together"


def check_denoiser(folder: str, family: Family, config: Mapping[str, Any], vae: Mapping[str, Any]) -> None:
    """Check that a denoiser takes nothing but latents and text, and predicts latents.

    Args:
        folder: folder of the model, for messages.
        family: family of the model.
        config: configuration of the denoiser.
        vae: configuration of the VAE.

    Raises:
        ModelError: the denoiser takes other inputs too, or a size is missing.
    """
    takes, has = config.get("in_channels"), _latent_channels(vae)
    if takes is not None and has is not None and takes != has * family.packed**2:
        square = f" ({has * family.packed**2} in a token)" if family.packed > 1 else ""
        raise ModelError(
            f"the {family.denoiser} of {folder} takes {takes} channels, but its latents have {has}{square}",
            "a text-to-image model, which takes nothing but the latents and the text",
            "use a model that was not made for inpainting or editing",
        )
    key = "guidance_embeds" if family.denoiser == "transformer" else "time_cond_proj_dim"
    if family.has_two_passes and config.get(key) not in (None, False):
        raise ModelError(
            f"the {family.denoiser} of {folder} is distilled for guidance: the guidance scale is one of its inputs",
            f"a denoiser with {key} null or false",
            "use the model that it was distilled from",
        )
    _check_latents(folder, family, config, vae)


def check_widths(folder: Path, family: Family, absent: frozenset[str]) -> None:
    """Check that the denoiser reads embeddings as wide as the text encoders write them.

    Raises:
        ModelError: the widths differ.
    """
    denoiser = read_json(folder / family.denoiser / "config.json")
    encoders = {
        part: _text_config(read_json(folder / part / "config.json"))
        for part in family.texts
        if part.startswith("text_encoder") and part not in absent
    }
    wide = [config.get("hidden_size", config.get("d_model")) for config in encoders.values()]
    pooled = [config.get("projection_dim", 512) for config in encoders.values()]
    if not all(type(width) is int for width in (*wide, *pooled)):
        raise ModelError(f"a text encoder of {folder} has no hidden_size or projection_dim", "whole numbers", _OTHER)
    wanted: dict[str, Any] = {"cross_attention_dim": sum(wide)}
    if family.widths:
        of_encoder = dict(zip(encoders, wide, strict=True))
        wanted = {key: of_encoder[part] for key, part in family.widths}
    elif family.is_flow:
        joint = [width for part, width in zip(encoders, wide, strict=True) if part == "text_encoder_3"]
        wanted = {"pooled_projection_dim": sum(pooled[:2])} | ({"joint_attention_dim": joint[0]} if joint else {})
    elif len(encoders) == 2:
        times = denoiser.get("addition_time_embed_dim")
        sizes = 6 * times if isinstance(times, int) else 0
        wanted |= {"addition_embed_type": "text_time", "projection_class_embeddings_input_dim": sizes + pooled[1]}
    else:
        wanted |= {"addition_embed_type": None, "class_embed_type": None, "encoder_hid_dim": None}
    for key, value in wanted.items():
        found = denoiser.get(key)
        # One width for each block, if it is a list.
        if any(one != value for one in (found if isinstance(found, list) and found else [found])):
            raise ModelError(
                f"the {family.denoiser} of {folder} has the {key} {denoiser.get(key)}, which does not fit its text "
                f"encoders",
                f"{key}: {value}", _OTHER,
            )  # fmt: skip


def _text_config(config: dict[str, Any]) -> dict[str, Any]:
    """The part of a text encoder's configuration that is about text; a configuration of CLIP as a whole has more."""
    inner = config.get("text_config")
    return inner if isinstance(inner, dict) else config


def _check_latents(folder: str, family: Family, config: Mapping[str, Any], vae: Mapping[str, Any]) -> None:
    size = family.own_side(config)
    sides = size if isinstance(size, list | tuple) and len(size) == 2 and not family.is_flow else [size]
    if not all(type(side) is int and 1 <= side <= MOST_LATENTS for side in sides):
        raise ModelError(
            f"the {family.denoiser} of {folder} has the sample_size {size}, so the size of its images is not known",
            f"the side of its latents, 1..{MOST_LATENTS}, such as 64 for images of 512 pixels",
            f"set sample_size in {family.denoiser}/config.json of the model",
        )
    scale, shift = vae.get("scaling_factor", 0.18215), vae.get("shift_factor")
    if not is_number(scale) or scale <= 0 or (shift is not None and not is_number(shift)):
        raise ModelError(
            f"the vae of {folder} has the scaling_factor {scale} and the shift_factor {shift}",
            "a positive number, and a number or null", "correct vae/config.json of the model",
        )  # fmt: skip
    for key in ("latents_mean", "latents_std"):
        values = vae.get(key)
        if values is not None and not _is_one_for_each(_latent_channels(vae), values, key == "latents_std"):
            raise ModelError(
                f"the vae of {folder} has the {key} {str(values)[:100]}",
                "null, or a number for each channel, positive for latents_std",
                "correct vae/config.json of the model",
            )  # fmt: skip
    takes, gives = config.get("in_channels"), config.get("out_channels")
    if family.packed > 1 and gives is not None:
        gives *= config.get("patch_size", 1) ** 2
    allowed = {takes, 2 * takes} if family.learned_variance and takes is not None else {takes}
    if gives is not None and takes is not None and gives not in allowed:
        raise ModelError(
            f"the {family.denoiser} of {folder} predicts {gives} channels, but its latents have {takes}",
            "a denoiser that predicts noise, v or the sample and nothing else", "use another model",
        )  # fmt: skip
    if vae.get("out_channels", 3) != 3:
        raise ModelError(f"the vae of {folder} decodes {vae['out_channels']} channels", "3: RGB", "use another model")


def _latent_channels(vae: Mapping[str, Any]) -> Any:
    return vae.get("latent_channels", vae.get("z_dim"))


def _is_one_for_each(channels: Any, values: Any, positive: bool) -> bool:
    """Whether values are a number for each channel. A VAE without latent_channels has the four of the class."""
    if not isinstance(values, list | tuple) or len(values) != (4 if channels is None else channels):
        return False
    return all(is_number(value) and (value > 0 or not positive) for value in values)
