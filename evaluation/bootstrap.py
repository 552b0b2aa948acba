"""The uncertainty of a mean over prompts: percentile bootstrap (Efron and Tibshirani 1993, chapter 13)."""

import numpy as np
from numpy.typing import NDArray

LEVEL = 0.95
RESAMPLES = 10_000


def mean_interval(values: NDArray[np.float64], prompts: NDArray[np.str_]) -> tuple[float, float]:
    """Returns the 95 % confidence interval of the mean of `values`.

    The prompts are drawn with replacement 10,000 times, always from seed 0; the interval holds the central 95 % of
    the means of these draws. A prompt is drawn with all its fronts, because the fronts of several seeds of one prompt
    are not independent.

    Args:
        values: one value for each front, shape (n,).
        prompts: the prompt of each front, shape (n,).

    Returns:
        The lower and the upper end of the interval; both are NaN if there are fewer than two prompts.
    """
    names, index = np.unique(prompts, return_inverse=True)
    if len(names) < 2:
        return float("nan"), float("nan")
    totals, counts = np.bincount(index, weights=values), np.bincount(index)
    drawn = np.random.default_rng(0).integers(len(names), size=(RESAMPLES, len(names)))
    means = totals[drawn].sum(axis=1) / counts[drawn].sum(axis=1)
    low, high = np.quantile(means, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)
