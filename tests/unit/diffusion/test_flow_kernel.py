"""The flow SDE step against float64 NumPy, the Euler step of diffusers, and the flow's marginals."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import FlowMatchEulerDiscreteScheduler

from diffusion.kernels import FlowSDE
from tests.support import reference

SHAPE = (3, 4, 5, 5)
LENGTHS = (1, 2, 10, 50)
SHIFTS = (1.0, 1.1, 3.0)


def kernel(steps: int, shift: float = 3.0, noise_level: float = 0.7, **changes: Any) -> FlowSDE:
    config = {"_class_name": "FlowMatchEulerDiscreteScheduler", "num_train_timesteps": 1000, "shift": shift}
    return FlowSDE.from_scheduler(config | changes, steps, noise_level, tokens=16)


def draw(seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    x, v = (torch.randn(SHAPE, generator=generator) for _ in range(2))
    return x, v


@pytest.mark.parametrize("shift", SHIFTS)
@pytest.mark.parametrize("noise_level", [0.0, 0.3, 0.7, 1.0])
@pytest.mark.parametrize("steps", LENGTHS)
def test_every_reverse_step_equals_the_equations(steps: int, noise_level: float, shift: float) -> None:
    flow, sigmas = kernel(steps, shift, noise_level), reference.shifted_sigmas(steps, shift)
    np.testing.assert_allclose(flow.sigmas, sigmas, rtol=1e-5)
    np.testing.assert_allclose(flow.timesteps, 1000 * sigmas[:-1], rtol=1e-5)
    # Shares near 1 lose digits of 1 - s in diffusers' float32, so the step is checked from the same shares.
    shares = np.array(flow.sigmas)
    x, v = draw(steps)
    for i in range(steps):
        expected = reference.flow_sde(x.double().numpy(), v.double().numpy(), shares, i, noise_level)
        mean = flow.mean(x, v, i)
        assert mean.dtype == torch.float32
        np.testing.assert_allclose(mean, expected.mean, rtol=1e-5, atol=1e-6 * np.abs(expected.mean).max())
        assert flow.sigma(i) == pytest.approx(expected.sigma, rel=1e-5)
        from_shift = reference.flow_sde(x.double().numpy(), v.double().numpy(), sigmas, i, noise_level)
        assert flow.sigma(i) == pytest.approx(from_shift.sigma, rel=1e-3)
        x0 = flow.x0(x, v, flow.timesteps[i])
        np.testing.assert_allclose(x0, expected.x0, rtol=1e-5, atol=1e-6 * np.abs(expected.x0).max())


@pytest.mark.parametrize("shift", SHIFTS)
@pytest.mark.parametrize("steps", LENGTHS)
def test_without_noise_a_step_is_the_euler_step_of_diffusers(steps: int, shift: float) -> None:
    flow, scheduler = kernel(steps, shift, 0.0), FlowMatchEulerDiscreteScheduler(shift=shift)
    scheduler.set_timesteps(steps)
    x, v = draw(steps)
    for i, t in enumerate(scheduler.timesteps):
        assert flow.timesteps[i] == pytest.approx(float(t), rel=1e-7)
        assert flow.sigma(i) == 0
        stepped = scheduler.step(v, t, x).prev_sample
        np.testing.assert_allclose(flow.mean(x, v, i), stepped, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("noise_level", [0.3, 0.7])
def test_a_fine_step_keeps_a_gaussian_on_the_flow(noise_level: float) -> None:
    """For x0 of variance 1 the flow's x_s has variance (1-s)^2 + s^2, and the step must keep to that, to order d^2."""
    flow = kernel(900, 1.0, noise_level)
    for i in range(100, 800, 50):
        s, later = flow.sigmas[i], flow.sigmas[i + 1]
        now, then = (1 - s) ** 2 + s**2, (1 - later) ** 2 + later**2
        velocity = (s - (1 - s)) / now  # E[eps - x0 | x] / x
        one = torch.ones(1)
        factor = float(flow.mean(one, velocity * one, i))
        assert factor**2 * now + flow.sigma(i) ** 2 == pytest.approx(then, abs=20 * (s - later) ** 2)


def test_the_look_ahead_is_at_the_next_noise_share_and_is_none_after_the_last() -> None:
    flow = kernel(10)
    assert [flow.look_ahead_timestep(i) for i in range(10)] == [*flow.timesteps[1:], None]


def test_a_first_noise_share_of_1_is_replaced_in_the_denominator_by_the_second() -> None:
    flow = kernel(50)
    assert flow.sigmas[0] == 1
    expected = 0.7 * math.sqrt(1 / (1 - flow.sigmas[1]))
    assert flow.diffusion(0) == pytest.approx(expected, rel=1e-9)
    nearly = FlowSDE((1 - 6e-8, *flow.sigmas[1:]), 0.7, 1000)
    assert nearly.diffusion(0) == pytest.approx(expected, rel=1e-6)
