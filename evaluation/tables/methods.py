"""Every two methods on the same prompts: difference with interval, wins, and corrected test."""

from collections.abc import Hashable
from typing import Any

import pandas as pd

from evaluation.errors import TableError
from evaluation.reading.comparison import Comparison
from evaluation.tables.model import Cell, Head, Table, interval_cell, name_cell, number_cell
from evaluation.tables.words import decimals, label_names, rewards_name


def method_table(comparison: Comparison, pairs: pd.DataFrame) -> Table:
    """Returns the table of `measures.methods.compare_methods`: a block for each reference point, a row for each pair.

    Raises:
        TableError: there is only one method.
    """
    if pairs.empty:
        raise TableError("a comparison of methods needs two methods or two runs. Name a second one in `method`.")
    names = label_names(comparison)
    rows: list[list[Cell]] = []
    rules: list[int] = []
    for reference, own in pairs.groupby("reference", sort=False):
        rules.append(len(rows))
        digits = decimals(own["difference"])
        for row in own.to_dict("records"):
            title = str(reference) if len(rows) == rules[-1] else ""
            first, second = (name_cell(names[row[which]], row[which]) for which in ("first", "second"))
            rows.append([name_cell(title, str(reference)), first, second, *_cells(row, digits)])
    heads = [
        "Reference point", "First", "Second", "Difference [95 % interval]", "Wins\u2013ties\u2013losses", "Win rate",
        "p", "p (Holm)",
    ]  # fmt: skip
    return Table(
        "methods",
        f"Hypervolume of the first method minus the second, guided by {rewards_name(comparison.guided)}",
        [[Head(head) for head in heads]],
        rows,
        names=3,
        rules=rules,
        notes=_notes(pairs),
    )


def _cells(row: dict[Hashable, Any], digits: int) -> list[Cell]:
    score = f"{row['wins']}\u2013{row['ties']}\u2013{row['losses']}"
    return [
        interval_cell(row["difference"], row["low"], row["high"], digits),
        Cell(score, score),
        Cell(f"{100 * row['win_rate']:.0f} %", row["win_rate"]),
        _p_cell(row["p"]),
        _p_cell(row["p_holm"]),
    ]


def _notes(pairs: pd.DataFrame) -> list[str]:
    prompts = int(pairs["prompts"].iloc[0])
    test = "every assignment of signs is tried" if pairs["exact"].all() else "20,000 assignments of signs are drawn"
    notes = [
        f"Means of each prompt's hypervolume, paired over {prompts:,} prompts, which are the units. p is that of a "
        f"two-sided sign-flip test ({test}). Holm's correction is for the pairs of one reference point."
    ]
    if prompts <= 5:
        counted = "One prompt" if prompts == 1 else f"{prompts} prompts"
        notes.append(f"{counted} cannot give a p below {2.0 ** (1 - prompts):g}, whatever the difference.")
    return notes


def _p_cell(p: float) -> Cell:
    return Cell("< 0.0001", p) if p < 1e-4 else number_cell(p, 4)
