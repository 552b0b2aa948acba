"""The Grafana dashboard uses only metrics that we export, and only tags that they have."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from actors.telemetry.prometheus import METRICS

DASHBOARD = json.loads((Path(__file__).parents[3] / "docs" / "grafana.json").read_text(encoding="utf-8"))
NAME = re.compile(r"\bray_(srsoup_\w+)")
HISTOGRAM_SUFFIX = re.compile(r"_(bucket|sum|count)$")


def metric_of(name: str) -> str:
    """The metric behind a name in a query: a histogram has three series."""
    base = HISTOGRAM_SUFFIX.sub("", name)
    return base if METRICS.get(base, METRICS["srsoup_actors"]).kind == "histogram" else name


def expressions() -> Iterator[tuple[str, str]]:
    """The title and the query of every panel and of every variable of the dashboard."""
    for panel in DASHBOARD["panels"]:
        for target in panel.get("targets", []):
            yield panel["title"], target["expr"]
    for variable in DASHBOARD["templating"]["list"]:
        if variable["type"] == "query":
            yield variable["name"], variable["definition"]


def tags_of(expression: str) -> set[str]:
    """The tags that a query selects by or groups by."""
    selected = re.findall(r"(\w+)\s*(?:=~|!~|!=|=)\s*\"", expression)
    grouped = [tag for group in re.findall(r"\bby \(([^)]*)\)", expression) for tag in re.split(r",\s*", group)]
    return {*selected, *grouped}


def common_tags(expression: str) -> set[str]:
    """The tags that all metrics in a query have."""
    names = [metric_of(name) for name in NAME.findall(expression)]
    buckets = {"le"} if "_bucket" in expression else set[str]()
    return set.intersection(*(set(METRICS[name].tags) for name in names)) | buckets


@pytest.mark.parametrize(("title", "expression"), [*expressions()])
def test_a_query_uses_metrics_and_tags_that_exist(title: str, expression: str) -> None:
    names = {metric_of(name) for name in NAME.findall(expression)}
    assert names and names <= set(METRICS)
    assert tags_of(expression) <= common_tags(expression)


def test_every_metric_is_on_the_dashboard() -> None:
    assert {metric_of(name) for _, expr in expressions() for name in NAME.findall(expr)} == set(METRICS)


def test_every_query_selects_one_run_and_legends_use_tags_that_exist() -> None:
    for panel in DASHBOARD["panels"]:
        for target in panel.get("targets", []):
            assert target["expr"].count('run="$run"') == len(NAME.findall(target["expr"])), panel["title"]
            assert set(re.findall(r"{{(\w+)}}", target["legendFormat"])) <= common_tags(target["expr"])


def test_ids_are_unique_and_panels_do_not_overlap() -> None:
    panels: list[dict[str, Any]] = DASHBOARD["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    squares = [
        (x, y)
        for position in (panel["gridPos"] for panel in panels)
        for x in range(position["x"], position["x"] + position["w"])
        for y in range(position["y"], position["y"] + position["h"])
    ]
    assert len(set(squares)) == len(squares) and max(x for x, _ in squares) < 24


def test_every_variable_in_a_query_is_defined() -> None:
    used = {name for _, expr in expressions() for name in re.findall(r"\$(\w+)", expr)} - {"__rate_interval"}
    assert used <= {variable["name"] for variable in DASHBOARD["templating"]["list"]}
