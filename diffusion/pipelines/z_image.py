"""Z-Image and Z-Image-Turbo: Qwen3, a transformer that reads text and image together, AutoencoderKL, flow SDE."""

from typing import Any

import torch
from torch import Tensor

from diffusion.latent_diffusion import LatentDiffusion
from diffusion.pipelines.packing import padded


class ZImage(LatentDiffusion):
    """A `ZImagePipeline`. `pooled` of the conditioning is the mask of the tokens, because texts differ in length.

    The guidance scale is that of the other families. The pipeline's own is smaller by 1, because it counts from the
    prediction for the prompt. Its transformer is told the share of the image, 1 - s, and predicts x0 - noise.
    """

    PIPELINE = "ZImagePipeline"
    ENCODERS = ("text_encoder",)

    @property
    def _denoiser(self) -> Any:
        return self._pipe.transformer

    def _encode(self, prompt: str, negative_prompt: str | None) -> tuple[Tensor, Tensor | None]:
        embeds, negative = self._pipe.encode_prompt(prompt, device=self._device, negative_prompt=negative_prompt)
        return padded([*negative, *embeds])

    def _denoise(self, x: Tensor, timestep: float, embeds: Tensor, pooled: Tensor | None, scale: float) -> Tensor:
        assert pooled is not None
        output = self._pipe.transformer(
            list(x[:, :, None]),
            torch.full((len(x),), 1 - timestep / 1000, dtype=torch.float32, device=x.device),
            [text[mask.bool()] for text, mask in zip(embeds, pooled, strict=True)],
            return_dict=False,
        )[0]
        return -torch.stack(output)[:, :, 0]
