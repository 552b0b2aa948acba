"""Compares one or several runs: the frames of the fronts that every method of every run has."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from evaluation.errors import ReportError
from evaluation.reading.common_fronts import count_fronts, mark_compared
from evaluation.reading.one_run import RunData as RunData
from evaluation.reading.one_run import _each_seed_apart as _each_seed_apart
from evaluation.reading.one_run import load_run as load_run
from pipeline.records import Location

UNGUIDED = "unguided"


class Progress(NamedTuple):
    """The numbers of fronts of a run: finished, wanted when the run is finished, and failed."""

    run: str
    finished: int
    wanted: int
    failed: int


@dataclass(frozen=True)
class Comparison:
    """Several runs with the same guided rewards.

    Every frame has a column `run`; all but `failures` have a `label`, which stands for one method of one run. The
    frames points, costs and steps have the fronts that are compared, which are those whose prompt and seed every label
    has. So every number that is computed from these frames is over the same prompts and seeds for every label.

    Attributes:
        points: the columns of `RunData.points`. Prompts and seeds are numbered over all runs.
        left_out: the points of all other fronts.
        fronts: label, run, and the numbers of fronts: wanted when the run is finished (NaN if that is not known),
            finished, compared, left_out. A method without finished fronts has a row too.
        by_number: true if the runs have different seeds, so that fronts are paired by the number of their seed.
    """

    runs: tuple[RunData, ...]
    guided: tuple[str, ...]
    held_out: tuple[str, ...]
    labels: tuple[str, ...]
    points: pd.DataFrame
    left_out: pd.DataFrame
    costs: pd.DataFrame
    steps: pd.DataFrame
    failures: pd.DataFrame
    fronts: pd.DataFrame
    by_number: bool

    @property
    def rewards(self) -> tuple[str, ...]:
        """The guided rewards, followed by the held-out ones."""
        return self.guided + self.held_out

    @property
    def prompts(self) -> pd.DataFrame:
        """One row for each compared prompt, with prompt_id and prompt, in alphabetical order of the prompts."""
        return _prompts_of(self.points)

    @property
    def all_points(self) -> pd.DataFrame:
        """The points of all fronts, with a column `compared`."""
        points = [self.points.assign(compared=True), self.left_out.assign(compared=False)]
        return pd.concat(points, ignore_index=True)

    @property
    def all_prompts(self) -> pd.DataFrame:
        """The compared prompts, followed by the other ones."""
        left_out = _prompts_of(self.left_out)
        left_out = left_out[~left_out["prompt_id"].isin(self.points["prompt_id"])]
        return pd.concat([self.prompts, left_out], ignore_index=True)

    @property
    def unfinished(self) -> list[Progress]:
        """The runs that have fewer fronts than they were meant to have, so far as that is known."""
        runs = self.fronts.groupby("run", sort=False)[["finished", "wanted"]].sum(min_count=1)
        failed = self.failures.groupby("run").size()
        return [
            Progress(str(run), int(finished), int(wanted), int(failed.get(run, 0)))
            for run, finished, wanted in runs.dropna().itertuples()
            if finished < wanted
        ]

    def unguided_label(self, label: str) -> str | None:
        """Returns the label of the unguided model in the same run, or else in the first run that has one."""
        table = self.points[["label", "run", "method"]].drop_duplicates()
        base = table[table["method"] == UNGUIDED]
        own = base[base["run"].isin(table[table["label"] == label]["run"])]
        found = own if len(own) else base
        return None if found.empty else str(found["label"].iloc[0])

    def points_of(self, label: str) -> pd.DataFrame:
        """Returns the points of one label."""
        return self.points[self.points["label"] == label]

    def method_of(self, label: str) -> str:
        """Returns the method that a label stands for."""
        return self._origins[label][1]

    def run_of(self, label: str) -> RunData:
        """Returns the run that a label stands for."""
        name = self._origins[label][0]
        return next(run for run in self.runs if run.name == name)

    @cached_property
    def _origins(self) -> dict[str, tuple[str, str]]:
        """The run and the method of each label."""
        table = self.points.drop_duplicates("label")
        return {str(label): (str(run), str(method)) for label, run, method in table[["label", "run", "method"]].values}

    def labels_of(self, run: RunData) -> tuple[str, ...]:
        """Returns the labels of one run."""
        return tuple(label for label in self.labels if self.run_of(label) is run)

    def unit_of(self, reward: str) -> str:
        """Returns the unit of a reward from the first `config.yaml` that has it, or an empty string."""
        recorded = (run.document.get("units") or {} for run in self.runs)
        return next((str(units[reward]) for units in recorded if units.get(reward)), "")


def load_runs(paths: Sequence[Location]) -> Comparison:
    """Reads runs with the same guided rewards and gives every method of every run a label.

    Raises:
        ReportError: `load_run` raised it, or no run was given, or the guided rewards differ, or no prompt is finished
            by every method of every run.
    """
    if not paths:
        raise ReportError("no run was given. Give at least one run folder, for example runs/demo.")
    runs = _load_each(paths)
    frames = [
        tuple(_labelled(frame, run.name, len(runs)) for frame in (run.points, run.costs, run.steps, run.failures))
        for run in runs
    ]
    points, costs, steps, failures = (pd.concat(parts, ignore_index=True) for parts in zip(*frames, strict=True))
    points, by_number = mark_compared(points)
    compared = points["compared"]
    if not compared.any():
        raise ReportError(
            f"{', '.join(str(run.path) for run in runs)}: no prompt was finished by every method of every run, so "
            "nothing can be compared. Continue the runs, or write a report for each of them."
        )
    labels = _ordered_labels(points)
    wanted = [(_label(run.name, method, len(runs)), run.name, n) for run in runs for method, n in run.wanted.items()]
    keys = points.loc[compared, ["label", "key"]].drop_duplicates()
    guided = runs[0].guided
    held_out = dict.fromkeys(reward for run in runs for reward in run.held_out if reward not in guided)
    return Comparison(
        tuple(runs),
        guided,
        tuple(held_out),
        labels,
        points[compared].drop(columns="compared").reset_index(drop=True),
        points[~compared].drop(columns="compared").reset_index(drop=True),
        costs.merge(keys, on=["label", "key"]),
        steps.merge(keys, on=["label", "key"]),
        failures,
        count_fronts(points, pd.DataFrame(wanted, columns=["label", "run", "wanted"])),
        by_number,
    )


def _load_each(paths: Sequence[Location]) -> list[RunData]:
    # Two paths to the same folder are one run.
    places = (path.resolve() if isinstance(path, Path) else path for path in paths)
    runs = [load_run(path) for path in dict.fromkeys(places)]
    first = runs[0]
    for run in runs[1:]:
        if set(run.guided) != set(first.guided):
            raise ReportError(
                f"{run.path}: the run was guided by {', '.join(run.guided)}, but {first.path} by "
                f"{', '.join(first.guided)}. Only fronts of the same guided rewards can be compared. Write a report "
                "for each of these runs."
            )
    return [replace(run, name=name) for run, name in zip(runs, _names(runs), strict=True)]


def _prompts_of(points: pd.DataFrame) -> pd.DataFrame:
    prompts = points[["prompt_id", "prompt"]].drop_duplicates("prompt_id")
    return prompts.sort_values(["prompt", "prompt_id"]).reset_index(drop=True)


def _names(runs: Sequence[RunData]) -> list[str]:
    """Returns the names of the runs; if two are the same, the name or the path of the folder is added to all."""
    names = [run.name for run in runs]
    if len(set(names)) < len(names):
        names = [f"{run.name} ({run.path.name})" for run in runs]
    if len(set(names)) < len(names):
        names = [f"{run.name} ({run.path})" for run in runs]
    return names


def _labelled(frame: pd.DataFrame, run: str, runs: int) -> pd.DataFrame:
    frame = frame.assign(run=run)
    if "method" in frame.columns:
        frame["label"] = [_label(run, method, runs) for method in frame["method"]]
    return frame


def _label(run: str, method: str, runs: int) -> str:
    return method if runs == 1 else f"{run} · {method}"


def _ordered_labels(points: pd.DataFrame) -> tuple[str, ...]:
    """Returns the labels: first the guided methods in the order of the points, then the unguided model."""
    table = points[["label", "method"]].drop_duplicates()
    guided = table[table["method"] != UNGUIDED]["label"]
    return tuple(guided) + tuple(table[table["method"] == UNGUIDED]["label"])
