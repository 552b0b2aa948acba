"""The overlap of the denoising distributions, by step, which justifies soup steps (Appendix B, Figure 8)."""

import pandas as pd

from evaluation.reading.comparison import Comparison

QUARTILES = ("overlap_q25", "overlap_q50", "overlap_q75")
COLUMNS = ("label", "exemplar", "weight_index", "step", "timestep", "phase", *QUARTILES, "fronts")


def overlap_table(comparison: Comparison) -> pd.DataFrame:
    """Returns the overlap of each weighting's denoising distribution with that of each exemplar, by step.

    The overlap in the latent entry d is the Bhattacharyya coefficient BC_d = exp(-(mu_d - c_d)^2 / (8 sigma^2)), in
    0..1; an exemplar's overlap with itself is 1. The table has one row for each label, exemplar (named by its guided
    reward), weight_index and step, with the timestep and the phase of the step. Its quartiles are those over the
    entries, averaged over `fronts` prompts and seeds. Steps without exemplars have no row.
    """
    steps = comparison.steps.dropna(subset=["reward", *QUARTILES])
    steps = steps.rename(columns={"reward": "exemplar"})
    groups = steps.groupby(["label", "exemplar", "weight_index", "step"], sort=False)
    table = groups[list(QUARTILES)].mean()
    table[["timestep", "phase"]] = groups[["timestep", "phase"]].first()
    table["fronts"] = groups["key"].nunique()
    table = table.reset_index()
    table["label"] = pd.Categorical(table["label"], comparison.labels)
    table["exemplar"] = pd.Categorical(table["exemplar"], comparison.guided)
    table = table.sort_values(["label", "exemplar", "weight_index", "step"]).reset_index(drop=True)
    return table.astype({"label": str, "exemplar": str})[list(COLUMNS)]
