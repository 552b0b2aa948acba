"""Stable Diffusion XL: two CLIP text encoders, pooled embeddings, time ids, UNet, AutoencoderKL, DDIM."""

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from diffusion.latent_diffusion import LatentDiffusion, by_channel


class StableDiffusionXL(LatentDiffusion):
    """A `StableDiffusionXLPipeline` without crop. Its time ids are the size of the image.

    DDIM takes the settings of its Euler scheduler.
    """

    PIPELINE = "StableDiffusionXLPipeline"
    ENCODERS = ("text_encoder", "text_encoder_2")
    # The last two are for image prompts.
    LOADED_WITH: ClassVar[Mapping[str, Any]] = {
        "add_watermarker": False,
        "image_encoder": None,
        "feature_extractor": None,
    }

    def _vae_overflows(self, config: Any) -> bool:
        """Whether the VAE needs float32: SDXL's first VAE overflows in float16 and says so in `force_upcast`.

        The other families have `force_upcast` by default, but do not overflow.
        """
        return self._loading.dtype == "float16" and bool(config.force_upcast)

    @property
    def _denoiser(self) -> Any:
        return self._pipe.unet

    def _encode(self, prompt: str, negative_prompt: str | None) -> tuple[Tensor, Tensor | None]:
        embeds, negative, pooled, negative_pooled = self._pipe.encode_prompt(
            prompt, device=self._device, negative_prompt=negative_prompt
        )
        return torch.cat([negative, embeds]), torch.cat([negative_pooled, pooled])

    def _denoise(self, x: Tensor, timestep: float, embeds: Tensor, pooled: Tensor | None, scale: float) -> Tensor:
        output: Tensor = self._pipe.unet(
            x,
            timestep,
            encoder_hidden_states=embeds,
            added_cond_kwargs={"text_embeds": pooled, "time_ids": self._time_ids(x)},
            return_dict=False,
        )[0]
        return output

    def _time_ids(self, x: Tensor) -> Tensor:
        """The original size, the corner of the crop and the target size in pixels, for each row of x: shape (n, 6)."""
        height, width = (side * self._pipe.vae_scale_factor for side in x.shape[2:])
        return x.new_tensor([height, width, 0, 0, height, width]).expand(len(x), 6)

    def _unscaled(self, latents: Tensor) -> Tensor:
        """The latents as the VAE takes them.

        Some VAEs of SDXL are trained on latents with mean 0 and standard deviation 1 in each channel.
        """
        config = self._pipe.vae.config
        if config.latents_mean is None or config.latents_std is None:
            return super()._unscaled(latents)
        return by_channel(latents, config)
