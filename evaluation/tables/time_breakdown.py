"""The time of one prompt and its parts by queries, for each pair of guided rewards: the paper's Table 6."""

from collections.abc import Mapping, Sequence

import pandas as pd

from evaluation.errors import TableError
from evaluation.reading.comparison import UNGUIDED, Comparison
from evaluation.tables.model import MISSING, Cell, Head, Table, name_cell, number_cell
from evaluation.tables.queries_and_time import time_unit
from evaluation.tables.words import method_name, rewards_name

Row = tuple[str, int]
# The paper counts the look-ahead as decoding: it is the first half of making an image of a candidate.
PARTS: Mapping[str, tuple[str, ...]] = {
    "Total": ("seconds_total",),
    "Decode": ("seconds_lookahead", "seconds_decode"),
    "Reward": ("seconds_reward",),
}


def time_breakdown(comparisons: Sequence[Comparison]) -> Table:
    """Returns the table: a row for each guided method and number of queries, three columns for each set of rewards.

    Args:
        comparisons: the runs, those with the same guided rewards together.

    Raises:
        TableError: there is no guided method.
    """
    means = [_means(comparison) for comparison in comparisons]
    rows = sorted({row for found in means for row in found}, key=lambda row: (row[0] != "srsoup", *row))
    if not rows:
        raise TableError("a table of times needs a guided method whose queries were counted, and the runs have none.")
    unit, name = time_unit(max(float(own["Total"]) for found in means for own in found.values()))
    heads = [Head("Method"), Head("#Queries"), *(Head(rewards_name(c.guided), span=len(PARTS)) for c in comparisons)]
    below = [Head(""), Head(""), *(Head(part) for _ in comparisons for part in PARTS)]
    methods = [method for method, _ in rows]
    rules = [methods.index(method) for method in dict.fromkeys(methods)]
    return Table(
        "time_breakdown",
        f"Time of one prompt ({name}) and its parts",
        [heads, below],
        [
            [
                name_cell(method_name(method, short=True) if number in rules else "", method),
                number_cell(queries, 0),
                *(_cell(found.get((method, queries)), part, unit) for found in means for part in PARTS),
            ]
            for number, (method, queries) in enumerate(rows)
        ],
        rules=rules,
        notes=[
            "Decode is the look-ahead and the VAE decoder together. Seconds of parts that run at the same time are "
            "added, so the parts can be longer than the total."
        ],
    )


def _means(comparison: Comparison) -> dict[Row, pd.Series]:
    """Returns the mean over fronts of each part, by method and queries. Nobody counted those of imported images."""
    costs = comparison.costs[(comparison.costs["method"] != UNGUIDED) & comparison.costs["queries"].notna()]
    parts = costs.assign(**{part: costs[list(columns)].sum(axis=1) for part, columns in PARTS.items()})
    parts["number"] = parts.groupby("label")["queries"].transform("mean").round().astype(int)
    groups = parts.groupby(["method", "number"])
    return {(str(own["method"].iloc[0]), int(own["number"].iloc[0])): own[list(PARTS)].mean() for _, own in groups}


def _cell(found: pd.Series | None, part: str, unit: float) -> Cell:
    return Cell(MISSING) if found is None else number_cell(float(found[part]) / unit, 1)
