"""How often the confidence interval of a mean over prompts holds the true mean: `python -m benchmarks.intervals`.

Values are drawn from distributions with a known mean, one value for each prompt. An interval that claims 95 % should
hold that mean in 95 % of the draws.
"""

import argparse
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evaluation.measures.bootstrap import mean_interval

Values = NDArray[np.float64]
Interval = Callable[[Values, NDArray[np.str_]], tuple[float, float]]
PROMPTS = (2, 3, 4, 5, 6, 8, 10, 15, 20, 30, 50)


@dataclass(frozen=True)
class Distribution:
    """A distribution of values.

    Attributes:
        mean: its mean.
        draw: returns n independent values.
    """

    mean: float
    draw: Callable[[np.random.Generator, int], Values]


DISTRIBUTIONS: Mapping[str, Distribution] = {
    "normal": Distribution(0.0, lambda random, n: random.normal(size=n)),
    "exponential": Distribution(1.0, lambda random, n: random.exponential(size=n)),
    "lognormal": Distribution(math.exp(0.5), lambda random, n: random.lognormal(0.0, 1.0, size=n)),
}


def percentile_interval(values: Values, prompts: NDArray[np.str_]) -> tuple[float, float]:
    """Returns the central 95 % of the means of resampled values, the interval that earlier reports showed."""
    drawn = np.random.default_rng(0).integers(len(values), size=(4_000, len(values)))
    low, high = np.quantile(values[drawn].mean(axis=1), [0.025, 0.975])
    return float(low), float(high)


def covered(interval: Interval, distribution: Distribution, prompts: int, draws: int, seed: int = 0) -> float:
    """Returns the share of draws of this many prompts whose interval holds the mean of the distribution."""
    random, names = np.random.default_rng(seed), np.array([f"p{i}" for i in range(prompts)])
    held = 0
    for _ in range(draws):
        low, high = interval(distribution.draw(random, prompts), names)
        held += low <= distribution.mean <= high
    return held / draws


def table(interval: Interval, prompts: Sequence[int], draws: int) -> list[list[float]]:
    """Returns for each number of prompts the coverage, in per cent, for each distribution."""
    return [
        [round(100 * covered(interval, distribution, n, draws), 1) for distribution in DISTRIBUTIONS.values()]
        for n in prompts
    ]


def main() -> None:
    """Print the coverage of the interval of the report, and of the percentile bootstrap, as a table."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--draws", type=int, default=4_000, help="draws for each number in the table")
    draws = parser.parse_args().draws
    heads = [f"{name} {distribution}" for name in ("report,", "percentile,") for distribution in DISTRIBUTIONS]
    print("| prompts |", " | ".join(heads), "|")
    print("|---" * (1 + len(heads)) + "|")
    for n in PROMPTS:
        (ours,), (percentile,) = table(mean_interval, [n], draws), table(percentile_interval, [n], draws)
        print(f"| {n} |", " | ".join(f"{value:.1f}" for value in (*ours, *percentile)), "|", flush=True)


if __name__ == "__main__":
    main()
