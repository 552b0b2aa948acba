"""Computes the shapes of one pass of a model's denoiser and decoder, on torch's `meta` device, which has no numbers."""

from pathlib import Path
from typing import Any

from diffusion.checks.skeleton import short
from diffusion.errors import ModelError
from diffusion.families import Family

_CLIP_TOKENS = 77


def check_one_pass(folder: Path, family: Family, denoiser: Any, vae: Any) -> None:
    """Check that a denoiser takes latents of its own size and predicts as many, and that the VAE decodes them.

    Args:
        folder: folder of the model, for messages.
        family: family of the model.
        denoiser: module of `skeleton`.
        vae: module of `skeleton`.

    Raises:
        ModelError: a pass fails, or gives another shape.
    """
    import torch

    size = family.own_side(denoiser.config)
    sides = (size, size) if isinstance(size, int) else tuple(size)
    part = family.denoiser
    try:
        with torch.device("meta"), torch.no_grad():
            x = torch.empty(2, denoiser.config.in_channels // family.packed**2, *sides)
            predicted = _predict(family, denoiser, x).shape
            part = "vae"
            decoded = vae.decode(x[:, :, None] if family.frames else x, return_dict=False)[0].shape
    except Exception as error:
        raise _refused(folder, part, f"cannot take latents of the shape {[*x.shape]}: {short(error)}") from error
    if predicted != x.shape:
        raise _refused(folder, family.denoiser, f"predicts the shape {[*predicted]} for latents of {[*x.shape]}")
    if decoded[:2] != (2, 3):
        raise _refused(folder, "vae", f"decodes latents to the shape {[*decoded]} and not to RGB")


def _predict(family: Family, denoiser: Any, x: Any) -> Any:
    import torch

    config, rows = denoiser.config, len(x)
    if family.packed > 1:
        return _predict_packed(family, denoiser, x)
    if "cap_feat_dim" in config:  # Z-Image
        texts = torch.empty(rows, _tokens(family, denoiser), config.cap_feat_dim)
        output = denoiser(list(x[:, :, None]), torch.empty(rows), list(texts), return_dict=False)[0]
        return torch.stack(output)[:, :, 0]
    if "caption_channels" in config:  # PixArt-Sigma, Sana
        text = torch.empty(rows, _tokens(family, denoiser), config.caption_channels)
        sizes = {"resolution": None, "aspect_ratio": None}
        output = denoiser(
            x, encoder_hidden_states=text, encoder_attention_mask=torch.empty(text.shape[:2]),
            timestep=torch.empty(rows), return_dict=False,
            **{"added_cond_kwargs": sizes} if family.learned_variance else {},
        )[0]  # fmt: skip
        return output[:, : x.shape[1]] if family.learned_variance else output
    if family.is_flow:
        text = torch.empty(rows, _CLIP_TOKENS + _tokens(family, denoiser), config.joint_attention_dim)
        pooled, times = torch.empty(rows, config.pooled_projection_dim), torch.empty(rows)
        return denoiser(
            hidden_states=x, timestep=times, encoder_hidden_states=text, pooled_projections=pooled, return_dict=False
        )[0]
    text, added = torch.empty(rows, _CLIP_TOKENS, config.cross_attention_dim), {}
    if config.addition_embed_type == "text_time":
        # `check_widths` has compared this sum with the text encoder.
        width = config.projection_class_embeddings_input_dim - 6 * config.addition_time_embed_dim
        added = {"text_embeds": torch.empty(rows, width), "time_ids": torch.empty(rows, 6)}
    return denoiser(x, 1, encoder_hidden_states=text, added_cond_kwargs=added, return_dict=False)[0]


def _tokens(family: Family, denoiser: Any) -> int:
    return sum(family.token_limits(denoiser.config).values())


def _predict_packed(family: Family, denoiser: Any, x: Any) -> Any:
    import torch

    from diffusion.pipelines.packing import image_ids, pack, unpack

    config, rows, tokens = denoiser.config, len(x), _tokens(family, denoiser)
    height, width = x.shape[2:]
    if family.frames:  # Qwen-Image
        inputs = {
            "encoder_hidden_states_mask": torch.empty(rows, tokens),
            "img_shapes": [[(1, height // 2, width // 2)]] * rows,
        }
    else:  # FLUX
        inputs = {
            "guidance": torch.empty(rows) if config.guidance_embeds else None,
            "pooled_projections": torch.empty(rows, config.pooled_projection_dim),
            "txt_ids": torch.empty(tokens, 3), "img_ids": image_ids(height, width).to("meta"),
        }  # fmt: skip
    output = denoiser(
        hidden_states=pack(x), timestep=torch.empty(rows), return_dict=False,
        encoder_hidden_states=torch.empty(rows, tokens, config.joint_attention_dim), **inputs,
    )[0]  # fmt: skip
    return unpack(output, height, width)


def _refused(folder: Path, part: str, problem: str) -> ModelError:
    return ModelError(
        f"the {part} of {folder} {problem}",
        "a text-to-image model, which takes nothing but the latents, the timestep and the text",
        f"use another model, or correct {part}/config.json of this one",
    )
