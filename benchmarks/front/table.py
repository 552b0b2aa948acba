"""The table of the comparison of fronts: volumes and costs, with intervals over names."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.front.arms import ARMS, NAMES, REFERENCE, Setting
from benchmarks.front.fronts import Fronts, compared
from evaluation.measures.hypervolume import hypervolume
from evaluation.statistics.bootstrap import mean_interval


def ratio_interval(ours: NDArray[np.float64], theirs: NDArray[np.float64], names: NDArray[np.str_]) -> str:
    """Return mean(ours) / mean(theirs) with its 95 % interval, by Fieller's linearisation over names."""
    if not theirs.any():
        return "not defined"
    ratio = ours.mean() / theirs.mean()
    return _with_interval(ratio, (ours - ratio * theirs) / theirs.mean(), names)


def _with_interval(ratio: float, deviations: NDArray[np.float64], names: NDArray[np.str_]) -> str:
    """Return a ratio with the interval of its deviations, whose mean is 0, cut at 0. Equal names give no interval."""
    if np.allclose(deviations, deviations[0], rtol=0, atol=1e-12):
        return f"{ratio:.2f}"
    low, high = mean_interval(deviations, names)
    return f"{ratio:.2f} ({max(ratio + low, 0.0):.2f} to {ratio + high:.2f})"


def mean_front_interval(
    ours: NDArray[np.float64], theirs: NDArray[np.float64], names: NDArray[np.str_], corner: NDArray[np.float64]
) -> str:
    """Return the ratio of the mean fronts' volumes above a corner, with its 95 % interval over names.

    A volume of a mean is no mean of volumes, so the interval is that of the jackknife's pseudo-values
    n theta - (n - 1) theta_(-i), which leave out one name with all its seeds at a time, in both arms.

    Args:
        ours, theirs: the fronts (F, L, M) of the same names and seeds, in the same order.
        names: the name of each front, (F,).
        corner: the reference point, (M,).
    """

    def ratio(kept: NDArray[np.bool_]) -> float:
        base = hypervolume(theirs[kept].mean(0), corner).value
        return hypervolume(ours[kept].mean(0), corner).value / base if base else np.nan

    units = np.unique(names)
    n = len(units)
    whole = ratio(np.ones(len(names), dtype=bool))
    if n < 2 or not np.isfinite(whole):
        return f"{whole:.2f}" if np.isfinite(whole) else "not defined"
    pseudo = np.array([n * whole - (n - 1) * ratio(names != unit) for unit in units])
    if not np.isfinite(pseudo).all():
        return f"{whole:.2f}"
    return _with_interval(whole, pseudo - pseudo.mean(), units)


def table(fronts: Fronts, setting: Setting, arms: Sequence[str]) -> str:
    """Return the comparison of the arms as Markdown, over the names and seeds of which every arm has a front.

    Raises:
        SystemExit: the arm that the others are compared with has none.
    """
    found, common = compared(fronts, arms)
    base = found[REFERENCE]
    corner = np.array(list(setting.middle.values()))
    heads = (
        "arm", "queries", "decodes", "forward passes", "backward passes", "volume from the middle", "ratio",
        "from below all", "ratio", "of the mean front", "ratio", setting.held_out,
    )  # fmt: skip
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for slug, ours in found.items():
        names = ours.index.get_level_values("name").to_numpy().astype(str)
        mean_front = np.stack(list(ours.points)).mean(0)
        cells = [
            ARMS[slug].title,
            *(f"{ours[column].mean():,.0f}" for column in ("queries", "decodes", "forwards", "backwards")),
            _short(ours.middle.mean()), ratio_interval(ours.middle.to_numpy(), base.middle.to_numpy(), names),
            _short(ours.below.mean()), ratio_interval(ours.below.to_numpy(), base.below.to_numpy(), names),
            _short(hypervolume(mean_front, corner).value),
            mean_front_interval(np.stack(list(ours.points)), np.stack(list(base.points)), names, corner),
            _short(ours.held_out.mean()),
        ]  # fmt: skip
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join([_counted(common), "", *lines])


def seconds_table(fronts: Fronts, arms: Sequence[str]) -> str:
    """Return the seconds of a front of each arm as Markdown, as they were measured."""
    heads = ("arm", "fronts", "seconds of a front", "as a multiple of the reference")
    base = fronts[REFERENCE].seconds
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for slug in (slug for slug in arms if slug in fronts):
        ours = fronts[slug].seconds
        span = f"{ours.mean():.1f}" + (f" ({ours.min():.1f} to {ours.max():.1f})" if len(ours) > 1 else "")
        lines.append(f"| {ARMS[slug].title} | {len(ours)} | {span} | {ours.mean() / base.mean():.2f} |")
    return "\n".join(lines)


def _counted(common: Sequence[tuple[str, int]]) -> str:
    """Say which fronts a table is over."""
    used = [name for name in NAMES if any(name == one for one, _ in common)]
    seeds = sorted({seed for _, seed in common})
    one = "one front each" if len(seeds) == 1 else f"seeds {', '.join(str(seed) for seed in seeds)}"
    return f"{len(used)} names, {one} ({len(common)} fronts): {', '.join(used)}."


def _short(value: float) -> str:
    """Print three digits: 253, 31.2, 0.56."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def replace_part(page: Path, part: str, text: str) -> None:
    """Replace what stands in a page between `<!-- measured: PART -->` and `<!-- end -->`."""
    mark = f"<!-- measured: {part} -->\n"
    head, rest = page.read_text(encoding="utf-8").split(mark, 1)
    tail = rest.split("<!-- end -->", 1)[1]
    page.write_text(f"{head}{mark}{text}\n<!-- end -->{tail}", encoding="utf-8")
