"""The paired comparison of two methods, against SciPy and against theory."""

import numpy as np
import pytest
from scipy import stats

from evaluation.statistics.paired import EXACT_PROMPTS, compare, holm, sign_flip_test


def ids(n: int) -> np.ndarray:
    return np.array([f"p{i:03d}" for i in range(n)])


def scipy_p(first: np.ndarray, second: np.ndarray, resamples: float = np.inf) -> float:
    """The p value of SciPy's permutation test, which swaps the two values of each pair; by default the exact one."""

    def mean_difference(x: np.ndarray, y: np.ndarray, axis: int) -> np.ndarray:
        return np.mean(x - y, axis=axis)

    return float(
        stats.permutation_test(
            (first, second), mean_difference, permutation_type="samples", vectorized=True, n_resamples=resamples, rng=1
        ).pvalue
    )


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("n", [2, 3, 6, 10])
def test_the_exact_test_equals_scipys(n: int, seed: int) -> None:
    first, second = np.random.default_rng([n, seed]).normal(0.5 * seed, 1, (2, n))
    p, exact = sign_flip_test(first - second)
    assert exact and p == pytest.approx(scipy_p(first, second), abs=1e-12)


def test_ties_and_zero_differences_are_counted_as_scipy_counts_them() -> None:
    first, second = np.array([3.0, 2.0, 2.0, 0.3, 0.1]), np.array([1.0, 1.0, 2.0, 0.1, 0.3])
    assert sign_flip_test(first - second)[0] == pytest.approx(scipy_p(first, second), abs=1e-12)
    assert sign_flip_test(np.zeros(5)) == (1.0, True)


@pytest.mark.parametrize("n", [2, 5, 8, EXACT_PROMPTS])
def test_n_prompts_that_agree_give_the_smallest_possible_p(n: int) -> None:
    assert sign_flip_test(np.arange(1.0, n + 1))[0] == 2.0 ** (1 - n)


def test_the_drawn_test_is_near_the_normal_limit_for_many_prompts() -> None:
    """For n prompts the sum of random signs has variance sum d^2 and is nearly normal."""
    d = np.random.default_rng(0).normal(0.12, 1, 300)
    p, exact = sign_flip_test(d)
    expected = 2 * stats.norm.sf(abs(d.sum()) / np.sqrt((d**2).sum()))
    assert not exact and p == pytest.approx(expected, abs=4 * np.sqrt(expected * (1 - expected) / 20_000) + 2e-3)
    assert sign_flip_test(np.full(300, 1.0))[0] == pytest.approx(1 / 20_001)


@pytest.mark.parametrize("shift", [0.1, 0.4])
def test_the_drawn_test_is_near_scipys(shift: float) -> None:
    first, second = np.random.default_rng(3).normal(0, 1, (2, 24)) + np.array([[shift], [0.0]])
    p, exact = sign_flip_test(first - second)
    expected = scipy_p(first, second, 20_000)
    assert not exact and p == pytest.approx(expected, abs=4 * np.sqrt(2 * expected * (1 - expected) / 20_000))


@pytest.mark.parametrize("n", [4, 7])
def test_a_true_null_is_rejected_no_more_often_than_the_level(n: int) -> None:
    rng = np.random.default_rng(n)
    p = np.array([sign_flip_test(rng.standard_t(3, size=n))[0] for _ in range(2_000)])
    for level in (0.125, 0.25, 0.5):
        assert (p <= level).mean() == pytest.approx(level, abs=4 * np.sqrt(level * (1 - level) / 2_000))


def test_seeds_of_one_prompt_are_one_unit() -> None:
    first, second = np.array([2.0, 3.0, 1.0, 5.0, 0.0, 4.0]), np.zeros(6)
    prompts = np.array(["a", "a", "b", "b", "c", "c"])
    pair = compare(first, second, prompts)
    assert (pair.prompts, pair.wins, pair.ties, pair.losses) == (3, 3, 0, 0)
    assert pair.p == 2.0 ** (1 - 3) and pair.difference == pytest.approx(2.5)
    means = compare(np.array([2.5, 3.0, 2.0]), np.zeros(3), ids(3))
    assert (pair.low, pair.high) == pytest.approx((means.low, means.high))


def test_wins_ties_and_losses_of_prompts() -> None:
    pair = compare(np.array([1.0, 2.0, 3.0, 0.1 + 0.2]), np.array([0.0, 3.0, 1.0, 0.3]), ids(4))
    assert (pair.wins, pair.ties, pair.losses) == (2, 1, 1) and pair.win_rate == 0.625
    other = compare(np.array([0.0, 3.0, 1.0, 0.3]), np.array([1.0, 2.0, 3.0, 0.1 + 0.2]), ids(4))
    assert other.difference == -pair.difference and other.p == pair.p and other.win_rate == 1 - pair.win_rate


def test_two_prompts_have_the_t_interval_and_one_has_none() -> None:
    pair = compare(np.array([1.0, 2.0]), np.zeros(2), ids(2))
    expected = stats.t.interval(0.95, df=1, loc=1.5, scale=stats.sem([1.0, 2.0]))
    assert (pair.low, pair.high) == pytest.approx(expected)
    alone = compare(np.array([1.0]), np.zeros(1), ids(1))
    assert np.isnan([alone.low, alone.high]).all() and alone.p == 1.0


def test_holms_correction_equals_the_closed_testing_of_all_intersections() -> None:
    """A corrected value is the largest Bonferroni p of all sets that hold the hypothesis."""
    from itertools import combinations

    p = np.random.default_rng(2).uniform(0, 0.2, 6)
    expected = [
        max(min(1.0, k * min(p[list(s)])) for k in range(1, 7) for s in combinations(range(6), k) if i in s)
        for i in range(6)
    ]
    np.testing.assert_allclose(holm(p), expected, rtol=1e-12)


def test_holm_keeps_the_order_and_leaves_out_what_is_not_known() -> None:
    np.testing.assert_allclose(holm(np.array([0.04, np.nan, 0.01, 0.03])), [0.06, np.nan, 0.03, 0.06])
    assert holm(np.array([0.2]))[0] == 0.2 and len(holm(np.empty(0))) == 0


def test_holm_keeps_the_chance_of_one_false_discovery_under_the_level() -> None:
    rng = np.random.default_rng(5)
    any_found = [(holm(rng.uniform(size=10)) < 0.05).any() for _ in range(4_000)]
    assert np.mean(any_found) == pytest.approx(1 - 0.995**10, abs=0.012)
