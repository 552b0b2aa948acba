"""Hypervolume, compared with closed forms, inclusion-exclusion and Monte Carlo."""

import numpy as np
import pytest

from evaluation.measures.hypervolume import hypervolume


@pytest.mark.parametrize("rewards", [1, 2, 3, 4])
def test_the_volume_of_one_point_is_the_product_of_its_sides(rewards: int) -> None:
    rng = np.random.default_rng(rewards)
    reference = rng.normal(size=rewards)
    sides = rng.uniform(0.1, 2, rewards)
    volume = hypervolume((reference + sides)[None], reference)
    assert volume.value == pytest.approx(np.prod(sides), rel=1e-12)
    assert volume.outside == 0


def test_the_volume_of_one_reward_is_the_distance_to_the_best_point() -> None:
    assert hypervolume(np.array([[1.0], [3.0], [2.0]]), np.array([0.5])).value == pytest.approx(2.5)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("rewards", [2, 3])
def test_two_points_by_inclusion_and_exclusion(seed: int, rewards: int) -> None:
    a, b = np.random.default_rng(seed).uniform(0, 1, (2, rewards))
    expected = a.prod() + b.prod() - np.minimum(a, b).prod()
    assert hypervolume(np.stack([a, b]), np.zeros(rewards)).value == pytest.approx(expected, rel=1e-12)


def test_three_rewards_by_monte_carlo() -> None:
    rng = np.random.default_rng(0)
    points = rng.uniform(0.2, 1, (6, 3))
    draws = rng.uniform(0, 1, (200_000, 3))
    share = np.any((draws[:, None, :] <= points[None]).all(axis=2), axis=1).mean()
    # Four standard errors of a share of 200,000 draws in the unit cube.
    error = 4 * np.sqrt(share * (1 - share) / len(draws))
    assert hypervolume(points, np.zeros(3)).value == pytest.approx(share, abs=error)


def test_a_dominated_point_adds_nothing() -> None:
    front = np.array([[1.0, 3.0], [2.0, 2.0]])
    more = np.vstack([front, [[0.5, 2.5], [2.0, 2.0]]])
    assert hypervolume(more, np.zeros(2)).value == hypervolume(front, np.zeros(2)).value == 5.0


def test_a_point_below_the_reference_is_counted_and_adds_nothing() -> None:
    points = np.array([[1.0, 1.0], [5.0, -0.1], [5.0, 0.0]])
    volume = hypervolume(points, np.zeros(2))
    assert volume.value == pytest.approx(1.0) and volume.outside == 2
    nothing = hypervolume(points[1:], np.zeros(2))
    assert (nothing.value, nothing.outside) == (0.0, 2)
