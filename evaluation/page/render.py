"""Builds the HTML page from the tables and figures. Prompts are untrusted text, so the template escapes them."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd
import yaml

from evaluation.measures.bootstrap import interval_note
from evaluation.measures.costs import SECONDS, CostTable
from evaluation.measures.fronts import weight_name
from evaluation.measures.hypervolume import HypervolumeTable
from evaluation.measures.savings import saving
from evaluation.page.pictures import picture
from evaluation.reading.comparison import Comparison, RunData

# The page shows the fronts and images of this many prompts; its numbers are over all prompts.
SHOWN = 24


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
    """The figures of the page: the mean fronts, the fronts of prompts, the held-out rewards, and the overlaps.

    Attributes:
        colours: the colour of each label in all figures.
    """

    colours: Mapping[str, str]
    mean: Sequence[Plot]
    prompts: Sequence[Plot]
    held_out: Sequence[Plot]
    overlap: Sequence[Plot]


def render_page(
    comparison: Comparison,
    volumes: HypervolumeTable,
    below_all: HypervolumeTable,
    costs: CostTable,
    extremes: pd.DataFrame,
    plots: Plots,
) -> str:
    """Returns the HTML of the page, which contains everything that it shows.

    Args:
        volumes, below_all: hypervolume from the reference point of the report, and from a point below every image.
    """
    shown = comparison.all_prompts.head(SHOWN)
    return (
        _environment()
        .get_template("report.html.j2")
        .render(
            title=", ".join(dict.fromkeys(run.name for run in comparison.runs)),
            comparison=comparison,
            colours=plots.colours,
            plots=plots,
            volumes=volumes,
            by_label=_records(volumes.by_label),
            below_all=below_all if below_all.reference != volumes.reference else None,
            below_by_label={row["label"]: row for row in _records(below_all.by_label)},
            volume_rows=_volume_rows(comparison, volumes),
            savings={label: saving(comparison, label) for label in comparison.labels},
            grids=[_grid(comparison, label, shown) for label in comparison.labels],
            scores=[_scores(comparison, label) for label in comparison.labels],
            extremes=_extremes(comparison, extremes),
            parts=[name.removeprefix("seconds_") for name in SECONDS[1:]],
            cost_rows=_cost_rows(comparison, costs),
            costs_of={label: _costs_of(costs, label) for label in comparison.labels},
            failures=_records(comparison.failures),
            configurations=[_configuration(run) for run in comparison.runs],
            unfinished=comparison.unfinished,
            left_out=[row for row in _records(comparison.fronts) if row["left_out"]],
            not_compared=set(comparison.left_out["prompt_id"]) - set(comparison.points["prompt_id"]),
            interval_note=interval_note(int(volumes.by_label["texts"].iloc[0])),
            total_prompts=len(comparison.all_prompts),
            shown=len(shown),
        )
    )


def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["number"] = format_number
    environment.filters["score"] = format_score
    environment.globals["mean_and_std"] = format_mean_and_std
    return environment


def _grid(comparison: Comparison, label: str, shown: pd.DataFrame) -> dict[str, Any]:
    """Returns the images of one label: one column for each weighting, one row for each prompt on the page."""
    own = comparison.all_points[comparison.all_points["label"] == label]
    columns = own.drop_duplicates("weight_index").sort_values("weight_index")
    rows = []
    for prompt_id, prompt in shown.itertuples(index=False):
        mine = {row["weight_index"]: row for row in _records(own[own["prompt_id"] == prompt_id])}
        cells = [_cell(comparison, mine.get(i)) for i in columns["weight_index"]]
        if any(cells):
            rows.append({"prompt": prompt, "cells": cells})
    return {"label": label, "columns": _headings(columns), "rows": rows, "weighted": _weighted(columns)}


def _cell(comparison: Comparison, row: dict[str, Any] | None) -> dict[str, Any] | None:
    if row is None:
        return None
    scores = [(reward, float(row[reward])) for reward in comparison.rewards if pd.notna(row[reward])]
    return {"picture": picture(row["image"]), "scores": scores, "seed": int(row["seed"])}


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


def format_number(value: float | None, digits: int = 4) -> str:
    """Writes whole numbers with thousands separators, and others with a few significant digits."""
    if value is None or value != value:
        return "\u2013"
    if float(value).is_integer():
        text = f"{int(value):,}"
    else:
        text = f"{value:,.0f}" if abs(value) >= 10_000 else f"{value:.{digits}g}"
    return text.replace("-", "\u2212", 1) if text.startswith("-") else text


def format_score(value: float) -> str:
    """Writes a score with few digits, so that several fit under an image."""
    return format_number(value, 3) if abs(value) >= 100 else f"{value:.2f}".replace("-", "\u2212")


def format_mean_and_std(mean: float, std: float) -> str:
    """Writes mean ± std, both rounded to the second significant digit of the standard deviation."""
    if not std > 0:
        return f"{format_number(mean)} ± {format_number(std, 2)}"
    digits = max(0, 1 - math.floor(math.log10(std)))
    return f"{mean:,.{digits}f} ± {std:,.{digits}f}".replace("-", "\u2212")
