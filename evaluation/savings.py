"""How many queries the soup saves against weighted sum, from counts wherever there are counts."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from evaluation.run_data import Comparison

SOUP = "srsoup"
WEIGHTED_SUM = "weighted_sum"


@dataclass(frozen=True)
class Saving:
    """Queries a prompt with the soup, counted, and without it; `was_counted`: so was the second number."""

    counted: int
    without: int
    was_counted: bool

    @property
    def share(self) -> float:
        """Share of the queries that are not asked, 0 to 1."""
        return 1 - self.counted / self.without


def formula(config: Mapping[str, Any], soup_steps: int) -> int | None:
    """Queries a prompt, N M (T (L - M + 1) - K (L - M)); None where a one-hot weight is not in the list.

    T steps, K = `soup_steps` of them shared, N candidates, M guided rewards, L weights.
    """
    rows = [tuple(float(w) for w in row) for row in config["weights"]]
    rewards, weights = len(config["rewards"]["guided"]), len(rows)
    one_hots = {tuple(float(i == m) for i in range(rewards)) for m in range(rewards)}
    if not one_hots <= set(rows):
        return None
    steps = config["steps"]
    return int(config["queries"] * rewards * (steps * (weights - rewards + 1) - soup_steps * (weights - rewards)))


def saving(comparison: Comparison, label: str) -> Saving | None:
    """What a label of SRSoup saves, or None where nothing sound can be said.

    The weighted sum of the same run was counted: its count. Else the formula at K = 0, but only if at the
    run's own K it gives exactly what was counted for every prompt.
    """
    if comparison.method(label) != SOUP:
        return None
    counted = _count(comparison, label)
    run = comparison.run(label)
    if not counted:
        return None
    beside = [other for other in comparison.labels_of(run) if comparison.method(other) == WEIGHTED_SUM]
    without = _count(comparison, beside[0]) if beside else None
    if without:
        return Saving(counted, without, True)
    try:
        here, bare = formula(run.config, run.config["soup"]["steps"]), formula(run.config, 0)
    except (KeyError, TypeError):
        return None
    return Saving(counted, bare, False) if bare and here == counted else None


def _count(comparison: Comparison, label: str) -> int | None:
    """The queries that every prompt took, or None where prompts differ."""
    counts = comparison.costs.loc[comparison.costs["label"] == label, "queries"].unique()
    return int(counts[0]) if len(counts) == 1 else None
