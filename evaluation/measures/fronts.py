"""Pareto fronts: the non-dominated points of each prompt, and the mean over prompts of each weighting."""

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray


def non_dominated(points: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Returns for each of n points (n, M) whether no other point dominates it; higher is better.

    Point a dominates point b if a >= b in every reward and a > b in at least one. Equal points do not dominate each
    other.
    """
    values = np.asarray(points, dtype=np.float64)
    at_least = (values[:, None, :] >= values[None, :, :]).all(axis=2)
    above = (values[:, None, :] > values[None, :, :]).any(axis=2)
    return np.asarray(~(at_least & above).any(axis=0))


def split(
    points: pd.DataFrame, names: Sequence[str], rewards: Sequence[str]
) -> Iterator[tuple[int, NDArray[np.int64], NDArray[np.float64]]]:
    """Yields the groups of points that have the same `names`, in the order in which they first appear.

    With many prompts this is much faster than a loop over `groupby`.

    Yields:
        The position of the group's first point, the positions of all of its points, and their rewards (n, M).
    """
    codes = points.groupby(list(names), sort=False).ngroup().to_numpy()
    values = points[list(rewards)].to_numpy(dtype=np.float64)
    order = np.argsort(codes, kind="stable")
    starts = np.flatnonzero(np.diff(codes[order], prepend=-1))
    for places in np.split(order, starts[1:]):
        yield int(places[0]), places, values[places]


def mark_fronts(points: pd.DataFrame, rewards: Sequence[str]) -> pd.DataFrame:
    """Adds the column `on_front`: no sample of the same label and prompt dominates this one."""
    on_front = np.zeros(len(points), dtype=bool)
    for _, places, values in split(points, ["label", "prompt_id"], rewards):
        on_front[places] = non_dominated(values)
    return points.assign(on_front=on_front)


def mean_over_prompts(points: pd.DataFrame, rewards: Sequence[str]) -> pd.DataFrame:
    """Returns the mean of each reward over prompts, by label and weight_index, with `weights` and `prompts`."""
    groups = points.groupby(["label", "weight_index"], sort=False)
    means = groups[list(rewards)].mean()
    means["weights"] = groups["weights"].agg(lambda column: column.iloc[0])
    means["prompts"] = groups.size()
    means = means.reset_index().sort_values(["label", "weight_index"]).reset_index(drop=True)
    return means


def one_hot_reward(weights: Sequence[float] | None) -> int | None:
    """Returns the number of the reward that has all the weight, or None if no reward has.

    Weights up to 1e-6 are rounding, as in a configuration. The unguided model has no weights (None).
    """
    used = [number for number, w in enumerate(weights or ()) if w > 1e-6]
    return used[0] if len(used) == 1 else None


def weight_name(weights: Sequence[float] | None, index: int) -> str:
    """Returns a short name of a weighting: its first weight if it has one or two, else all its weights.

    The unguided model has no weights (None); its samples are named by their number, from 1.
    """
    if weights is None:
        return f"#{index + 1}"
    shown = [f"{w:.3g}" for w in weights]
    return shown[0] if len(shown) <= 2 else "(" + ", ".join(shown) + ")"
