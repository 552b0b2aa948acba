"""Reverse kernels of the sampling processes, in float32.

They replace diffusers' schedulers, which keep state between calls and take one timestep for a batch. A guided step
needs means and look-aheads in any order.
"""

import inspect
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Protocol

from torch import Tensor

from diffusion.checks.schedulers import distilled_timesteps, spacing_of


class Kernel(Protocol):
    """A reverse process x_{t-1} ~ N(mean, sigma^2 I) over T timesteps."""

    @property
    def timesteps(self) -> Sequence[float]:
        """The timesteps as the model takes them, largest first."""
        ...

    def sigma(self, step: int) -> float:
        """Return the standard deviation of the `step`-th reverse step (0-based)."""
        ...

    def mean(self, x: Tensor, prediction: Tensor, step: int) -> Tensor:
        """Return the mean of the `step`-th reverse step, given the model's prediction at its timestep."""
        ...

    def look_ahead_timestep(self, step: int) -> float | None:
        """Return the timestep of the candidates of the `step`-th reverse step; None if they are clean."""
        ...

    def x0(self, x: Tensor, prediction: Tensor, timestep: float) -> Tensor:
        """Return the denoised estimate that follows from a prediction at a timestep."""
        ...


@dataclass(frozen=True)
class DDIM:
    """DDIM with eta (Song et al. 2021, Equations 12 and 16) over the T timesteps of a trained noise schedule.

    With a_t = alphas_cumprod[t], and a_p the value at the next timestep of the list (`final_alpha` after the last one):

        x0    = (x - sqrt(1 - a_t) eps) / sqrt(a_t)
        sigma = eta sqrt((1 - a_p) / (1 - a_t)) sqrt(1 - a_t / a_p)
        mu    = sqrt(a_p) x0 + sqrt(1 - a_p - sigma^2) eps

    The paper writes sqrt(beta_t) for this sigma.

    Attributes:
        timesteps: T timesteps, largest first.
        alphas_cumprod: a_t for every training step, float64.
        final_alpha: a_p after the last timestep; 1 makes the last sigma 0.
        prediction_type: quantity that the model predicts: `epsilon`, `v_prediction` or `sample`.
        eta: noise, from 0 (deterministic) to 1.
    """

    timesteps: tuple[int, ...]
    alphas_cumprod: tuple[float, ...]
    final_alpha: float
    prediction_type: str
    eta: float

    @classmethod
    def from_scheduler(cls, scheduler_config: Mapping[str, Any], steps: int, eta: float) -> "DDIM":
        """Read the betas, the prediction type and the spacing of the scheduler that a model comes with.

        A missing setting has the default of the scheduler's own class. The other settings are ignored. For example x0
        is never clipped, because clipping is meant for pixels and not for latents.
        """
        from diffusers import DDIMScheduler

        scheduler = DDIMScheduler(**_ddim_settings(scheduler_config))
        scheduler.set_timesteps(steps)
        return cls(
            timesteps=distilled_timesteps(scheduler_config, steps)
            # For some T, such as 61, diffusers rounds 1000 / T so that `trailing` has a timestep too many, -1.
            or tuple(scheduler.timesteps.tolist()[:steps]),
            alphas_cumprod=tuple(scheduler.alphas_cumprod.double().tolist()),
            final_alpha=float(scheduler.final_alpha_cumprod),
            prediction_type=scheduler.config.prediction_type,
            eta=eta,
        )

    def alpha_at(self, timestep: int) -> float:
        """Return a_t of a timestep."""
        return self.alphas_cumprod[timestep]

    def alpha_after(self, step: int) -> float:
        """Return a_p of the `step`-th reverse step (0-based): a_t of the next timestep, `final_alpha` after the last.

        The distance of neighbouring timesteps varies if T does not divide the number of training steps, so a constant
        stride would leave another noise level than the one that the model is given next.
        """
        return self.alpha_at(self.timesteps[step + 1]) if step + 1 < len(self.timesteps) else self.final_alpha

    def sigma(self, step: int) -> float:
        """Return the standard deviation of the `step`-th reverse step (0-based)."""
        a_t, a_p = self.alpha_at(self.timesteps[step]), self.alpha_after(step)
        return self.eta * math.sqrt((1 - a_p) / (1 - a_t)) * math.sqrt(1 - a_t / a_p)

    def mean(self, x: Tensor, prediction: Tensor, step: int) -> Tensor:
        """Return the mean of the `step`-th reverse step, given the model's prediction at its timestep."""
        a_p, sigma = self.alpha_after(step), self.sigma(step)
        x0, eps = self.split(x, prediction, self.timesteps[step])
        # The difference of two nearly equal numbers may round to slightly less than 0.
        return math.sqrt(a_p) * x0 + math.sqrt(max(1 - a_p - sigma**2, 0)) * eps

    def look_ahead_timestep(self, step: int) -> int:
        """Return the timestep of the candidates of the `step`-th reverse step: the next one, 0 after the last step."""
        return self.timesteps[step + 1] if step + 1 < len(self.timesteps) else 0

    def x0(self, x: Tensor, prediction: Tensor, timestep: float) -> Tensor:
        """Return the denoised estimate that follows from a prediction at a timestep."""
        return self.split(x, prediction, int(timestep))[0]

    def split(self, x: Tensor, prediction: Tensor, timestep: int) -> tuple[Tensor, Tensor]:
        """Return the denoised estimate x0 and the noise eps that follow from a prediction at a timestep."""
        a_t = self.alpha_at(timestep)
        signal, noise = math.sqrt(a_t), math.sqrt(1 - a_t)
        if self.prediction_type == "epsilon":
            return (x - noise * prediction) / signal, prediction
        if self.prediction_type == "v_prediction":
            return signal * x - noise * prediction, signal * prediction + noise * x
        if self.prediction_type == "sample":
            return prediction, (x - signal * prediction) / noise
        raise ValueError(f"the prediction type is {self.prediction_type!r}; it must be epsilon, v_prediction or sample")


@dataclass(frozen=True)
class FlowSDE:
    """The stochastic form of a rectified flow (Flow-GRPO, Liu et al. 2025, Equation 9), v = noise - x0.

    With s = sigmas[i], d = sigmas[i+1] - s < 0, the noise level a, and g = a sqrt(s / (1 - s)), in which sigmas[1]
    replaces the first s in the denominator. The first s is 1 or just below, where g has no bound, and the step would
    add more noise than there is.

        x0    = x - s v
        mu    = x (1 + g^2 d / (2 s)) + v (1 + g^2 (1 - s) / (2 s)) d
        sigma = g sqrt(-d)

    a = 0 gives the Euler step of the flow itself. The candidates of the last step are clean.

    Attributes:
        sigmas: T + 1 noise shares s, from about 1 down to 0.
        noise_level: noise level a >= 0.
        train_timesteps: number of training steps; the model takes the timestep s * train_timesteps.
    """

    sigmas: tuple[float, ...]
    noise_level: float
    train_timesteps: int

    @classmethod
    def from_scheduler(
        cls, scheduler_config: Mapping[str, Any], steps: int, noise_level: float, tokens: int, even: bool = False
    ) -> "FlowSDE":
        """Read the shift and the spacing of the flow scheduler that a model comes with.

        Args:
            scheduler_config: configuration of the scheduler: a FlowMatch class, or a DPM solver with `use_flow_sigmas`.
            steps: T, the number of denoising steps.
            noise_level: noise level a >= 0.
            tokens: number of patches of an image; with dynamic shifting it decides the shift.
            even: whether the shares before the shift are 1, (T-1)/T, ..., 1/T, and not those of the scheduler.
        """
        from diffusers import DPMSolverMultistepScheduler, FlowMatchEulerDiscreteScheduler

        if scheduler_config.get("use_flow_sigmas"):
            solver = DPMSolverMultistepScheduler.from_config(scheduler_config)
            solver.set_timesteps(steps)
            return cls(tuple(solver.sigmas.tolist()), noise_level, solver.config.num_train_timesteps)
        scheduler = FlowMatchEulerDiscreteScheduler.from_config(scheduler_config)
        mu = dynamic_shift(scheduler.config, tokens) if scheduler.config.use_dynamic_shifting else None
        shares = [1 - step / steps for step in range(steps)] if even else None
        scheduler.set_timesteps(steps, sigmas=shares, mu=mu)
        return cls(tuple(scheduler.sigmas.tolist()), noise_level, scheduler.config.num_train_timesteps)

    @property
    def timesteps(self) -> Sequence[float]:
        """The timesteps as the model takes them, largest first."""
        return tuple(s * self.train_timesteps for s in self.sigmas[:-1])

    def diffusion(self, step: int) -> float:
        """Return g of the `step`-th step (0-based)."""
        return self.noise_level * math.sqrt(self.sigmas[step] / (1 - self.sigmas[max(step, 1)]))

    def sigma(self, step: int) -> float:
        """Return the standard deviation of the `step`-th reverse step (0-based)."""
        return self.diffusion(step) * math.sqrt(self.sigmas[step] - self.sigmas[step + 1])

    def mean(self, x: Tensor, prediction: Tensor, step: int) -> Tensor:
        """Return the mean of the `step`-th reverse step, given the model's velocity at its timestep."""
        s, d, g = self.sigmas[step], self.sigmas[step + 1] - self.sigmas[step], self.diffusion(step)
        return x * (1 + g**2 * d / (2 * s)) + prediction * ((1 + g**2 * (1 - s) / (2 * s)) * d)

    def look_ahead_timestep(self, step: int) -> float | None:
        """Return the timestep of the candidates of the `step`-th reverse step; None after the last step."""
        s = self.sigmas[step + 1]
        return s * self.train_timesteps if s > 0 else None

    def x0(self, x: Tensor, prediction: Tensor, timestep: float) -> Tensor:
        """Return the denoised estimate that follows from a velocity at a timestep."""
        return x - timestep / self.train_timesteps * prediction


def dynamic_shift(config: Mapping[str, Any], tokens: int) -> float:
    """Return mu of a flow scheduler with dynamic shifting: more noise for larger images (Esser et al. 2024, 5.3.2).

    It is the line through (base_image_seq_len, base_shift) and (max_image_seq_len, max_shift), at the number of tokens.
    An exponential shift then is e^mu: s -> e^mu / (e^mu + 1/s - 1).
    """
    least, most = config["base_image_seq_len"], config["max_image_seq_len"]
    slope = (config["max_shift"] - config["base_shift"]) / (most - least)
    return float(config["base_shift"] + slope * (tokens - least))


# The settings of a scheduler that decide the timesteps and the noise levels.
_SETTINGS = (
    "num_train_timesteps", "beta_start", "beta_end", "beta_schedule", "trained_betas", "rescale_betas_zero_snr",
    "prediction_type", "timestep_spacing", "steps_offset", "set_alpha_to_one",
)  # fmt: skip


def _ddim_settings(config: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of a `DDIMScheduler` with a scheduler's noise levels and timesteps."""
    settings = {**_class_defaults(str(config.get("_class_name"))), **config, "timestep_spacing": spacing_of(config)}
    return {key: value for key, value in settings.items() if key in _SETTINGS}


@lru_cache
def _class_defaults(name: str) -> Mapping[str, Any]:
    """The settings of a scheduler whose configuration is empty; those of DDIM for a class that is not of diffusers."""
    import diffusers

    own = getattr(diffusers, name, None)
    arguments = inspect.signature(own if isinstance(own, type) else diffusers.DDIMScheduler).parameters
    return {key: arguments[key].default for key in _SETTINGS if key in arguments}
