"""Reads one or several runs as pandas frames: samples joined with their scores, costs, steps, failures."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import yaml

from evaluation.errors import ReportError
from pipeline.records import DamagedPart, Location, failed_keys, finished_keys, read_file, read_table

UNGUIDED = "unguided"


@dataclass(frozen=True)
class RunData:
    """The finished prompts of one run.

    Attributes:
        path: the run folder.
        name: the name in the configuration; if several compared runs have the same, their folder is added to it.
        document: the content of `config.yaml`.
        guided, held_out: names of rewards.
        points: one row per sample: key, prompt_id, prompt, text_id (the prompt_id without its seed), method, seed,
            weight_index, weights (a list, or None for the unguided model), image (PNG bytes), a column per reward.
        costs, steps, failures: the tables of the run; `steps` also has the method.
    """

    path: Location
    name: str
    document: Mapping[str, Any]
    guided: tuple[str, ...]
    held_out: tuple[str, ...]
    points: pd.DataFrame
    costs: pd.DataFrame
    steps: pd.DataFrame
    failures: pd.DataFrame

    @property
    def config(self) -> Mapping[str, Any]:
        """The resolved configuration."""
        config: Mapping[str, Any] = self.document["config"]
        return config


@dataclass(frozen=True)
class Comparison:
    """Several runs with the same guided rewards.

    Every frame has a column `run`; all but `failures` have a `label`, which stands for one method of one run.
    """

    runs: tuple[RunData, ...]
    guided: tuple[str, ...]
    held_out: tuple[str, ...]
    labels: tuple[str, ...]
    points: pd.DataFrame
    costs: pd.DataFrame
    steps: pd.DataFrame
    failures: pd.DataFrame

    @property
    def rewards(self) -> tuple[str, ...]:
        """The guided rewards, followed by the held-out ones."""
        return self.guided + self.held_out

    @property
    def prompts(self) -> pd.DataFrame:
        """One row for each prompt, with prompt_id and prompt, in alphabetical order of the prompts."""
        prompts = self.points[["prompt_id", "prompt"]].drop_duplicates("prompt_id")
        return prompts.sort_values(["prompt", "prompt_id"]).reset_index(drop=True)

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
        return str(self.points_of(label)["method"].iloc[0])

    def run_of(self, label: str) -> RunData:
        """Returns the run that a label stands for."""
        name = self.points_of(label)["run"].iloc[0]
        return next(run for run in self.runs if run.name == name)

    def labels_of(self, run: RunData) -> tuple[str, ...]:
        """Returns the labels of one run."""
        return tuple(label for label in self.labels if self.run_of(label) is run)

    def unit_of(self, reward: str) -> str:
        """Returns the unit of a reward from the first `config.yaml` that has it, or an empty string."""
        recorded = (run.document.get("units") or {} for run in self.runs)
        return next((str(units[reward]) for units in recorded if units.get(reward)), "")


def load_run(path: Location) -> RunData:
    """Reads one run folder.

    Raises:
        ReportError: the folder has no run, its configuration cannot be read, or no prompt is finished.
    """
    document = _read_document(path)
    config = document["config"]
    guided = tuple(config["rewards"]["guided"])
    held_out = tuple(config["rewards"].get("held_out") or ())
    tables = _tables(path)
    if tables["samples"].empty:
        failed = len(tables["failures"])
        raise ReportError(
            f"{path}: the run has no finished prompt ({failed} failed), and a report needs one. Continue the run "
            "with `srsoup run` and the same configuration, then write the report again."
        )
    points = _join(path, tables, guided + held_out)
    name = str(config["name"])
    costs = tables["costs"]
    steps = tables["steps"].merge(costs[["key", "method"]], on="key", validate="many_to_one")
    return RunData(path, name, document, guided, held_out, points, costs, steps, tables["failures"])


def load_runs(paths: Sequence[Location]) -> Comparison:
    """Reads runs with the same guided rewards and gives every method of every run a label.

    Raises:
        ReportError: `load_run` raised it, or no run was given, or the guided rewards differ.
    """
    if not paths:
        raise ReportError("no run was given. Give at least one run folder, for example runs/demo.")
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
    runs = [replace(run, name=name) for run, name in zip(runs, _names(runs), strict=True)]
    frames = [
        tuple(_labelled(frame, run.name, len(runs)) for frame in (run.points, run.costs, run.steps, run.failures))
        for run in runs
    ]
    points, costs, steps, failures = (pd.concat(parts, ignore_index=True) for parts in zip(*frames, strict=True))
    held_out = dict.fromkeys(reward for run in runs for reward in run.held_out if reward not in first.guided)
    labels = _ordered_labels(points)
    return Comparison(tuple(runs), first.guided, tuple(held_out), labels, points, costs, steps, failures)


def _read_document(path: Location) -> Mapping[str, Any]:
    file = path / "config.yaml"
    try:
        record = read_file(path, file.name)
    except (FileNotFoundError, NotADirectoryError) as error:
        message = f"{path}: the folder has no run (config.yaml is missing). Give a folder that `srsoup run` wrote."
        raise ReportError(message) from error
    except OSError as error:
        raise ReportError(f"{path}: the run cannot be read ({error}). Check the path and its permissions.") from error
    try:
        document: Mapping[str, Any] = yaml.safe_load(record)
        document["config"]["rewards"]["guided"][0]
        document["config"]["name"]
    except (yaml.YAMLError, KeyError, TypeError, IndexError) as error:
        raise ReportError(
            f"{file}: the file is not the configuration of a run ({type(error).__name__}: {error}). Restore the file, "
            "or run again into a new folder."
        ) from error
    return document


def _tables(path: Location) -> Mapping[str, pd.DataFrame]:
    """Reads the tables of the prompts that are finished now; the run may continue meanwhile."""
    try:
        done = finished_keys(path)
        keys = dict.fromkeys(("samples", "scores", "steps", "costs"), done) | {"failures": failed_keys(path) - done}
        return {
            table: read_table(path, table, wanted).to_pandas(maps_as_pydicts="strict") for table, wanted in keys.items()
        }
    except DamagedPart as error:
        raise ReportError(str(error)) from error
    except (OSError, pa.ArrowException) as error:
        raise ReportError(f"{path}: the run cannot be read ({error}). Check the path and its permissions.") from error


def _join(path: Location, tables: Mapping[str, pd.DataFrame], rewards: tuple[str, ...]) -> pd.DataFrame:
    samples, scores, costs = tables["samples"], tables["scores"], tables["costs"]
    wide = scores.pivot(index=["key", "weight_index"], columns="reward", values="value").reset_index()
    points = samples.merge(wide, on=["key", "weight_index"], how="left", validate="one_to_one")
    missing = [r for r in rewards if r not in points.columns or points[r].isna().any()]
    if missing:
        raise ReportError(
            f"{path}: some samples have no score of {', '.join(missing)}. Delete the files of their prompts in costs/ "
            "and run again, which computes these prompts again."
        )
    points["image"] = [image["bytes"] for image in points["image"]]
    weights = [None if w is None else [float(x) for x in w] for w in points["weights"]]
    points["weights"] = pd.Series(weights, index=points.index, dtype=object)
    points = _each_seed_apart(points, costs)
    return points.sort_values(["method", "prompt", "prompt_id", "weight_index"]).reset_index(drop=True)


def _each_seed_apart(points: pd.DataFrame, costs: pd.DataFrame) -> pd.DataFrame:
    """Gives the fronts of several seeds of one prompt a prompt_id and a prompt of their own; `text_id` stays common.

    The seeds of a prompt are numbered in ascending order, the same for every method. The seed of a front is taken from
    its costs, because the samples of the unguided model each have another seed.
    """
    seed = points["key"].map(costs.set_index("key")["seed"])
    number = seed.groupby(points["prompt_id"]).rank(method="dense").astype(int)
    several = number.groupby(points["prompt_id"]).transform("max") > 1
    return points.assign(
        text_id=points["prompt_id"],
        prompt_id=points["prompt_id"].where(~several, points["prompt_id"] + "-" + number.astype(str)),
        prompt=points["prompt"].where(~several, points["prompt"] + " (seed " + number.astype(str) + ")"),
    )


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
        frame["label"] = frame["method"] if runs == 1 else run + " · " + frame["method"]
    return frame


def _ordered_labels(points: pd.DataFrame) -> tuple[str, ...]:
    """Returns the labels: first the guided methods in the order of the points, then the unguided model."""
    table = points[["label", "method"]].drop_duplicates()
    guided = table[table["method"] != UNGUIDED]["label"]
    return tuple(guided) + tuple(table[table["method"] == UNGUIDED]["label"])
