"""The keys of `lookahead`: what they compute, against the parts themselves, and that the final images stay whole."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from actors.workers import DiffusionWorker
from configs.errors import RequestError
from configs.load import load_config
from diffusion.base import Loading, Sampling, load_model
from diffusion.latent_diffusion import LatentDiffusion
from diffusion.source import Source
from pipeline.records import read_table
from tests.support import tiny
from tests.support.runs import DEMO, FOUR_FRONTS, run_here

STEPS = 5
TWO_PASSES = [family for family in tiny.FAMILIES if family != "flux"]
FULL = Sampling(STEPS, 4.0)
OFF = Sampling(STEPS, 4.0, lookahead_guided=False)


@pytest.fixture(scope="module", params=TWO_PASSES)
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> LatentDiffusion:
    folder = tiny.save_model(request.param, tmp_path_factory.mktemp("tiny") / request.param)
    loaded = load_model(Source(str(folder)), Loading(), "cpu")
    assert isinstance(loaded, LatentDiffusion)
    return loaded


def latents(model: LatentDiffusion, n: int = 3) -> Tensor:
    return torch.randn((n, *model.latent_shape), generator=torch.Generator().manual_seed(1))


def test_without_guidance_an_estimate_is_that_of_the_scale_one_and_the_means_stay_guided(
    model: LatentDiffusion,
) -> None:
    x = latents(model)
    off, full, one = (model.encode("a red fox", sampling) for sampling in (OFF, FULL, Sampling(STEPS, 1.0)))
    for step in range(STEPS):
        assert torch.equal(model.look_ahead(x, step, off), model.look_ahead(x, step, one))
        mean, guided = (model.reverse_step(x, step, text).mean for text in (off, full))
        assert torch.equal(mean, guided)
    assert not torch.equal(model.look_ahead(x, 0, off), model.look_ahead(x, 0, full))


def test_the_surrogates_gradient_goes_through_the_same_estimate(model: LatentDiffusion) -> None:
    off, one = (model.encode("a red fox", sampling) for sampling in (OFF, Sampling(STEPS, 1.0)))

    def value(x0: Tensor, first: int) -> Tensor:
        return (torch.tanh(x0) ** 2).sum()

    x = latents(model, 2)
    assert torch.equal(model.look_ahead_gradient(x, 1, off, value), model.look_ahead_gradient(x, 1, one, value))


@pytest.mark.parametrize("divisor", [1, 2, 4])
def test_a_downscaled_candidate_is_the_decoded_mean_of_its_latents(model: LatentDiffusion, divisor: int) -> None:
    worker = DiffusionWorker(model)
    text = model.encode("a red fox", Sampling(STEPS, 4.0, lookahead_downscale=divisor))
    x = latents(model)
    pixels, report = worker.decode_candidates(x.numpy(), 1, text, 4)
    x0 = model.look_ahead(torch.cat([x, torch.zeros_like(x[:1])]), 1, text)
    c, h, w = model.latent_shape
    means = x0.reshape(4, c, h // divisor, divisor, w // divisor, divisor).mean((3, 5))
    wanted = model.decode(means)[:3]
    assert pixels.shape == wanted.shape and report.pixel_bytes == pixels.nbytes
    # Two ways to add up a mean may round a pixel to another byte.
    assert abs(pixels.astype(int) - wanted.numpy().astype(int)).max() <= 1


@pytest.mark.slow
def test_a_run_with_both_keys_has_whole_final_images_and_another_front(tmp_path: Path) -> None:
    keys = ("lookahead.guidance=off", "lookahead.downscale=2")
    for name, more in (("full", ()), ("cheap", keys)):
        run_here(tmp_path / name, *FOUR_FRONTS, "prompts.list=[owl]", *more)
    full, cheap = (read_table(tmp_path / name, "samples").to_pandas() for name in ("full", "cheap"))
    assert set(cheap.width) == set(full.width) == {64} and set(cheap.height) == {64}
    assert [image["bytes"] for image in cheap.image] != [image["bytes"] for image in full.image]


def test_keys_at_their_defaults_are_not_recorded_and_others_are_refused() -> None:
    assert "lookahead" not in load_config(DEMO, ["lookahead.guidance=on"]).model_dump(mode="json")
    config = load_config(DEMO, ["lookahead.guidance=off"])
    assert config.model_dump(mode="json")["lookahead"] == {"guidance": False, "downscale": 1}
    with pytest.raises(RequestError, match="another scale"):
        load_config(DEMO, ["lookahead.downscale=2", "guidance.satisfied_above={colorfulness: 90}"])
    for value in ("lookahead.downscale=3", "lookahead.guidance=half"):
        with pytest.raises(RequestError, match=value.partition("=")[0]):
            load_config(DEMO, [value])
