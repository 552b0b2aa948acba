"""What guidance gained, and what it cost in held-out rewards, beside best of n."""

from collections.abc import Hashable
from typing import Any

import pandas as pd

from evaluation.errors import TableError
from evaluation.reading.comparison import Comparison
from evaluation.tables.model import Cell, Head, Table, interval_cell, name_cell, number_cell
from evaluation.tables.words import label_names, reward_name, rewards_name


def held_out_table(comparison: Comparison, rows_of: pd.DataFrame) -> Table:
    """Returns the table of `measures.over_optimisation`: a block for each label and held-out reward.

    Raises:
        TableError: the runs have no unguided model, no held-out reward, or no guided method.
    """
    if rows_of.empty:
        raise TableError(
            "a table of over-optimisation needs the method unguided, a guided method and a held-out reward. Add them "
            "to `method` and `rewards.held_out`."
        )
    names = label_names(comparison)
    rows_of = rows_of.sort_values("label", key=lambda column: column.map(list(names).index), kind="stable")
    rows: list[list[Cell]] = []
    rules: list[int] = []
    for (label, reward), own in rows_of.groupby(["label", "held_out"], sort=False):
        rules.append(len(rows))
        for row in own.to_dict("records"):
            first = len(rows) == rules[-1]
            titles = [names[str(label)], reward_name(str(reward))] if first else ["", ""]
            rows.append([name_cell(titles[0], str(label)), name_cell(titles[1], str(reward)), *_cells(row)])
    heads = ["Method", "Held-out reward", "Weights", "Gain of the guided", "Change of the held-out", "Best of n"]
    return Table(
        "over_optimisation",
        f"Gain of the guided rewards and change of the held-out ones, guided by {rewards_name(comparison.guided)}",
        [[Head(head) for head in heads]],
        rows,
        names=3,
        rules=rules,
        notes=[
            "In standard deviations of the unguided model's images, with 95 % intervals over prompts. A marked change "
            "goes with a gain whose interval is above 0.",
            "Best of n: the change that best of n has at the same gain and weights, if runs of it are compared and "
            "reach that gain.",
        ],
    )


def _cells(row: dict[Hashable, Any]) -> list[Cell]:
    return [
        name_cell("(" + ", ".join(f"{w:.3g}" for w in row["weights"]) + ")"),
        interval_cell(row["gain"], row["gain_low"], row["gain_high"], 2),
        interval_cell(row["change"], row["change_low"], row["change_high"], 2, bool(row["over_optimised"])),
        number_cell(row["best_of_change"], 2),
    ]
