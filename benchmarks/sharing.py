"""Compares what decides in a step whom a weighting borrows from: `python -m benchmarks.sharing run`, then `... table`.

Each arm is a run of the embedded model with the queries of the weighted sum with N = 4. `run` makes the fronts that are
missing. `table` compares, over the names that all arms have, the volumes with those of the weighted sum, with intervals
over names, and how evenly the images are spread along the front.
"""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from benchmarks.front.arms import NAMES, SETTINGS
from benchmarks.front.fronts import fronts_of
from benchmarks.front.table import ratio_interval, replace_part
from configs.load import load_config
from configs.packaged import config_file
from pipeline.job.driver import execute
from pipeline.job.progress import Reporter
from pipeline.planning.plan import make_plan
from pipeline.records import read_table

REFERENCE = "ws"
SHARED = ("queries=4",)
_AUTO = ("method=srsoup", "soup.steps=auto")


@dataclass(frozen=True)
class Arm:
    """One method: its title, and the values that differ from configs/weighted_sum_mini.yaml."""

    title: str
    overrides: tuple[str, ...] = ()


ARMS: Mapping[str, Arm] = {
    "ws": Arm("weighted sum, N = 4"),
    "soup": Arm("SRSoup, K = 10, N = 6", ("method=srsoup", "soup.steps=10", "queries=6")),
    "auto": Arm("`soup.steps: auto`, N = 4", _AUTO),
    "allot": Arm("the same, `queries: {auto: 4}`", (*_AUTO, "queries={auto: 4}")),
    "distinct": Arm("the same, `guidance.noise: distinct`", (*_AUTO, "queries={auto: 4}", "guidance.noise=distinct")),
    "tchebycheff": Arm("weighted sum, `guidance.scalarisation: tchebycheff`", ("guidance.scalarisation=tchebycheff",)),
    "pcgrad": Arm("weighted sum, `guidance.conflict: pcgrad`", ("guidance.conflict=pcgrad",)),
}  # fmt: skip


def run(folder: Path, arms: Sequence[str], names: Sequence[str], part: str) -> None:
    """Make the missing fronts of these arms, in this process. `part` keeps the outputs of processes apart."""
    for slug in arms:
        overrides = (*SHARED, *ARMS[slug].overrides, f"name={slug}", "prompts.file=null",
                     f"prompts.list=[{', '.join(names)}]", f"output={folder / (slug + part)}")  # fmt: skip
        plan = make_plan(load_config(config_file("weighted_sum_mini"), list(overrides)), lambda key: key)
        execute([plan], local=True, reporter=Reporter(plan.n_prompts, 1, 1))


def unevenness(points: NDArray[np.float64], span: NDArray[np.float64]) -> float:
    """Return the deviation of the distances of neighbours along a front over their mean; 0 if it is evenly spread.

    Args:
        points: (L, M), in the order of the weightings.
        span: the unit of each reward, (M,).
    """
    gaps = np.linalg.norm(np.diff(points / span, axis=0), axis=1)
    return float(gaps.std() / gaps.mean())


def table(folder: Path, arms: Sequence[str]) -> str:
    """Return the comparison of the arms as Markdown, over the names of which every arm has a front."""
    found = {slug: _all_parts(folder, slug) for slug in arms if list(folder.glob(f"{slug}*/costs"))}
    common = sorted(set.intersection(*(set(frame.index) for frame in found.values())))
    names, base = np.array(common), found[REFERENCE].loc[common]
    span = np.ptp(np.mean(np.stack(list(base.points)), axis=0), axis=0)
    heads = ("arm", "queries", "decodes", "volume from the middle", "ratio", "from below all", "ratio", "unevenness",
             "mini_clip")  # fmt: skip
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for slug, frame in found.items():
        ours = frame.loc[common]
        uneven = unevenness(np.mean(np.stack(list(ours.points)), axis=0), span)
        cells = [
            ARMS[slug].title, f"{ours.queries.mean():,.0f}", f"{ours.decodes.mean():,.0f}",
            f"{ours.middle.mean():.1f}", ratio_interval(ours.middle.to_numpy(), base.middle.to_numpy(), names),
            f"{ours.below.mean():.0f}", ratio_interval(ours.below.to_numpy(), base.below.to_numpy(), names),
            f"{uneven:.2f}", f"{ours.held_out.mean():.2f}",
        ]  # fmt: skip
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join([f"{len(common)} names, one front each: {', '.join(common)}.", "", *lines])


def _all_parts(folder: Path, slug: str) -> pd.DataFrame:
    """Return the first front of each name, from all parts of an arm."""
    runs = [run for run in sorted(folder.glob(f"{slug}-from-*")) if len(read_table(run, "costs"))]
    frames = pd.concat([fronts_of(run, SETTINGS["colour_size"]) for run in runs])
    return frames.sort_values("key").drop_duplicates("name").set_index("name")


def main() -> None:
    """Make fronts, or print the table of those that are there."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("what", choices=("run", "table"))
    parser.add_argument("--folder", type=Path, default=Path("runs/sharing"))
    parser.add_argument("--arms", nargs="+", choices=tuple(ARMS), default=list(ARMS))
    parser.add_argument("--skip", type=int, default=0, help="names to leave out at the start of the list")
    parser.add_argument("--names", type=int, default=6, help="names to take then")
    parser.add_argument("--page", type=Path, help="a page whose part `<!-- measured: sharing -->` the table replaces")
    given = parser.parse_args()
    if given.what == "run":
        run(given.folder, given.arms, NAMES[given.skip : given.skip + given.names], f"-from-{given.skip}")
    else:
        text = table(given.folder, given.arms)
        print(text)
        if given.page:
            replace_part(given.page, "sharing", text)


if __name__ == "__main__":
    main()
