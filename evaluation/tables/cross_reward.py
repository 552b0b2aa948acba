"""Held-out rewards by method and weighting, beside the model alone: the paper's Tables 1, 2 and 3."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from evaluation.errors import TableError
from evaluation.reading.comparison import UNGUIDED, Comparison
from evaluation.statistics.bootstrap import mean_interval
from evaluation.tables.model import MISSING, Cell, Head, Table, name_cell, number_cell
from evaluation.tables.words import base_name, decimals, label_names, labels_in_order, reward_name, rewards_name

Weights = tuple[float, ...]


def cross_reward(comparison: Comparison) -> Table:
    """Returns the table: a block for each held-out reward, a row for each guided label, a column for each weighting.

    A number is the mean over prompts and seeds. It is marked as a drop if the 95 % interval of its difference from the
    unguided model, prompt by prompt, is below 0.

    Raises:
        TableError: there is no held-out reward, or no guided method.
    """
    guided = [label for label in labels_in_order(comparison) if comparison.method_of(label) != UNGUIDED]
    if not comparison.held_out or not guided:
        raise TableError(
            "a cross-reward table needs held-out rewards and a guided method, and the runs have "
            f"{'no guided method' if comparison.held_out else 'no held-out reward'}. Set rewards.held_out and run "
            "again."
        )
    columns = _columns(comparison, guided)
    names = label_names(comparison)
    rows: list[list[Cell]] = []
    rules: list[int] = []
    for reward in comparison.held_out:
        rules.append(len(rows))
        base = comparison.unguided_label(guided[0])
        digits = decimals([abs(v) for v in comparison.points.groupby(["label", "weight_index"])[reward].mean()])
        for label in guided:
            title = _title(comparison, reward, base, digits) if len(rows) == rules[-1] else ""
            cells = [_cell(comparison, label, reward, weights, digits) for weights in columns]
            rows.append([name_cell(title, reward), name_cell(names[label]), *cells])
    heads = [Head("Cross-reward"), Head("Method"), *(_head(weights) for weights in columns)]
    return Table(
        "cross_reward",
        f"Held-out rewards by weighting, guided by {rewards_name(comparison.guided)}",
        [heads],
        rows,
        names=2,
        rules=rules,
        notes=[f"Means over {comparison.points['text_id'].nunique()} prompts; higher is better."],
    )


def _columns(comparison: Comparison, guided: Sequence[str]) -> list[Weights]:
    """Returns all weightings: for two rewards in the order of the first weight, else in the order of the runs."""
    points = comparison.points[comparison.points["label"].isin(guided)]
    found = dict.fromkeys(_key(weights) for weights in points.sort_values("weight_index")["weights"])
    return sorted(found) if len(comparison.guided) == 2 else list(found)


def _key(weights: Sequence[float]) -> Weights:
    return tuple(round(float(w), 6) for w in weights)


def _head(weights: Weights) -> Head:
    if len(weights) == 2:
        return Head(f"w\u2081 = {weights[0]:.3g}", latex=f"$w_1 = {weights[0]:.3g}$")
    return Head("(" + ", ".join(f"{w:.3g}" for w in weights) + ")")


def _title(comparison: Comparison, reward: str, base: str | None, digits: int) -> str:
    if base is None:
        return reward_name(reward)
    mean = float(comparison.points_of(base)[reward].mean())
    return f"{reward_name(reward)} ({base_name(comparison, base)}: {number_cell(mean, digits).text})"


def _cell(comparison: Comparison, label: str, reward: str, weights: Weights, digits: int) -> Cell:
    own = comparison.points_of(label)
    own = own[[_key(row) == weights for row in own["weights"]]].set_index("prompt_id")
    if own.empty or own[reward].isna().all():
        return Cell(MISSING)
    return number_cell(float(own[reward].mean()), digits, drop=_dropped(comparison, label, own, reward))


def _dropped(comparison: Comparison, label: str, own: pd.DataFrame, reward: str) -> bool:
    base = comparison.unguided_label(label)
    if base is None:
        return False
    means = comparison.points_of(base).groupby("prompt_id")[reward].mean()
    differences = (own[reward] - means.loc[own.index]).to_numpy(dtype=np.float64)
    return mean_interval(differences, own["text_id"].to_numpy(dtype=str))[1] < 0
