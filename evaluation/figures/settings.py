"""The settings that a sweep varies: K, N and the method of each label, and the budget that each label used."""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

from evaluation.figures.drawn import CannotDraw
from evaluation.measures.hypervolume import hypervolume_table, reference_point
from evaluation.reading.comparison import Comparison

# Keys that change no image of a compared prompt, or that every label of a sweep has of its own.
_FREE = ("name", "output", "method", "seed", "seeds", "soup.steps", "queries", "rewards.held_out")
_FREE_SECTIONS = ("compute", "report", "prompts", "best_of")


def settings(comparison: Comparison) -> pd.DataFrame:
    """Returns label, run, method, K (soup steps; 0 for the weighted sum) and N (candidates) of every label."""
    rows = []
    for label in comparison.labels:
        config, method = comparison.run_of(label).config, comparison.method_of(label)
        soup = (config.get("soup") or {}).get("steps")
        # `auto` is no number of steps.
        soup = soup if isinstance(soup, int) else None
        k = {"srsoup": soup, "unguided_first": soup, "weighted_sum": 0}.get(method)
        rows.append((label, comparison.run_of(label).name, method, k, config.get("queries")))
    return pd.DataFrame(rows, columns=["label", "run", "method", "K", "N"]).astype({"K": "Int64", "N": "Int64"})


def budgets(comparison: Comparison) -> pd.DataFrame:
    """Returns the settings of every label with its costs and its hypervolume.

    The columns besides those of `settings` are queries and seconds, means over fronts; of_mean_front, the hypervolume
    of the mean front; hypervolume, the mean over prompts of the hypervolume of each prompt's front, with the ends low
    and high of its 95 % interval.
    """
    volumes = hypervolume_table(comparison, reference_point(comparison)).by_label
    costs = comparison.costs.groupby("label")[["queries", "seconds_total"]].mean().reset_index()
    costs = costs.rename(columns={"seconds_total": "seconds"})
    volumes = volumes[["label", "of_mean_front", "hypervolume", "low", "high"]]
    table = settings(comparison).merge(costs, on="label", how="left").merge(volumes, on="label", how="left")
    return table.reset_index(drop=True)


def check_same_settings(comparison: Comparison, labels: Iterable[str], figure: str, free: Sequence[str]) -> None:
    """Checks that these labels differ in what the figure varies, and in nothing else that decides an image.

    Args:
        figure: the name of the figure, for the message.
        free: the letters that it varies, for the message.

    Raises:
        CannotDraw: two labels differ in another key.
    """
    first, *others = labels
    base = _fixed(comparison.run_of(first).config)
    for label in others:
        own = _fixed(comparison.run_of(label).config)
        differing = sorted(key for key in base.keys() | own.keys() if base.get(key) != own.get(key))
        if differing:
            raise CannotDraw(
                f"{figure} compares runs that differ in {' and '.join(free)} only, but {first!r} and {label!r} also "
                f"differ in {', '.join(differing[:5])}. fix: give the runs of one sweep."
            )


def _fixed(config: Mapping[str, Any]) -> dict[str, str]:
    found = dict(_flat(config))
    return {
        key: value for key, value in found.items() if key not in _FREE and key.split(".")[0] not in _FREE_SECTIONS
    }  # fmt: skip


def _flat(mapping: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, str]]:
    for key, value in mapping.items():
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", json.dumps(value, sort_keys=True)
