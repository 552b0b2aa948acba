"""Sweeps: the products of values from the command line or the file, and the name of each point."""

from pathlib import Path

import pytest
import yaml

from configs.errors import RequestError
from configs.load import load_config
from configs.sweep import load_sweep


def write(tmp_path: Path, **more: object) -> Path:
    path = tmp_path / "base.yaml"
    data = {
        "name": "base", "weights": {"grid": 3}, "steps": 10, "soup": {"steps": 4},
        "rewards": {"guided": ["colorfulness", "compressibility"]}, "prompts": {"list": ["snail"]},
    }  # fmt: skip
    path.write_text(yaml.safe_dump(data | more))
    return path


def test_a_sweep_on_the_command_line_is_one_product(tmp_path: Path) -> None:
    points = load_sweep(write(tmp_path), ["queries=7"], ["method=srsoup,weighted_sum", "soup.steps=0,5,10"])
    assert len(points) == 6 and {point.queries for point in points} == {7}
    assert [(point.method, point.soup.steps) for point in points[:3]] == [("srsoup", 0), ("srsoup", 5), ("srsoup", 10)]
    assert points[1].name == "base_method-srsoup_soup-steps-5"
    assert str(points[1].output_folder) == "runs/base/method-srsoup_soup-steps-5"
    assert len({point.output_folder for point in points}) == 6


def test_each_block_of_the_file_is_a_product(tmp_path: Path) -> None:
    sweep = [{"method": ["srsoup"], "soup.steps": [2, 4]}, {"method": ["weighted_sum"], "queries": [6, 11, 16]}]
    points = load_sweep(write(tmp_path, sweep=sweep), ["output=out/here"])
    assert [(p.method, p.soup.steps, p.queries) for p in points] == [
        ("srsoup", 2, 30), ("srsoup", 4, 30), ("weighted_sum", 4, 6), ("weighted_sum", 4, 11), ("weighted_sum", 4, 16)
    ]  # fmt: skip
    assert str(points[0].output_folder) == "out/here/method-srsoup_soup-steps-2"


def test_values_may_be_lists_and_mappings(tmp_path: Path) -> None:
    points = load_sweep(
        write(tmp_path), [], ["weights={grid: 3},[[1.0, 0.0]]", "guidance.elite_fraction={colorfulness: 0.5}"]
    )
    assert [len(point.weights) for point in points] == [3, 1]
    assert points[0].name == "base_weights-grid-3_guidance-elite-fraction-colorfulness-0-5"


def test_the_file_of_a_sweep_is_not_the_file_of_a_run(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="srsoup sweep"):
        load_config(write(tmp_path, sweep=[{"seed": [1, 2]}]))


@pytest.mark.parametrize(
    ("sweep", "over", "key"),
    [
        (None, [], "sweep"),
        ([], [], "sweep"),
        ([{}], [], "sweep"),
        ([{"seed": 3}], [], "sweep"),
        ("seed", [], "sweep"),
        (None, ["seed"], "--over"),
        (None, ["seed="], "--over"),
        (None, ["=1,2"], "--over"),
        (None, ["seed=1", "seed=2"], "--over"),
        (None, ["seed=1,1"], "sweep"),
        (None, ["soup.stepps=1,2"], "soup.stepps"),
        (None, ["soup.steps=1,11"], "soup.steps"),
    ],
)
def test_wrong_sweeps_are_refused(tmp_path: Path, sweep: object, over: list[str], key: str) -> None:
    path = write(tmp_path) if sweep is None else write(tmp_path, sweep=sweep)
    with pytest.raises(RequestError) as caught:
        load_sweep(path, [], over)
    assert caught.value.key == key
