"""What the explorer of the page draws: every prompt with its scores, and every weighting that the slider can take."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from evaluation.measures.hypervolume import HypervolumeTable
from evaluation.measures.savings import SOUP
from evaluation.page.pictures import Front, front_name, front_of
from evaluation.reading.comparison import UNGUIDED, Comparison

# Digits of a score on the page; the CSV files have all of them.
DIGITS = 6
# A row of weights, and its number among equal rows.
Weighting = tuple[tuple[float, ...], int]


@dataclass(frozen=True)
class Explorer:
    """The explorer's data.

    Attributes:
        data: what the script of the page reads, for `json_for_page`.
        fronts: for each prompt, for each label, the front whose images are shown, or None if there is none.
    """

    data: Mapping[str, Any]
    fronts: Sequence[Sequence[Front | None]]


def explorer(
    comparison: Comparison, volumes: HypervolumeTable, colours: Mapping[str, str], side: int, full: bool
) -> Explorer:
    """Returns what the explorer draws.

    Args:
        volumes: hypervolume from the reference point of the report.
        colours: the colour of each label.
        side: the longest side of an image on the page, in pixels.
        full: whether the saved images lie in the folder `images` beside the page.
    """
    points = comparison.all_points.sort_values("weight_index", kind="stable")
    positions = _positions(comparison, points)
    labels = [_label(comparison, points, label, positions, colours) for label in comparison.labels]
    columns = (volumes.by_prompt[name] for name in ("prompt_id", "label", "hypervolume"))
    volume = {(prompt_id, label): float(value) for prompt_id, label, value in zip(*columns, strict=True)}
    folders = {run.name: run.path for run in comparison.runs}
    groups = dict(tuple(points.groupby(["prompt_id", "label"], sort=False)))
    prompts, fronts = [], []
    for prompt_id, text in comparison.all_prompts.itertuples(index=False):
        own = [groups.get((prompt_id, label)) for label in comparison.labels]
        names = [
            None if rows is None else front_of(folders[rows["run"].iloc[0]], str(rows["key"].iloc[0])) for rows in own
        ]
        found = [_rounded(volume.get((prompt_id, label))) for label in comparison.labels]
        prompts.append({"text": text, "volumes": found, **_prompt(own, names, comparison.rewards, full)})
        fronts.append(names)
    data = {
        "guided": list(comparison.guided),
        "heldOut": list(comparison.held_out),
        "units": [comparison.unit_of(reward) for reward in comparison.rewards],
        "positions": [list(weights) for weights, _ in positions],
        "labels": labels,
        "left": next((n for n, label in enumerate(comparison.labels) if comparison.method_of(label) == SOUP), 0),
        "prompts": prompts,
        "side": side,
        "full": full,
    }
    return Explorer(data, fronts)


def json_for_page(data: Mapping[str, Any]) -> str:
    """Returns JSON that no parser of HTML takes for markup: only ASCII, without <, > and &."""
    text = json.dumps(data, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _positions(comparison: Comparison, points: pd.DataFrame) -> list[Weighting]:
    """Returns the weightings of all guided labels, each with its number among equal ones of the same label.

    With two rewards they are in the order of the first weight, otherwise in the order of the configuration.
    """
    found = dict[Weighting, None]()
    for label in comparison.labels:
        rows = points[points["label"] == label].drop_duplicates("weight_index")
        if comparison.method_of(label) != UNGUIDED:
            found.update(dict.fromkeys(_numbered(rows["weights"].tolist())))
    if not found:
        # The unguided model alone: its samples are numbered.
        return [((), number) for number in range(points["weight_index"].nunique())]
    return sorted(found) if len(comparison.guided) == 2 else list(found)


def _numbered(weights: Sequence[Sequence[float]]) -> list[Weighting]:
    rows = [tuple(row) for row in weights]
    return [(row, rows[:number].count(row)) for number, row in enumerate(rows)]


def _label(
    comparison: Comparison, points: pd.DataFrame, label: str, positions: Sequence[Weighting], colours: Mapping[str, str]
) -> dict[str, Any]:
    rows = points[points["label"] == label].drop_duplicates("weight_index")
    unguided = comparison.method_of(label) == UNGUIDED
    base = comparison.unguided_label(label)
    return {
        "name": label,
        "colour": colours[label],
        "unguided": unguided,
        "base": None if base is None else comparison.labels.index(base),
        "weights": None if unguided else [[_rounded(w) for w in row] for row in rows["weights"]],
        "at": _samples_at(len(rows), positions)
        if unguided
        else _nearest(_numbered(rows["weights"].tolist()), positions),
    }


def _samples_at(samples: int, positions: Sequence[Weighting]) -> list[int]:
    """Returns the sample of the unguided model that is shown at each position, from the first to the last."""
    last = max(len(positions) - 1, 1)
    return [round(number * (samples - 1) / last) for number in range(len(positions))]


def _nearest(own: Sequence[Weighting], positions: Sequence[Weighting]) -> list[int]:
    """Returns the weighting that is shown at each position: the same one, or else the nearest."""
    weights = np.array([row for row, _ in own])
    places = {weighting: number for number, weighting in enumerate(own)}
    return [
        places.get(position, int(((weights - np.array(position[0])) ** 2).sum(axis=1).argmin()))
        for position in positions
    ]


def _prompt(
    fronts: Sequence[pd.DataFrame | None], names: Sequence[Front | None], rewards: Sequence[str], full: bool
) -> dict[str, Any]:
    """Returns what the explorer shows of a prompt: where it is from, and its front of each label, if there is one."""
    present = [rows for rows in fronts if rows is not None]
    return {
        "source": _text(present[0]["prompt_source"].iloc[0]),
        "style": _text(present[0]["prompt_style"].iloc[0]),
        "compared": all(bool(rows["compared"].iloc[0]) for rows in present),
        "fronts": [
            None if rows is None or name is None else _front(rows, rewards, front_name(name) if full else None)
            for rows, name in zip(fronts, names, strict=True)
        ],
    }


def _front(rows: pd.DataFrame, rewards: Sequence[str], name: str | None) -> dict[str, Any]:
    values = rows[list(rewards)].to_numpy(dtype=float)
    front: dict[str, Any] = {
        "values": [[_rounded(value) for value in row] for row in values],
        "seeds": [str(seed) for seed in rows["seed"]],  # JavaScript has no integers of 64 bits
    }
    return front if name is None else front | {"name": name}


def _rounded(value: float | None) -> float | None:
    """Rounds to a few significant digits. NaN, for a held-out reward that only another run scored, becomes None."""
    return None if value is None or not np.isfinite(value) else float(f"{value:.{DIGITS}g}")


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None
