"""The Grafana dashboard asks for metrics that we export, by tags that they have."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from actors.telemetry.prometheus import METRICS

DASHBOARD = json.loads((Path(__file__).parents[3] / "docs" / "grafana.json").read_text(encoding="utf-8"))
NAME = re.compile(r"\bray_(srsoup_\w+)")
OF_HISTOGRAMS = re.compile(r"_(bucket|sum|count)$")


def metric_of(name: str) -> str:
    base = OF_HISTOGRAMS.sub("", name)
    return base if METRICS.get(base, METRICS["srsoup_actors"]).kind == "histogram" else name


def expressions() -> Iterator[tuple[str, str]]:
    for panel in DASHBOARD["panels"]:
        for target in panel.get("targets", []):
            yield panel["title"], target["expr"]
    for variable in DASHBOARD["templating"]["list"]:
        if variable["type"] == "query":
            yield variable["name"], variable["definition"]


def tags_of(expression: str) -> set[str]:
    """Tags that it selects by, or groups by."""
    selected = re.findall(r"(\w+)\s*(?:=~|!~|!=|=)\s*\"", expression)
    grouped = [tag for group in re.findall(r"\bby \(([^)]*)\)", expression) for tag in re.split(r",\s*", group)]
    return {*selected, *grouped}


def tags_there(expression: str) -> set[str]:
    """Tags that all metrics of an expression have."""
    names = [metric_of(name) for name in NAME.findall(expression)]
    buckets = {"le"} if "_bucket" in expression else set[str]()
    return set.intersection(*(set(METRICS[name].tags) for name in names)) | buckets


@pytest.mark.parametrize(("title", "expression"), [*expressions()])
def test_a_panel_asks_for_what_there_is(title: str, expression: str) -> None:
    names = {metric_of(name) for name in NAME.findall(expression)}
    assert names and names <= set(METRICS)
    assert tags_of(expression) <= tags_there(expression)


def test_every_metric_is_shown() -> None:
    assert {metric_of(name) for _, expr in expressions() for name in NAME.findall(expr)} == set(METRICS)


def test_panels_are_of_one_run_and_name_what_a_legend_can() -> None:
    for panel in DASHBOARD["panels"]:
        for target in panel.get("targets", []):
            assert target["expr"].count('run="$run"') == len(NAME.findall(target["expr"])), panel["title"]
            assert set(re.findall(r"{{(\w+)}}", target["legendFormat"])) <= tags_there(target["expr"])


def test_ids_are_unique_and_panels_do_not_overlap() -> None:
    panels: list[dict[str, Any]] = DASHBOARD["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    cells = [
        (x, y)
        for at in (panel["gridPos"] for panel in panels)
        for x in range(at["x"], at["x"] + at["w"])
        for y in range(at["y"], at["y"] + at["h"])
    ]
    assert len(set(cells)) == len(cells) and max(x for x, _ in cells) < 24


def test_variables_that_are_used_are_there() -> None:
    used = {name for _, expr in expressions() for name in re.findall(r"\$(\w+)", expr)} - {"__rate_interval"}
    assert used <= {variable["name"] for variable in DASHBOARD["templating"]["list"]}
