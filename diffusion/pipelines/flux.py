"""FLUX.1 [dev] and [schnell]: CLIP's pooled embedding and T5, a transformer on packed latents, flow SDE.

Both are distilled, so a prediction is one pass: in [dev] the guidance scale is an input of the transformer, and in
[schnell] there is none. Neither has a negative prompt.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from diffusion.latent_diffusion import LatentDiffusion
from diffusion.pipelines.packing import image_ids, pack, unpack


class Flux(LatentDiffusion):
    """A `FluxPipeline`. Latents are (C, H, W); they are packed for each pass of the transformer, 2 x 2 to a token."""

    PIPELINE = "FluxPipeline"
    ENCODERS = ("text_encoder", "text_encoder_2")
    # For image prompts.
    LOADED_WITH: ClassVar[Mapping[str, Any]] = {"image_encoder": None, "feature_extractor": None}

    @property
    def _denoiser(self) -> Any:
        return self._pipe.transformer

    def _encode(self, prompt: str, negative_prompt: str | None) -> tuple[Tensor, Tensor | None]:
        embeds, pooled, _ = self._pipe.encode_prompt(
            prompt, prompt_2=None, device=self._device, max_sequence_length=self._token_limits()["tokenizer_2"]
        )
        # The first row is that of a negative prompt, which no pass reads.
        return torch.cat([torch.zeros_like(embeds), embeds]), torch.cat([torch.zeros_like(pooled), pooled])

    def _denoise(self, x: Tensor, timestep: float, embeds: Tensor, pooled: Tensor | None, scale: float) -> Tensor:
        # Shares and scale are always float32, because half precision cannot represent a share such as 0.9932.
        share, guidance = (
            torch.full((len(x),), value, dtype=torch.float32, device=x.device) for value in (timestep / 1000, scale)
        )
        output: Tensor = self._pipe.transformer(
            hidden_states=pack(x),
            timestep=share,
            guidance=guidance if self._denoiser.config.guidance_embeds else None,
            pooled_projections=pooled,
            encoder_hidden_states=embeds,
            txt_ids=torch.zeros(embeds.shape[1], 3, device=x.device, dtype=x.dtype),
            img_ids=image_ids(*x.shape[2:]).to(x.device, x.dtype),
            return_dict=False,
        )[0]
        return unpack(output, *x.shape[2:])
