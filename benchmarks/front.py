"""Compares methods by their fronts at their costs: `python -m benchmarks.front run`, then `... table`.

Each arm is a run of the embedded model on names that were used neither for training nor for tuning. `run` makes the
fronts that are missing, and can be stopped and given again. `table` compares, over the fronts that all arms have, the
volume in three ways with the arm "weighted sum, N = 16", with intervals over names.
"""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from configs.load import load_config
from configs.packaged import config_file
from evaluation.measures.hypervolume import hypervolume
from evaluation.statistics.bootstrap import mean_interval
from pipeline.job.driver import execute
from pipeline.job.progress import Reporter
from pipeline.planning.plan import make_plan
from pipeline.records import read_table

# The names that are left of the 46, the paper's first: without those in configs/surrogate_mini.yaml, and without the
# horse, on which `keep: spread` was chosen.
NAMES = (
    "snail", "hippopotamus", "cheetah", "crocodile", "lobster", "octopus", "monkey", "frog", "cow", "spider",
    "butterfly", "shark", "crab", "camel", "tiger", "caterpillar", "peacock", "giraffe", "dolphin", "pig",
    "owl", "rabbit", "rooster", "fox", "bee", "panda", "mouse",
)  # fmt: skip
# The median of the real artwork, and a point below all images. The third volume is that of the mean front.
MIDDLE = {"colorfulness": 69.0, "compressibility": -2.8}
BELOW = {"colorfulness": -10.0, "compressibility": -3.8}
REFERENCE = "ws16"
SECONDS = ("seconds_denoise", "seconds_lookahead", "seconds_decode", "seconds_reward", "seconds_surrogate")


@dataclass(frozen=True)
class Arm:
    """One method at one budget: its title, its configuration, and the values that differ from it."""

    title: str
    config: str
    overrides: tuple[str, ...] = ()


_ONE = ("surrogate.fronts=1", "surrogate.keep=weighted")
ARMS: Mapping[str, Arm] = {
    "alone": Arm("model alone, six seeds", "weighted_sum_mini", ("method=unguided",)),
    "ws2": Arm("weighted sum, N = 2", "weighted_sum_mini", ("queries=2",)),
    "ws4": Arm("weighted sum, N = 4", "weighted_sum_mini", ("queries=4",)),
    "ws8": Arm("weighted sum, N = 8", "weighted_sum_mini", ("queries=8",)),
    "ws16": Arm("weighted sum, N = 16", "weighted_sum_mini"),
    "soup": Arm("SRSoup, K = 10, N = 16", "weighted_sum_mini", ("method=srsoup", "soup.steps=10")),
    "soup25": Arm("SRSoup, K = 25, N = 16", "weighted_sum_mini", ("method=srsoup", "soup.steps=25")),
    "cv2": Arm(
        "surrogate as control variate, N = 2, one front",
        "best_mini",
        ("surrogate.queries=2", "surrogate.unbiased=true", "surrogate.strength=1", *_ONE),
    ),
    "weak": Arm(
        "surrogate alone, strength 0.1, one front", "best_mini", ("surrogate.strength=0.1", *_ONE)
    ),
    "single": Arm("surrogate alone, strength 0.25, one front", "best_mini", _ONE),
    "three": Arm("surrogate alone, strength 0.25, three fronts, `keep: spread`", "best_mini", ("surrogate.fronts=3",)),
    "weighted": Arm(
        "surrogate alone, strength 0.25, six fronts, `keep: weighted`", "best_mini", ("surrogate.keep=weighted",)
    ),
    "best": Arm("`configs/best_mini.yaml`: surrogate alone, strength 0.25, six fronts, `keep: spread`", "best_mini"),
    "gentle": Arm(
        "surrogate alone, strength 0.1, six fronts, `keep: spread`", "best_mini", ("surrogate.strength=0.1",)
    ),
    "of36": Arm(
        "best of 36 unguided samples, `keep: spread`",
        "weighted_sum_mini",
        ("method=best_of", "best_of.samples=36", "best_of.keep=spread"),
    ),
}  # fmt: skip


def run(folder: Path, arms: Sequence[str], names: Sequence[str], dtype: str) -> None:
    """Make the missing fronts, name by name over all arms, so that whatever is finished can be compared."""
    for name in names:
        for slug in arms:
            arm = ARMS[slug]
            overrides = (*arm.overrides, f"model.dtype={dtype}", f"name={slug}", "prompts.file=null",
                         f"prompts.list=[{name}]", f"output={part_of(folder, slug, name)}")  # fmt: skip
            plan = make_plan(load_config(config_file(arm.config), list(overrides)), lambda key: key)
            execute([plan], local=True, reporter=Reporter(plan.n_prompts, 1, 1))


def part_of(folder: Path, slug: str, name: str) -> Path:
    """Return the folder of one front: the first name's is that of the arm, the others say where they start."""
    start = NAMES.index(name)
    return folder / (f"{slug}-from-{start}" if start else slug)


def fronts_of(run: Path) -> pd.DataFrame:
    """Return a row for each front of a run: name, seed, its points (L, 2), mini_clip, and its costs."""
    samples = read_table(run, "samples").select(["key", "weight_index", "prompt"]).to_pandas()
    scores = read_table(run, "scores").to_pandas().merge(samples, on=["key", "weight_index"])
    wide = scores.pivot_table("value", ["key", "prompt", "weight_index"], "reward").reset_index()
    costs = read_table(run, "costs").to_pandas().set_index("key")
    costs["seconds"] = costs[[name for name in SECONDS if name in costs]].astype(float).fillna(0).sum(axis=1)
    # In runs of versions that did not count passes, every candidate was one pass, and nothing was differentiated.
    passes = costs.denoises + costs.decodes - len(wide.weight_index.unique())
    costs["forwards"] = costs.forwards.astype(float).fillna(passes.astype(float))
    costs["backwards"] = costs.backwards.astype(float).fillna(0.0)
    rows = []
    for (key, name), front in wide.groupby(["key", "prompt"]):
        points = front.sort_values("weight_index")[list(MIDDLE)].to_numpy()
        cost = costs.loc[key]
        rows.append(
            {"name": name, "key": key, "points": points, "mini_clip": front.mini_clip.mean()}
            | {column: float(cost[column]) for column in ("queries", "decodes", "forwards", "backwards", "seconds")}
        )
    frame = pd.DataFrame(rows)
    for column, reference in (("middle", MIDDLE), ("below", BELOW)):
        corner = np.array(list(reference.values()))
        frame[column] = [hypervolume(points, corner).value for points in frame.points]
    return frame


def ratio_interval(ours: NDArray[np.float64], theirs: NDArray[np.float64], names: NDArray[np.str_]) -> str:
    """Return mean(ours) / mean(theirs) with its 95 % interval, by Fieller's linearisation over names."""
    if not theirs.any():
        return "not defined"
    ratio = ours.mean() / theirs.mean()
    return _with_interval(ratio, (ours - ratio * theirs) / theirs.mean(), names)


def _with_interval(ratio: float, deviations: NDArray[np.float64], names: NDArray[np.str_]) -> str:
    """Return a ratio with the interval of its deviations, whose mean is 0. Equal names give no interval."""
    if np.allclose(deviations, deviations[0], rtol=0, atol=1e-12):
        return f"{ratio:.2f}"
    low, high = mean_interval(deviations, names)
    return f"{ratio:.2f} ({ratio + low:.2f} to {ratio + high:.2f})"


def mean_front_interval(ours: NDArray[np.float64], theirs: NDArray[np.float64], names: NDArray[np.str_]) -> str:
    """Return the ratio of the mean fronts' volumes above `MIDDLE`, with its 95 % interval over names.

    A volume of a mean is no mean of volumes, so the interval is that of the jackknife's pseudo-values
    n theta - (n - 1) theta_(-i), which leave out one name at a time in both arms.

    Args:
        ours, theirs: the fronts (n, L, 2) of the same names, in the same order.
    """
    corner = np.array(list(MIDDLE.values()))

    def ratio(kept: NDArray[np.bool_]) -> float:
        base = hypervolume(theirs[kept].mean(0), corner).value
        return hypervolume(ours[kept].mean(0), corner).value / base if base else np.nan

    n = len(names)
    whole = ratio(np.ones(n, dtype=bool))
    if n < 2 or not np.isfinite(whole):
        return f"{whole:.2f}" if np.isfinite(whole) else "not defined"
    pseudo = np.array([n * whole - (n - 1) * ratio(np.arange(n) != index) for index in range(n)])
    if not np.isfinite(pseudo).all():
        return f"{whole:.2f}"
    return _with_interval(whole, pseudo - pseudo.mean(), names)


def table(folder: Path, arms: Sequence[str]) -> str:
    """Return the comparison of the arms as Markdown, over the names of which every arm has a front."""
    found = {slug: frame for slug in arms if not (frame := _all_parts(folder, slug)).empty}
    if REFERENCE not in found:
        raise SystemExit(
            f"{folder} has no finished front of the arm {REFERENCE}; make it with `run --arms {REFERENCE}`"
        )
    common = set.intersection(*(set(frame.name) for frame in found.values()))
    base = _common(found[REFERENCE], common)
    corner = np.array(list(MIDDLE.values()))
    heads = (
        "arm", "queries", "decodes", "forward passes", "backward passes", "seconds", "volume from the middle", "ratio",
        "from below all", "ratio", "of the mean front", "ratio", "mini_clip",
    )  # fmt: skip
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for slug, frame in found.items():
        ours = _common(frame, common)
        names = ours.name.to_numpy().astype(str)
        mean_volume = hypervolume(_mean_front(ours), corner).value
        cells = [
            ARMS[slug].title,
            *(f"{ours[column].mean():,.0f}" for column in ("queries", "decodes", "forwards", "backwards", "seconds")),
            f"{ours.middle.mean():.1f}", ratio_interval(ours.middle.to_numpy(), base.middle.to_numpy(), names),
            f"{ours.below.mean():.0f}", ratio_interval(ours.below.to_numpy(), base.below.to_numpy(), names),
            f"{mean_volume:.1f}", mean_front_interval(np.stack(list(ours.points)), np.stack(list(base.points)), names),
            f"{ours.mini_clip.mean():.2f}",
        ]  # fmt: skip
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(
        [f"{len(common)} names, one front each: {', '.join(n for n in NAMES if n in common)}.", "", *lines]
    )


def _all_parts(folder: Path, slug: str) -> pd.DataFrame:
    """Return the finished fronts of an arm; its last folder may still be at work."""
    parts = [run for run in (folder / slug, *sorted(folder.glob(f"{slug}-from-*"))) if (run / "costs").is_dir()]
    return pd.concat([fronts_of(run) for run in parts]) if parts else pd.DataFrame()


def _common(frame: pd.DataFrame, names: set[str]) -> pd.DataFrame:
    """Return the first front of each of these names, in the order of the names."""
    return frame[frame.name.isin(names)].sort_values("key").drop_duplicates("name").sort_values("name")


def _mean_front(frame: pd.DataFrame) -> NDArray[np.float64]:
    front: NDArray[np.float64] = np.mean(np.stack(list(frame.points)), axis=0)
    return front


def main() -> None:
    """Make fronts, or print the table of those that are there."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("what", choices=("run", "table"))
    parser.add_argument("--folder", type=Path, default=Path("runs/front"))
    parser.add_argument("--arms", nargs="+", choices=tuple(ARMS), default=list(ARMS))
    parser.add_argument("--skip", type=int, default=0, help="names to leave out at the start of the list")
    parser.add_argument("--names", type=int, default=len(NAMES), help="names to take then")
    parser.add_argument(
        "--dtype", choices=("float32", "bfloat16"), default="bfloat16",
        help="of the model in all arms; bfloat16 is slow on CPUs without avx512_bf16 or AMX",
    )  # fmt: skip
    parser.add_argument("--page", type=Path, help="a page whose part `<!-- measured: front -->` the table replaces")
    given = parser.parse_args()
    if given.what == "run":
        run(given.folder, given.arms, NAMES[given.skip : given.skip + given.names], given.dtype)
        return
    text = table(given.folder, given.arms)
    print(text)
    if given.page:
        page = given.page.read_text(encoding="utf-8")
        head, rest = page.split("<!-- measured: front -->\n", 1)
        tail = rest.split("<!-- end -->", 1)[1]
        given.page.write_text(f"{head}<!-- measured: front -->\n{text}\n<!-- end -->{tail}", encoding="utf-8")


if __name__ == "__main__":
    main()
