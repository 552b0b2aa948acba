"""The table of `benchmarks.front`: its volumes and ratios against an independent computation."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmarks import front
from tests.support.runs import FOUR_FRONTS, run_here


def area(points: np.ndarray, corner: tuple[float, float]) -> float:
    """The area that points dominate above a corner, by counting the cells of the grid that they make."""
    xs = np.unique(np.concatenate([[corner[0]], points[:, 0]]))
    ys = np.unique(np.concatenate([[corner[1]], points[:, 1]]))
    total = 0.0
    for left, right in pairwise(xs):
        for low, high in pairwise(ys):
            inside = left >= corner[0] and low >= corner[1]
            if inside and ((points[:, 0] >= right) & (points[:, 1] >= high)).any():
                total += (right - left) * (high - low)
    return total


@pytest.mark.slow
def test_the_table_compares_the_common_names_of_all_arms(tmp_path: Path) -> None:
    whole = (*FOUR_FRONTS, "method=weighted_sum", "rewards.held_out=[mini_clip]")
    run_here(tmp_path / "ws16", *whole)
    run_here(tmp_path / "ws4", *whole, "queries=2", "prompts.list=[snail, crab, owl]")
    text = front.table(tmp_path, ["ws16", "ws4", "best"])
    lines = text.splitlines()
    assert lines[0] == "3 names, one front each: snail, crab, owl."
    assert len(lines) == 2 + 2 + 2, "an arm without a run has no row"
    cells = [cell.strip() for cell in lines[4].strip("|").split("|")]
    found = front.fronts_of(tmp_path / "ws16")
    common = found[found.name != "lobster"]
    below = np.mean([area(points, (-10.0, -3.8)) for points in common.points])
    assert float(cells[8]) == pytest.approx(below, abs=0.5)
    assert cells[9].startswith("1.00")
    # Three steps do not reach the median of the artwork, so these volumes may be 0.
    assert cells[7][:4] in ("1.00", "not ") and cells[11][:4] in ("1.00", "not ")
    assert float(cells[1]) == 3 * 3 * 4, "N T times the four positive weights"
    assert found.forwards.tolist() == [3 * 3 + 3 * 3 * 3] * 4 and not found.backwards.any()


def test_a_ratio_and_its_interval() -> None:
    names = np.array(["a", "b", "c", "d"])
    theirs = np.array([1.0, 2.0, 3.0, 4.0])
    assert front.ratio_interval(theirs * 2 + np.array([0.1, -0.1, 0.1, -0.1]), theirs, names).startswith("2.00 (1.9")


def test_the_interval_of_the_mean_front_is_that_of_a_mean_where_the_volume_is_linear() -> None:
    """One point a front at a fixed compressibility: the volume is the mean colorfulness above 69, times 1."""
    names = np.array(["a", "b", "c", "d", "e"])
    above = np.array([1.0, 2.0, 4.0, 3.0, 5.0])
    theirs = np.tile(np.array([79.0, -1.8]), (5, 1, 1))
    ours = np.stack([[[69.0 + value, -1.8]] for value in above])
    assert front.mean_front_interval(ours, theirs, names) == front.ratio_interval(above, np.full(5, 10.0), names)
    assert front.mean_front_interval(theirs, theirs, names) == "1.00"
    assert front.ratio_interval(above, above, names) == "1.00"
    assert front.mean_front_interval(ours, theirs - 100.0, names) == "not defined"


def test_a_table_needs_the_arm_that_others_are_compared_with(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="no finished front of the arm ws16"):
        front.table(tmp_path, ["ws16", "best"])


def test_each_name_and_arm_has_a_folder_that_the_table_finds(tmp_path: Path) -> None:
    folders = {front.part_of(tmp_path, slug, name) for slug in ("ws4", "ws16") for name in front.NAMES}
    assert len(folders) == 2 * len(front.NAMES)
    assert {folder.name.split("-from-")[0] for folder in folders} == {"ws4", "ws16"}


def test_no_name_of_the_comparison_was_used_to_train_or_tune() -> None:
    from configs.load import load_config
    from configs.packaged import config_file
    from mini.names import ICONS

    used = load_config(config_file("surrogate_mini"), []).prompts.list
    assert used is not None and not {"horse", *used} & set(front.NAMES)
    assert set(used) | set(front.NAMES) | {"horse"} == set(ICONS) and len(pd.unique(pd.Series(front.NAMES))) == len(
        front.NAMES
    )
