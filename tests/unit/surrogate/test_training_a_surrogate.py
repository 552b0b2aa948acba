"""Training of a surrogate: it finds a known reward, its bits depend on the pairs alone, and its file is whole."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from diffusion.surrogate.network import STEP_BINS, SurrogateFileError, SurrogateNetwork, from_bytes, to_bytes
from pipeline.surrogate import training
from pipeline.surrogate.training import Fit, Pairs, train

NAMES = ("first", "second")
G, K, C, SIZE, E = 60, 4, 3, 8, 5


def pairs(seed: int, text: float = 1.0, k: int = K) -> Pairs:
    """Rewards that are known functions: the means of two channels, the second times the factor of a text."""
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randn(G, 1, C, 1, 1, generator=generator)
    x0 = (torch.randn(G, k, C, SIZE, SIZE, generator=generator) * (1 + 0.3 * rows) + rows).half()
    x = x0.double()
    scores = torch.stack([10 * x[:, :, 0].mean((2, 3)) + 500, 0.1 * text * x[:, :, 1].mean((2, 3))], 2)
    return Pairs(x0, scores.float(), torch.arange(G) % STEP_BINS, torch.full((E,), text))


def fitted(*given: Pairs, reads_prompt: bool = False, seed: int = 0) -> Fit:
    return train(given, NAMES, reads_prompt, seed, {"model_revision": "m"})


@pytest.fixture(scope="module")
def fit() -> Fit:
    return fitted(pairs(1), pairs(2))


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Train for a third of the updates, where nothing depends on how well a surrogate predicts."""
    monkeypatch.setattr(training, "FEWEST_UPDATES", 30)


def predictions(fit: Fit, one: Pairs) -> Tensor:
    return fit.surrogate.predict(one.x0_GKCHW.flatten(0, 1).float(), one.text_E).view(*one.scores_GKM.shape)


def test_it_predicts_new_latents_within_a_group_in_the_units_of_the_rewards(fit: Fit) -> None:
    new = pairs(9)
    found = predictions(fit, new)
    for m in range(2):
        truth, guess = (values[:, :, m] - values[:, :, m].mean(1, keepdim=True) for values in (new.scores_GKM, found))
        assert np.corrcoef(truth.flatten(), guess.flatten())[0, 1] > 0.8
        assert guess.std().item() == pytest.approx(truth.std().item(), rel=0.3)
    assert all(value > 0.8 for value in fit.correlation_M)
    assert found[:, :, 0].mean().item() == pytest.approx(new.scores_GKM[:, :, 0].mean().item(), abs=1.0)


def test_the_deviations_are_those_within_groups(fit: Fit) -> None:
    scores = torch.cat([pairs(1).scores_GKM, pairs(2).scores_GKM]).double().numpy()
    part = np.tile(np.arange(G) % STEP_BINS, 2)
    expected = [np.sqrt(scores[part == b].var(1, ddof=1).mean(0)) for b in range(STEP_BINS)]
    np.testing.assert_allclose(fit.surrogate.deviation_BM, expected, rtol=1e-6)
    assert [fit.surrogate.deviation_at(step, 10).tolist() for step in (0, 1, 2, 9)] == [
        fit.surrogate.deviation_BM[b].tolist() for b in (0, 0, 1, 4)
    ]


def test_the_same_pairs_give_the_same_bits_on_any_number_of_threads(short: None) -> None:
    before, fit = torch.get_num_threads(), fitted(pairs(1), pairs(2))
    try:
        torch.set_num_threads(2)
        again = fitted(pairs(1), pairs(2))
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    assert to_bytes(again.surrogate) == to_bytes(fit.surrogate)
    assert to_bytes(fitted(pairs(1), pairs(2), seed=1).surrogate) != to_bytes(fit.surrogate)


def test_scores_that_were_not_queried_do_not_enter(short: None) -> None:
    one = pairs(1)
    unknown = one.scores_GKM.clone()
    unknown[::2, :, 0] = math.nan
    fit = fitted(replace(one, scores_GKM=unknown))
    assert fit.surrogate.mean_M[0].item() == pytest.approx(one.scores_GKM[1::2, :, 0].double().mean().item())
    assert predictions(fit, pairs(9)).isfinite().all()


def test_fronts_may_differ_in_the_number_of_their_candidates(short: None) -> None:
    fit = fitted(pairs(1), pairs(2, k=2))
    both = torch.cat([pairs(1).scores_GKM.flatten(0, 1), pairs(2, k=2).scores_GKM.flatten(0, 1)]).double()
    np.testing.assert_allclose(fit.surrogate.mean_M, both.mean(0), rtol=1e-6)


def test_a_reward_that_reads_the_prompt_gets_its_text() -> None:
    """The text decides the sign of the second reward's slope, which no function of the latents alone can follow."""
    given = pairs(1, text=-1.0), pairs(2, text=1.0), pairs(3, text=-1.0), pairs(4, text=1.0)
    fit = fitted(*given, reads_prompt=True)
    correlations = []
    for text in (-1.0, 1.0):
        new = pairs(9, text)
        truth, guess = (
            values[:, :, 1] - values[:, :, 1].mean(1, keepdim=True)
            for values in (new.scores_GKM, predictions(fit, new))
        )
        correlations.append(np.corrcoef(truth.flatten(), guess.flatten())[0, 1])
    assert fit.surrogate.reads_prompt and min(correlations) > 0.5
    assert not fitted(pairs(1)).surrogate.reads_prompt


def test_a_reward_that_never_varies_is_predicted_without_a_direction(short: None) -> None:
    one = pairs(1)
    constant = one.scores_GKM.clone()
    constant[:, :, 0] = 7.0
    fit = fitted(replace(one, scores_GKM=constant))
    x0 = one.x0_GKCHW[:2, 0].float().requires_grad_()
    assert (fit.surrogate.deviation_BM > 0).all()
    found = fit.surrogate.predict(x0, one.text_E)[:, 0]
    assert found.tolist() == pytest.approx([7.0, 7.0], abs=1e-6)
    (gradient,) = torch.autograd.grad(found.sum(), x0)
    assert gradient.abs().max() < 1e-6


def test_equal_latents_have_a_finite_gradient() -> None:
    """The derivative of a standard deviation at 0 is infinite, unless something is added under the root."""
    network = SurrogateNetwork(C, 2)
    x = torch.zeros(1, C, SIZE, SIZE, requires_grad=True)
    (gradient,) = torch.autograd.grad(network(x, None).sum(), x)
    assert gradient.isfinite().all()


def test_a_row_does_not_depend_on_its_batch(fit: Fit) -> None:
    x0 = pairs(9).x0_GKCHW[:3, 0].float()
    together = fit.surrogate.predict(x0, torch.zeros(E))
    for row in range(3):
        torch.testing.assert_close(fit.surrogate.predict(x0[row : row + 1], torch.zeros(E))[0], together[row])


def test_a_file_is_read_as_it_was_written_and_any_damage_is_seen(fit: Fit) -> None:
    content = to_bytes(fit.surrogate)
    again = from_bytes(content)
    assert again.rewards == NAMES and again.record == {"model_revision": "m"}
    assert torch.equal(predictions(Fit(again, (), ()), pairs(9)), predictions(fit, pairs(9)))
    rng = np.random.default_rng(0)
    for position in (0, 9, *rng.integers(10, len(content), 30)):
        damaged = content[:position] + bytes([content[position] ^ 1]) + content[position + 1 :]
        with pytest.raises(SurrogateFileError):
            from_bytes(damaged)
    for short in (b"", content[:4], content[:100], content[:-1]):
        with pytest.raises(SurrogateFileError):
            from_bytes(short)
