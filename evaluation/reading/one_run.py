"""Reads one run as pandas frames: samples joined with their scores, costs, steps, failures."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from evaluation.errors import ReportError
from evaluation.reading.common_fronts import name_seeds
from evaluation.reading.record import Record, read_record
from pipeline.records import DamagedPart, Location, check_footers, failed_keys, finished_keys, read_table

# The columns of samples/ that a report holds in memory. The images of a thousand prompts do not fit, so they are read
# front by front when they are needed (`evaluation.reading.images`).
COLUMNS = {"samples": ("prompt_id", "prompt", "source", "style", "method", "seed", "weights", "tags")}
# A reward may be named like these two.
RENAMED = {"source": "prompt_source", "style": "prompt_style"}
# Columns that the report adds to those of samples/.
OWN_COLUMNS = (
    "label", "run", "front_seed", "text", "text_id", "pair", "compared", "on_front", "prompts",
)  # fmt: skip


@dataclass(frozen=True)
class RunData:
    """The finished prompts of one run.

    Attributes:
        path: the run folder.
        name: the name in the configuration; if several compared runs have the same, their folder is added to it.
        document: the content of `config.yaml`.
        guided, held_out: names of rewards.
        wanted: for each method the number of fronts when the run is finished, or None if it is not known.
        points: one row per sample: key, prompt_id, prompt, text_id and text (the prompt_id and the prompt without their
            seed), method, seed, front_seed (the seed of the whole front), weight_index, weights (a list, or None for
            the unguided model), prompt_source, prompt_style, a column per reward.
        costs, steps, failures: the tables of the run; `steps` also has the method.
    """

    path: Location
    name: str
    document: Mapping[str, Any]
    guided: tuple[str, ...]
    held_out: tuple[str, ...]
    wanted: Mapping[str, int | None]
    points: pd.DataFrame
    costs: pd.DataFrame
    steps: pd.DataFrame
    failures: pd.DataFrame

    @property
    def config(self) -> Mapping[str, Any]:
        """The resolved configuration."""
        config: Mapping[str, Any] = self.document["config"]
        return config


def load_run(path: Location) -> RunData:
    """Reads one run folder.

    Raises:
        ReportError: the folder has no run, its configuration cannot be read, or no prompt is finished.
    """
    record = read_record(path)
    tables = _read_tables(path)
    if tables["samples"].empty:
        failed = len(tables["failures"])
        raise ReportError(
            f"{path}: the run has no finished prompt ({failed} failed), and a report needs one. Continue the run "
            "with `srsoup run` and the same configuration, then write the report again."
        )
    _check_rows(path, tables, record)
    points = _join(path, tables, record.guided + record.held_out)
    name = str(record.document["config"]["name"])
    wanted = {method: record.fronts and record.fronts // len(record.methods) for method in record.methods}
    costs = tables["costs"]
    steps = tables["steps"].merge(costs[["key", "method"]], on="key", validate="many_to_one")
    rewards = (record.guided, record.held_out)
    return RunData(path, name, record.document, *rewards, wanted, points, costs, steps, tables["failures"])


def _read_tables(path: Location) -> Mapping[str, pd.DataFrame]:
    """Reads the tables of the fronts that are finished now; the run may continue meanwhile.

    Raises:
        ReportError: a part cannot be read.
    """
    try:
        check_footers(path)
        done = finished_keys(path)
        keys = dict.fromkeys(("samples", "scores", "steps", "costs"), done) | {"failures": failed_keys(path) - done}
        tables = {
            table: read_table(path, table, wanted, COLUMNS.get(table)).to_pandas(maps_as_pydicts="strict")
            for table, wanted in keys.items()
        }
        known = dict.fromkeys(tables["failures"].columns, "not known") | {"attempts": 0}
        return tables | {"failures": tables["failures"].fillna(known).astype({"attempts": int})}
    except DamagedPart as error:
        raise ReportError(str(error)) from error
    except (OSError, pa.ArrowException) as error:
        raise ReportError(
            f"{path}: the run cannot be read ({error}). Check the path and its permissions; `srsoup verify {path}` "
            "names what is damaged."
        ) from error


def _check_rows(path: Location, tables: Mapping[str, pd.DataFrame], record: Record) -> None:
    """Compares the rows with the configuration.

    Raises:
        ReportError: a front does not have one image for each row of `weights` and one score for each image and reward,
            or there are two fronts of one prompt, method and seed, or more fronts than the run has.
    """
    weights = [tuple(map(float, row)) for row in record.document["config"]["weights"]]
    rewards = record.guided + record.held_out
    costs, samples, scores = tables["costs"], tables["samples"], tables["scores"]
    scores = scores[scores["reward"].isin(rewards)]
    for table, rows, wanted in (("samples", samples, len(weights)), ("scores", scores, len(weights) * len(rewards))):
        counts = rows.groupby("key").size().reindex(costs["key"], fill_value=0)
        for key, count in counts[counts != wanted].items():
            raise _damaged(path, f"{table}/ has {count} rows of {key}, but the configuration asks for {wanted}")
    # Adaptive weights are those of the round of a front.
    fixed = not record.document["config"].get("adaptive")
    for key, index, row in samples[["key", "weight_index", "weights"]].itertuples(index=False):
        differs = fixed and row is not None and tuple(map(float, row)) != weights[index]
        if not 0 <= index < len(weights) or differs:
            raise _damaged(path, f"the weights of {key} are not row {index} of `weights` in config.yaml")
    twice = costs[costs.duplicated(["prompt_id", "method", "seed"], keep=False)]["key"].tolist()
    if twice:
        raise _damaged(path, f"{' and '.join(twice[:2])} are fronts of the same prompt, method and seed")
    if record.fronts is not None and len(costs) > record.fronts:
        raise _damaged(path, f"there are {len(costs)} finished fronts, but by driver.yaml the run has {record.fronts}")
    found = tuple(dict.fromkeys(scores["reward"]))
    if found != rewards:
        raise _damaged(path, f"scores/ has {', '.join(found)}, but config.yaml has the rewards {', '.join(rewards)}")


def _damaged(path: Location, problem: str) -> ReportError:
    return ReportError(f"{path}: {problem}. `srsoup verify {path}` names every damaged file and its fix.")


def _join(path: Location, tables: Mapping[str, pd.DataFrame], rewards: tuple[str, ...]) -> pd.DataFrame:
    samples, scores, costs = tables["samples"].rename(columns=RENAMED), tables["scores"], tables["costs"]
    if reserved := [reward for reward in rewards if reward in (*samples.columns, *OWN_COLUMNS)]:
        raise ReportError(
            f"{path}: the report has its own columns named {', '.join(reserved)}, as rewards of this run are named. "
            "Read the scores from scores/ instead, and give the rewards other names in the next run."
        )
    wide = scores.pivot(index=["key", "weight_index"], columns="reward", values="value").reset_index()
    points = samples.merge(wide, on=["key", "weight_index"], how="left", validate="one_to_one")
    missing = [r for r in rewards if r not in points.columns or not np.isfinite(points[r]).all()]
    if missing:
        raise ReportError(
            f"{path}: some samples have no score of {', '.join(missing)}. Delete the files of their prompts in costs/ "
            "and run again, which computes these prompts again."
        )
    weights = [None if w is None else [float(x) for x in w] for w in points["weights"]]
    points["weights"] = pd.Series(weights, index=points.index, dtype=object)
    # The samples of the unguided model each have another seed, so the seed of a front is taken from its costs.
    points["front_seed"] = points["key"].map(costs.set_index("key")["seed"])
    points = _each_seed_apart(points.assign(text=points["prompt"]), costs)
    return points.sort_values(["method", "prompt", "prompt_id", "weight_index"]).reset_index(drop=True)


def _each_seed_apart(points: pd.DataFrame, costs: pd.DataFrame) -> pd.DataFrame:
    """Gives the fronts of several seeds of one prompt a prompt_id and a prompt of their own; `text_id` stays common.

    The seeds of a prompt are numbered in ascending order, the same for every method of the run.
    """
    seed = points["key"].map(costs.set_index("key")["seed"])
    number = seed.groupby(points["prompt_id"]).rank(method="dense").astype(int)
    return name_seeds(points.assign(text_id=points["prompt_id"]), number)
