"""Stable Diffusion 1.x and 2.x: one CLIP text encoder, UNet, AutoencoderKL, DDIM."""

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from diffusion.latent_diffusion import LatentDiffusion


class StableDiffusion(LatentDiffusion):
    """A `StableDiffusionPipeline` whose UNet predicts epsilon, v or the sample."""

    PIPELINE = "StableDiffusionPipeline"
    ENCODERS = ("text_encoder",)
    # The safety checker would black images out. Only it and image prompts need the other two.
    LOADED_WITH: ClassVar[Mapping[str, Any]] = {
        "safety_checker": None,
        "requires_safety_checker": False,
        "feature_extractor": None,
        "image_encoder": None,
    }

    @property
    def _denoiser(self) -> Any:
        return self._pipe.unet

    def _encode(self, prompt: str, negative_prompt: str | None) -> tuple[Tensor, Tensor | None]:
        embeds, negative = self._pipe.encode_prompt(
            prompt,
            self._device,
            num_images_per_prompt=1,
            do_classifier_free_guidance=True,
            negative_prompt=negative_prompt,
        )
        return torch.cat([negative, embeds]), None

    def _denoise(self, x: Tensor, timestep: float, embeds: Tensor, pooled: Tensor | None, scale: float) -> Tensor:
        output: Tensor = self._pipe.unet(x, timestep, encoder_hidden_states=embeds, return_dict=False)[0]
        return output
