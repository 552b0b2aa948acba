"""A driver that dies between any two steps of its file work: the same command goes on, and nothing is lost or twice."""

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
# A folder of its own: what `make demo` left in runs/demo is another run.
SMALL = ["method=srsoup", "steps=3", "queries=4", "soup.steps=1", "prompts.list=[snail, crab]", "output=runs/of-a-test"]
# All that the driver and the writers do to the disk goes through these names of `os`.
STEPS = ("mkdir", "open", "fdopen", "fsync", "chmod", "replace", "link", "unlink", "rmdir", "close")


@functools.cache
def result_of(task: PromptTask, wrong_for: str | None) -> PromptResult | PromptFailure:
    """Computed once, so that every run writes the same seconds too."""
    return wait(attempt_prompt(task, FakeWorkers(3, wrong_for), lambda steps, candidates: None))


@functools.cache
def checked_plan() -> Plan:
    return make_plan(load_config(DEMO, SMALL), str)


def plan_of(output: Path) -> Plan:
    plan = checked_plan()
    return replace(plan, config=plan.config.model_copy(update={"output": str(output)}))


def run(output: Path, wrong_for: str | None = None) -> Outcome:
    """The driver as it is, with prompts that were computed before."""
    plan = plan_of(output)

    def computed(plan: Plan, tasks: Sequence[PromptTask], reporter: Reporter) -> Iterator[Any]:
        for task in tasks:
            yield result_of(task, wrong_for if task.prompt.text == wrong_for else None)

    with pytest.MonkeyPatch.context() as patch, open(os.devnull, "w") as nowhere:
        patch.setattr(driver, "_run_here", computed)
        return execute([plan], local=True, reporter=Reporter(2, 6, 0, nowhere))[0]


def in_a_child(work: Callable[[], object], die_before: int) -> bool:
    """Do the work in a forked process that is killed before its n-th step on the disk; whether it was killed."""
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
    assert status in (0, signal.SIGKILL), f"the child ended with {status}, which is no kill of ours"
    return status != 0


def tables(output: Path) -> dict[str, Any]:
    return {table: read_table(output, table).to_pylist() for table in SCHEMAS}


def assert_sound(output: Path) -> None:
    """What a reader finds after a crash: whole prompts, each row once, and no prompt both finished and failed."""
    if not (output / "config.yaml").is_file():
        return
    finished = finished_keys(output)
    assert not finished & failed_keys(output)
    whole = {task.key: len(task.weights) for task in plan_of(output).tasks}
    samples = [row["key"] for row in tables(output)["samples"]]
    assert sorted(samples) == sorted(key for key in finished for _ in range(whole[key]))


@pytest.mark.parametrize("failed_before", [None, "crab"])
def test_a_driver_killed_before_any_step_on_the_disk_goes_on_to_the_same_rows(
    tmp_path: Path, failed_before: str | None
) -> None:
    """`failed_before`: the folder holds a run in which a prompt failed, which the killed driver tries again."""
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
    assert die_before > prompts * 4 * 7, "each of a prompt's four parts takes seven steps or more"


def test_a_driver_killed_again_and_again_loses_nothing(tmp_path: Path) -> None:
    """Each life is a few steps longer than the last, so that every one dies in the other's leavings."""
    output, deadline, life = tmp_path / "run", time.monotonic() + 60, 1
    while in_a_child(functools.partial(run, output), life) and time.monotonic() < deadline:
        assert_sound(output)
        life += 3
    run(tmp_path / "undisturbed")
    assert tables(output) == tables(tmp_path / "undisturbed")
