"""Queries and time of one prompt by the number of soup steps: the paper's Table 4."""

from collections.abc import Mapping
from typing import Any

from evaluation.errors import TableError
from evaluation.reading.comparison import UNGUIDED, Comparison
from evaluation.tables.model import Cell, Head, Table, name_cell, number, number_cell
from evaluation.tables.words import labels_in_order, method_name, rewards_name, setting_heads, settings


def queries_and_time(comparison: Comparison) -> Table:
    """Returns the table: a column for each guided label, with counted queries and mean ± standard deviation of seconds.

    The columns of SRSoup come first, from the largest K on.

    Raises:
        TableError: there is no guided method.
    """
    # Nobody counted the queries of imported images.
    counted = set(comparison.costs.dropna(subset=["queries"])["label"])
    labelled = [label for label in labels_in_order(comparison) if label in counted]
    guided = [label for label in labelled if comparison.method_of(label) != UNGUIDED]
    methods = dict.fromkeys(comparison.method_of(label) for label in guided)
    if not methods:
        raise TableError("a table of queries needs a guided method whose queries were counted, and the runs have none.")
    top, below, labels = [Head("Method")], [Head("")], []
    for method in sorted(methods, key=lambda name: name != "srsoup"):
        heads = setting_heads(comparison, [x for x in guided if comparison.method_of(x) == method], always=("K",))
        found = {label: settings(comparison, label) for label in heads}
        own = sorted(heads, key=lambda label: [-_number(found[label].get(name)) for name in ("K", "N", "n")])
        top.append(Head(method_name(method), span=len(own)))
        below += [heads[label] for label in own]
        labels += own
    costs = comparison.costs.groupby("label")
    queries, seconds = costs["queries"].mean(), costs["seconds_total"]
    unit, name = time_unit(float(seconds.mean()[labels].max()))
    times = [_time(seconds.mean()[label] / unit, seconds.std(ddof=0)[label] / unit) for label in labels]
    config = comparison.run_of(labels[0]).config
    rows = [
        [name_cell("#Query"), *(number_cell(float(queries[label]), 0, thousands=True) for label in labels)],
        [name_cell(f"Time ({name})"), *times],
    ]
    return Table(
        "queries_and_time",
        f"Reward queries and time of one prompt, guided by {rewards_name(comparison.guided)}",
        [top, below],
        rows,
        notes=[
            f"{_settings(config)} in the first column. Queries are counted. "
            f"Time is mean \u00b1 standard deviation over {len(comparison.prompts)} fronts."
        ],
    )


def time_unit(seconds: float) -> tuple[float, str]:
    """Returns the unit in which times up to this one are printed, in seconds, and its name."""
    return (60.0, "min") if seconds >= 60 else (1.0, "s")


def _settings(config: Mapping[str, Any]) -> str:
    """Returns N, T and L of a run; imported images do not say the first two."""
    known = {"N": config.get("queries"), "T": config.get("steps"), "L": len(config["weights"])}
    return ", ".join(f"{name} = {value}" for name, value in known.items() if value)


def _number(value: int | str | None) -> int:
    return value if isinstance(value, int) else 0


def _time(mean: float, deviation: float) -> Cell:
    return Cell(f"{number(mean, 1)} \u00b1 {number(deviation, 1)}", mean)
