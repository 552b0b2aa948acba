"""From rewards to factors: normalisations, elite and targets, against NumPy code written from the definitions."""

import numpy as np
import pytest
import torch

from pipeline.guidance.ledger import Ledger
from pipeline.guidance.runner import Guidance, run_guided
from pipeline.guidance.search_gradient import normalise
from pipeline.guidance.shaping import PLAIN, Normalisation, Shaping
from pipeline.guidance.simplex import as_weights
from pipeline.guidance.soup import Correction
from tests.support.fakes import FakeDenoiser, FakeQuery, wait

R = np.random.default_rng(0).normal(-20, 4, 12)


def shaped(shaping: Shaping, r: np.ndarray = R, reward: int = 0) -> np.ndarray:
    return shaping(torch.from_numpy(r), reward).numpy()


def test_the_default_is_the_papers_normalisation() -> None:
    np.testing.assert_array_equal(shaped(PLAIN), normalise(torch.from_numpy(R)).numpy())


def test_tanh_and_min_max_equal_their_formulas() -> None:
    np.testing.assert_allclose(shaped(Shaping("tanh")), np.tanh((R - R.mean()) / (R.std() + 1e-8)), rtol=1e-12)
    np.testing.assert_allclose(shaped(Shaping("min-max")), (R - R.min()) / (R.max() - R.min()), rtol=1e-12)


@pytest.mark.parametrize("normalisation", ["std", "tanh", "min-max"])
def test_equal_rewards_have_factors_0(normalisation: Normalisation) -> None:
    assert not shaped(Shaping(normalisation, 1 / 6, (0.0,)), np.full(7, -3.3)).any()


@pytest.mark.parametrize(("fraction", "kept"), [(1.0, 12), (0.5, 6), (1 / 6, 2), (0.01, 1)])
def test_the_elite_keeps_its_value_and_the_others_get_0(fraction: float, kept: int) -> None:
    r = shaped(Shaping(elite_fraction=fraction))
    best = np.argsort(-R)[:kept]
    np.testing.assert_array_equal(r[best], shaped(PLAIN)[best])
    assert np.count_nonzero(r) == kept


def test_of_a_tie_at_the_edge_of_the_elite_the_first_is_kept() -> None:
    r = shaped(Shaping(elite_fraction=0.5), np.array([1.0, 5.0, 5.0, 5.0]))
    assert (r != 0).tolist() == [False, True, True, False]


def test_a_candidate_above_the_target_gets_0_and_each_reward_has_its_own_target() -> None:
    shaping = Shaping(satisfied_above=(None, -20.0))
    np.testing.assert_array_equal(shaped(shaping, reward=0), shaped(PLAIN))
    np.testing.assert_array_equal(shaped(shaping, reward=1), np.where(R > -20.0, 0, shaped(PLAIN)))


def test_the_mean_shift_has_an_effect_only_if_the_mean_of_the_factors_is_not_0() -> None:
    """By Equation 11 its correction is mean(r~) (c - mu)/sigma."""

    def final(correction: Correction, shaping: Shaping) -> torch.Tensor:
        query = FakeQuery([lambda x: float(x[0]), lambda x: float(x[1])])
        guidance = Guidance(8, 4, correction=correction, shaping=shaping)
        w = as_weights([[0.0, 1.0], [0.5, 0.5], [1.0, 0.0]])
        return wait(run_guided(w, (1, 2, 3), 5, guidance, FakeDenoiser([0.5] * 4), query, Ledger())).x_LCHW

    torch.testing.assert_close(final("mean-shift", PLAIN), final("none", PLAIN), atol=1e-5, rtol=0)
    elite = Shaping(elite_fraction=0.25)
    assert (final("mean-shift", elite)[1] - final("none", elite)[1]).abs().max() > 1e-2
