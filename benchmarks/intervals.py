"""How often the report's confidence intervals hold the true value: `python -m benchmarks.intervals`.

Values are drawn from distributions with a known mean, for each prompt anew. An interval that claims 95 % should hold
the true value in 95 % of the draws. There are three kinds of intervals: of a mean over prompts (and so of the mean
difference of two methods), of the hypervolume of the mean front, and of an equal-quality ratio of queries.
"""

import argparse
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evaluation.measures.efficiency import cost_to_reach
from evaluation.measures.hypervolume import hypervolume
from evaluation.statistics.bootstrap import interval_of, mean_interval

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


# Six weightings of two rewards on a quarter of a circle, and the point from which their hypervolume is measured.
ANGLES = np.linspace(0, np.pi / 2, 6)
FRONT = 3 + 2 * np.stack([np.sin(ANGLES), np.cos(ANGLES)], axis=1)
CORNER = np.array([2.0, 2.0])
# The budgets of the paper's Figure 1. The first method needs RATIO times fewer queries than the second.
BUDGETS = np.array([[3_000, 5_400, 7_800, 10_200, 12_600], [3_000, 5_500, 8_000, 10_500, 13_000]], dtype=np.float64)
RATIO, AT = 1.8, 2


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


def of_front(mean: Values) -> float:
    """Returns the hypervolume of a mean front (12,)."""
    return hypervolume(mean.reshape(FRONT.shape), CORNER).value


def of_ratio(mean: Values) -> float:
    """Returns the logarithm of how many times fewer queries the first method needs for the second one's AT-th front."""
    first, second = mean.reshape(BUDGETS.shape)
    reach = cost_to_reach(BUDGETS[0], first, float(second[AT]))
    return math.log(BUDGETS[1, AT] / reach.cost) if reach.status == "interpolated" else math.nan


def draw_fronts(distribution: Distribution, random: np.random.Generator, prompts: int) -> Values:
    """Returns fronts whose mean is FRONT; a prompt shifts all weightings of a reward, and each by itself."""
    of_prompt, own = (
        distribution.draw(random, prompts * k * 2).reshape(prompts, k, 2) - distribution.mean for k in (1, len(FRONT))
    )
    return (FRONT + 0.3 * of_prompt + 0.3 * own).reshape(prompts, -1)


def draw_sweeps(distribution: Distribution, random: np.random.Generator, prompts: int) -> Values:
    """Returns hypervolumes of each prompt, method and budget, whose mean is linear in the logarithm of the budget."""
    means = np.log(BUDGETS * np.array([[RATIO], [1.0]]))
    of_prompt, own = (
        distribution.draw(random, prompts * k).reshape(prompts, -1) - distribution.mean for k in (1, means.size)
    )
    return means.reshape(-1) + 0.3 * of_prompt + 0.15 * own


# Name -> how values are drawn, the function of their mean, and its true value.
FUNCTIONS: Mapping[str, tuple[Callable[..., Values], Callable[[Values], float], float]] = {
    "mean front": (draw_fronts, of_front, of_front(FRONT.reshape(-1))),
    "ratio": (draw_sweeps, of_ratio, math.log(RATIO)),
}


def covered_function(name: str, distribution: Distribution, prompts: int, draws: int, seed: int = 0) -> float:
    """Returns the share of draws whose interval holds the true value of a function of means; NaN if none had one."""
    draw, function, truth = FUNCTIONS[name]
    random, names = np.random.default_rng(seed), np.array([f"p{i}" for i in range(prompts)])
    held = known = 0
    for _ in range(draws):
        low, high = interval_of(function, draw(distribution, random, prompts), names)
        known += not math.isnan(low)
        held += low <= truth <= high
    return held / known if known else math.nan


def main() -> None:
    """Print the coverage of the report's intervals, and of the percentile bootstrap of a mean, as two tables."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--draws", type=int, default=4_000, help="draws for each number in the first table")
    parser.add_argument("--function-draws", type=int, default=500, help="draws for each number in the second table")
    arguments = parser.parse_args()
    heads = [f"{name} {distribution}" for name in ("report,", "percentile,") for distribution in DISTRIBUTIONS]
    _print_head(heads)
    for n in PROMPTS:
        (ours,), (percentile,) = (table(of, [n], arguments.draws) for of in (mean_interval, percentile_interval))
        print(f"| {n} |", " | ".join(f"{value:.1f}" for value in (*ours, *percentile)), "|", flush=True)
    print()
    _print_head([f"{name}, {distribution}" for name in FUNCTIONS for distribution in DISTRIBUTIONS])
    for n in PROMPTS:
        shares = [
            100 * covered_function(name, distribution, n, arguments.function_draws)
            for name in FUNCTIONS
            for distribution in DISTRIBUTIONS.values()
        ]
        print(f"| {n} |", " | ".join(f"{share:.1f}" for share in shares), "|", flush=True)


def _print_head(heads: Sequence[str]) -> None:
    print("| prompts |", " | ".join(heads), "|")
    print("|---" * (1 + len(heads)) + "|")


if __name__ == "__main__":
    main()
