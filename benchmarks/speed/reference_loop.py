"""The weighted sum as a plain loop: one prompt, one weighting after the other, with diffusers' own scheduler.

This is how a script without our pipeline does it, the authors' one too: candidates go through the networks in batches
of ten, each image becomes a PIL picture, and every reward scores every candidate, whatever its weight. Nothing of the
product's guidance, kernels or workers is used here, except the noises of a seed and the rewards, so that the scores can
be compared.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from diffusers import DDIMScheduler
from PIL import Image
from torch import Tensor

from pipeline.guidance.noise import initial_noise, step_noise
from rewards.base import Reward

BATCH = 10


class ReferenceLoop:
    """The loop on a loaded pipeline of Stable Diffusion's kind, with DDIM at eta 1.

    Args:
        pipe: the pipeline, on the CPU.
        rewards: the rewards, set up, by their names.
        steps: T, the number of denoising steps.
        n: N, the number of candidates of a step.
        scale: the guidance scale s: eps = eps_0 + s (eps_c - eps_0).
    """

    def __init__(self, pipe: Any, rewards: Mapping[str, Reward], steps: int, n: int, scale: float) -> None:
        self._pipe, self._rewards, self._n, self._scale = pipe, rewards, n, scale
        self._scheduler = DDIMScheduler.from_config(pipe.scheduler.config)
        self._scheduler.set_timesteps(steps)

    @torch.inference_mode()
    def front(self, prompt: str, weights: Sequence[Sequence[float]], seed: int) -> np.ndarray:
        """Return the scores of the final images, (L, M), float64, of one prompt from the noises of a seed."""
        embeds, negative = self._pipe.encode_prompt(prompt, "cpu", 1, True)
        texts = torch.cat([negative, embeds])
        return np.stack([self._one(prompt, texts, np.array(w_M), seed) for w_M in weights])

    def _one(self, prompt: str, texts: Tensor, w_M: np.ndarray, seed: int) -> np.ndarray:
        unet = self._pipe.unet.config
        shape = (unet.in_channels, unet.sample_size, unet.sample_size)
        x, timesteps = initial_noise(seed, shape)[None], self._scheduler.timesteps
        for step, timestep in enumerate(timesteps):
            noise = self._noise(x, timestep, texts)
            mean = self._scheduler.step(noise, timestep, x, eta=1.0, variance_noise=torch.zeros_like(x)).prev_sample
            before = timestep - self._scheduler.config.num_train_timesteps // len(timesteps)
            sigma = float(self._scheduler._get_variance(timestep, before)) ** 0.5
            z = step_noise(seed, step, self._n, shape)
            scores = self._scores(mean + sigma * z, timesteps, step + 1, texts, prompt)
            normal = (scores - scores.mean(0)) / (scores.std(0) + 1e-8)
            g = (normal @ w_M) @ z.flatten(1).double().numpy() / self._n
            length = np.sqrt((g**2).sum())
            s = np.zeros_like(g) if length == 0 else g * np.sqrt(g.size) / length
            x = (mean.double() + sigma * torch.from_numpy(s).view(1, *shape)).float()
        return self._scored(self._pictures(x), prompt)[0]

    def _noise(self, x: Tensor, timestep: Tensor, texts: Tensor) -> Tensor:
        """The guided prediction of the noise, by one pass over twice the rows."""
        both = texts.repeat_interleave(len(x), dim=0)
        plain, prompt = self._pipe.unet(torch.cat([x, x]), timestep, both, return_dict=False)[0].chunk(2)
        guided: Tensor = plain + self._scale * (prompt - plain)
        return guided

    def _scores(self, x: Tensor, timesteps: Tensor, step: int, texts: Tensor, prompt: str) -> np.ndarray:
        """The scores (N, M) of the estimates of candidates x, in batches. After the last step the timestep is 0."""
        timestep = timesteps[step] if step < len(timesteps) else torch.tensor(0)
        alpha = self._scheduler.alphas_cumprod[timestep]
        found = []
        for rows in x.split(BATCH):
            noise = self._noise(rows, timestep, texts)
            rows = (rows - (1 - alpha).sqrt() * noise) / alpha.sqrt()
            found.append(self._scored(self._pictures(rows), prompt))
        return np.concatenate(found)

    def _pictures(self, x0: Tensor) -> list[Image.Image]:
        vae = self._pipe.vae
        images = vae.decode(x0 / vae.config.scaling_factor, return_dict=False)[0]
        pixels = ((images / 2 + 0.5).clamp(0, 1) * 255).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()
        return [Image.fromarray(image) for image in pixels]

    def _scored(self, pictures: Sequence[Image.Image], prompt: str) -> np.ndarray:
        columns = []
        for reward in self._rewards.values():
            images = torch.stack([torch.from_numpy(np.array(picture)).permute(2, 0, 1) for picture in pictures])
            columns.append(reward.score(images, [prompt] * len(images)).double().numpy())
        return np.stack(columns, axis=1)
