"""How many times less one method costs than another for the same hypervolume."""

from collections.abc import Sequence
from typing import Any

import pandas as pd

from evaluation.errors import TableError
from evaluation.measures.efficiency import COSTS
from evaluation.reading.comparison import Comparison
from evaluation.tables.model import MISSING, Cell, Head, Table, interval_cell, name_cell, number_cell
from evaluation.tables.volumes import STATED
from evaluation.tables.words import decimals, label_names, method_name, rewards_name

NOTE = (
    "The cost at which the method reaches the hypervolume is interpolated between its runs, on the logarithm of the "
    "cost. \u2265: the method's cheapest run is as good already. Not reached: none of its runs is as good. In "
    "brackets: the 95 % interval over prompts."
)


def ratio_table(comparison: Comparison, ratios: pd.DataFrame) -> Table:
    """Returns the table of `measures.efficiency.cost_ratios` from the stated point: a row for each run compared with.

    Raises:
        TableError: there are not two guided methods that make queries.
    """
    own = ratios[ratios["reference"] == STATED]
    if own.empty:
        raise TableError(
            "an equal-quality ratio needs two guided methods that make queries. Give the runs of a sweep of budgets."
        )
    names = label_names(comparison)
    own = _in_order(own, [comparison.method_of(label) for label in names])
    digits = decimals(own["hypervolume"])
    rows: list[list[Cell]] = []
    rules: list[int] = []
    for (kind, method, compared), group in own.groupby(["kind", "method", "compared_with"], sort=False):
        found = {row["cost"]: row for row in group.to_dict("records")}
        first = not rows or (rows[-1][0].value, rows[-1][1].value) != (kind, method)
        rules += [len(rows)] if first else []
        titles = [str(kind), method_name(str(method))] if first else ["", ""]
        rows.append(
            [
                name_cell(titles[0], str(kind)),
                name_cell(titles[1], str(method)),
                name_cell(names[str(compared)], str(compared)),
                number_cell(float(group["hypervolume"].iloc[0]), digits),
                *(_cell(found.get(cost)) for cost in COSTS),
            ]
        )
    heads = ["Hypervolume", "Method", "compared with", "at hypervolume", *(f"times fewer {cost}" for cost in COSTS)]
    return Table(
        "cost_ratios",
        f"How many times less a method costs for the same hypervolume, guided by {rewards_name(comparison.guided)}",
        [[Head(head) for head in heads]],
        rows,
        names=3,
        rules=rules,
        notes=[NOTE],
    )


def _in_order(ratios: pd.DataFrame, methods: Sequence[str]) -> pd.DataFrame:
    """Returns the ratios by kind, and of each kind by method in this order."""
    places = {method: place for place, method in reversed(list(enumerate(methods)))}
    by_method = ratios.sort_values("method", key=lambda column: column.map(places), kind="stable")
    return by_method.sort_values("kind", kind="stable")


def _cell(row: dict[Any, Any] | None) -> Cell:
    if row is None:
        return Cell(MISSING)
    if row["status"] == "not reached":
        return Cell("not reached")
    if row["status"] == "at most":
        return Cell(f"\u2265 {row['ratio']:.2f}", row["ratio"])
    return interval_cell(row["ratio"], row["low"], row["high"], 2)
