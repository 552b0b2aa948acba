"""Stable Diffusion 1.x: CLIP text encoder, UNet, AutoencoderKL, DDIM."""

import logging
from collections.abc import Sequence
from pathlib import Path

import torch
from diffusers.utils import logging as diffusers_logging
from torch import Tensor
from transformers.utils import logging as transformers_logging

from diffusion.base import Reverse, Sampling
from diffusion.kernels import DDIM

log = logging.getLogger(__name__)


class StableDiffusion:
    """A `StableDiffusionPipeline` folder behind the calls of `DiffusionModel`."""

    def __init__(self, folder: Path, sampling: Sampling, device: str = "cpu") -> None:
        _quiet()
        from diffusers import StableDiffusionPipeline  # here, because its import warns of torchvision

        self._pipe = StableDiffusionPipeline.from_pretrained(
            str(folder),
            dtype=getattr(torch, sampling.dtype),
            use_safetensors=True,
            safety_checker=None,
            requires_safety_checker=False,
            local_files_only=True,
        ).to(device)
        self._device = torch.device(device)
        self._dtype = getattr(torch, sampling.dtype)
        self._scale = sampling.guidance_scale
        self._kernel = DDIM.from_scheduler(self._pipe.scheduler.config, sampling.steps, sampling.eta)

    @property
    def latent_shape(self) -> tuple[int, int, int]:
        size = self._pipe.unet.config.sample_size
        return (self._pipe.unet.config.in_channels, size, size)

    @property
    def timesteps(self) -> Sequence[int]:
        return self._kernel.timesteps

    @torch.inference_mode()
    def encode(self, prompt: str) -> Tensor:
        """Embeddings of the empty prompt and of the prompt: shape (2, tokens, width)."""
        self._warn_if_cut(prompt)
        embeds, empty = self._pipe.encode_prompt(
            prompt,
            self._device,
            num_images_per_prompt=1,
            do_classifier_free_guidance=True,
            negative_prompt="",
        )
        return torch.cat([empty, embeds]).cpu()

    @torch.inference_mode()
    def reverse_step(self, x: Tensor, step: int, conditioning: Tensor) -> Reverse:
        x = x.to(self._device)
        prediction = self._predict(x, self._kernel.timesteps[step], conditioning)
        return Reverse(self._kernel.mean(x, prediction, step).cpu(), self._kernel.sigma(step))

    @torch.inference_mode()
    def look_ahead(self, x: Tensor, step: int, conditioning: Tensor) -> Tensor:
        x, timestep = x.to(self._device), self._kernel.look_ahead_timestep(step)
        return self._kernel.split(x, self._predict(x, timestep, conditioning), timestep)[0]

    @torch.inference_mode()
    def decode(self, x0: Tensor) -> Tensor:
        vae = self._pipe.vae
        latents = x0.to(self._device, self._dtype) / vae.config.scaling_factor
        images = vae.decode(latents + (vae.config.shift_factor or 0), return_dict=False)[0].float()
        return ((images / 2 + 0.5).clamp(0, 1) * 255).round().to(torch.uint8).cpu()

    def _warn_if_cut(self, prompt: str) -> None:
        tokenizer = self._pipe.tokenizer
        cut = tokenizer(prompt, add_special_tokens=False)["input_ids"][tokenizer.model_max_length - 2 :]
        if cut:
            log.warning("the model does not see the end of a long prompt: %.80r", tokenizer.decode(cut))

    def _predict(self, x: Tensor, timestep: int, conditioning: Tensor) -> Tensor:
        """Guided prediction at one timestep, float32; the empty prompt is asked only where it counts."""
        guided = self._scale != 1
        embeds = (conditioning if guided else conditioning[1:]).to(self._device, self._dtype)
        batch = torch.cat([x, x]) if guided else x
        output = self._pipe.unet(
            batch.to(self._dtype),
            timestep,
            encoder_hidden_states=embeds.repeat_interleave(len(x), dim=0),
            return_dict=False,
        )[0].float()
        if not guided:
            return output
        empty, prompt = output.chunk(2)
        return empty + self._scale * (prompt - empty)


def _quiet() -> None:
    """Both libraries print a bar for each load, and a cut prompt in full, however long it is."""
    diffusers_logging.disable_progress_bar()
    diffusers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    transformers_logging.set_verbosity_error()
