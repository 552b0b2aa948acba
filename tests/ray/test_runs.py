"""Whole runs from the command line: every row is there once, and Ray gives the bits of the local run."""

import re
from pathlib import Path

import pytest

from pipeline.records import read_table
from tests.support.runs import FOUR_FRONTS, run, same_bits

LONG = "a snail " * 625
NASTY = f'prompts.list=["a/b\\n\\"c\\" 🦊", "snail", "snail", "{LONG}"]'
SMALL = [*FOUR_FRONTS, "method=[srsoup, unguided]", NASTY]


@pytest.fixture(scope="module")
def local_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run(tmp_path_factory.mktemp("runs") / "local", *SMALL, "--local")


def test_a_run_has_every_row_once_and_counts_its_costs(local_run: Path) -> None:
    samples, costs = (read_table(local_run, table).to_pandas() for table in ("samples", "costs"))
    assert len(samples) == 4 * 2 * 3
    assert not samples.duplicated(["prompt_id", "method", "weight_index"]).any()
    assert samples.prompt_id.nunique() == 4 and set(samples.prompt) == {'a/b\n"c" 🦊', "snail", LONG}
    soups = costs[costs.method == "srsoup"]
    assert set(soups.queries) == {3 * 2 * (3 * 2 - 1 * 1)} and set(soups.decodes) == {3 * (1 * 2 + 2 * 3) + 3}
    assert set(costs[costs.method == "unguided"].queries) == {0}


def test_the_names_of_a_runs_parts_are_keys(local_run: Path) -> None:
    parts = [path for path in local_run.rglob("*") if path.is_file()]
    assert {path.name for path in parts if path.parent == local_run} == {
        ".lock",
        "config.yaml",
        "driver.log",
        "driver.yaml",
    }
    # The part of failures/ that has no rows makes that table readable.
    tables = {str(path.relative_to(local_run)) for path in parts if path.parent != local_run} - {
        "failures/schema.parquet"
    }
    assert len(tables) == 4 * 8 and len(parts) == 4 + 4 * 8 + 1
    assert all(re.fullmatch(r"\w+/[0-9a-f]{64}\.parquet", table) for table in tables)


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.parametrize("actors", [pytest.param(1, marks=pytest.mark.chaos), 2])
def test_ray_gives_the_bits_of_one_process(local_run: Path, tmp_path: Path, head: dict[str, str], actors: int) -> None:
    """`make test` has one actor in many other tests."""
    output = run(tmp_path / "run", *SMALL, f"compute.diffusion_actors={actors}", "compute.device=cpu", environment=head)
    assert same_bits(output, local_run)
    log = (output / "driver.log").read_text()
    assert log.count(": diffusion actor ") == log.count(" is up\n") - log.count("rewards actor ") == actors
    # The actor's warning is in the driver's log, and only once although the prompt has two fronts.
    assert log.count("cut off the end of a long prompt") == 1 and LONG not in log


def test_the_command_of_a_finished_run_changes_no_file(local_run: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in local_run.rglob("*.parquet")}
    run(local_run, *SMALL)
    assert {path: path.stat().st_mtime_ns for path in local_run.rglob("*.parquet")} == before
