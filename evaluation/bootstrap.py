"""How sure a mean over prompts is: percentile bootstrap over the prompts (Efron and Tibshirani 1993, chapter 13)."""

import numpy as np
from numpy.typing import NDArray

LEVEL = 0.95
RESAMPLES = 10_000


def mean_interval(values: NDArray[np.float64], prompts: NDArray[np.str_]) -> tuple[float, float]:
    """The interval that holds 95 % of the means of prompts drawn with replacement, always from seed 0.

    Args:
        values: shape (n,), one value a front.
        prompts: shape (n,), the prompt of each; a prompt is drawn with all its fronts, as the seeds of one
            prompt are no independent evidence.

    Returns:
        Low and high; both NaN where there are fewer than two prompts.
    """
    names, index = np.unique(prompts, return_inverse=True)
    if len(names) < 2:
        return float("nan"), float("nan")
    totals, counts = np.bincount(index, weights=values), np.bincount(index)
    drawn = np.random.default_rng(0).integers(len(names), size=(RESAMPLES, len(names)))
    means = totals[drawn].sum(axis=1) / counts[drawn].sum(axis=1)
    low, high = np.quantile(means, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)
