"""Sana: Gemma behind an instruction, a transformer with linear attention, AutoencoderDC, flow SDE."""

import inspect
from typing import Any

import torch
from torch import Tensor

from diffusion.latent_diffusion import LatentDiffusion


class Sana(LatentDiffusion):
    """A `SanaPipeline`, with the instruction to Gemma that its call has by default (Xie et al. 2024, Section 3.1).

    Prompts are read as they are, in lower case. `pooled` of the conditioning is the mask of Gemma's tokens, which the
    transformer needs. The negative prompt has no instruction, and may have one token more.
    """

    PIPELINE = "SanaPipeline"
    ENCODERS = ("text_encoder",)

    @property
    def _denoiser(self) -> Any:
        return self._pipe.transformer

    def _encode(self, prompt: str, negative_prompt: str | None) -> tuple[Tensor, Tensor | None]:
        call = inspect.signature(type(self._pipe).__call__).parameters
        embeds, mask, negative, negative_mask = self._pipe.encode_prompt(
            prompt,
            negative_prompt=negative_prompt or "",
            device=self._device,
            max_sequence_length=call["max_sequence_length"].default,
            complex_human_instruction=call["complex_human_instruction"].default,
        )
        return torch.cat([negative, embeds]), torch.cat([negative_mask, mask]).to(embeds.dtype)

    def _denoise(self, x: Tensor, timestep: float, embeds: Tensor, pooled: Tensor | None, scale: float) -> Tensor:
        config = self._pipe.scheduler.config
        # A DPM solver, which Sana comes with, cuts the fractions of its timesteps off.
        time = int(timestep) if config.get("use_flow_sigmas") else timestep
        output: Tensor = self._pipe.transformer(
            x,
            encoder_hidden_states=embeds,
            encoder_attention_mask=pooled,
            # Always float32, because half precision cannot represent a timestep such as 993.2.
            timestep=torch.full((len(x),), time, dtype=torch.float32, device=x.device)
            * self._denoiser.config.timestep_scale,
            return_dict=False,
        )[0]
        return output
