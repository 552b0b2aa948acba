"""PixArt-Sigma: T5, a transformer that also predicts a variance, AutoencoderKL, DDIM."""

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from diffusion.latent_diffusion import LatentDiffusion


class PixArtSigma(LatentDiffusion):
    """A `PixArtSigmaPipeline`. The predicted variance is not used: the noise of a step is that of DDIM.

    Prompts are read as they are, in lower case; the pipeline's own call also cleans captions of the web, if packages
    for it are installed. `pooled` of the conditioning is the mask of T5's tokens, which the transformer needs.
    """

    PIPELINE = "PixArtSigmaPipeline"
    ENCODERS = ("text_encoder",)
    LOADED_WITH: ClassVar[Mapping[str, Any]] = {}

    @property
    def _denoiser(self) -> Any:
        return self._pipe.transformer

    def _encode(self, prompt: str, negative_prompt: str | None) -> tuple[Tensor, Tensor | None]:
        embeds, mask, negative, negative_mask = self._pipe.encode_prompt(
            prompt,
            negative_prompt=negative_prompt or "",
            device=self._device,
            clean_caption=False,
            max_sequence_length=self._token_limits()["tokenizer"],
        )
        return torch.cat([negative, embeds]), torch.cat([negative_mask, mask]).to(embeds.dtype)

    def _denoise(self, x: Tensor, timestep: float, embeds: Tensor, pooled: Tensor | None, scale: float) -> Tensor:
        output: Tensor = self._pipe.transformer(
            x,
            encoder_hidden_states=embeds,
            encoder_attention_mask=pooled,
            timestep=torch.full((len(x),), round(timestep), device=x.device),
            added_cond_kwargs={"resolution": None, "aspect_ratio": None},
            return_dict=False,
        )[0]
        return output[:, : x.shape[1]]
