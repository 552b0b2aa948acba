"""The fronts of a comparison: read from the folders of their runs, or from one file that holds what tables need."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.front.arms import ARMS, REFERENCE, SETTINGS, Setting
from evaluation.measures.hypervolume import hypervolume
from pipeline.records import read_table

SECONDS = ("seconds_denoise", "seconds_lookahead", "seconds_decode", "seconds_reward", "seconds_surrogate")
COSTS = ("queries", "decodes", "forwards", "backwards", "seconds")
MEASURED = Path(__file__).with_name("measured.parquet")
"""The fronts of the tables in docs/results.md."""

Fronts = Mapping[str, pd.DataFrame]
"""The finished fronts of each arm that has some, by name and seed: points, held-out reward, volumes and costs."""


def part_of(folder: Path, slug: str, name: str, seed: int = 0) -> Path:
    """Return the folder of one front."""
    return folder / f"{slug}-{name}-seed-{seed}"


def fronts_of(run: Path, setting: Setting) -> pd.DataFrame:
    """Return a row for each front of a run: name, points (L, M), held-out reward, costs and volumes."""
    samples = read_table(run, "samples").select(["key", "weight_index", "prompt"]).to_pandas()
    scores = read_table(run, "scores").to_pandas().merge(samples, on=["key", "weight_index"])
    wide = scores.pivot_table("value", ["key", "prompt", "weight_index"], "reward").reset_index()
    costs = read_table(run, "costs").to_pandas().set_index("key")
    costs["seconds"] = costs[[name for name in SECONDS if name in costs]].astype(float).fillna(0).sum(axis=1)
    rows = []
    for (key, name), front in wide.groupby(["key", "prompt"]):
        points = front.sort_values("weight_index")[list(setting.rewards)].to_numpy()
        cost = costs.loc[key]
        rows.append(
            {"name": name, "key": key, "points": points, "held_out": front[setting.held_out].mean()}
            | {column: float(cost[column]) for column in COSTS}
        )
    return _with_volumes(pd.DataFrame(rows), setting)


def in_folders(folder: Path, setting: Setting) -> Fronts:
    """Return the finished fronts below a folder; runs that are at work may be beside them."""
    found = {slug: [run for run in sorted(folder.glob(f"{slug}-*-seed-*")) if _is_done(run)] for slug in ARMS}
    return {
        slug: pd.concat(
            [fronts_of(run, setting).assign(seed=int(run.name.rsplit("-", 1)[1])) for run in runs]
        ).set_index(["name", "seed"]).sort_index()
        for slug, runs in found.items() if runs
    }  # fmt: skip


def collect(folder: Path, file: Path) -> int:
    """Add the fronts below a folder, of all comparisons, to those in a Parquet file, and return how many were new.

    A front that the file has stays as it is, so that a table does not change with the machine that makes it again.
    """
    frames = [
        frame.reset_index().drop(columns=["key", "middle", "below"]).assign(setting=name, arm=slug)
        for name, setting in SETTINGS.items()
        for slug, frame in in_folders(folder / name, setting).items()
    ]
    kept = [pd.read_parquet(file)] if file.exists() else []
    whole = pd.concat([*kept, *frames]).drop_duplicates(["setting", "arm", "name", "seed"])
    whole["points"] = whole.points.map(lambda points: [list(point) for point in points])
    whole = whole.sort_values(["setting", "arm", "name", "seed"])
    whole.to_parquet(file, index=False, compression="zstd")
    return len(whole) - sum(map(len, kept))


def in_file_already(file: Path, name: str) -> set[tuple[str, str, int]]:
    """Return the (arm, name, seed) of each front of a comparison that a file has."""
    whole = pd.read_parquet(file, columns=["setting", "arm", "name", "seed"])
    own = whole[whole.setting == name]
    return set(zip(own.arm, own["name"], own.seed, strict=True))


def in_file(file: Path, name: str) -> Fronts:
    """Return the fronts of a comparison that `collect` wrote."""
    whole = pd.read_parquet(file)
    whole = whole[whole.setting == name].drop(columns="setting")
    whole["points"] = whole.points.map(np.stack)
    return {
        str(slug): _with_volumes(frame.drop(columns="arm"), SETTINGS[name]).set_index(["name", "seed"]).sort_index()
        for slug, frame in whole.groupby("arm")
    }


def compared(fronts: Fronts, arms: Sequence[str]) -> tuple[dict[str, pd.DataFrame], list[tuple[str, int]]]:
    """Return the fronts of each arm that has some, over the names and seeds that all of these arms have.

    Raises:
        SystemExit: the arm that the others are compared with has none.
    """
    found = {slug: fronts[slug] for slug in arms if slug in fronts}
    if REFERENCE not in found:
        raise SystemExit(f"there is no finished front of the arm {REFERENCE}; make it with `run --arms {REFERENCE}`")
    common = sorted(set.intersection(*(set(frame.index) for frame in found.values())))
    return {slug: frame.loc[common] for slug, frame in found.items()}, common


def _with_volumes(frame: pd.DataFrame, setting: Setting) -> pd.DataFrame:
    for column, reference in (("middle", setting.middle), ("below", setting.below)):
        corner = np.array(list(reference.values()))
        frame[column] = [hypervolume(points, corner).value for points in frame.points]
    return frame


def _is_done(run: Path) -> bool:
    return any((run / "costs").glob("*.parquet"))
