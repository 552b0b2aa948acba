"""Whole runs from the command line: the same bits everywhere, and nothing lost to a kill."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipeline.records import read_table

ROOT = Path(__file__).parents[2]
SMALL = ["steps=5", "queries=4", "soup.steps=2"]
LONG = "a snail " * 625
NASTY = f'["a/b\\n\\"c\\" 🦊", "snail", "snail", "{LONG}"]'


def command(output: Path, *arguments: str) -> list[str]:
    config = str(ROOT / "configs" / "demo.yaml")
    return [sys.executable, "-m", "pipeline", "run", config, *SMALL, f"prompts.list={NASTY}", f"output={output}",
            *arguments]  # fmt: skip


def run(output: Path, *arguments: str) -> Path:
    done = subprocess.run(command(output, *arguments), cwd=ROOT, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    return output


def same_bits(one: Path, other: Path) -> bool:
    return all(read_table(one, table).equals(read_table(other, table)) for table in ("samples", "scores", "steps"))


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run(tmp_path_factory.mktemp("runs") / "local", "--local")


def test_a_run_has_every_row_once_and_counts_its_costs(undisturbed: Path) -> None:
    samples, costs = (read_table(undisturbed, table).to_pandas() for table in ("samples", "costs"))
    assert len(samples) == 4 * 2 * 6
    assert not samples.duplicated(["prompt_id", "method", "weight_index"]).any()
    assert samples.prompt_id.nunique() == 4 and set(samples.prompt) == {'a/b\n"c" 🦊', "snail", LONG}
    soups = costs[costs.method == "srsoup"]
    assert set(soups.queries) == {4 * 2 * (5 * 5 - 2 * 4)} and set(soups.decodes) == {4 * (2 * 2 + 6 * 3) + 6}
    assert set(costs[costs.method == "unguided"].queries) == {0}


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.parametrize("actors", [1, 2])
def test_ray_gives_the_bits_of_one_process(undisturbed: Path, tmp_path: Path, actors: int) -> None:
    assert same_bits(run(tmp_path / "run", f"compute.diffusion_actors={actors}"), undisturbed)


@pytest.mark.ray
@pytest.mark.slow
def test_a_killed_driver_goes_on_to_the_same_bits(undisturbed: Path, tmp_path: Path) -> None:
    output = tmp_path / "run"
    driver = subprocess.Popen(
        command(output, "compute.diffusion_actors=1", "compute.prompts_in_flight=1"),
        cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    deadline = time.monotonic() + 150
    while not list((output / "costs").glob("*.parquet")) and time.monotonic() < deadline:
        time.sleep(0.05)
    os.kill(driver.pid, signal.SIGKILL)
    driver.wait()
    assert 0 < len(read_table(output, "costs")) < 8
    assert same_bits(run(output, "--local"), undisturbed)
    assert len(list((output / "samples").iterdir())) == 8


def test_a_finished_run_is_left_alone(undisturbed: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in undisturbed.rglob("*.parquet")}
    run(undisturbed)
    assert {path: path.stat().st_mtime_ns for path in undisturbed.rglob("*.parquet")} == before
