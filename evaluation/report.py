"""`write_report`: figures, CSV tables and one self-contained HTML page for one or several runs."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd
import yaml
from markupsafe import Markup

from evaluation import figures
from evaluation.costs import CostTable, cost_table
from evaluation.errors import ReportError
from evaluation.fronts import mark_fronts, mean_over_prompts, weight_name
from evaluation.hypervolume import HypervolumeTable, hypervolume_table, reference_point
from evaluation.run_data import UNGUIDED, Comparison, load_runs

# Fronts and images on the page are those of the first prompts; every number is over all of them.
SHOWN = 24


@dataclass(frozen=True)
class Plot:
    """One figure of the page: its SVG, the prompt it shows, and the name of its files."""

    svg: Markup
    prompt: str
    file: str


def write_report(runs: Sequence[Path], out: Path) -> Path:
    """Write `index.html`, figures (PNG and SVG) and CSV tables of these runs into `out`.

    Returns:
        The path of `index.html`, which holds everything it shows and opens without network.

    Raises:
        ReportError: no run in a folder, no finished prompt, guided rewards that differ, or `out` cannot
            be written.
    """
    comparison = load_runs(runs)
    volumes = hypervolume_table(comparison, reference_point(comparison))
    costs = cost_table(comparison)
    points = mark_fronts(comparison.points, comparison.guided)
    try:
        out.mkdir(parents=True, exist_ok=True)
        _write_tables(out, comparison, points, volumes, costs)
        page = _render(out, comparison, points, volumes, costs)
        (out / "index.html").write_text(page, encoding="utf-8", errors="replace")
    except OSError as error:
        raise ReportError(f"{out}: the report cannot be written ({error}). Free it or name another.") from error
    return out / "index.html"


def _write_tables(
    out: Path, comparison: Comparison, points: pd.DataFrame, volumes: HypervolumeTable, costs: CostTable
) -> None:
    columns = [
        "label",
        "run",
        "method",
        "prompt_id",
        "prompt",
        "weight_index",
        "weights",
        *comparison.rewards,
    ]
    points[[*columns, "on_front"]].to_csv(out / "front.csv", index=False)
    reference = {f"reference_{reward}": value for reward, value in volumes.reference.values.items()}
    volumes.by_prompt.assign(**reference).to_csv(out / "hypervolume.csv", index=False)
    costs.rows.to_csv(out / "costs.csv", index=False)


def _render(
    out: Path, comparison: Comparison, points: pd.DataFrame, volumes: HypervolumeTable, costs: CostTable
) -> str:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["number"] = number
    environment.filters["score"] = lambda value: f"{value:.2f}" if abs(value) < 100 else f"{value:,.0f}"
    unguided = [label for label in comparison.labels if comparison.method(label) == UNGUIDED]
    colours = figures.palette(comparison.labels, unguided)
    shown = comparison.prompts.head(SHOWN)
    return environment.get_template("report.html.j2").render(
        title=", ".join(dict.fromkeys(run.name for run in comparison.runs)),
        comparison=comparison,
        colours=colours,
        volumes=volumes,
        by_label=_records(volumes.by_label),
        volume_rows=_volume_rows(comparison, volumes),
        mean_plots=_mean_plots(out, comparison, colours, unguided),
        prompt_plots=_prompt_plots(out, comparison, points, colours, unguided),
        grids=[_grid(comparison, label, shown) for label in comparison.labels],
        scores=[_scores(comparison, label) for label in comparison.labels],
        cost_rows=_cost_rows(comparison, costs),
        costs_of={label: _costs_of(costs, label) for label in comparison.labels},
        failures=_records(comparison.failures),
        configurations=[_configuration(run.document, str(run.name)) for run in comparison.runs],
        total_prompts=len(comparison.prompts),
        shown=len(shown),
    )


def _mean_plots(out: Path, comparison: Comparison, colours: dict[str, str], unguided: Sequence[str]) -> list[Plot]:
    means = mean_over_prompts(comparison.points, comparison.guided)
    plots = []
    for axes in figures.pairs(comparison.guided):
        name = "front_mean" if len(comparison.guided) <= 2 else "front_mean-" + "-".join(axes)
        svg = figures.save(figures.draw(means, axes, colours, unguided, small=False), out / name)
        plots.append(Plot(Markup(svg), "", name))
    return plots


def _prompt_plots(
    out: Path, comparison: Comparison, points: pd.DataFrame, colours: dict[str, str], unguided: Sequence[str]
) -> list[Plot]:
    plots = []
    for prompt_id, prompt in comparison.prompts.head(SHOWN).itertuples(index=False):
        rows = points[points["prompt_id"] == prompt_id]
        for axes in figures.pairs(comparison.guided):
            extra = "" if len(comparison.guided) <= 2 else "-" + "-".join(axes)
            name = f"front_{prompt_id}{extra}"
            svg = figures.save(figures.draw(rows, axes, colours, unguided, small=True), out / name)
            plots.append(Plot(Markup(svg), prompt, name))
    return plots


def _grid(comparison: Comparison, label: str, shown: pd.DataFrame) -> dict[str, Any]:
    """The images of one label: columns are weights, rows the shown prompts."""
    own = comparison.points[comparison.points["label"] == label]
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
    data = base64.b64encode(row["image"]).decode("ascii")
    scores = [(reward, float(row[reward])) for reward in comparison.rewards if pd.notna(row[reward])]
    return {"image": f"data:image/png;base64,{data}", "scores": scores, "seed": int(row["seed"])}


def _headings(columns: pd.DataFrame) -> list[str]:
    pairs = zip(columns["weights"], columns["weight_index"], strict=True)
    return [weight_name(None, int(i)) if w is None else "(" + ", ".join(f"{x:.3g}" for x in w) + ")" for w, i in pairs]


def _weighted(columns: pd.DataFrame) -> bool:
    return columns["weights"].iloc[0] is not None


def _scores(comparison: Comparison, label: str) -> dict[str, Any]:
    """Mean and standard deviation over prompts of every reward, by weight."""
    own = comparison.points[comparison.points["label"] == label]
    columns = own.drop_duplicates("weight_index").sort_values("weight_index")
    groups = own.groupby("weight_index")
    rows = []
    for heading, index in zip(_headings(columns), columns["weight_index"], strict=True):
        values = groups.get_group(index)
        rows.append((heading, [(values[r].mean(), values[r].std(ddof=0)) for r in comparison.rewards]))
    return {"label": label, "rows": rows, "weighted": _weighted(columns)}


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


def _costs_of(costs: CostTable, label: str) -> dict[str, float]:
    own = costs.rows[costs.rows["label"] == label].set_index("quantity")["mean"]
    speed = costs.speed.set_index("label")["candidates_per_second"][label]
    return {"queries": own["queries"], "decodes": own["decodes"], "speed": float(speed)}


def _configuration(document: Any, name: str) -> dict[str, Any]:
    text = yaml.safe_dump(document["config"], sort_keys=False, allow_unicode=True)
    versions = dict(document.get("versions") or {})
    return {"name": name, "yaml": text, "versions": versions, "model": document.get("model_revision", "")}


def _records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(key): value for key, value in row.items()} for row in frame.to_dict("records")]


def number(value: float | None, digits: int = 4) -> str:
    """A number for a reader: whole numbers with separators, others to a few significant digits."""
    if value is None or value != value:
        return "\u2013"
    if float(value).is_integer():
        return f"{int(value):,}"
    return f"{value:,.0f}" if abs(value) >= 10_000 else f"{value:.{digits}g}"
