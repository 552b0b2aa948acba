"""The DDIM reverse step against float64 NumPy and against diffusers' own scheduler with the same noise."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler

from diffusion.kernels import DDIM
from tests.support import reference

SHAPE = (3, 4, 5, 5)
ETAS = (0.0, 0.5, 1.0)
LENGTHS = (1, 25, 50)
PREDICTIONS = ("epsilon", "v_prediction", "sample")
# Stable Diffusion 1.5's noise schedule.
SD15: dict[str, Any] = {
    "_class_name": "DDIMScheduler",
    "num_train_timesteps": 1000,
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "clip_sample": False,
    "set_alpha_to_one": False,
    "steps_offset": 1,
    "prediction_type": "epsilon",
    "timestep_spacing": "leading",
}
ALPHAS = reference.scaled_linear_alphas_cumprod(0.00085, 0.012, 1000)


def kernel(steps: int, eta: float = 1.0, **changes: Any) -> DDIM:
    return DDIM.from_scheduler(SD15 | changes, steps, eta)


def leading_timesteps(steps: int) -> list[int]:
    return [int(t) for t in reference.spaced_timesteps("leading", steps)]


def draw(seed: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    x, prediction, z = (torch.randn(SHAPE, generator=generator) for _ in range(3))
    return x, prediction, z


@pytest.mark.parametrize("to_one", [False, True])
@pytest.mark.parametrize("prediction_type", PREDICTIONS)
@pytest.mark.parametrize("eta", ETAS)
@pytest.mark.parametrize("steps", LENGTHS)
def test_every_reverse_step_equals_the_equations(steps: int, eta: float, prediction_type: str, to_one: bool) -> None:
    ddim = kernel(steps, eta, prediction_type=prediction_type, set_alpha_to_one=to_one)
    timesteps = leading_timesteps(steps)
    final = 1.0 if to_one else ALPHAS[0]
    x, prediction, _ = draw(steps)
    for i, t in enumerate(timesteps):
        a_p = final if i == steps - 1 else ALPHAS[timesteps[i + 1]]
        expected = reference.ddim(x.double().numpy(), prediction.double().numpy(), ALPHAS[t], a_p, eta, prediction_type)
        mean = ddim.mean(x, prediction, i)
        assert mean.dtype == torch.float32
        np.testing.assert_allclose(mean, expected.mean, rtol=1e-4, atol=1e-4 * np.abs(expected.mean).max())
        assert ddim.sigma(i) == pytest.approx(expected.sigma, rel=1e-5, abs=1e-12)
        # diffusers keeps its schedule in float32, so 1 - a_t loses four digits. With the same a_t no digits are lost.
        a_t, a_p = ddim.alpha_at(t), ddim.final_alpha if i == steps - 1 else ddim.alpha_at(timesteps[i + 1])
        exact = reference.ddim(x.double().numpy(), prediction.double().numpy(), a_t, a_p, eta, prediction_type)
        assert ddim.sigma(i) == pytest.approx(exact.sigma, rel=1e-9, abs=1e-15)
        np.testing.assert_allclose(mean, exact.mean, rtol=1e-5, atol=1e-6 * np.abs(exact.mean).max())


@pytest.mark.parametrize("to_one", [False, True])
@pytest.mark.parametrize("prediction_type", PREDICTIONS)
@pytest.mark.parametrize("eta", ETAS)
@pytest.mark.parametrize("steps", LENGTHS)
def test_every_reverse_step_with_noise_equals_the_step_of_diffusers(
    steps: int, eta: float, prediction_type: str, to_one: bool
) -> None:
    config = SD15 | {"prediction_type": prediction_type, "set_alpha_to_one": to_one}
    scheduler = DDIMScheduler.from_config(config)
    scheduler.set_timesteps(steps)
    ddim = DDIM.from_scheduler(config, steps, eta)
    assert list(ddim.timesteps) == scheduler.timesteps.tolist()
    x, prediction, z = draw(steps + 1)
    for i, t in enumerate(scheduler.timesteps.tolist()):
        stepped = scheduler.step(prediction, t, x, eta=eta, variance_noise=z if eta else None)
        ours = ddim.mean(x, prediction, i) + ddim.sigma(i) * z
        scale = float(stepped.prev_sample.abs().max())
        np.testing.assert_allclose(ours, stepped.prev_sample, rtol=1e-4, atol=1e-5 * scale)
        x0, _ = ddim.split(x, prediction, t)
        np.testing.assert_allclose(x0, stepped.pred_original_sample, rtol=1e-4, atol=1e-5 * float(x0.abs().max()))


@pytest.mark.parametrize("to_one", [False, True])
@pytest.mark.parametrize("prediction_type", PREDICTIONS)
@pytest.mark.parametrize("t", [0, 1, 21, 500, 981, 999])
def test_split_gives_an_x0_and_an_eps_that_add_up_to_the_sample(t: int, prediction_type: str, to_one: bool) -> None:
    """x_t = sqrt(a_t) x0 + sqrt(1 - a_t) eps, also at timestep 0, where the look-ahead of the last step is."""
    ddim = kernel(50, prediction_type=prediction_type, set_alpha_to_one=to_one)
    x, prediction, _ = draw(t)
    x0, eps = ddim.split(x, prediction, t)
    expected_x0, expected_eps = reference.estimate(
        x.double().numpy(), prediction.double().numpy(), ALPHAS[t], prediction_type
    )
    assert x0.dtype == eps.dtype == torch.float32
    np.testing.assert_allclose(x0, expected_x0, rtol=1e-4, atol=1e-5 * np.abs(expected_x0).max())
    np.testing.assert_allclose(eps, expected_eps, rtol=1e-4, atol=1e-4 * np.abs(expected_eps).max())
    made = math.sqrt(ALPHAS[t]) * x0 + math.sqrt(1 - ALPHAS[t]) * eps
    np.testing.assert_allclose(made, x, rtol=1e-4, atol=1e-4 * float(x0.abs().max()))


def test_split_recovers_x0_and_eps_from_the_prediction_of_a_perfect_model() -> None:
    x0, eps, _ = draw(0)
    for t in (1, 400, 981):
        a, b = math.sqrt(ALPHAS[t]), math.sqrt(1 - ALPHAS[t])
        x = a * x0 + b * eps
        for prediction_type, prediction in (
            ("epsilon", eps), ("v_prediction", a * eps - b * x0), ("sample", x0),
        ):  # fmt: skip
            found_x0, found_eps = kernel(50, prediction_type=prediction_type).split(x, prediction, t)
            np.testing.assert_allclose(found_x0, x0, atol=2e-4)
            np.testing.assert_allclose(found_eps, eps, atol=2e-4)


@pytest.mark.parametrize("eta", ETAS)
def test_a_step_keeps_a_gaussian_on_the_schedule(eta: float) -> None:
    """If x_t is made of x0 and noise, x_{t-1} has mean sqrt(a_p) x0 and total variance 1 - a_p."""
    ddim = kernel(25, eta)
    x0, eps, _ = draw(1)
    for i, t in enumerate(ddim.timesteps[:-1]):
        a_t, a_p = ALPHAS[t], ALPHAS[ddim.timesteps[i + 1]]
        mean = ddim.mean(math.sqrt(a_t) * x0 + math.sqrt(1 - a_t) * eps, eps, i)
        left = ((mean - math.sqrt(a_p) * x0) / eps).double().median()
        assert float(left**2) + ddim.sigma(i) ** 2 == pytest.approx(1 - a_p, rel=1e-3)
        assert ddim.sigma(i) == pytest.approx(eta * kernel(25, 1.0).sigma(i), rel=1e-12)


def test_stable_diffusion_1_5_visits_981_961_down_to_1() -> None:
    ddim = kernel(50)
    assert list(ddim.timesteps) == list(range(981, 0, -20))
    assert [ddim.look_ahead_timestep(i) for i in range(50)] == [*range(961, 0, -20), 0]


@pytest.mark.parametrize("steps", LENGTHS)
def test_the_look_ahead_is_at_the_next_timestep_and_at_0_after_the_last(steps: int) -> None:
    ddim = kernel(steps)
    assert list(ddim.timesteps) == leading_timesteps(steps)
    assert [ddim.look_ahead_timestep(i) for i in range(steps)] == [*leading_timesteps(steps)[1:], 0]


def test_the_schedule_is_the_running_product_of_1_minus_beta() -> None:
    ddim = kernel(50)
    np.testing.assert_allclose([ddim.alpha_at(t) for t in range(1000)], ALPHAS, rtol=1e-4)
    assert ddim.final_alpha == pytest.approx(ALPHAS[0], rel=1e-6)
    assert kernel(50, set_alpha_to_one=True).final_alpha == 1


def test_the_last_step_has_noise_if_the_last_alpha_is_below_1_and_none_if_it_is_1() -> None:
    assert kernel(50).sigma(49) > 0
    assert kernel(50, set_alpha_to_one=True).sigma(49) == 0
    assert [kernel(50, 0.0).sigma(i) for i in range(50)] == [0.0] * 50


SHIPPED: dict[str, dict[str, Any]] = {
    "SD1.5's PNDM": {
        "_class_name": "PNDMScheduler", "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear",
        "num_train_timesteps": 1000, "set_alpha_to_one": False, "skip_prk_steps": True, "steps_offset": 1,
        "trained_betas": None, "clip_sample": False,
    },
    "SDXL's Euler": {
        "_class_name": "EulerDiscreteScheduler", "beta_start": 0.00085, "beta_end": 0.012,
        "beta_schedule": "scaled_linear", "clip_sample": False, "interpolation_type": "linear",
        "num_train_timesteps": 1000, "prediction_type": "epsilon", "sample_max_value": 1.0,
        "set_alpha_to_one": False, "skip_prk_steps": True, "steps_offset": 1, "timestep_spacing": "leading",
        "trained_betas": None, "use_karras_sigmas": False,
    },
}  # fmt: skip


@pytest.mark.parametrize("config", SHIPPED.values(), ids=SHIPPED.keys())
def test_the_settings_of_other_schedulers_give_the_same_ddim(config: dict[str, Any]) -> None:
    assert DDIM.from_scheduler(config, 50, 1.0) == kernel(50)


def test_other_betas_and_another_spacing_are_read_from_the_scheduler() -> None:
    changes: dict[str, Any] = {
        "beta_schedule": "linear",
        "beta_start": 0.0001,
        "beta_end": 0.02,
        "timestep_spacing": "trailing",
    }
    ddim = kernel(10, **changes)
    alphas = np.cumprod(1 - np.linspace(0.0001, 0.02, 1000, dtype=np.float64))
    np.testing.assert_allclose([ddim.alpha_at(t) for t in range(1000)], alphas, rtol=1e-4)
    assert list(ddim.timesteps) == list(range(999, 0, -100))


@pytest.mark.parametrize("steps", [7, 30])
def test_lengths_that_do_not_divide_the_schedule_step_as_diffusers_does(steps: int) -> None:
    scheduler = DDIMScheduler.from_config(SD15)
    scheduler.set_timesteps(steps)
    ddim = kernel(steps)
    assert list(ddim.timesteps) == scheduler.timesteps.tolist()
    x, prediction, z = draw(steps)
    for i, t in enumerate(scheduler.timesteps.tolist()):
        stepped = scheduler.step(prediction, t, x, eta=1.0, variance_noise=z).prev_sample
        ours = ddim.mean(x, prediction, i) + ddim.sigma(i) * z
        np.testing.assert_allclose(ours, stepped, rtol=1e-4, atol=1e-5 * float(stepped.abs().max()))


@pytest.mark.parametrize("to_one", [False, True])
@pytest.mark.parametrize(
    ("prediction_type", "zero_snr"),
    [*((prediction, False) for prediction in PREDICTIONS), ("v_prediction", True), ("sample", True)],
)
@pytest.mark.parametrize("spacing", ["leading", "trailing", "linspace"])
@pytest.mark.parametrize("steps", [1, 7, 25])
def test_every_spacing_steps_to_its_next_timestep_as_the_equations(
    steps: int, spacing: str, prediction_type: str, zero_snr: bool, to_one: bool
) -> None:
    """Also if the schedule ends without signal (a_t = 0), which only v and sample predictions can handle.

    diffusers steps by 1000 // T, so its step is the same only where that reaches the next timestep.
    """
    config = SD15 | {
        "prediction_type": prediction_type, "timestep_spacing": spacing, "set_alpha_to_one": to_one,
        "rescale_betas_zero_snr": zero_snr,
    }  # fmt: skip
    scheduler = DDIMScheduler.from_config(config)
    scheduler.set_timesteps(steps)
    ddim, alphas = DDIM.from_scheduler(config, steps, 1.0), scheduler.alphas_cumprod.double().numpy()
    assert list(ddim.timesteps) == [round(t) for t in reference.spaced_timesteps(spacing, steps)]
    final = 1.0 if to_one else alphas[0]
    x, prediction, z = draw(steps)
    for i, t in enumerate(ddim.timesteps):
        last = i == steps - 1
        a_p = final if last else alphas[ddim.timesteps[i + 1]]
        expected = reference.ddim(x.double().numpy(), prediction.double().numpy(), alphas[t], a_p, 1.0, prediction_type)
        mean = ddim.mean(x, prediction, i)
        np.testing.assert_allclose(mean, expected.mean, rtol=1e-5, atol=1e-6 * np.abs(expected.mean).max())
        assert ddim.sigma(i) == pytest.approx(expected.sigma, rel=1e-5, abs=1e-12)
        stepped = scheduler.step(prediction, t, x, eta=1.0, variance_noise=z)
        theirs = t - 1000 // steps
        meets = theirs < 0 if last else theirs == ddim.timesteps[i + 1]
        # Without signal, diffusers takes the root of a number that may round to less than 0.
        if alphas[t] > 0 and meets:
            scale = float(stepped.prev_sample.abs().max())
            np.testing.assert_allclose(mean + ddim.sigma(i) * z, stepped.prev_sample, rtol=1e-4, atol=1e-5 * scale)
        x0 = ddim.x0(x, prediction, t)
        np.testing.assert_allclose(x0, stepped.pred_original_sample, rtol=1e-4, atol=1e-5 * float(x0.abs().max()))
