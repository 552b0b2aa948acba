"""Quality indicators of fronts for 1 to 6 rewards, computed by moocore; higher rewards are better everywhere."""

from collections.abc import Sequence

import moocore
import numpy as np
from numpy.typing import NDArray
from scipy.stats import qmc

Points = NDArray[np.float64]
# Points of a Sobol sequence that stand for the simplex of weights in `r2` for three rewards or more.
_R2_WEIGHTS = 2**13


def contributions(points: Points, reference: Points) -> Points:
    """Returns what the hypervolume loses if one point is left out, for each of n points (n, M).

    It is 0 for points that are dominated, duplicated, or not above the reference point (M,) in every reward.
    """
    if points.shape[1] > 1:
        return np.asarray(moocore.hv_contributions(-points, ref=-reference, ignore_dominated=False), dtype=np.float64)
    lost = np.zeros(len(points))
    best, second = int(np.argmax(points[:, 0])), np.sort(points[:, 0])[-2] if len(points) > 1 else -np.inf
    lost[best] = max(0.0, points[best, 0] - max(second, float(reference[0])))
    return lost


def igd_plus(points: Points, front: Points) -> float:
    """Returns IGD+ (Ishibuchi et al. 2015), 0 or more, lower is better, in the unit of the rewards.

    It is the mean over the points r (k, M) of a reference front of min_a sqrt(sum_m max(0, r_m - a_m)^2) over the
    points a (n, M): how far the reference front is out of reach.
    """
    return float(moocore.igd_plus(-points, ref=-front))


def additive_epsilon(points: Points, front: Points) -> float:
    """Returns the smallest number that, added to every reward of the points, lets them weakly dominate `front`.

    It is max_r min_a max_m (r_m - a_m) (Zitzler et al. 2003); lower is better, and it is negative if the points are
    better than the front everywhere.
    """
    return float(moocore.epsilon_additive(-points, ref=-front))


def r2(points: Points, ideal: Points) -> float:
    """Returns R2 (Hansen and Jaszkiewicz 1998) for Tchebycheff utilities; lower is better, 0 is the ideal point (M,).

    It is the mean over all weights w of the simplex of min_a max_m w_m (ideal_m - a_m). For two rewards the integral
    is exact (Jaszkiewicz and Zielniewicz 2024). For more it is taken over 8,192 points of a Sobol sequence, always the
    same ones.
    """
    if points.shape[1] == 2:
        return float(moocore.r2_exact(-points, ref=-ideal))
    short = np.abs(ideal - points)
    weights = _simplex_points(points.shape[1])
    best = np.full(len(weights), np.inf)
    for point in short:
        np.minimum(best, (weights * point).max(axis=1), out=best)
    return float(best.mean())


def attained_share(at: Points, fronts: Sequence[Points]) -> Points:
    """Returns for each of k places `at` (k, M) the share of the fronts (n_i, M) that attain it.

    A front attains a place if one of its points is at least as good in every reward. This is the empirical attainment
    function, for any number of rewards.
    """
    attained = [np.any(np.all(front[None, :, :] >= at[:, None, :], axis=2), axis=1) for front in fronts]
    return np.asarray(np.mean(attained, axis=0), dtype=np.float64)


def attainment_surface(fronts: Sequence[Points], share: float) -> Points:
    """Returns the best places that at least this share of the fronts attains, for one, two or three rewards.

    With share 0.5 it is the median attainment surface: what the method reaches for half of the prompts.

    Args:
        fronts: the points (n_i, M) of each front.
        share: above 0, up to 1.

    Raises:
        ValueError: there are more than three rewards, for which no algorithm is known that ends in reasonable time;
            `attained_share` answers for given places.
    """
    rewards = fronts[0].shape[1]
    needed = max(1, int(np.ceil(share * len(fronts) - 1e-9)))
    if rewards == 1:
        return np.array([[sorted((float(front.max()) for front in fronts), reverse=True)[needed - 1]]])
    if rewards > 3:
        raise ValueError(
            f"an attainment surface is computed for one, two or three rewards, not for {rewards}; "
            "fix: use attained_share, or choose two of the rewards"
        )
    sets = np.repeat(np.arange(1, len(fronts) + 1), [len(front) for front in fronts])
    found = np.asarray(moocore.eaf(-np.concatenate(fronts), sets, percentiles=[100 * needed / len(fronts)]))
    return np.asarray(-found[:, :-1], dtype=np.float64)


def _simplex_points(rewards: int) -> Points:
    """Returns points that cover the simplex evenly: the gaps between sorted coordinates of a Sobol sequence."""
    if rewards == 1:
        return np.ones((1, 1))
    cuts = np.sort(qmc.Sobol(rewards - 1, rng=0).random(_R2_WEIGHTS), axis=1)
    edges = np.hstack([np.zeros((len(cuts), 1)), cuts, np.ones((len(cuts), 1))])
    return np.diff(edges, axis=1)
