"""Ends a driver by SIGKILL or SIGTERM: the same command resumes the run, and no process of Ray is left."""

import os
import signal
import subprocess
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from pipeline.records import finished_keys, read_table
from tests.support.cluster.processes import actors, marked, new_mark, title, wait_for
from tests.support.runs import FOUR_FRONTS, ROOT, command, run_here, same_bits

ONE = ["compute.diffusion_actors=1", "compute.prompts_in_flight=1"]


class Driver:
    """A driver with a mark in its environment, which the processes that it starts inherit."""

    def __init__(self, output: Path, *arguments: str) -> None:
        self.mark = new_mark()
        self.process = subprocess.Popen(
            command(output, *FOUR_FRONTS, *arguments), cwd=ROOT, env={**os.environ, **self.mark},
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    def kill_when(self, reached: Callable[["Driver"], bool], pause: float = 0.01) -> None:
        """Kill the driver alone once the condition holds, and check that all its processes end."""
        wait_for(lambda: reached(self) or self.process.poll() is not None, 150, pause)
        ended = self.process.poll()
        assert ended is None, f"it ended with {ended} before it could be killed: {self.errors()}"
        os.kill(self.process.pid, signal.SIGKILL)
        self.process.communicate()
        wait_for(lambda: not self.left_behind(), 30, 0.2)
        assert self.left_behind() == []

    def errors(self) -> str:
        assert self.process.stderr is not None
        return self.process.stderr.read()

    def left_behind(self) -> list[str]:
        # The two agents that Ray runs on a node try to reach the dead head, and end a minute later.
        return [line for line in map(title, marked(self.mark)) if line and "Agent" not in line]


@pytest.mark.slow
def test_a_driver_killed_after_every_sixth_file_resumes_to_the_same_bits(undisturbed: Path, tmp_path: Path) -> None:
    """The run has one process and no Ray. It writes the lock and the record, then four parts for each prompt."""
    output = tmp_path / "run"

    def has_files(n: int, _: Driver) -> bool:
        return len(list(output.rglob("*.*"))) >= n

    for files in range(1, 18, 6):
        Driver(output, "--local").kill_when(partial(has_files, files))
    assert 2 <= len(finished_keys(output)) < 4
    assert same_bits(run_here(output, *FOUR_FRONTS), undisturbed)


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_driver_killed_in_each_phase_resumes_to_the_same_bits_and_leaves_no_process(
    undisturbed: Path, tmp_path: Path
) -> None:
    output = tmp_path / "run"

    def parts(table: str) -> int:
        return len(list((output / table).glob("*.parquet")))

    phases: dict[str, Callable[[Driver], bool]] = {
        "models load": lambda driver: any(actors(driver.mark, "DiffusionActor")),
        "the first parts are being written": lambda driver: parts("samples") == 1,
        "the second prompt runs": lambda driver: parts("costs") == 2,
    }
    for reached in phases.values():
        Driver(output, *ONE).kill_when(reached, 0.05)
    assert 2 <= len(read_table(output, "costs")) < 4
    # Each driver but the first resumed on Ray. The rest needs no further start of Ray.
    assert same_bits(run_here(output, *FOUR_FRONTS), undisturbed)
    assert len(list((output / "samples").iterdir())) == len(read_table(output, "costs")) == 4


@pytest.mark.ray
@pytest.mark.slow
def test_sigterm_lets_started_prompts_finish_and_the_same_command_resumes_the_run(tmp_path: Path) -> None:
    """`timeout` and Slurm send it to every process of the group, so also to the processes of Ray."""
    some = [*FOUR_FRONTS, "prompts.list=[snail, crab, owl, lobster, ant, bee, cat, cow, dog, fox]"]
    arguments = command(tmp_path / "run", *some, "compute.diffusion_actors=1", "compute.prompts_in_flight=2")
    driver = subprocess.Popen(
        arguments, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    while not finished_keys(tmp_path / "run") and driver.poll() is None:
        time.sleep(0.05)
    os.killpg(driver.pid, signal.SIGTERM)
    _, errors = driver.communicate(timeout=120)
    assert driver.returncode == 1 and "stopped: a SIGTERM arrived" in errors, errors
    assert "finishes the running prompts and starts no others" in errors and "the same command continues" in errors
    assert "Traceback" not in errors and "GCS" not in errors, errors
    assert len(read_table(tmp_path / "run", "failures")) == 0
    assert 1 < len(finished_keys(tmp_path / "run")) < 10, "one prompt was finished, and one or two had been started"
    assert same_bits(run_here(tmp_path / "run", *some), run_here(tmp_path / "local", *some))
