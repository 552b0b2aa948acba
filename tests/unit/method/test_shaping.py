"""From rewards to factors: normalisations, targets and elites, against hand-computed values and float64 NumPy code."""

import numpy as np
import pytest
import torch

from pipeline.guidance.ledger import Ledger
from pipeline.guidance.noise import step_noise
from pipeline.guidance.row_gradients import Correction
from pipeline.guidance.runner import Guidance, run_guided
from pipeline.guidance.search_gradient import Move, StepKind, normalise
from pipeline.guidance.shaping import PLAIN, Normalisation, Place, Shaping, elite_size
from pipeline.guidance.simplex import as_weights, with_exemplars
from pipeline.guidance.soup import soup_step, weighted_sum_step
from tests.support import reference
from tests.support.fakes import SHAPE, FakeDenoiser, FakeQuery, FakeReward, Run, fake_query, wait, weights_of

R = np.random.default_rng(0).normal(-20, 4, 12)
# The candidates 1 and 4 are past the target of -15 kB. The other four have mean -21 and population std sqrt(29).
SIX = np.array([-30.0, -12.0, -20.0, -16.0, -10.0, -18.0])
SIGMAS = (0.9, 0.7, 0.5, 0.4)


def shaped(shaping: Shaping, r: np.ndarray = R, reward: int = 0, *, exemplar: bool = True) -> np.ndarray:
    return shaping(torch.from_numpy(r), reward, exemplar=exemplar).numpy()


def test_the_default_is_the_papers_normalisation() -> None:
    for exemplar in (True, False):
        np.testing.assert_array_equal(shaped(PLAIN, exemplar=exemplar), normalise(torch.from_numpy(R)).numpy())


def test_tanh_and_min_max_equal_their_formulas() -> None:
    np.testing.assert_allclose(shaped(Shaping("tanh")), np.tanh((R - R.mean()) / (R.std() + 1e-8)), rtol=1e-12)
    np.testing.assert_allclose(shaped(Shaping("min-max")), (R - R.min()) / (R.max() - R.min()), rtol=1e-12)


@pytest.mark.parametrize("normalisation", ["std", "tanh", "min-max"])
def test_equal_rewards_have_factors_0(normalisation: Normalisation) -> None:
    assert not shaped(Shaping(normalisation, (1 / 6,), (0.0,)), np.full(7, -3.3)).any()
    assert not shaped(Shaping(normalisation, (1 / 6,), (0.0,)), np.array([1.0, -3.3, -3.3, 2.0])).any()


@pytest.mark.parametrize(
    ("n", "fraction", "kept"),
    [
        (30, 1 / 6, 5), (30, 0.16667, 5), (30, 0.1667, 5), (30, 0.1666, 5), (11, 1 / 6, 1), (5, 1 / 6, 1),
        (6, 1 / 6, 1), (8, 0.25, 2), (7, 0.5, 3), (30, 0.33, 10), (12, 1.0, 12), (12, 0.01, 1), (1_000, 0.01, 10),
        (10, 0.4, 4), (8, 0.75, 6), (30, 0.96, 28), (100, 0.29, 29), (3, 0.9, 2),
    ],
)  # fmt: skip
def test_the_size_of_the_elite(n: int, fraction: float, kept: int) -> None:
    assert elite_size(n, fraction) == kept


@pytest.mark.parametrize(("fraction", "kept"), [(1.0, 12), (0.5, 6), (1 / 6, 2), (0.01, 1)])
def test_the_elite_keeps_its_value_and_the_others_get_0(fraction: float, kept: int) -> None:
    r = shaped(Shaping(elite_fraction=(fraction,)))
    best = np.argsort(-R)[:kept]
    np.testing.assert_array_equal(r[best], shaped(PLAIN)[best])
    assert np.count_nonzero(r) == kept


def test_of_a_tie_at_the_edge_of_the_elite_the_first_is_kept() -> None:
    r = shaped(Shaping(elite_fraction=(0.5,)), np.array([1.0, 5.0, 5.0, 5.0]))
    assert (r != 0).tolist() == [False, True, True, False]


@pytest.mark.parametrize(
    ("fraction", "expected"),
    [
        (1.0, [-9, 0, 1, 5, 0, 3]),
        (0.5, [0, 0, 1, 5, 0, 3]),
        (1 / 3, [0, 0, 0, 5, 0, 3]),
        (1 / 6, [0, 0, 0, 5, 0, 0]),
    ],
)
def test_a_target_and_an_elite_by_hand(fraction: float, expected: list[float]) -> None:
    """The elite is N // 6 of all N, chosen among those that are not past the target, and so are mean and std."""
    r = shaped(Shaping("std", (fraction,), (-15.0,)), SIX)
    np.testing.assert_allclose(r, np.array(expected) / np.sqrt(29), rtol=1e-8)


def test_tanh_and_min_max_too_are_over_the_candidates_that_are_not_past_the_target() -> None:
    deviations = np.array([-9, 1, 5, 3]) / np.sqrt(29)
    left = [0, 2, 3, 5]
    np.testing.assert_allclose(shaped(Shaping("tanh", (), (-15.0,)), SIX)[left], np.tanh(deviations), rtol=1e-8)
    np.testing.assert_allclose(
        shaped(Shaping("min-max", (), (-15.0,)), SIX), [0, 0, 10 / 14, 1, 0, 12 / 14], rtol=1e-12
    )


@pytest.mark.parametrize("normalisation", ["std", "tanh", "min-max"])
@pytest.mark.parametrize("fraction", [1.0, 1 / 6])
def test_if_one_or_no_candidate_is_left_it_or_the_first_has_factor_1(
    normalisation: Normalisation, fraction: float
) -> None:
    shaping = Shaping(normalisation, (fraction,), (-15.0,))
    assert shaped(shaping, np.array([-12.0, -11.0, -40.0, -10.0])).tolist() == [0, 0, 1, 0]
    assert shaped(shaping, np.array([-12.0, -11.0, -14.0, -10.0])).tolist() == [1, 0, 0, 0]
    assert shaped(shaping, np.full(4, -3.0)).tolist() == [1, 0, 0, 0]


def test_a_candidate_at_its_target_is_not_past_it() -> None:
    assert np.count_nonzero(shaped(Shaping(satisfied_above=(-15.0,)), np.array([-20.0, -15.0, -14.9]))) == 2


def test_each_reward_has_its_own_target_and_elite() -> None:
    shaping = Shaping("std", (1.0, 0.5), (None, -20.0))
    np.testing.assert_array_equal(shaped(shaping, reward=0), shaped(PLAIN))
    np.testing.assert_allclose(shaped(shaping, reward=1), reference.factors(R, -20.0, 2), rtol=1e-12)
    swapped = Shaping("std", (0.5, 1.0), (-20.0, None))
    np.testing.assert_array_equal(shaped(swapped, reward=0), shaped(shaping, reward=1))
    np.testing.assert_array_equal(shaped(swapped, reward=1), shaped(PLAIN))


def test_each_option_acts_in_its_place() -> None:
    """By default, as in the released code, elites act on exemplars in soup steps, and targets everywhere."""
    both, target, elite = reference.factors(R, -20.0, 6), reference.factors(R, -20.0), reference.factors(R, None, 6)
    everywhere = Shaping("std", (1 / 6,), (-20.0,), elite_in="everywhere")
    exemplars = Shaping("std", (1 / 6,), (-20.0,), satisfied_in="exemplars")
    swapped = Shaping("std", (1 / 6,), (-20.0,), "everywhere", "exemplars")
    cases = [(Shaping("std", (1 / 6,), (-20.0,)), target), (everywhere, both), (exemplars, reference.normalise(R))]
    for shaping, shared in [*cases, (swapped, elite)]:
        np.testing.assert_allclose(shaped(shaping, exemplar=True), both, rtol=1e-12)
        np.testing.assert_allclose(shaped(shaping, exemplar=False), shared, rtol=1e-12)


@pytest.mark.parametrize("seed", range(40))
def test_targets_and_elites_equal_the_reference(seed: int) -> None:
    """Values on a grid, so that ties and values at the target occur, with none to all candidates past the target."""
    rng = np.random.default_rng(seed)
    r = rng.integers(-24, -8, int(rng.integers(2, 31))).astype(float)
    parts, target = int(rng.integers(1, 9)), float(rng.integers(-25, -6))
    for reached in (target, None):
        actual = shaped(Shaping("std", (1 / parts,), (reached,)), r)
        np.testing.assert_allclose(actual, reference.factors(r, reached, parts), rtol=1e-12, atol=1e-12)


def shaping_of(w: np.ndarray, place: Place, target: float) -> tuple[Shaping, reference.Factors]:
    """Return options of the first reward alone, as a `Shaping` and for the reference."""
    none = len(w[0]) - 1
    shaping = Shaping("std", (1 / 3, *(1.0,) * none), (target, *(None,) * none), elite_in=place)

    def factors(r: np.ndarray, reward: int, exemplar: bool) -> np.ndarray:
        if reward:
            return reference.normalise(r)
        return reference.factors(r, target, 3 if exemplar or place == "everywhere" else 1)

    return shaping, factors


def flat(x: torch.Tensor) -> np.ndarray:
    return x.flatten(1).double().numpy()


@pytest.mark.parametrize("place", ["exemplars", "everywhere"])
@pytest.mark.parametrize("kind", ["sphere", "gradient"])
@pytest.mark.parametrize("correction", ["none", "mean-shift", "renormalised"])
@pytest.mark.parametrize("past", [0, 4, 8, 9])
def test_steps_with_a_target_and_an_elite_equal_the_equations(
    past: int, correction: Correction, kind: StepKind, place: Place
) -> None:
    """The target leaves 9, 5, 1 or 0 of the 9 candidates of the first reward's exemplar."""
    rng = np.random.default_rng(past)
    mu, z = torch.as_tensor(rng.normal(size=(5, *SHAPE)), dtype=torch.float32), step_noise(1, 0, 9, SHAPE)
    w, sigma = weights_of(rng, 2, 5), 0.7
    soup, rewards = with_exemplars(as_weights(w.tolist())), [FakeReward(m).values for m in range(2)]
    r = np.sort(rewards[0](flat(mu)[soup.exemplars[0]] + sigma * flat(z)))
    between = np.concatenate([[r[0] - 1], (r[1:] + r[:-1]) / 2, [r[-1] + 1]])
    target = float(between[9 - past])
    shaping, factors = shaping_of(w, place, target)
    moved = wait(soup_step(mu, sigma, z, soup, fake_query(2), 0, correction, Move(kind), shaping)).x_RCHW
    expected = reference.soup_step(flat(mu), sigma, flat(z), w, rewards, correction, kind, factors)
    np.testing.assert_allclose(flat(moved), expected, rtol=1e-5, atol=1e-5)
    moved = wait(weighted_sum_step(mu, sigma, z, soup.w_RM, fake_query(2), 0, Move(kind), shaping)).x_RCHW
    expected = reference.weighted_sum_step(flat(mu), sigma, flat(z), w, rewards, kind, factors)
    np.testing.assert_allclose(flat(moved), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("k", [0, 2, 4])
def test_where_every_candidate_is_past_its_target_every_step_is_a_noise_draw_of_full_length(k: int) -> None:
    shaping = Shaping("std", (1 / 6,), (-1e9,))
    run = Run(np.ones((1, 1)), Guidance(6, k, shaping=shaping), SIGMAS)
    x = run.denoiser.seen[0]
    for step, sigma in enumerate(SIGMAS):
        z = step_noise(7, step, 6, SHAPE)[:1]
        x = run.denoiser.mean(x) + sigma * z * np.sqrt(z.numel()) / z.norm()
    np.testing.assert_allclose(flat(run.x), flat(x), rtol=1e-5, atol=1e-6)


def test_an_elite_of_exemplars_changes_the_soup_steps_of_exemplars_and_no_weighted_sum() -> None:
    w = np.array([[1.0, 0.0], [0.5, 0.5], [0.0, 1.0], [1.0, 0.0]])
    elite = Shaping(elite_fraction=(1 / 3, 1.0))
    soup, with_elite = (Run(w, Guidance(6, 1, shaping=s), SIGMAS[:1]).x for s in (PLAIN, elite))
    assert [bool((a != b).any()) for a, b in zip(soup, with_elite, strict=True)] == [True, False, False, True]
    assert torch.equal(with_elite[0], with_elite[3])
    weighted, with_elite = (Run(w, Guidance(6, 0, shaping=s), SIGMAS).x for s in (PLAIN, elite))
    assert torch.equal(weighted, with_elite)


def test_the_mean_shift_has_an_effect_only_if_the_mean_of_the_factors_is_not_0() -> None:
    """By Equation 11 its correction is mean(r~) (c - mu)/sigma."""

    def final(correction: Correction, shaping: Shaping) -> torch.Tensor:
        query = FakeQuery([lambda x: float(x[0]), lambda x: float(x[1])])
        guidance = Guidance(8, 4, correction=correction, shaping=shaping)
        w = as_weights([[0.0, 1.0], [0.5, 0.5], [1.0, 0.0]])
        return wait(run_guided(w, (1, 2, 3), 5, guidance, FakeDenoiser([0.5] * 4), query, Ledger())).x_LCHW

    torch.testing.assert_close(final("mean-shift", PLAIN), final("none", PLAIN), atol=1e-5, rtol=0)
    elite = Shaping(elite_fraction=(0.25, 0.25), elite_in="everywhere")
    assert (final("mean-shift", elite)[1] - final("none", elite)[1]).abs().max() > 1e-2
