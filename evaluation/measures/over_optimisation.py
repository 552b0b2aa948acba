"""Over-optimisation: do the held-out rewards fall while the guided ones rise, and more than for best of n?"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from evaluation.reading.comparison import UNGUIDED, Comparison
from evaluation.statistics.bootstrap import mean_interval

BEST_OF = "best_of"
COLUMNS = [
    "label", "weight_index", "weights", "gain", "gain_low", "gain_high", "held_out", "change", "change_low",
    "change_high", "over_optimised", "best_of_change",
]  # fmt: skip


def over_optimisation(comparison: Comparison) -> pd.DataFrame:
    """Returns for each guided label, weighting and held-out reward what was gained, and what happened to that reward.

    All numbers are in standard deviations of the unguided model's images. `gain` is the mean over fronts of
    sum_m w_m (r_m - u_m) / s_m, where u_m is the mean of the unguided model's images of the same prompt and seed, and
    s_m the standard deviation of all its images. `change` is the same for the held-out reward alone. Both have the
    interval `mean_interval`. `over_optimised` is true if the whole interval of the gain is above 0, and the whole
    interval of the change below 0.

    `best_of_change` is the change that best of n has at the same gain and weighting, if runs with that method are
    compared: on the line from the unguided model (0, 0) through its runs in the order of their gains. It is NaN beyond
    the last of them. Best of n only chooses among the model's own images, so what it loses is the price of the
    correlation between the rewards; what a method loses beyond that, it lost to over-optimisation.

    There is no row without the unguided model, without held-out rewards, or if the unguided images are all equal in a
    reward.
    """
    rows = []
    for label in comparison.labels:
        base = comparison.unguided_label(label)
        if base is not None and comparison.method_of(label) != UNGUIDED:
            rows += _rows(comparison, label, base)
    table = pd.DataFrame(rows, columns=COLUMNS[:-1])
    best_of = [label for label in comparison.labels if comparison.method_of(label) == BEST_OF]
    lines = {key: _line(own) for key, own in table[table["label"].isin(best_of)].groupby(["weights", "held_out"])}
    keys = zip(table["weights"], table["held_out"], strict=True)
    at = [
        np.nan if line is None else float(np.interp(gain, *line, left=np.nan, right=np.nan))
        for gain, line in zip(table["gain"], (lines.get(key) for key in keys), strict=True)
    ]
    return table.assign(best_of_change=np.array(at, dtype=np.float64))[COLUMNS]


def _rows(comparison: Comparison, label: str, base: str) -> list[tuple[object, ...]]:
    unguided = comparison.points_of(base)
    rewards = list(comparison.rewards)
    spread = unguided[rewards].std(ddof=0)
    held_out = [reward for reward in comparison.held_out if spread[reward] > 0]
    if not held_out or (spread[list(comparison.guided)] <= 0).any():
        return []
    means = unguided.groupby("prompt_id")[rewards].mean()
    rows: list[tuple[object, ...]] = []
    for index, own in comparison.points_of(label).groupby("weight_index"):
        weights = tuple(own["weights"].iloc[0])
        texts = own["text_id"].to_numpy(dtype=str)
        shifts = (own.set_index("prompt_id")[rewards] - means.loc[own["prompt_id"]]) / spread
        gains = shifts[list(comparison.guided)].to_numpy(dtype=np.float64) @ _in_order(comparison, label, weights)
        gain_low, gain_high = mean_interval(gains, texts)
        for reward in held_out:
            changes = shifts[reward].to_numpy(dtype=np.float64)
            low, high = mean_interval(changes, texts)
            over = gain_low > 0 and high < 0
            gain, change = float(gains.mean()), float(changes.mean())
            rows.append((label, index, weights, gain, gain_low, gain_high, reward, change, low, high, over))
    return rows


def _in_order(comparison: Comparison, label: str, weights: Sequence[float]) -> NDArray[np.float64]:
    """Returns the weights in the order of the comparison's guided rewards; a run may have another order."""
    by_name = dict(zip(comparison.run_of(label).guided, weights, strict=True))
    return np.array([by_name[reward] for reward in comparison.guided], dtype=np.float64)


def _line(best_of: pd.DataFrame) -> tuple[list[float], list[float]]:
    """Returns the gains and the changes of best of n, from the unguided model on, in the order of the gains."""
    points = sorted({(0.0, 0.0), *zip(best_of["gain"], best_of["change"], strict=True)})
    return [gain for gain, _ in points], [change for _, change in points]
