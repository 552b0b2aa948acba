"""After a driver is killed between any two file operations, the same command continues, and each row is there once."""

import functools
import os
import time
from pathlib import Path

import pytest

from pipeline.records import failed_keys, finished_keys
from tests.support.computed_run import plan_of, run, tables
from tests.support.killed_child import in_a_child


@pytest.fixture(autouse=True)
def no_waiting_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Skip `fsync`, which only a crash of the machine makes necessary; it still counts as a file operation."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


def assert_sound(output: Path) -> None:
    """Assert what a reader finds after a crash: complete prompts, each row once, and none both finished and failed."""
    if not (output / "config.yaml").is_file():
        return
    finished = finished_keys(output)
    assert not finished & failed_keys(output)
    n_samples = {task.key: len(task.weights) for task in plan_of(output).tasks}
    samples = [row["key"] for row in tables(output)["samples"]]
    assert sorted(samples) == sorted(key for key in finished for _ in range(n_samples[key]))


@pytest.mark.slow
@pytest.mark.parametrize("failed_before", [None, "crab"])
def test_a_driver_killed_before_any_file_operation_continues_to_the_same_rows(
    tmp_path: Path, failed_before: str | None
) -> None:
    """With `failed_before` the folder holds a run in which this prompt failed, and the killed driver tries it again."""
    run(tmp_path / "undisturbed")
    expected = tables(tmp_path / "undisturbed")
    die_before, killed = 0, True
    while killed:
        die_before += 1
        output = tmp_path / f"killed-{die_before}"
        if failed_before:
            assert run(output, failed_before).exit_status == 1
        killed = in_a_child(functools.partial(run, output), die_before)
        assert_sound(output)
        assert run(output).exit_status == 0
        assert tables(output) == expected
        assert not [path for path in output.rglob(".part-*")]
        assert len(list((output / "samples").iterdir())) == 2
    prompts = 1 if failed_before else 2
    assert die_before > prompts * 4 * 7, "each of a prompt's four parts takes seven operations or more"


def test_a_driver_killed_many_times_loses_nothing(tmp_path: Path) -> None:
    """Each driver is killed a few operations later than the one before it, whose files it continues."""
    output, deadline, die_before = tmp_path / "run", time.monotonic() + 60, 1
    while in_a_child(functools.partial(run, output), die_before) and time.monotonic() < deadline:
        assert_sound(output)
        die_before += 3
    run(tmp_path / "undisturbed")
    assert tables(output) == tables(tmp_path / "undisturbed")
