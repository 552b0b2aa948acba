"""The indicators, against closed forms and brute force in 1 to 6 dimensions."""

import itertools
from fractions import Fraction

import numpy as np
import pytest

from evaluation.measures.hypervolume import hypervolume
from evaluation.measures.indicators import (
    additive_epsilon,
    attained_share,
    attainment_surface,
    contributions,
    igd_plus,
    r2,
)

DIMENSIONS = (1, 2, 3, 4, 5, 6)


def points_of(rewards: int, n: int = 6, seed: int = 0) -> np.ndarray:
    return np.random.default_rng([rewards, n, seed]).uniform(0.1, 1, (n, rewards))


def volume_by_inclusion_and_exclusion(points: np.ndarray, corner: np.ndarray) -> float:
    """The volume of a union of boxes from one corner: sum over subsets of (-1)^(k+1) prod_m (min - corner)."""
    total = 0.0
    for k in range(1, len(points) + 1):
        for subset in itertools.combinations(points, k):
            total += (-1) ** (k + 1) * float(np.prod(np.maximum(np.min(subset, axis=0) - corner, 0)))
    return total


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("rewards", DIMENSIONS)
def test_hypervolume_equals_inclusion_and_exclusion(rewards: int, seed: int) -> None:
    points, corner = points_of(rewards, seed=seed), np.full(rewards, 0.2)
    expected = volume_by_inclusion_and_exclusion(points, corner)
    assert hypervolume(points, corner).value == pytest.approx(expected, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("rewards", DIMENSIONS)
def test_a_staircase_of_equal_steps_has_the_volume_of_its_cells(rewards: int) -> None:
    """In two dimensions the k points (i, k + 1 - i) cover k (k + 1) / 2 unit squares; more dimensions extrude them."""
    k = 7
    stairs = np.array([[i, k + 1 - i] for i in range(1, k + 1)], dtype=np.float64)
    points = np.hstack([stairs[:, : min(rewards, 2)], np.full((k, max(rewards - 2, 0)), 2.0)])
    cells = float(Fraction(k * (k + 1), 2)) if rewards > 1 else float(k)
    assert hypervolume(points, np.zeros(rewards)).value == pytest.approx(cells * 2.0 ** max(rewards - 2, 0), rel=1e-12)


@pytest.mark.parametrize("rewards", DIMENSIONS)
def test_a_contribution_is_the_volume_that_is_lost_without_the_point(rewards: int) -> None:
    points, corner = points_of(rewards), np.full(rewards, 0.15)
    points = np.vstack([points, points[0], points[1] - 0.05, np.full(rewards, 0.1)])
    whole = hypervolume(points, corner).value
    lost = [whole - hypervolume(np.delete(points, i, axis=0), corner).value for i in range(len(points))]
    np.testing.assert_allclose(contributions(points, corner), lost, atol=1e-12)


def igd_plus_of(points: np.ndarray, front: np.ndarray) -> float:
    return float(np.mean([min(np.sqrt(np.sum(np.maximum(r - a, 0) ** 2)) for a in points) for r in front]))


def epsilon_of(points: np.ndarray, front: np.ndarray) -> float:
    return max(min(float(np.max(r - a)) for a in points) for r in front)


def r2_of(points: np.ndarray, ideal: np.ndarray, draws: int = 200_000) -> tuple[float, float]:
    """R2 by Monte Carlo over the simplex (exponential spacings), with its standard error."""
    e = np.random.default_rng(9).exponential(size=(draws, points.shape[1]))
    w = e / e.sum(axis=1, keepdims=True)
    best = np.min([np.max(w * (ideal - a), axis=1) for a in points], axis=0)
    return float(best.mean()), float(best.std() / np.sqrt(draws))


@pytest.mark.parametrize("rewards", DIMENSIONS)
def test_distances_to_a_front_equal_their_definitions(rewards: int) -> None:
    points, front = points_of(rewards), points_of(rewards, 4, seed=1) + 0.1
    assert igd_plus(points, front) == pytest.approx(igd_plus_of(points, front), rel=1e-12)
    assert additive_epsilon(points, front) == pytest.approx(epsilon_of(points, front), rel=1e-12)
    assert igd_plus(front, front) == additive_epsilon(front, front) == 0
    assert igd_plus(front + 0.3, front) == 0
    assert additive_epsilon(front + 0.3, front) == pytest.approx(-0.3)
    assert additive_epsilon(front - 0.2, front) == pytest.approx(0.2)


@pytest.mark.parametrize("rewards", DIMENSIONS)
def test_r2_equals_the_integral_over_the_simplex(rewards: int) -> None:
    points, ideal = points_of(rewards), np.full(rewards, 1.1)
    expected, error = r2_of(points, ideal)
    assert r2(points, ideal) == pytest.approx(expected, abs=4 * error + 2e-4)
    assert r2(ideal[None], ideal) == pytest.approx(0, abs=1e-15)


def test_r2_of_one_point_at_equal_distance_has_a_closed_form() -> None:
    """max_m w_m over the uniform simplex has mean (1 + 1/2 + ... + 1/M) / M."""
    for rewards in DIMENSIONS:
        harmonic = sum(1 / k for k in range(1, rewards + 1)) / rewards
        assert r2(np.zeros((1, rewards)), np.ones(rewards)) == pytest.approx(harmonic, rel=2e-3)


@pytest.mark.parametrize("rewards", DIMENSIONS)
def test_indicators_do_not_depend_on_order_duplicates_and_dominated_points(rewards: int) -> None:
    points, corner, ideal = points_of(rewards), np.zeros(rewards), np.ones(rewards)
    front = points_of(rewards, 5, seed=3)
    more = np.vstack([points, points[:2], points.min(axis=0, keepdims=True) - 0.01])
    for other in (points[::-1], more, np.random.default_rng(0).permutation(more)):
        assert hypervolume(other, corner).value == pytest.approx(hypervolume(points, corner).value, rel=1e-12)
        assert igd_plus(other, front) == pytest.approx(igd_plus(points, front), rel=1e-12)
        assert additive_epsilon(other, front) == pytest.approx(additive_epsilon(points, front), rel=1e-12)
        assert r2(other, ideal) == pytest.approx(r2(points, ideal), rel=1e-12)


@pytest.mark.parametrize("rewards", [2, 3, 4, 5])
def test_a_scale_of_a_reward_scales_the_volume(rewards: int) -> None:
    points, scale = points_of(rewards), np.arange(1.0, rewards + 1)
    scaled = hypervolume(points * scale, np.zeros(rewards)).value
    assert scaled == pytest.approx(hypervolume(points, np.zeros(rewards)).value * scale.prod(), rel=1e-12)


@pytest.mark.parametrize("share", [0.2, 0.5, 0.75, 1.0])
@pytest.mark.parametrize("rewards", [1, 2, 3])
def test_an_attainment_surface_is_where_that_share_of_the_fronts_reaches(rewards: int, share: float) -> None:
    fronts = [points_of(rewards, 4, seed) for seed in range(5)]
    surface = attainment_surface(fronts, share)
    needed = int(np.ceil(share * 5 - 1e-9))
    assert (attained_share(surface, fronts) >= needed / 5 - 1e-12).all()
    # No place that is better in one reward is attained by as many.
    for m in range(rewards):
        assert (attained_share(surface + 1e-9 * np.eye(rewards)[m], fronts) < needed / 5 - 1e-12).all()
    # Every place that is attained by as many is under the surface.
    at = np.random.default_rng(0).uniform(0.1, 1, (2_000, rewards))
    under = np.any(np.all(surface[None] >= at[:, None], axis=2), axis=1)
    np.testing.assert_array_equal(under, attained_share(at, fronts) >= needed / 5 - 1e-12)


def test_an_attainment_surface_of_many_rewards_is_refused_with_what_to_use_instead() -> None:
    with pytest.raises(ValueError, match="one, two or three rewards, not for 4; fix: use attained_share"):
        attainment_surface([points_of(4)], 0.5)
    assert attained_share(np.full((1, 5), 0.05), [points_of(5)]) == [1.0]
