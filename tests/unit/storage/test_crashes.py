"""After a driver is killed between any two file operations, the same command continues, and each row is there once."""

import functools
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from configs.load import load_config
from configs.location import Location
from pipeline.job import driver
from pipeline.job.driver import Outcome, execute
from pipeline.job.progress import Reporter
from pipeline.job.result import PromptFailure, PromptResult
from pipeline.job.run_prompt import attempt_prompt
from pipeline.planning.plan import Plan, make_plan
from pipeline.planning.task import PromptTask
from pipeline.records import SCHEMAS, failed_keys, finished_keys, read_table
from tests.support.fakes import FakeWorkers, wait

DEMO = Path(__file__).parents[3] / "configs" / "demo.yaml"
# Not the folder of the configuration, because `make demo` leaves another run in runs/demo.
SMALL = ["method=srsoup", "steps=3", "queries=4", "soup.steps=1", "prompts.list=[snail, crab]", "output=runs/of-a-test"]
# Every change of the disk by the driver and the writers is a call of one of these functions of `os`.
STEPS = ("mkdir", "open", "fdopen", "fsync", "chmod", "replace", "link", "unlink", "rmdir", "close")


@functools.cache
def result_of(task: PromptTask, wrong_for: str | None) -> PromptResult | PromptFailure:
    """Compute a result once, so that every run writes the same seconds too."""
    return wait(attempt_prompt(task, FakeWorkers(3, wrong_for), lambda steps, candidates: None))


@functools.cache
def checked_plan() -> Plan:
    return make_plan(load_config(DEMO, SMALL), str)


def plan_of(output: Location) -> Plan:
    plan = checked_plan()
    return replace(plan, config=plan.config.model_copy(update={"output": str(output)}))


def run(output: Location, wrong_for: str | None = None) -> Outcome:
    """Run the real driver with results that were computed before. The prompt `wrong_for` fails."""
    plan = plan_of(output)

    def computed(plan: Plan, tasks: Sequence[PromptTask], reporter: Reporter) -> Iterator[Any]:
        for task in tasks:
            yield result_of(task, wrong_for if task.prompt.text == wrong_for else None)

    with pytest.MonkeyPatch.context() as patch, open(os.devnull, "w") as null:
        patch.setattr(driver, "_run_here", computed)
        return execute([plan], local=True, reporter=Reporter(2, 6, 0, null))[0]


def in_a_child(work: Callable[[], object], die_before: int) -> bool:
    """Do the work in a forked process that is killed before its n-th file operation; return whether it was killed."""
    child = os.fork()
    if not child:
        try:
            steps = 0

            def counted(step: Callable[..., Any]) -> Callable[..., Any]:
                def call(*arguments: Any, **options: Any) -> Any:
                    nonlocal steps
                    steps += 1
                    if steps == die_before:
                        os.kill(os.getpid(), signal.SIGKILL)
                    return step(*arguments, **options)

                return call

            for name in STEPS:
                setattr(os, name, counted(getattr(os, name)))
            work()
            os._exit(0)
        except BaseException as error:
            print(repr(error), file=sys.stderr, flush=True)
            os._exit(1)
    status = os.waitpid(child, 0)[1]
    assert status in (0, signal.SIGKILL), f"the child ended with status {status}, but the test did not kill it"
    return status != 0


def tables(output: Location) -> dict[str, Any]:
    return {table: read_table(output, table).to_pylist() for table in SCHEMAS}


def assert_sound(output: Path) -> None:
    """Assert what a reader finds after a crash: complete prompts, each row once, and none both finished and failed."""
    if not (output / "config.yaml").is_file():
        return
    finished = finished_keys(output)
    assert not finished & failed_keys(output)
    n_samples = {task.key: len(task.weights) for task in plan_of(output).tasks}
    samples = [row["key"] for row in tables(output)["samples"]]
    assert sorted(samples) == sorted(key for key in finished for _ in range(n_samples[key]))


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
