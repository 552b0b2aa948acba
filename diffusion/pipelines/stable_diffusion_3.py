"""Stable Diffusion 3 and 3.5: two CLIP text encoders and T5, MMDiT, AutoencoderKL with a shift, flow SDE."""

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from diffusion.families import FAMILIES
from diffusion.latent_diffusion import LatentDiffusion


class StableDiffusion3(LatentDiffusion):
    """A `StableDiffusion3Pipeline`. If a model comes without T5, the T5 tokens are zeros."""

    PIPELINE = "StableDiffusion3Pipeline"
    ENCODERS = ("text_encoder", "text_encoder_2", "text_encoder_3")
    # For image prompts.
    LOADED_WITH: ClassVar[Mapping[str, Any]] = {"image_encoder": None, "feature_extractor": None}

    @property
    def _denoiser(self) -> Any:
        return self._pipe.transformer

    def _encode(self, prompt: str, negative_prompt: str | None) -> tuple[Tensor, Tensor | None]:
        embeds, negative, pooled, negative_pooled = self._pipe.encode_prompt(
            prompt,
            prompt_2=None,
            prompt_3=None,
            device=self._device,
            negative_prompt=negative_prompt,
            max_sequence_length=FAMILIES[self.PIPELINE].token_limits(self._denoiser.config)["tokenizer_3"],
        )
        return torch.cat([negative, embeds]), torch.cat([negative_pooled, pooled])

    def _denoise(self, x: Tensor, timestep: float, embeds: Tensor, pooled: Tensor | None, scale: float) -> Tensor:
        output: Tensor = self._pipe.transformer(
            hidden_states=x,
            # Always float32, because half precision cannot represent a timestep such as 993.2.
            timestep=torch.full((len(x),), timestep, dtype=torch.float32, device=x.device),
            encoder_hidden_states=embeds,
            pooled_projections=pooled,
            return_dict=False,
        )[0]
        return output
