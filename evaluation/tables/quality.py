"""Indicators of the fronts and diversity of the images of each method."""

import pandas as pd

from evaluation.measures.diversity import MOST_PROMPTS
from evaluation.reading.comparison import Comparison
from evaluation.tables.model import Cell, Head, Table, name_cell, number_cell
from evaluation.tables.words import label_names, rewards_name


def quality_table(comparison: Comparison, indicators: pd.DataFrame, diversity: pd.DataFrame) -> Table:
    """Returns the table of `measures.methods.indicators` and `measures.diversity.diversity`: a row for each label."""
    names = label_names(comparison)
    merged = indicators.merge(diversity, on="label", validate="one_to_one")
    rows: list[list[Cell]] = []
    found = {row["label"]: row for row in merged.to_dict("records")}
    for label, name in names.items():
        row = found[label]
        values = [row[name] for name in ("igd_plus", "epsilon", "r2", "within_prompt", "between_prompts")]
        rows.append([name_cell(name, label), *(number_cell(value, 4) for value in values)])
    top = [Head(""), Head("Indicators, lower is better", span=3), Head("Diversity (rgb16)", span=2)]
    below = ["Method", "IGD+", "additive epsilon", "R2", "within a prompt", "between prompts"]
    notes = [
        "Indicators are means over fronts, of rewards scaled to 0..1 over all images of this table. The reference "
        "front is the best of all methods, so values of different tables cannot be compared.",
        "Diversity is the mean distance of two images that are averaged down to 16 x 16 RGB, in 0..1: of one prompt "
        "and weighting with different seeds (of any two images of a prompt for the base model), and of two prompts "
        "with one weighting. It knows colours and layout, not content.",
    ]
    used, prompts = int(merged["prompts_used"].iloc[0]), int(merged["prompts"].iloc[0])
    if used < prompts:
        notes.append(f"Diversity is over {used} of the {prompts:,} prompts ({MOST_PROMPTS} at most).")
    caption = f"Indicators of fronts and diversity of images, guided by {rewards_name(comparison.guided)}"
    return Table("quality", caption, [top, [Head(text) for text in below]], rows, notes=notes)
