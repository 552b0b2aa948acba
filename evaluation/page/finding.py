"""The title of the page, and the sentence that says what was found."""

import numpy as np
import pandas as pd

from evaluation.measures.hypervolume import HypervolumeTable
from evaluation.page.text import format_number, listed, plural
from evaluation.reading.comparison import UNGUIDED, Comparison
from evaluation.statistics.bootstrap import mean_interval

ALONE = "the model alone"


def title_of(comparison: Comparison) -> str:
    """Returns a title that names the guided rewards, such as "Colorfulness against compressibility"."""
    names = [reward.replace("_", " ") for reward in comparison.guided]
    title = " against ".join(names) if len(names) == 2 else listed(names)
    return title[:1].upper() + title[1:]


def finding(comparison: Comparison, volumes: HypervolumeTable) -> str:
    """Returns one sentence on the hypervolume of the best method, and on what became of the held-out rewards.

    The best method is compared with the second best one, if there are several guided ones, or else with the unguided
    model. Both have the same prompts and seeds, so the interval is that of the mean of their differences.
    """
    means = dict(zip(volumes.by_label["label"], volumes.by_label["hypervolume"].astype(float), strict=True))
    guided = [label for label in comparison.labels if comparison.method_of(label) != UNGUIDED]
    order = sorted(guided or comparison.labels, key=lambda label: -means[label])
    best, base = order[0], comparison.unguided_label(order[0])
    row = volumes.by_label[volumes.by_label["label"] == best].iloc[0]
    if len(order) > 1:
        text = f"{best} reached the largest mean hypervolume of {len(order)} {_kind(comparison)}, "
        text += f"{_times(means[best], means[order[1]])} that of {order[1]}{_certainty(volumes, best, order[1])}"
    elif base is not None and base != best:
        differences = _differences(volumes, best, base)
        text = f"{best} reached a larger hypervolume than {ALONE} on {int((differences > 0).sum())} of "
        text += f"{_fronts(row)}: {_times(means[best], means[base])} its mean{_certainty(volumes, best, base)}"
    else:
        text = f"{ALONE.capitalize() if best == base else best} reached a mean hypervolume of "
        text += f"{format_number(float(row['hypervolume']))} on {_fronts(row)}{_interval(row)}"
    return f"{text}{_held_out(comparison, best, base)}."


def _kind(comparison: Comparison) -> str:
    return "methods" if len(comparison.runs) == 1 else "runs and methods"


def _fronts(row: pd.Series) -> str:
    return plural(int(row["prompts"]), "prompt" if row["prompts"] == row["texts"] else "front")


def _times(value: float, other: float) -> str:
    return f"{value / other:.2f} times" if other > 0 else f"{format_number(float(value))} against 0 of"


def _interval(row: pd.Series) -> str:
    known = row["low"] == row["low"]
    return f" (95 % interval {format_number(row['low'])} to {format_number(row['high'])})" if known else ""


def _differences(volumes: HypervolumeTable, label: str, other: str) -> pd.Series:
    table = volumes.by_prompt.pivot(index="prompt_id", columns="label", values="hypervolume")
    return table[label] - table[other]


def _certainty(volumes: HypervolumeTable, label: str, other: str) -> str:
    """Says whether the 95 % interval of the mean difference excludes 0."""
    differences = _differences(volumes, label, other)
    texts = volumes.by_prompt.drop_duplicates("prompt_id").set_index("prompt_id")["text_id"]
    low, high = mean_interval(differences.to_numpy(), texts[differences.index].to_numpy(dtype=str))
    if np.isnan(low):
        return " (how certain this is cannot be told)"
    shown = f"95 % interval of the difference: {format_number(low, 3)} to {format_number(high, 3)}"
    return f" ({shown}{', so it may be chance' if low <= 0 <= high else ''})"


def _held_out(comparison: Comparison, label: str, base: str | None) -> str:
    """Says how far the mean of each held-out reward moved against the unguided model, over all weightings."""
    if base is None or base == label:
        return ""
    moved = {}
    for reward in comparison.held_out:
        change = comparison.points_of(label)[reward].mean() - comparison.points_of(base)[reward].mean()
        if change == change:
            moved[reward] = change
    said = [
        f"{reward} {'rose' if change > 0 else 'fell'} by {format_number(abs(change), 2)}"
        for reward, change in moved.items()
    ]
    if not said:
        return ""
    return f"; the held-out {said[0]}" if len(said) == 1 else f"; of the held-out rewards, {listed(said, 3)}"
