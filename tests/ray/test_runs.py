"""Whole runs from the command line: every row is there once, and Ray gives the bits of the local run."""

import re
from pathlib import Path

import pytest

from pipeline.records import read_table
from tests.support.runs import run, same_bits

LONG = "a snail " * 625
NASTY = f'prompts.list=["a/b\\n\\"c\\" 🦊", "snail", "snail", "{LONG}"]'
SMALL = ["steps=5", "queries=4", "soup.steps=2", NASTY]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run(tmp_path_factory.mktemp("runs") / "local", *SMALL, "--local")


def test_a_run_has_every_row_once_and_counts_its_costs(undisturbed: Path) -> None:
    samples, costs = (read_table(undisturbed, table).to_pandas() for table in ("samples", "costs"))
    assert len(samples) == 4 * 2 * 6
    assert not samples.duplicated(["prompt_id", "method", "weight_index"]).any()
    assert samples.prompt_id.nunique() == 4 and set(samples.prompt) == {'a/b\n"c" 🦊', "snail", LONG}
    soups = costs[costs.method == "srsoup"]
    assert set(soups.queries) == {4 * 2 * (5 * 5 - 2 * 4)} and set(soups.decodes) == {4 * (2 * 2 + 6 * 3) + 6}
    assert set(costs[costs.method == "unguided"].queries) == {0}


def test_the_names_of_a_runs_parts_are_keys(undisturbed: Path) -> None:
    parts = [path for path in undisturbed.rglob("*") if path.is_file()]
    assert {path.name for path in parts if path.parent == undisturbed} == {
        ".lock",
        "config.yaml",
        "driver.log",
        "driver.yaml",
    }
    assert len(parts) == 4 + 4 * 8
    assert all(re.fullmatch(r"\w+/[0-9a-f]{64}\.parquet", str(path.relative_to(undisturbed))) for path in parts
               if path.parent != undisturbed)  # fmt: skip


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.parametrize("actors", [1, 2])
def test_ray_gives_the_bits_of_one_process(undisturbed: Path, tmp_path: Path, actors: int) -> None:
    output = run(tmp_path / "run", *SMALL, f"compute.diffusion_actors={actors}")
    assert same_bits(output, undisturbed)
    log = (output / "driver.log").read_text()
    assert log.count(": diffusion actor ") == log.count(" is up\n") - log.count("rewards actor ") == actors
    # The actor's warning is in the driver's log, and only once although the prompt has two fronts.
    assert log.count("cut off the end of a long prompt") == 1 and LONG not in log


def test_the_command_of_a_finished_run_changes_no_file(undisturbed: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in undisturbed.rglob("*.parquet")}
    run(undisturbed, *SMALL)
    assert {path: path.stat().st_mtime_ns for path in undisturbed.rglob("*.parquet")} == before
