"""The hypervolumes of each method: mean over prompts and of the mean front, from both reference points."""

from collections.abc import Mapping

from evaluation.measures.hypervolume import HypervolumeTable, reference_warnings
from evaluation.reading.comparison import Comparison
from evaluation.tables.model import Cell, Head, Table, interval_cell, name_cell, number_cell
from evaluation.tables.words import decimals, label_names, reward_name, rewards_name

STATED, BELOW_ALL = "stated point", "below all images"
KINDS = {
    "mean over prompts": ("hypervolume", "low", "high"),
    "of the mean front": ("of_mean_front", "mean_front_low", "mean_front_high"),
}


def volume_table(comparison: Comparison, volumes: Mapping[str, HypervolumeTable]) -> Table:
    """Returns the table: a row for each label; each hypervolume with its 95 % interval, and the costs of a front."""
    costs = comparison.costs.groupby("label")[["queries", "decodes", "seconds_total"]].mean()
    names = label_names(comparison)
    found = {reference: table.by_label.set_index("label") for reference, table in volumes.items()}
    columns = [(kind, reference) for kind in KINDS for reference in volumes]
    digits = {(k, r): decimals(found[r][KINDS[k][0]]) for k, r in columns}
    rows: list[list[Cell]] = []
    for label in names:
        cells = [
            interval_cell(
                float(found[r][KINDS[k][0]][label]),
                float(found[r][KINDS[k][1]][label]),
                float(found[r][KINDS[k][2]][label]),
                digits[k, r],
            )
            for k, r in columns
        ]
        own = [float(costs[name][label]) for name in costs.columns]
        spent = [number_cell(own[0], 0, thousands=True), number_cell(own[1], 0, thousands=True), number_cell(own[2], 1)]
        rows.append([name_cell(names[label], label), *cells, *spent])
    top = [Head(""), *(Head(f"Hypervolume, {kind}", span=len(volumes)) for kind in KINDS), Head("Costs", span=3)]
    below = [
        Head("Method"),
        *(Head(f"from {reference}" if reference == STATED else reference) for _, reference in columns),
    ]
    return Table(
        "hypervolume",
        f"Hypervolume with 95 % intervals, and what a front costs, guided by {rewards_name(comparison.guided)}",
        [top, [*below, Head("queries"), Head("decodes"), Head("seconds")]],
        rows,
        notes=_notes(comparison, volumes),
    )


def _notes(comparison: Comparison, volumes: Mapping[str, HypervolumeTable]) -> list[str]:
    texts = comparison.points["text_id"].nunique()
    notes = [
        f"Over {texts:,} prompts and {len(comparison.prompts):,} fronts of each method. The mean over prompts and the "
        "hypervolume of the mean front are different numbers. The paper's Figures 1 and 10 very probably show that of "
        "the mean front, from the stated point."
    ]
    for reference, table in volumes.items():
        point = ", ".join(f"{reward_name(reward)} = {value:g}" for reward, value in table.reference.values.items())
        notes.append(f"{reference[0].upper()}{reference[1:]}: {point} ({table.reference.origin}).")
    return notes + reference_warnings(comparison, volumes[STATED].reference)
