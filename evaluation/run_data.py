"""One or several runs as pandas frames: samples joined with their scores, costs, failures, configuration."""

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

    `points` has one row per sample: run, key, prompt_id, prompt, method, seed, weight_index, weights (a
    list, or None for the unguided model), image (PNG bytes), and one column per reward. `costs`, `steps` (with
    the method) and `failures` are the run's tables with a column `run`. `name` is the configuration's; in a
    comparison of runs that share one, the folder is added.
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
        return self.document["config"]


@dataclass(frozen=True)
class Comparison:
    """Several runs guided by the same rewards; `label` tells (run, method) apart in every frame."""

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
        """Guided rewards, then held-out ones."""
        return self.guided + self.held_out

    @property
    def prompts(self) -> pd.DataFrame:
        """prompt_id and prompt, one row each, in the order of the texts."""
        prompts = self.points[["prompt_id", "prompt"]].drop_duplicates("prompt_id")
        return prompts.sort_values(["prompt", "prompt_id"]).reset_index(drop=True)

    def base_label(self, label: str) -> str | None:
        """The unguided model's label of the same run, or else of the first run that has one."""
        table = self.points[["label", "run", "method"]].drop_duplicates()
        base = table[table["method"] == UNGUIDED]
        own = base[base["run"].isin(table[table["label"] == label]["run"])]
        found = own if len(own) else base
        return None if found.empty else str(found["label"].iloc[0])

    def of(self, label: str) -> pd.DataFrame:
        """The points of one label."""
        return self.points[self.points["label"] == label]

    def method(self, label: str) -> str:
        """The method behind a label."""
        return str(self.of(label)["method"].iloc[0])

    def run(self, label: str) -> RunData:
        """The run behind a label."""
        name = self.of(label)["run"].iloc[0]
        return next(run for run in self.runs if run.name == name)

    def labels_of(self, run: RunData) -> tuple[str, ...]:
        """The labels of one run."""
        return tuple(label for label in self.labels if self.run(label) is run)

    def unit(self, reward: str) -> str:
        """The reward's unit, where a run's record states it; else nothing."""
        stated = (run.document.get("units") or {} for run in self.runs)
        return next((str(units[reward]) for units in stated if units.get(reward)), "")


def load_run(path: Location) -> RunData:
    """Read one run's folder.

    Raises:
        ReportError: there is no run, its configuration does not read, or no prompt is finished.
    """
    document = _read_document(path)
    config = document["config"]
    guided = tuple(config["rewards"]["guided"])
    held_out = tuple(config["rewards"].get("held_out") or ())
    tables = _tables(path)
    if tables["samples"].empty:
        failed = len(tables["failures"])
        raise ReportError(
            f"{path}: no finished prompt to report on ({failed} failed). Run `srsoup run` with the same "
            "configuration until at least one prompt is done, then report again."
        )
    points = _join(path, tables, guided + held_out)
    name = str(config["name"])
    costs = tables["costs"]
    steps = tables["steps"].merge(costs[["key", "method"]], on="key", validate="many_to_one")
    return RunData(path, name, document, guided, held_out, points, costs, steps, tables["failures"])


def load_runs(paths: Sequence[Location]) -> Comparison:
    """Read runs that are guided by the same rewards, and give each (run, method) its label.

    Raises:
        ReportError: as `load_run`; or no run was named, or the guided rewards differ.
    """
    if not paths:
        raise ReportError("no run was named: give at least one run's folder, for example runs/demo.")
    # One folder by two names is one run.
    places = (path.resolve() if isinstance(path, Path) else path for path in paths)
    runs = [load_run(path) for path in dict.fromkeys(places)]
    first = runs[0]
    for run in runs[1:]:
        if set(run.guided) != set(first.guided):
            raise ReportError(
                f"{run.path}: guided by {', '.join(run.guided)}, but {first.path} by "
                f"{', '.join(first.guided)}. Fronts compare only where the guided rewards are the same: "
                "report these runs one by one."
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
        raise ReportError(
            f"{path}: no run in this folder (no config.yaml). Name a folder that `srsoup run` wrote."
        ) from error
    except OSError as error:
        raise ReportError(f"{path}: cannot be read ({error}). Check the path, and your right to read it.") from error
    try:
        document = yaml.safe_load(record)
        document["config"]["rewards"]["guided"][0]
        document["config"]["name"]
    except (yaml.YAMLError, KeyError, TypeError, IndexError) as error:
        raise ReportError(
            f"{file}: not the configuration of a run ({type(error).__name__}: {error}). Restore the file, "
            "or run again into a new folder."
        ) from error
    return document


def _tables(path: Location) -> Mapping[str, pd.DataFrame]:
    """The tables of one moment: keys are looked up once, so that a run can be read while it goes on."""
    try:
        done = finished_keys(path)
        keys = dict.fromkeys(("samples", "scores", "steps", "costs"), done) | {"failures": failed_keys(path) - done}
        return {
            table: read_table(path, table, wanted).to_pandas(maps_as_pydicts="strict") for table, wanted in keys.items()
        }
    except DamagedPart as error:
        raise ReportError(str(error)) from error
    except (OSError, pa.ArrowException) as error:
        raise ReportError(f"{path}: cannot be read ({error}). Check the path, and your right to read it.") from error


def _join(path: Location, tables: Mapping[str, pd.DataFrame], rewards: tuple[str, ...]) -> pd.DataFrame:
    samples, scores, costs = tables["samples"], tables["scores"], tables["costs"]
    wide = scores.pivot(index=["key", "weight_index"], columns="reward", values="value").reset_index()
    points = samples.merge(wide, on=["key", "weight_index"], how="left", validate="one_to_one")
    missing = [r for r in rewards if r not in points.columns or points[r].isna().any()]
    if missing:
        raise ReportError(
            f"{path}: samples without a score of {', '.join(missing)}. Remove the costs parts of the "
            "prompts concerned and run again: they are then computed anew."
        )
    points["image"] = [image["bytes"] for image in points["image"]]
    weights = [None if w is None else [float(x) for x in w] for w in points["weights"]]
    points["weights"] = pd.Series(weights, index=points.index, dtype=object)
    points = _each_seed_apart(points, costs)
    return points.sort_values(["method", "prompt", "prompt_id", "weight_index"]).reset_index(drop=True)


def _each_seed_apart(points: pd.DataFrame, costs: pd.DataFrame) -> pd.DataFrame:
    """Fronts of several seeds of one prompt, told apart by prompt_id and prompt as if they were prompts.

    `text_id` keeps what they share. A front's seed is in its costs; a sample's own differs among the samples of the
    unguided model. The seeds of a prompt are numbered in ascending order, the same for every method.
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
    """Names of the runs; the folder's name or path is added where two runs share a name."""
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
    """Guided methods first, in each run's order; the unguided model last."""
    table = points[["label", "method"]].drop_duplicates()
    guided = table[table["method"] != UNGUIDED]["label"]
    return tuple(guided) + tuple(table[table["method"] == UNGUIDED]["label"])
