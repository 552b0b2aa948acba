"""What the sections of the page below the explorer show: tables and figures over all compared prompts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
import yaml

from evaluation.measures.costs import SECONDS, CostTable
from evaluation.measures.fronts import weight_name
from evaluation.measures.hypervolume import HypervolumeTable, reference_warnings
from evaluation.measures.savings import saving
from evaluation.reading.comparison import Comparison, RunData
from evaluation.statistics.bootstrap import interval_note


@dataclass(frozen=True)
class Plot:
    """One figure of the page.

    Attributes:
        svg: SVG that `evaluation.figures.plots` made, so the template embeds it without escaping.
        caption: the prompt, the reward or the label of the figure.
    """

    svg: str
    caption: str

    def __html__(self) -> str:
        return self.svg


@dataclass(frozen=True)
class Plots:
    """The figures of the page: the mean fronts, the held-out rewards, and the overlaps.

    Attributes:
        colours: the colour of each label in all figures.
    """

    colours: Mapping[str, str]
    mean: Sequence[Plot]
    held_out: Sequence[Plot]
    overlap: Sequence[Plot]


@dataclass(frozen=True)
class Shown:
    """The tables and figures of the page.

    Attributes:
        volumes, below_all: hypervolume from the reference point of the report, and from a point below every image.
    """

    volumes: HypervolumeTable
    below_all: HypervolumeTable
    costs: CostTable
    extremes: pd.DataFrame
    plots: Plots


def sections(comparison: Comparison, shown: Shown) -> dict[str, Any]:
    """Returns the values of the template for these sections."""
    volumes, below_all, costs, plots = shown.volumes, shown.below_all, shown.costs, shown.plots
    return {
        "comparison": comparison,
        "colours": plots.colours,
        "plots": plots,
        "volumes": volumes,
        "by_label": _records(volumes.by_label),
        "reference_warnings": reference_warnings(comparison, volumes.reference),
        "below_all": below_all if below_all.reference != volumes.reference else None,
        "below_by_label": {row["label"]: row for row in _records(below_all.by_label)},
        "volume_rows": _volume_rows(comparison, volumes),
        "savings": {label: saving(comparison, label) for label in comparison.labels},
        "scores": [_scores(comparison, label) for label in comparison.labels],
        "extremes": _extremes(comparison, shown.extremes),
        "parts": [name.removeprefix("seconds_") for name in SECONDS[1:]],
        "cost_rows": _cost_rows(comparison, costs),
        "costs_of": {label: _costs_of(costs, label) for label in comparison.labels},
        "failures": _records(comparison.failures),
        "configurations": [_configuration(run) for run in comparison.runs],
        "unfinished": comparison.unfinished,
        "left_out": [row for row in _records(comparison.fronts) if row["left_out"]],
        "not_compared": len(set(comparison.left_out["prompt_id"]) - set(comparison.points["prompt_id"])),
        "interval_note": interval_note(int(volumes.by_label["texts"].iloc[0])),
        "total_prompts": len(comparison.all_prompts),
    }


def _headings(columns: pd.DataFrame) -> list[str]:
    pairs = zip(columns["weights"], columns["weight_index"], strict=True)
    return [_heading(w, int(i)) for w, i in pairs]


def _heading(weights: Sequence[float] | None, index: int) -> str:
    """Returns all weights, after their number if the figures use that number."""
    if weights is None:
        return weight_name(None, index)
    shown = "(" + ", ".join(f"{w:.3g}" for w in weights) + ")"
    return shown if len(weights) == 2 else f"{index + 1}: {shown}"


def _weighted(columns: pd.DataFrame) -> bool:
    return columns["weights"].iloc[0] is not None


def _scores(comparison: Comparison, label: str) -> dict[str, Any]:
    """Returns mean and standard deviation over prompts of every reward, by weighting."""
    own = comparison.points_of(label)
    columns = own.drop_duplicates("weight_index").sort_values("weight_index")
    groups = own.groupby("weight_index")
    rows = []
    for heading, index in zip(_headings(columns), columns["weight_index"], strict=True):
        values = groups.get_group(index)
        rows.append((heading, [(values[r].mean(), values[r].std(ddof=0)) for r in comparison.rewards]))
    return {"label": label, "rows": rows, "weighted": _weighted(columns)}


def _extremes(comparison: Comparison, extremes: pd.DataFrame) -> list[dict[str, Any]]:
    """Returns for each guided label the number of prompts with a gain by reward, and the values of every prompt."""
    blocks = []
    for label, own in extremes.groupby("label", sort=False):
        rewards = [reward for reward in comparison.guided if reward in set(own["reward"])]
        gained = [(reward, own[own["reward"] == reward]["gain"]) for reward in rewards]
        found = {(row["prompt_id"], row["reward"]): row for row in _records(own)}
        blocks.append(
            {
                "label": label,
                "rewards": rewards,
                "summary": [(reward, int((gain > 0).sum()), len(gain), float(gain.mean())) for reward, gain in gained],
                "rows": [
                    (prompt, [found.get((prompt_id, reward)) for reward in rewards])
                    for prompt_id, prompt in comparison.prompts.itertuples(index=False)
                    if any((prompt_id, reward) in found for reward in rewards)
                ],
            }
        )
    return blocks


def _volume_rows(comparison: Comparison, volumes: HypervolumeTable) -> list[tuple[str, list[float]]]:
    found = {(row["prompt_id"], row["label"]): row["hypervolume"] for row in _records(volumes.by_prompt)}
    return [
        (prompt, [found.get((prompt_id, label), float("nan")) for label in comparison.labels])
        for prompt_id, prompt in comparison.prompts.itertuples(index=False)
    ]


def _cost_rows(comparison: Comparison, costs: CostTable) -> list[tuple[str, list[dict[str, Any] | None]]]:
    found = {(row["label"], row["quantity"]): row for row in _records(costs.rows)}
    quantities = dict.fromkeys(costs.rows["quantity"])
    return [(name, [found.get((label, name)) for label in comparison.labels]) for name in quantities]


def _costs_of(costs: CostTable, label: str) -> dict[str, Any]:
    own = costs.rows[costs.rows["label"] == label].set_index("quantity")["mean"]
    speed = costs.speed.set_index("label")["candidates_per_second"][label]
    seconds = {name.removeprefix("seconds_"): float(own[name]) for name in SECONDS}
    return {"queries": own["queries"], "decodes": own["decodes"], "speed": float(speed), "seconds": seconds}


def _configuration(run: RunData) -> dict[str, Any]:
    text = yaml.safe_dump(dict(run.config), sort_keys=False, allow_unicode=True)
    versions = {name: version for name, version in (run.document.get("versions") or {}).items() if version}
    return {"name": run.name, "yaml": text, "versions": versions, "model": run.document.get("model_revision", "")}


def _records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(key): value for key, value in row.items()} for row in frame.to_dict("records")]
