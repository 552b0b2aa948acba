"""Hypervolume against costs, and how many times fewer queries, decodes or seconds give the same hypervolume."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations, product

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from evaluation.measures.hypervolume import HypervolumeTable, fronts_of, hypervolume
from evaluation.reading.comparison import UNGUIDED, Comparison
from evaluation.statistics.bootstrap import interval_of

Values = NDArray[np.float64]
# The name of a cost in the tables, and its column in `costs`.
COSTS: Mapping[str, str] = {"queries": "queries", "decodes": "decodes", "seconds": "seconds_total"}
MEAN_OVER_PROMPTS, OF_MEAN_FRONT = "mean over prompts", "of the mean front"
KINDS = (MEAN_OVER_PROMPTS, OF_MEAN_FRONT)
BOTH = ("low", "high")
RATIO_COLUMNS = [
    "reference", "kind", "cost", "method", "compared_with", "hypervolume", "cost_of_method", "cost_of_compared",
    "ratio", "low", "high", "status",
]  # fmt: skip


@dataclass(frozen=True)
class Reach:
    """The cost at which a method reaches a hypervolume.

    Attributes:
        cost: the cost, interpolated; for `at most` the smallest cost that was run; NaN for `not reached`.
        status: `interpolated`, or `at most` if the cheapest run is as good already, or `not reached`.
    """

    cost: float
    status: str


def hypervolume_by_cost(comparison: Comparison, volumes: Mapping[str, HypervolumeTable]) -> pd.DataFrame:
    """Returns one row for each label and reference point: mean costs of a front, and both hypervolumes with intervals.

    Args:
        volumes: the hypervolumes from each reference point, by the name of the point.
    """
    costs = comparison.costs.groupby("label")[list(COSTS.values())].mean().rename(columns=_names())
    rows = []
    for (reference, table), label in product(volumes.items(), comparison.labels):
        own = table.by_label.set_index("label").loc[label]
        rows.append(
            {
                "label": label,
                "run": comparison.run_of(label).name,
                "method": comparison.method_of(label),
                "reference": reference,
                **costs.loc[label].to_dict(),
                **own[["hypervolume", *BOTH, "of_mean_front", "mean_front_low", "mean_front_high"]].to_dict(),
            }
        )
    return pd.DataFrame(rows)


def cost_to_reach(costs: Values, volumes: Values, wanted: float) -> Reach:
    """Returns the smallest cost at which a method reaches a hypervolume, along its runs of several budgets.

    Between two runs the hypervolume is taken to be linear in the logarithm of the cost. Nothing is extrapolated. Runs
    of the same cost are one point, the mean of their hypervolumes.

    Args:
        costs, volumes: the cost (> 0) and the hypervolume of each run of the method, in any order, shape (n,).
    """
    budgets, index = np.unique(costs, return_inverse=True)
    means = np.bincount(index, weights=volumes) / np.bincount(index)
    if means[0] >= wanted:
        return Reach(float(budgets[0]), "at most")
    for i in range(1, len(budgets)):
        if means[i] >= wanted:
            share = (wanted - means[i - 1]) / (means[i] - means[i - 1])
            return Reach(
                float(np.exp(np.log(budgets[i - 1]) * (1 - share) + np.log(budgets[i]) * share)), "interpolated"
            )
    return Reach(float("nan"), "not reached")


def cost_ratios(comparison: Comparison, volumes: Mapping[str, HypervolumeTable]) -> pd.DataFrame:
    """Returns how many times less one method costs than a run of another method with the same hypervolume.

    The labels of one method in all runs are its budgets. For each of the other method's budgets, `ratio` is that
    budget's cost divided by the cost at which `method` reaches its hypervolume (`cost_to_reach`). It is NaN if the
    status is `not reached`. If the status is `at most`, the cheapest run of `method` is as good already, so the true
    ratio is that number or more. The interval is that of the logarithm of the ratio, with prompts as units
    (`bootstrap.interval_of`); only interpolated ratios have one. The unguided model has no row, and a method that makes
    no queries has none for queries.
    """
    methods: dict[str, list[str]] = {}
    for label in comparison.labels:
        if comparison.method_of(label) != UNGUIDED:
            methods.setdefault(comparison.method_of(label), []).append(label)
    if len(methods) < 2:
        return pd.DataFrame(columns=RATIO_COLUMNS)
    rows = []
    for (reference, table), kind, cost in product(volumes.items(), KINDS, COSTS):
        sweep = _Sweep(comparison, table, kind, cost)
        spent = {method: [label for label in own if sweep.cost_of(label) > 0] for method, own in methods.items()}
        for method, other in permutations((method for method, own in spent.items() if own), 2):
            for label in sorted(spent[other], key=sweep.cost_of):
                rows.append((reference, kind, cost, method, label, *sweep.ratio(spent[method], label)))
    return pd.DataFrame(rows, columns=RATIO_COLUMNS)


class _Sweep:
    """One hypervolume and one cost of every guided label, as a function of means over fronts."""

    def __init__(self, comparison: Comparison, table: HypervolumeTable, kind: str, cost: str) -> None:
        self._kind = kind
        self._labels = [label for label in comparison.labels if comparison.method_of(label) != UNGUIDED]
        self._corner = table.reference.array(comparison.guided)
        self._volumes = _volumes(comparison, table, kind, self._labels)
        self._ends = np.cumsum([part.shape[1] for part in self._volumes])
        self._costs = _costs(comparison, COSTS[cost], self._labels)
        self.texts = fronts_of(comparison, self._labels[0])[1] if self._labels else np.empty(0, dtype=str)
        self.costs = self._costs.mean(axis=0)

    def cost_of(self, label: str) -> float:
        return float(self.costs[self._labels.index(label)])

    def ratio(self, method: Sequence[str], label: str) -> tuple[float, float, float, float, float, float, str]:
        """Returns hypervolume, cost of the method, cost of the label, ratio, its interval, and the status."""
        values = np.hstack([*self._volumes, self._costs])
        wanted, reach = self._reach(values.mean(axis=0), method, label)
        spent, low, high = self.cost_of(label), float("nan"), float("nan")
        if reach.status == "interpolated":

            def log_ratio(mean: Values) -> float:
                found = self._reach(mean, method, label)[1]
                interpolated = found.status == "interpolated"
                return float(np.log(mean[self._column(label)] / found.cost)) if interpolated else float("nan")

            low, high = np.exp(interval_of(log_ratio, values, self.texts))
        return wanted, reach.cost, spent, spent / reach.cost, float(low), float(high), reach.status

    def _column(self, label: str) -> int:
        return int(self._ends[-1]) + self._labels.index(label)

    def _reach(self, mean: Values, method: Sequence[str], label: str) -> tuple[float, Reach]:
        volumes = np.array([self._volume(mean, other) for other in method])
        wanted = self._volume(mean, label)
        return wanted, cost_to_reach(np.array([mean[self._column(other)] for other in method]), volumes, wanted)

    def _volume(self, mean: Values, label: str) -> float:
        number = self._labels.index(label)
        part = mean[self._ends[number] - self._volumes[number].shape[1] : self._ends[number]]
        return (
            float(part[0]) if len(part) == 1 else hypervolume(part.reshape(-1, len(self._corner)), self._corner).value
        )


def _volumes(comparison: Comparison, table: HypervolumeTable, kind: str, labels: Sequence[str]) -> list[Values]:
    """Returns for each label what the hypervolume is a function of: each front's hypervolume, or its rewards."""
    if kind == OF_MEAN_FRONT:
        return [fronts_of(comparison, label)[0] for label in labels]
    wide = table.by_prompt.pivot(index="prompt_id", columns="label", values="hypervolume").sort_index()
    return [wide[[label]].to_numpy(dtype=np.float64) for label in labels]


def _costs(comparison: Comparison, column: str, labels: Sequence[str]) -> Values:
    """Returns the cost of each front of each label, shape (fronts, labels), in the order of `fronts_of`."""
    names = comparison.points.drop_duplicates(["label", "key"])[["label", "key", "prompt_id"]]
    # The prompt_id of points tells the seeds of a prompt apart, that of costs does not.
    costs = comparison.costs[["label", "key", column]].merge(names, on=["label", "key"], validate="one_to_one")
    wide = costs.pivot(index="prompt_id", columns="label", values=column).sort_index()
    return wide[list(labels)].to_numpy(dtype=np.float64)


def _names() -> dict[str, str]:
    return {column: name for name, column in COSTS.items()}
