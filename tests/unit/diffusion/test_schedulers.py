"""Steps that meet: the noise level that a step ends at is the one that the next step starts from."""

import inspect
from collections.abc import Iterator
from typing import Any

import diffusers
import pytest
import torch

from diffusion.base import Loading, Sampling, load_model
from diffusion.checks.schedulers import (
    DISTILLED_CLASSES,
    LINSPACE_CLASSES,
    SPACINGS,
    check_scheduler,
    first_timestep,
)
from diffusion.errors import ModelError
from diffusion.kernels import DDIM, FlowSDE
from diffusion.latent_diffusion import LatentDiffusion
from diffusion.source import Source
from tests.support import reference

SD, SD3 = "StableDiffusionPipeline", "StableDiffusion3Pipeline"
SCHEDULE: dict[str, Any] = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
LENGTHS = (1, 2, 3, 4, 7, 10, 25, 30, 50, 61, 103, 333, 334, 375, 500, 501, 600, 749, 750, 999, 1000)
ONE = torch.ones(1)


def is_accepted(pipeline: str, config: dict[str, Any], steps: int = 10) -> bool:
    try:
        check_scheduler("a model", pipeline, config, steps)
    except ModelError:
        return False
    return True


def configurations(pipeline: str) -> dict[str, dict[str, Any]]:
    """The default configuration of every scheduler class of diffusers that a family accepts."""
    found = {}
    for name in dir(diffusers.schedulers):
        scheduler = getattr(diffusers.schedulers, name)
        if isinstance(scheduler, type) and issubclass(scheduler, diffusers.SchedulerMixin):
            parameters = inspect.signature(scheduler).parameters.values()
            config = {p.name: p.default for p in parameters if p.default is not p.empty}
            if is_accepted(pipeline, config | {"_class_name": name}):
                found[name] = config | {"_class_name": name}
    return found


DIFFUSIONS, FLOWS = configurations(SD), configurations(SD3)
DISTILLED = {name: DIFFUSIONS.pop(name) for name in sorted(DISTILLED_CLASSES)}


def ends_at(kernel: DDIM, step: int) -> float:
    """a_p of a step, measured: clean data at a_t without noise, x = sqrt(a_t), has the mean sqrt(a_p)."""
    clean = ONE / kernel.x0(ONE, 0 * ONE, kernel.timesteps[step])
    return float(kernel.mean(clean, 0 * ONE, step)) ** 2


def starts_at(kernel: DDIM, timestep: int) -> float:
    """a_t of a timestep, measured: without noise x0 = x / sqrt(a_t)."""
    return float(1 / kernel.x0(ONE, 0 * ONE, timestep)) ** 2


def assert_timesteps(kernel: DDIM, spacing: str, steps: int, offset: int = 0) -> None:
    """The kernel rounds the exact timesteps, a half either way."""
    exact = reference.spaced_timesteps(spacing, steps, offset=offset)
    assert len(kernel.timesteps) == steps
    assert all(abs(t - place) <= 0.5 for t, place in zip(kernel.timesteps, exact, strict=True))


def assert_steps_meet(kernel: DDIM, config: dict[str, Any]) -> None:
    timesteps = kernel.timesteps
    alphas = reference.alphas_cumprod(config["beta_schedule"], config["beta_start"], config["beta_end"])
    steps = len(timesteps)
    for i in sorted({0, steps // 3, steps // 2, steps - 2, steps - 1} & set(range(steps))):
        if i < steps - 1:
            assert ends_at(kernel, i) == pytest.approx(starts_at(kernel, kernel.timesteps[i + 1]), rel=1e-5)
            assert ends_at(kernel, i) == pytest.approx(alphas[timesteps[i + 1]], rel=1e-3)
            assert kernel.look_ahead_timestep(i) == timesteps[i + 1]
        else:
            final = 1.0 if config.get("set_alpha_to_one", True) else alphas[0]
            assert ends_at(kernel, i) == pytest.approx(final, rel=1e-5)
            assert kernel.look_ahead_timestep(i) == 0


def test_the_classes_of_diffusers_are_found() -> None:
    assert len(DIFFUSIONS) > 20 and len(FLOWS) >= 3
    assert {"EulerDiscreteScheduler", "DPMSolverMultistepScheduler", "UniPCMultistepScheduler"} < set(DIFFUSIONS)


@pytest.mark.parametrize("name", DIFFUSIONS)
def test_the_steps_of_every_scheduler_class_meet(name: str) -> None:
    for spacing in SPACINGS:
        config = DIFFUSIONS[name] | {"timestep_spacing": spacing}
        offset = config.get("steps_offset", 0)
        for steps in LENGTHS:
            if is_accepted(SD, config, steps):
                kernel = DDIM.from_scheduler(config, steps, 0.0)
                assert_timesteps(kernel, spacing, steps, offset)
                assert_steps_meet(kernel, config)


@pytest.mark.parametrize("name", DISTILLED)
def test_the_timesteps_of_a_distilled_model_are_those_of_its_scheduler(name: str) -> None:
    config, accepted = DISTILLED[name], []
    own = getattr(diffusers, name)(**{key: value for key, value in config.items() if key != "_class_name"})
    for steps in LENGTHS:
        if not is_accepted(SD, config, steps):
            continue
        own.set_timesteps(steps)
        kernel = DDIM.from_scheduler(config, steps, 0.0)
        assert list(kernel.timesteps) == own.timesteps.tolist() and first_timestep(config, steps) == 999
        assert_steps_meet(kernel, config)
        accepted.append(steps)
    assert accepted == [steps for steps in LENGTHS if steps <= 50]


@pytest.mark.parametrize("places", [0, 1001, "many"])
def test_a_distilled_model_was_taught_at_some_of_the_timesteps(places: Any) -> None:
    with pytest.raises(ModelError, match="original_inference_steps"):
        check_scheduler("a model", SD, DISTILLED["LCMScheduler"] | {"original_inference_steps": places}, 4)
    with pytest.raises(ModelError, match="distilled at 50 timesteps") as error:
        check_scheduler("a model", SD, DISTILLED["LCMScheduler"], 51)
    assert error.value.key == "steps"


@pytest.mark.parametrize("offset", [0, 1])
@pytest.mark.parametrize("spacing", SPACINGS)
def test_the_steps_of_every_length_meet(spacing: str, offset: int) -> None:
    """For T = 61 and 60 other lengths, the `trailing` of diffusers has a timestep too many, -1."""
    config = SCHEDULE | {"_class_name": "DDIMScheduler", "timestep_spacing": spacing, "steps_offset": offset}
    refused = []
    for steps in range(1, 1001):
        if not is_accepted(SD, config, steps):
            refused.append(steps)
            continue
        kernel = DDIM.from_scheduler(config, steps, 0.0)
        assert first_timestep(config, steps) == kernel.timesteps[0]
        assert_timesteps(kernel, spacing, steps, offset)
        assert_steps_meet(kernel, config)
    half_visible = [*range(334, 376), *range(501, 750 + (offset == 0))]
    beyond = [1000] if offset else []
    assert refused == (half_visible + beyond if spacing == "leading" else [])


@pytest.mark.parametrize("name", FLOWS)
@pytest.mark.parametrize("shift", [1.0, 3.0])
def test_the_steps_of_every_flow_meet(name: str, shift: float) -> None:
    """A step from the share s to s' of noise takes x = (1 - s) x0 + s eps to the mean and noise of s'."""
    for steps in LENGTHS:
        kernel = FlowSDE.from_scheduler(FLOWS[name] | {"shift": shift}, steps, 0.0, tokens=16)
        assert len(kernel.timesteps) == steps
        for i in sorted({0, steps // 2, steps - 1}):
            s = kernel.timesteps[i] / kernel.train_timesteps
            # x0 = 0 and eps = 1, so the velocity is 1 and x is the share itself.
            after = float(kernel.mean(s * ONE, ONE, i))
            told = kernel.timesteps[i + 1] if i + 1 < steps else 0
            assert after == pytest.approx(told / kernel.train_timesteps, abs=1e-6)
            assert (kernel.look_ahead_timestep(i) or 0) == told


# The constructors of diffusers' own classes use NumPy in a way that it will drop.
@pytest.mark.filterwarnings("ignore:__array(_wrap)?__ :DeprecationWarning")
def test_a_setting_that_the_configuration_lacks_is_that_of_the_class() -> None:
    """diffusers drops the defaults of one class when it makes another of them, and those differ."""
    for name, config in DIFFUSIONS.items():
        own = "linspace" if name in LINSPACE_CLASSES else "leading"
        assert config.get("timestep_spacing", own) == own, name
        kernel = DDIM.from_scheduler(SCHEDULE | {"_class_name": name}, 7, 1.0)
        assert_timesteps(kernel, own, 7)
        assert first_timestep({"_class_name": name}, 7) == kernel.timesteps[0]
        loaded = getattr(diffusers, name).from_config(SCHEDULE).config
        assert DDIM.from_scheduler(dict(loaded) | {"_class_name": name}, 7, 1.0).timesteps == kernel.timesteps
    assert DDIM.from_scheduler(SCHEDULE | {"_class_name": "PNDMScheduler"}, 7, 1.0).final_alpha < 1


@pytest.mark.parametrize(("steps", "fine"), [(334, 333), (375, 333), (501, 500), (600, 500), (749, 500)])
def test_a_start_from_half_noised_data_is_refused_with_the_largest_number_of_steps(steps: int, fine: int) -> None:
    config = SCHEDULE | {"_class_name": "DDIMScheduler", "timestep_spacing": "leading", "steps_offset": 1}
    with pytest.raises(ModelError, match="half visible") as error:
        check_scheduler("a model", SD, config, steps)
    assert error.value.key == "steps" and error.value.fix == f"set steps to {fine}"
    check_scheduler("a model", SD, config, fine)
    check_scheduler("a model", SD, config | {"timestep_spacing": "trailing"}, steps)


def test_as_many_steps_as_trained_are_accepted_if_the_timesteps_exist() -> None:
    config = SCHEDULE | {"_class_name": "DDIMScheduler", "timestep_spacing": "leading"}
    check_scheduler("a model", SD, config | {"steps_offset": 0}, 1000)
    for spacing, offset, steps in (("leading", 1, 1000), ("leading", 0, 1001), ("trailing", 0, 1001)):
        changed = config | {"timestep_spacing": spacing, "steps_offset": offset}
        with pytest.raises(ModelError, match="trained with 1000") as error:
            check_scheduler("a model", SD, changed, steps)
        assert error.value.allowed == ("1..999" if offset else "1..1000")


def neighbour_difference(images: torch.Tensor) -> float:
    across, down = (images.float().diff(dim=dim).abs().mean() for dim in (2, 3))
    return float(across + down) / 2


@pytest.fixture(scope="module")
def embedded() -> Iterator[LatentDiffusion]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    model = load_model(Source("mini"), Loading(), "cpu")
    assert isinstance(model, LatentDiffusion)
    yield model
    torch.set_num_threads(threads)


@pytest.mark.parametrize("steps", [5, 10, 25])
def test_samples_of_the_embedded_model_are_as_clean_with_linspace_as_with_trailing(
    embedded: LatentDiffusion, steps: int
) -> None:
    """Noise that is left in a latent is grain in its image, which raises the difference of neighbouring pixels."""
    grain = {}
    for spacing in ("trailing", "linspace"):
        embedded._pipe.scheduler.register_to_config(timestep_spacing=spacing)
        embedded._kernels.clear()
        sampling, generator = Sampling(steps, 5.0), torch.Generator().manual_seed(0)
        conditioning = embedded.encode("an owl", sampling)
        x = torch.randn(2, *embedded.latent_shape, generator=generator)
        for i in range(steps):
            mean, sigma = embedded.reverse_step(x, i, conditioning)
            x = mean + sigma * torch.randn(x.shape, generator=generator)
        grain[spacing] = neighbour_difference(embedded.decode(x))
    assert grain["linspace"] == pytest.approx(grain["trailing"], rel=0.05)
