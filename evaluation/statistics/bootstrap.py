"""The uncertainty of a mean over prompts: t interval and bootstrap-t (Efron and Tibshirani 1993, chapter 12)."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

LEVEL = 0.95
RESAMPLES = 4_000
# With more prompts, the bootstrap takes long and gives the same ends as the t interval.
MOST_PROMPTS = 2_000
# With more prompts, `interval_of` leaves out groups of them.
MOST_GROUPS = 500
_AT_ONCE = 500
# The least standard error of a draw, as a share of that of all prompts. Without it, two prompts among four that happen
# to be nearly equal give an interval of ten thousand standard errors.
LEAST_ERROR = 0.1
# Prompts -> how often, in per cent, the interval held the true mean of normal, exponential and lognormal values, as
# `python -m benchmarks.intervals` measures it.
COVERAGE: dict[int, tuple[float, float, float]] = {
    2: (95.3, 90.7, 89.0),
    3: (96.0, 89.4, 86.2),
    4: (97.3, 93.8, 91.2),
    5: (97.2, 94.0, 91.1),
    6: (97.5, 95.5, 92.7),
    8: (97.6, 95.9, 93.6),
    10: (96.6, 96.4, 94.1),
    15: (96.7, 96.0, 93.5),
    20: (96.1, 96.3, 94.0),
    30: (95.1, 96.0, 94.0),
    50: (95.3, 96.0, 94.5),
}


def mean_interval(values: NDArray[np.float64], prompts: NDArray[np.str_]) -> tuple[float, float]:
    """Returns the 95 % confidence interval of the mean of `values`.

    It reaches from the lower end of the t interval or of the bootstrap-t interval to the higher end of either. The t
    interval is too short on one side if the values are skewed, and the bootstrap-t interval if there are few. Prompts
    are the units of both: a prompt is drawn with all its fronts, because the fronts of several seeds of one prompt are
    not independent. `COVERAGE` says how often the interval holds the true mean. The draws are always from seed 0.

    Args:
        values: one value for each front, shape (n,).
        prompts: the prompt of each front, shape (n,).

    Returns:
        The lower and the upper end of the interval. Both are NaN if there are fewer than two prompts, or if all prompts
        have the same mean, which says nothing of how much prompts differ.
    """
    names, index = np.unique(prompts, return_inverse=True)
    if len(names) < 2:
        return float("nan"), float("nan")
    counts = np.bincount(index).astype(np.float64)
    mean = float(np.mean(values))
    residuals: NDArray[np.float64] = np.bincount(index, weights=np.asarray(values) - mean).astype(np.float64)
    error = standard_error(values, prompts)
    if not error > 1e-12 * float(np.abs(values).max()):
        return float("nan"), float("nan")
    reach = float(stdtrit(len(names) - 1, (1 + LEVEL) / 2))
    low, high = -reach, reach
    drawn = np.concatenate(list(_studentised(residuals, counts))) if 2 < len(names) <= MOST_PROMPTS else np.empty(0)
    if len(drawn):
        level = _bootstrap_level(len(names))
        first, last = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])
        low, high = min(low, -float(last)), max(high, -float(first))
    return mean + low * error, mean + high * error


def interval_of(
    statistic: Callable[[NDArray[np.float64]], float], values: NDArray[np.float64], prompts: NDArray[np.str_]
) -> tuple[float, float]:
    """Returns the 95 % confidence interval of a function of means, such as the hypervolume of the mean front.

    It is `mean_interval` of the jackknife's pseudo-values n f(mean) - (n - 1) f(mean without prompt p), one for each
    of n prompts (Efron and Tibshirani 1993, chapter 11). Their mean is f(mean) less its bias to first order. For the
    plain mean they are the values themselves. With more than 500 prompts, 500 groups of prompts stand for prompts.
    `python -m benchmarks.intervals` measures how often the interval holds the true value; docs/reports.md has the
    numbers.

    Args:
        statistic: f, a function of the mean over fronts, an array of shape (k,).
        values: k values for each front, shape (n, k).
        prompts: the prompt of each front, shape (n,).

    Returns:
        The lower and the upper end. Both are NaN if there are fewer than two prompts, or if f is not a number for all
        prompts but one.
    """
    names, index = np.unique(prompts, return_inverse=True)
    names, index = names[:MOST_GROUPS], index % MOST_GROUPS
    n = len(names)
    if n < 2:
        return float("nan"), float("nan")
    total, counts = values.sum(axis=0), np.bincount(index)
    sums = np.zeros((n, values.shape[1]))
    np.add.at(sums, index, values)
    all_prompts = statistic(total / len(values))
    without = [statistic((total - sums[p]) / (len(values) - counts[p])) for p in range(n)]
    pseudo = n * all_prompts - (n - 1) * np.array(without)
    return mean_interval(pseudo, names) if np.isfinite(pseudo).all() else (float("nan"), float("nan"))


def standard_error(values: NDArray[np.float64], prompts: NDArray[Any]) -> float:
    """Returns the standard error of the mean of `values` with prompts as units, or NaN for fewer than two prompts.

    With one front for each of n prompts it is s / sqrt(n), where s is the standard deviation with n - 1 in its
    denominator.
    """
    names, index = np.unique(prompts, return_inverse=True)
    n = len(names)
    if n < 2:
        return float("nan")
    residuals = np.bincount(index, weights=np.asarray(values) - np.mean(values))
    return float(np.sqrt(n / (n - 1) * (residuals**2).sum()) / len(values))


def _bootstrap_level(prompts: int) -> float:
    """Returns 97 % for up to 10 prompts, and for more a level that falls to 95 %.

    At 95 % the interval held the mean of 6 to 10 exponential values in only 93 % of the draws.
    """
    return LEVEL + 0.02 * min(1.0, 10 / prompts)


def _studentised(residuals: NDArray[np.float64], counts: NDArray[np.float64]) -> Iterator[NDArray[np.float64]]:
    """Yields (mean of a draw - mean) / standard error of the draw, without draws whose prompts are all equal.

    The standard error is at least `LEAST_ERROR` times that of all prompts.

    Args:
        residuals: for each prompt the sum of its values minus the mean of all values.
        counts: for each prompt the number of its values.
    """
    n = len(residuals)
    random = np.random.default_rng(0)
    smallest = 1e-12 * float(np.abs(residuals).max())
    least = LEAST_ERROR * float(np.sqrt(n / (n - 1) * (residuals**2).sum()))
    for _ in range(0, RESAMPLES, _AT_ONCE):
        drawn = random.integers(n, size=(_AT_ONCE, n))
        total, count = residuals[drawn], counts[drawn]
        size = count.sum(axis=1)
        mean = total.sum(axis=1) / size
        spread = np.sqrt(n / (n - 1) * ((total - mean[:, None] * count) ** 2).sum(axis=1))
        differs = spread > smallest
        yield mean[differs] * size[differs] / np.maximum(spread[differs], least)


def interval_note(prompts: int) -> str:
    """Returns a sentence on how far the interval of `mean_interval` can be trusted for this number of prompts."""
    if prompts < 2:
        return "One prompt does not tell how much prompts differ, so there is no interval."
    simulated = max(n for n in COVERAGE if n <= prompts)
    normal, exponential, lognormal = COVERAGE[simulated]
    return (
        f"In simulations with {simulated} prompts, the 95 % interval held the true mean in {normal:g} % of the draws "
        f"of normally distributed values, and in {exponential:g} % (exponential) and {lognormal:g} % (lognormal) of "
        "the draws of skewed ones."
    )
