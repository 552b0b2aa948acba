"""The queries that the soup saves compared with weighted sum, from counted queries if there are any."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from evaluation.measures.fronts import one_hot_reward
from evaluation.reading.comparison import Comparison

SOUP = "srsoup"
WEIGHTED_SUM = "weighted_sum"


@dataclass(frozen=True)
class Saving:
    """The queries that the soup saves.

    Attributes:
        with_soup: counted queries per prompt with the soup.
        without_soup: queries per prompt without it.
        both_counted: true if `without_soup` was counted in the same run, false if the formula gave it.
    """

    with_soup: int
    without_soup: int
    both_counted: bool

    @property
    def share(self) -> float:
        """The saved share of the queries, 0 to 1."""
        return 1 - self.with_soup / self.without_soup


def queries_by_formula(config: Mapping[str, Any], soup_steps: int) -> int | None:
    """Returns the queries per prompt, N M (T (L - M + 1) - K (L - M)), or None if a one-hot weighting was not run.

    T is the number of steps, K = `soup_steps` the number of soup steps, N the number of candidates, M the number of
    guided rewards, and L the number of weightings.
    """
    rows = [[float(w) for w in row] for row in config["weights"]]
    rewards, weights = len(config["rewards"]["guided"]), len(rows)
    if not set(range(rewards)) <= {one_hot_reward(row) for row in rows}:
        return None
    steps = config["steps"]
    return int(config["queries"] * rewards * (steps * (weights - rewards + 1) - soup_steps * (weights - rewards)))


def saving(comparison: Comparison, label: str) -> Saving | None:
    """Returns the queries that a label of SRSoup saves, or None if they are not known for certain.

    If weighted sum was run too, its counted queries are used. Otherwise the formula gives them with K = 0, but only if
    with the run's own K it gives exactly the queries that were counted for every prompt.
    """
    if comparison.method_of(label) != SOUP:
        return None
    counted = _count(comparison, label)
    run = comparison.run_of(label)
    if not counted:
        return None
    sums = [other for other in comparison.labels_of(run) if comparison.method_of(other) == WEIGHTED_SUM]
    without_soup = _count(comparison, sums[0]) if sums else None
    if without_soup:
        return Saving(counted, without_soup, True)
    try:
        by_formula = queries_by_formula(run.config, run.config["soup"]["steps"])
        bare = queries_by_formula(run.config, 0)
    except (KeyError, TypeError):
        return None
    return Saving(counted, bare, False) if bare and by_formula == counted else None


def _count(comparison: Comparison, label: str) -> int | None:
    """Returns the queries of each prompt, or None if the prompts differ or nobody counted, as of imported images."""
    counts = comparison.costs.loc[comparison.costs["label"] == label, "queries"].unique()
    return int(counts[0]) if len(counts) == 1 and pd.notna(counts[0]) else None
