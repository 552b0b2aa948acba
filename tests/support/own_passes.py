"""One pass of each family's denoiser, called as the family's own diffusers pipeline calls it."""

from typing import Any

import torch
from torch import Tensor


@torch.inference_mode()
def own_pass(family: str, pipe: Any, x: Tensor, t: float, embeds: Tensor, pooled: Tensor | None, scale: float) -> Any:
    """Return the output for one sample (1, C, H, W) at a timestep, with the embeddings of one text.

    Args:
        family: name of the family in `tests.support.tiny`.
        pipe: its pipeline.
        x: the sample.
        t: the timestep; a flow has fractions.
        embeds: row of `Conditioning.embeds`, shape (1, tokens, width).
        pooled: row of `Conditioning.pooled`.
        scale: guidance scale, for a denoiser that takes it as an input.
    """
    time = torch.tensor([t], dtype=torch.float32)
    if family == "flux":
        return _flux(pipe, x, time, embeds, pooled, torch.tensor([scale], dtype=torch.float32))
    if family == "sd3":
        return pipe.transformer(x, embeds, pooled, time).sample
    if family == "pixart":
        sizes = {"resolution": None, "aspect_ratio": None}
        return pipe.transformer(x, embeds, time.round().long(), sizes, encoder_attention_mask=pooled).sample[:, :4]
    if family == "qwen":
        mask = pooled[:, : int(pooled.sum())] if pooled is not None else None
        return _qwen(pipe, x, time, embeds[:, : mask.shape[1]] if mask is not None else embeds)
    if family == "zimage":
        text = embeds[0] if pooled is None else embeds[0, : int(pooled.sum())]
        return -pipe.transformer([x[0, :, None]], (1000 - time) / 1000, [text]).sample[0][:, 0][None]
    if family == "sana":
        solver = pipe.scheduler.config.get("use_flow_sigmas")
        return pipe.transformer(x, embeds, time.long() if solver else time, encoder_attention_mask=pooled).sample
    if family == "sdxl":
        added = {"text_embeds": pooled, "time_ids": torch.tensor([[16.0, 16.0, 0.0, 0.0, 16.0, 16.0]])}
        return pipe.unet(x, t, encoder_hidden_states=embeds, added_cond_kwargs=added).sample
    return pipe.unet(x, t, encoder_hidden_states=embeds).sample


def _flux(pipe: Any, x: Tensor, time: Tensor, embeds: Tensor, pooled: Tensor | None, scale: Tensor) -> Any:
    _, channels, height, width = x.shape
    ids = pipe._prepare_latent_image_ids(1, height // 2, width // 2, "cpu", torch.float32)
    tokens = pipe.transformer(
        pipe._pack_latents(x, 1, channels, height, width), embeds, pooled, time / 1000, ids,
        torch.zeros(embeds.shape[1], 3), scale,
    ).sample  # fmt: skip
    return pipe._unpack_latents(tokens, height * 2, width * 2, 2)


def _qwen(pipe: Any, x: Tensor, time: Tensor, embeds: Tensor) -> Any:
    """Without a mask, because a text alone has no padding."""
    _, channels, height, width = x.shape
    tokens = pipe.transformer(
        pipe._pack_latents(x, 1, channels, height, width), embeds, timestep=time / 1000,
        img_shapes=[[(1, height // 2, width // 2)]],
    ).sample  # fmt: skip
    return pipe._unpack_latents(tokens, height * 2, width * 2, 2)[:, :, 0]


def own_guidance(family: str, pipe: Any, negative: Tensor, prompt: Tensor, scale: float) -> Tensor:
    """Return the guided prediction of two passes (n, C, H, W), as a family's pipeline makes it."""
    guided = negative + scale * (prompt - negative)
    if family != "qwen":
        return guided
    tokens = [pipe._pack_latents(x, *x.shape) for x in (guided, prompt)]
    scaled = tokens[0] * tokens[1].norm(dim=-1, keepdim=True) / tokens[0].norm(dim=-1, keepdim=True)
    height, width = prompt.shape[2:]
    unpacked: Tensor = pipe._unpack_latents(scaled, height * 2, width * 2, 2)[:, :, 0]
    return unpacked
