"""Runs of the real driver with prompts that were computed before, so that only its work on the files remains."""

import functools
import os
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from configs.load import load_config
from configs.location import Location
from pipeline.job import driver
from pipeline.job.batches import Batches
from pipeline.job.driver import execute
from pipeline.job.progress import Reporter
from pipeline.job.result import PromptFailure, PromptResult
from pipeline.job.result_writer import Outcome
from pipeline.job.run_prompt import attempt_prompt
from pipeline.planning.plan import Plan, make_plan
from pipeline.planning.task import PromptTask
from pipeline.records import read_table
from pipeline.storage.schemas import SCHEMAS
from tests.support.fakes import FakeWorkers, wait
from tests.support.runs import DEMO

# Not the folder of the configuration, because `make demo` leaves another run in runs/demo.
SMALL = ["method=srsoup", "steps=3", "queries=4", "soup.steps=1", "prompts.list=[snail, crab]", "output=runs/of-a-test"]


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

    def computed(plan: Plan, batches: Batches, reporter: Reporter) -> Iterator[Any]:
        for task in batches:
            yield result_of(task, wrong_for if task.prompt.text == wrong_for else None)

    with pytest.MonkeyPatch.context() as patch, open(os.devnull, "w") as nowhere:
        patch.setattr(driver, "_run_here", computed)
        return execute([plan], local=True, reporter=Reporter(2, 6, 0, nowhere))[0]


def tables(output: Location) -> dict[str, Any]:
    return {table: read_table(output, table).to_pylist() for table in SCHEMAS}
