"""Qwen-Image: Qwen2.5-VL, a transformer on packed latents, the VAE of a video model, flow SDE."""

from typing import Any

import torch
from torch import Tensor

from diffusion.latent_diffusion import LatentDiffusion, by_channel
from diffusion.pipelines.packing import pack, padded, unpack


class QwenImage(LatentDiffusion):
    """A `QwenImagePipeline`. Latents are packed for each pass of the transformer, as FLUX's are.

    The guided prediction of each token is scaled to the length of the prediction for the prompt, as the pipeline does.
    Without a negative prompt, it is a space, as its authors have it. `pooled` of the conditioning is the mask of the
    tokens, because the two texts differ in length.
    """

    PIPELINE = "QwenImagePipeline"
    ENCODERS = ("text_encoder",)

    @property
    def _denoiser(self) -> Any:
        return self._pipe.transformer

    def _encode(self, prompt: str, negative_prompt: str | None) -> tuple[Tensor, Tensor | None]:
        texts = (" " if negative_prompt is None else negative_prompt, prompt)
        limit = self._token_limits()["tokenizer"]
        return padded(
            [self._pipe.encode_prompt(text, device=self._device, max_sequence_length=limit)[0][0] for text in texts]
        )

    def _denoise(self, x: Tensor, timestep: float, embeds: Tensor, pooled: Tensor | None, scale: float) -> Tensor:
        rows, _, height, width = x.shape
        graded = torch.is_grad_enabled()
        # The transformer keeps its table of places on the device. If a pass in the inference mode made it, no later
        # pass could have a gradient.
        with torch.inference_mode(False), torch.set_grad_enabled(graded):
            output: Tensor = self._pipe.transformer(
                hidden_states=pack(x),
                timestep=torch.full((rows,), timestep / 1000, dtype=torch.float32, device=x.device),
                encoder_hidden_states=embeds,
                encoder_hidden_states_mask=pooled,
                img_shapes=[[(1, height // 2, width // 2)]] * rows,
                return_dict=False,
            )[0]
        return unpack(output, height, width)

    def _guided(self, negative: Tensor, prompt: Tensor, scale: float) -> Tensor:
        guided, wanted = pack(super()._guided(negative, prompt, scale)), pack(prompt)
        lengths = wanted.norm(dim=-1, keepdim=True) / guided.norm(dim=-1, keepdim=True)
        return unpack(guided * lengths, *prompt.shape[2:])

    def _decoded(self, latents: Tensor) -> Tensor:
        """As in the other families; NaN if the decoder computed infinity, which the VAE would cut off to 1."""
        uncut = list[Tensor]()
        hook = self._pipe.vae.decoder.conv_out.register_forward_hook(lambda *call: uncut.append(call[2]))
        try:
            images = super()._decoded(latents)
        finally:
            hook.remove()
        return images if all(bool(part.isfinite().all()) for part in uncut) else images * torch.nan

    def _unscaled(self, latents: Tensor) -> Tensor:
        return by_channel(latents, self._pipe.vae.config)
