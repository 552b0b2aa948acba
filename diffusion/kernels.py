"""Reverse kernels of the sampling processes, in float32. Not diffusers' schedulers: those keep state between
calls and take one timestep a batch, while a guided step asks for means and look-aheads in any order.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor


@dataclass(frozen=True)
class DDIM:
    """DDIM with eta (Song et al. 2021, Equations 12 and 16) over the T timesteps of a trained noise schedule.

    With a_t = alphas_cumprod[t] and a_p that of the previous timestep (`final_alpha` after the last):

        x0    = (x - sqrt(1 - a_t) eps) / sqrt(a_t)
        sigma = eta sqrt((1 - a_p) / (1 - a_t)) sqrt(1 - a_t / a_p)
        mu    = sqrt(a_p) x0 + sqrt(1 - a_p - sigma^2) eps

    The paper writes sqrt(beta_t) for this sigma.

    Attributes:
        timesteps: T timesteps, largest first.
        stride: distance of neighbouring timesteps, in training steps.
        alphas_cumprod: a_t of every training step, float64.
        final_alpha: a_p after the last timestep; 1 makes the last sigma 0.
        prediction_type: what the model predicts: `epsilon`, `v_prediction` or `sample`.
        eta: 0 (deterministic) .. 1.
    """

    timesteps: tuple[int, ...]
    stride: int
    alphas_cumprod: tuple[float, ...]
    final_alpha: float
    prediction_type: str
    eta: float

    @classmethod
    def from_scheduler(cls, scheduler_config: Mapping[str, Any], steps: int, eta: float) -> "DDIM":
        """Read betas, prediction type and spacing of whatever scheduler a model ships."""
        from diffusers import DDIMScheduler

        scheduler = DDIMScheduler.from_config(scheduler_config)
        scheduler.set_timesteps(steps)
        return cls(
            timesteps=tuple(scheduler.timesteps.tolist()),
            stride=scheduler.config.num_train_timesteps // steps,
            alphas_cumprod=tuple(scheduler.alphas_cumprod.double().tolist()),
            final_alpha=float(scheduler.final_alpha_cumprod),
            prediction_type=scheduler.config.prediction_type,
            eta=eta,
        )

    def alpha_at(self, timestep: int) -> float:
        return self.alphas_cumprod[timestep] if timestep >= 0 else self.final_alpha

    def sigma(self, step: int) -> float:
        """Standard deviation of the `step`-th reverse step (0-based)."""
        a_t, a_p = self.alpha_at(self.timesteps[step]), self.alpha_at(self.timesteps[step] - self.stride)
        return self.eta * math.sqrt((1 - a_p) / (1 - a_t)) * math.sqrt(1 - a_t / a_p)

    def mean(self, x: Tensor, prediction: Tensor, step: int) -> Tensor:
        """Mean of the `step`-th reverse step, given the model's prediction at its timestep."""
        a_p, sigma = self.alpha_at(self.timesteps[step] - self.stride), self.sigma(step)
        x0, eps = self.split(x, prediction, self.timesteps[step])
        # A difference of two numbers near each other: rounding may leave it a hair below 0.
        return math.sqrt(a_p) * x0 + math.sqrt(max(1 - a_p - sigma**2, 0)) * eps

    def look_ahead_timestep(self, step: int) -> int:
        """Timestep of the candidates that the `step`-th reverse step gives: 0 after the last."""
        return max(self.timesteps[step] - self.stride, 0)

    def split(self, x: Tensor, prediction: Tensor, timestep: int) -> tuple[Tensor, Tensor]:
        """The denoised estimate x0 and the noise eps that a prediction at a timestep stands for."""
        a_t = self.alpha_at(timestep)
        signal, noise = math.sqrt(a_t), math.sqrt(1 - a_t)
        if self.prediction_type == "epsilon":
            return (x - noise * prediction) / signal, prediction
        if self.prediction_type == "v_prediction":
            return signal * x - noise * prediction, signal * prediction + noise * x
        if self.prediction_type == "sample":
            return prediction, (x - signal * prediction) / noise
        raise ValueError(f"prediction type {self.prediction_type!r}: one of epsilon, v_prediction, sample")
