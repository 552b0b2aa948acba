"""The table of `benchmarks.front`: its volumes and ratios against an independent computation."""

import re
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmarks.front import arms, fronts, table
from benchmarks.front.__main__ import main as front_command
from benchmarks.front.__main__ import run as front_run
from tests.support.runs import FOUR_FRONTS, run_here

COLOUR_SIZE = arms.SETTINGS["colour_size"]
PAGE = Path(__file__).parents[3] / "docs" / "results.md"
CORNER = np.array([69.0, -2.8])


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
    run_here(tmp_path / "ws16-all-seed-0", *whole)
    run_here(tmp_path / "ws4-all-seed-0", *whole, "queries=2", "prompts.list=[snail, crab, owl]")
    text = table.table(fronts.in_folders(tmp_path, COLOUR_SIZE), COLOUR_SIZE, ["ws16", "ws4", "best"])
    lines = text.splitlines()
    assert lines[0] == "3 names, one front each (3 fronts): snail, crab, owl."
    assert len(lines) == 2 + 2 + 2, "an arm without a run has no row"
    cells = [cell.strip() for cell in lines[4].strip("|").split("|")]
    found = fronts.fronts_of(tmp_path / "ws16-all-seed-0", COLOUR_SIZE)
    common = found[found.name != "lobster"]
    below = np.mean([area(points, (-10.0, -3.8)) for points in common.points])
    assert float(cells[7]) == pytest.approx(below, abs=0.5)
    assert cells[8].startswith("1.00")
    # Three steps do not reach the median of the artwork, so these volumes may be 0.
    assert cells[6][:4] in ("1.00", "not ") and cells[10][:4] in ("1.00", "not ")
    assert float(cells[1]) == 3 * 3 * 4, "N T times the four positive weights"
    assert found.forwards.tolist() == [3 * 3 + 3 * 3 * 3] * 4 and not found.backwards.any()


def test_a_ratio_and_its_interval() -> None:
    names = np.array(["a", "b", "c", "d"])
    theirs = np.array([1.0, 2.0, 3.0, 4.0])
    assert table.ratio_interval(theirs * 2 + np.array([0.1, -0.1, 0.1, -0.1]), theirs, names).startswith("2.00 (1.9")


def test_the_interval_of_the_mean_front_is_that_of_a_mean_where_the_volume_is_linear() -> None:
    """One point a front at a fixed compressibility: the volume is the mean colorfulness above 69, times 1."""
    names = np.array(["a", "b", "c", "d", "e"])
    above = np.array([1.0, 2.0, 4.0, 3.0, 5.0])
    theirs = np.tile(np.array([79.0, -1.8]), (5, 1, 1))
    ours = np.stack([[[69.0 + value, -1.8]] for value in above])
    assert table.mean_front_interval(ours, theirs, names, CORNER) == table.ratio_interval(
        above, np.full(5, 10.0), names
    )
    assert table.mean_front_interval(theirs, theirs, names, CORNER) == "1.00"
    assert table.ratio_interval(above, above, names) == "1.00"
    assert table.mean_front_interval(ours, theirs - 100.0, names, CORNER) == "not defined"


def test_a_table_needs_the_arm_that_others_are_compared_with(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="no finished front of the arm ws16"):
        table.table(fronts.in_folders(tmp_path, COLOUR_SIZE), COLOUR_SIZE, ["ws16", "best"])


def test_each_name_arm_and_seed_has_a_folder_that_the_table_finds(tmp_path: Path) -> None:
    folders = {fronts.part_of(tmp_path, slug, name, seed) for slug in ("ws4", "ws16") for name in arms.NAMES
               for seed in (0, 1)}  # fmt: skip
    assert len(folders) == 4 * len(arms.NAMES)
    assert len([folder for folder in folders if folder.match("ws4-*-seed-*")]) == 2 * len(arms.NAMES)


def test_a_name_with_all_its_seeds_is_the_unit_of_an_interval() -> None:
    """Two seeds that are copies of each other say nothing new, so the interval is that of one seed."""
    rng = np.random.default_rng(0)
    names = np.array(["a", "b", "c", "d", "e"])
    ours, theirs = (rng.uniform([70, -2.7], [90, -1.5], (5, 4, 2)) for _ in range(2))
    corner = np.array([69.0, -2.8])
    once = table.mean_front_interval(ours, theirs, names, corner)
    assert (
        table.mean_front_interval(np.tile(ours, (2, 1, 1)), np.tile(theirs, (2, 1, 1)), np.tile(names, 2), corner)
        == once
    )


@pytest.mark.parametrize("slug", arms.SETTINGS)
def test_each_setting_is_a_valid_configuration_of_every_arm(slug: str) -> None:
    from configs.load import load_config
    from configs.packaged import config_file

    setting = arms.SETTINGS[slug]
    for name, arm in arms.ARMS.items():
        config = load_config(
            config_file(arm.config), [*setting.of(arm), f"name={name}", "prompts.file=null", "prompts.list=[snail]"]
        )
        assert config.rewards.guided == setting.rewards and setting.below.keys() == setting.middle.keys()
        assert setting.held_out not in setting.rewards
        assert all(setting.below[name] < setting.middle[name] for name in setting.rewards)


def test_no_name_of_the_comparison_was_used_to_train_or_tune() -> None:
    from configs.load import load_config
    from configs.packaged import config_file
    from mini.names import ICONS

    used = load_config(config_file("surrogate_mini"), []).prompts.list
    assert used == load_config(config_file("surrogate_five_mini"), []).prompts.list
    assert used is not None and not {"horse", *used} & set(arms.NAMES)
    assert set(used) | set(arms.NAMES) | {"horse"} == set(ICONS) and len(pd.unique(pd.Series(arms.NAMES))) == len(
        arms.NAMES
    )


def test_the_fronts_in_the_file_are_those_in_the_folders(tmp_path: Path) -> None:
    run_here(tmp_path / "colour_size" / "ws16-all-seed-3", *FOUR_FRONTS, "method=weighted_sum",
             "rewards.held_out=[mini_clip]")  # fmt: skip
    fronts.collect(tmp_path, tmp_path / "fronts.parquet")
    wanted, found = (
        fronts.in_folders(tmp_path / "colour_size", COLOUR_SIZE),
        fronts.in_file(tmp_path / "fronts.parquet", "colour_size"),
    )
    assert list(found) == ["ws16"] and list(found["ws16"].index) == [
        (n, 3) for n in ("crab", "lobster", "owl", "snail")
    ]
    assert table.table(found, COLOUR_SIZE, ["ws16"]) == table.table(wanted, COLOUR_SIZE, ["ws16"])
    assert fronts.in_file(tmp_path / "fronts.parquet", "three") == {}


PARTS = re.findall(
    r"^ +python -m benchmarks\.front (table|seconds) --measured (.*?)--page (\S+)(?: --part (.+?))?(?: --figure \S+)?$",
    PAGE.read_text(encoding="utf-8").replace("\\\n", ""),
    re.MULTILINE,
)


def test_the_page_has_a_command_for_each_of_its_parts() -> None:
    assert len(PARTS) == PAGE.read_text(encoding="utf-8").count("<!-- measured: front") >= 5


@pytest.mark.parametrize(("what", "options", "page", "part"), PARTS)
def test_what_the_page_says_is_what_its_command_prints(
    what: str, options: str, page: str, part: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    copy = tmp_path / "page.md"
    copy.write_text(PAGE.read_text(encoding="utf-8"), encoding="utf-8")
    named = ["--part", part.strip("'\"")] if part else []
    monkeypatch.setattr("sys.argv", ["front", what, "--measured", *options.split(), "--page", str(copy), *named])
    front_command()
    assert copy.read_text(encoding="utf-8") == PAGE.read_text(encoding="utf-8")


def test_fronts_are_added_to_a_file_and_those_in_it_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    points = np.array([[80.0, -2.0], [90.0, -2.5]])
    columns = {"held_out": 0.5, **dict.fromkeys(fronts.COSTS, 1.0), "key": "k", "middle": 0.0, "below": 0.0}

    def found(*rows: tuple[str, int, float]) -> fronts.Fronts:
        table = [{"name": name, "seed": seed, "points": points + shift} | columns for name, seed, shift in rows]
        return {"ws4": pd.DataFrame(table).set_index(["name", "seed"])}

    file = tmp_path / "measured.parquet"
    folders: dict[str, fronts.Fronts] = {"colour_size": found(("snail", 0, 0.0))}
    monkeypatch.setattr(fronts, "in_folders", lambda folder, setting: folders.get(folder.name, {}))
    assert fronts.collect(tmp_path, file) == 1
    folders["colour_size"] = found(("snail", 0, 5.0), ("snail", 1, 7.0))
    folders["three"] = found(("snail", 0, 9.0))
    assert fronts.collect(tmp_path, file) == 2
    assert fronts.in_file_already(file, "colour_size") == {("ws4", "snail", 0), ("ws4", "snail", 1)}
    whole = pd.read_parquet(file).set_index(["setting", "seed"])
    assert np.stack(whole.points[("colour_size", 0)])[0, 0] == 80.0, "the front that the file had stays"
    assert np.stack(whole.points[("three", 0)])[0, 0] == 89.0


def test_run_makes_what_the_file_lacks_and_everything_if_it_is_to_be_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = list[str]()
    monkeypatch.setattr("benchmarks.front.__main__.execute", lambda plans, **_: made.append(plans[0].folder.name))
    there = fronts.in_file_already(fronts.MEASURED, "colour_size")
    assert ("ws16", "snail", 0) in there and ("ws16", "snail", 9) not in there
    folder = tmp_path / "colour_size"
    front_run(folder, COLOUR_SIZE, ["ws16"], ["snail"], 0, "float32")
    assert made == []
    front_run(folder, COLOUR_SIZE, ["ws16"], ["snail"], 9, "float32")
    front_run(folder, COLOUR_SIZE, ["ws16"], ["snail"], 0, "float32", anew=True)
    assert made == ["ws16-snail-seed-9", "ws16-snail-seed-0"]
