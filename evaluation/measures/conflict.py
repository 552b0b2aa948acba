"""Where rewards conflict: the cosines of their search gradients, by step and weighting."""

import numpy as np
import pandas as pd

from evaluation.reading.comparison import Comparison

COLUMNS = ["label", "reward", "other", "weight_index", "step", "timestep", "phase", "cosine", "opposed", "fronts"]


def conflict_table(comparison: Comparison) -> pd.DataFrame:
    """Returns the cosine of the search gradients of every two guided rewards, by label, weighting and step.

    1 means that both rewards pull in the same direction, -1 that what raises one lowers the other. For unrelated
    rewards it is 0 with a standard deviation of 1/sqrt(N - 1) in each front, where N is the number of candidates.

    The table has one row for each label, pair of rewards, weighting and step: `cosine`, the mean over `fronts` prompts
    and seeds, and `opposed`, the share of these whose cosine is negative. A weighting in which one of the two rewards
    has no weight has no row, and neither have runs of versions that did not record the cosines.
    """
    steps = comparison.steps
    if "gradient_cosines" not in steps or steps["gradient_cosines"].isna().all():
        return pd.DataFrame(columns=COLUMNS)
    parts = []
    for run in comparison.runs:
        # The list is in the order of the run's own guided rewards, which another run may have in another order.
        own = steps[(steps["run"] == run.name) & steps["gradient_cosines"].notna() & steps["reward"].notna()]
        names = {name: number for number, name in enumerate(run.guided)}
        for first, other in ((a, b) for a in comparison.guided for b in comparison.guided if a < b):
            rows = own[own["reward"] == first]
            number = names[other]
            cosines = [np.nan if row[number] is None else float(row[number]) for row in rows["gradient_cosines"]]
            parts.append(rows.assign(other=other, cosine=cosines).dropna(subset=["cosine"]))
    found = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()
    if found.empty:
        return pd.DataFrame(columns=COLUMNS)
    found["opposed"] = found["cosine"] < 0
    groups = found.groupby(["label", "reward", "other", "weight_index", "step"], sort=True)
    table = groups[["cosine", "opposed"]].mean()
    table[["timestep", "phase"]] = groups[["timestep", "phase"]].first()
    table["fronts"] = groups["key"].nunique()
    return table.reset_index()[COLUMNS]
