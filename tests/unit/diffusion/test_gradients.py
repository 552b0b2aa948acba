"""The gradient through the denoiser: against finite differences, for a tiny model of every family and dtype."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from diffusion.base import Loading, Sampling, load_model
from diffusion.latent_diffusion import LatentDiffusion
from diffusion.source import Source
from tests.support import tiny

SAMPLING = Sampling(5, 3.0)


@pytest.fixture(scope="module", params=tiny.FAMILIES)
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.save_model(request.param, tmp_path_factory.mktemp("tiny") / request.param)


def load(folder: Path, **options: object) -> LatentDiffusion:
    model = load_model(Source(str(folder)), Loading(**options), "cpu")  # type: ignore[arg-type]
    assert isinstance(model, LatentDiffusion)
    return model


def latents(model: LatentDiffusion, rows: int) -> Tensor:
    return torch.randn((rows, *model.latent_shape), generator=torch.Generator().manual_seed(1))


def value(x0: Tensor, first: int) -> Tensor:
    """A smooth function with another factor for each row."""
    factors = torch.arange(first + 1, first + 1 + len(x0)).to(x0)
    return (factors * (torch.tanh(x0) ** 2).mean((1, 2, 3))).sum()


@pytest.mark.parametrize("step", [0, 3, 4], ids=["first", "middle", "last"])
def test_the_gradient_equals_finite_differences(folder: Path, step: int) -> None:
    model = load(folder)
    text, x = model.encode("a red fox", SAMPLING), latents(model, 2)
    gradient = model.look_ahead_gradient(x, step, text, value)
    assert gradient.shape == x.shape and gradient.dtype == torch.float32
    for row in range(2):
        # Along the gradient itself, where the difference is largest beside the rounding of float32.
        along = gradient[row] / gradient[row].norm()
        h = 2e-2
        ends = [value(model.look_ahead((x[row] + sign * h * along)[None], step, text), row) for sign in (1, -1)]
        measured = (ends[0] - ends[1]).item() / (2 * h)
        assert measured == pytest.approx(gradient[row].norm().item(), rel=2e-2)


def test_a_row_does_not_depend_on_the_others_and_the_weights_stay_as_they_were(folder: Path) -> None:
    model = load(folder)
    text, x = model.encode("a red fox", SAMPLING), latents(model, 3)
    required = [weight.requires_grad for weight in model._denoiser.parameters()]
    both = model.look_ahead_gradient(x, 1, text, value)
    alone = model.look_ahead_gradient(x[:1], 1, text, value)
    assert torch.equal(both[:1], alone)
    assert [weight.requires_grad for weight in model._denoiser.parameters()] == required
    assert all(weight.grad is None for weight in model._denoiser.parameters())
    assert torch.equal(model.look_ahead(x, 1, text), model.look_ahead(x, 1, text))


def test_the_gradient_after_passes_of_sampling_has_the_bits_of_one_before_them(folder: Path) -> None:
    """Networks keep tables of places that their first pass made, which may not belong to the inference mode."""
    fresh, used = load(folder), load(folder)
    text, x = fresh.encode("a red fox", SAMPLING), latents(fresh, 2)
    used.look_ahead(used.reverse_step(x, 0, text).mean, 0, text)
    assert torch.equal(used.look_ahead_gradient(x, 1, text, value), fresh.look_ahead_gradient(x, 1, text, value))


def test_rows_that_are_computed_at_once_have_the_same_gradients(folder: Path) -> None:
    model = load(folder)
    text, x = model.encode("a red fox", SAMPLING), latents(model, 5)
    alone = model.look_ahead_gradient(x, 1, text, value)
    # The second pass has one row and two that fill it up.
    together = model.look_ahead_gradient(x, 1, text, value, at_once=4)
    torch.testing.assert_close(together, alone, rtol=1e-3, atol=1e-6)
    # A row's bits depend neither on its place nor on what is computed beside it.
    moved = model.look_ahead_gradient(x[[0, 4, 1]], 1, text, lambda x0, first: value(x0, 0), at_once=4)
    again = model.look_ahead_gradient(x[:1], 1, text, value, at_once=4)
    assert torch.equal(together[0], again[0]) and torch.equal(moved[0], again[0])


def test_gradient_checkpointing_changes_no_value_and_ends_with_the_call(folder: Path) -> None:
    plain, saving = load(folder), load(folder, gradient_checkpointing=True)
    text, x = plain.encode("a red fox", SAMPLING), latents(plain, 1)
    seen = []

    def watched(x0: Tensor, row: int) -> Tensor:
        seen.append(saving._denoiser.is_gradient_checkpointing)
        return value(x0, row)

    expected, found = plain.look_ahead_gradient(x, 2, text, value), saving.look_ahead_gradient(x, 2, text, watched)
    assert seen == [True] and not saving._denoiser.is_gradient_checkpointing
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-7)


def test_bfloat16_gives_nearly_the_same_gradient(folder: Path) -> None:
    model, half = load(folder), load(folder, dtype="bfloat16")
    x = latents(model, 1)
    exact, rough = (one.look_ahead_gradient(x, 2, one.encode("a red fox", SAMPLING), value) for one in (model, half))
    cosine = torch.nn.functional.cosine_similarity(exact.flatten(), rough.flatten(), dim=0)
    assert cosine > 0.98
