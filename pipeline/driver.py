"""The job: go through the open tasks of a plan on Ray or in this process, and write each as it finishes."""

import asyncio
import fcntl
import json
import os
import platform
from collections import Counter
from collections.abc import Generator, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from itertools import groupby
from pathlib import Path

import yaml

from actors.protocol import ChunkTooLarge, RunStopped
from configs.errors import RequestError
from pipeline.plan import Plan
from pipeline.progress import Reporter
from pipeline.records import remove_leftovers, remove_part, write_part, write_whole
from pipeline.task import PromptFailure, PromptResult, PromptTask, attempt_prompt
from rewards.registry import create

Results = Generator[PromptResult | PromptFailure, None, None]


@dataclass(frozen=True)
class Outcome:
    """How a run ended.

    Attributes:
        done: prompts (of a method each) finished in this call.
        found: those that were finished before.
        failures: rows of the `failures` table of this call.
    """

    done: int
    found: int
    failures: tuple[PromptFailure, ...]

    @property
    def exit_status(self) -> int:
        return 1 if self.failures else 0


def execute(plans: Sequence[Plan], *, local: bool, reporter: Reporter) -> tuple[Outcome, ...]:
    """Run every task of the plans that is not finished yet, one outcome a plan.

    Each finished prompt is on the disk, whole, before the next is looked at; a call after a crash goes on. Plans
    whose workers are the same (`configs.schema.RunConfig.workers`) share them: their models are loaded once.

    Raises:
        RequestError: a folder cannot be written, or another driver is at work in it.
        RunStopped: the run cannot go on, for want of workers or of room on the disk; what is finished is kept.
    """
    tallies = [_Tally(plan) for plan in plans]
    begun = [tally for tally in tallies if tally.plan.open_tasks]
    if begun:
        with ExitStack() as stack:
            for tally in begun:
                stack.enter_context(_folder_of_our_own(tally.plan))
            stack.enter_context(reporter)
            for _, sharing in groupby(sorted(begun, key=_workers), key=_workers):
                _execute_sharing(list(sharing), local, reporter)
    return tuple(tally.outcome for tally in tallies)


@dataclass
class _Tally:
    """What has come of one plan in this call."""

    plan: Plan
    done: int = 0
    failures: list[PromptFailure] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._open = {task.key: task.prompt.prompt_id for task in self.plan.open_tasks}
        self._found = len(self.plan.tasks) - len(self._open)
        self._left = Counter(self._open.values())

    @property
    def tasks(self) -> list[PromptTask]:
        """What has not ended yet."""
        return [task for task in self.plan.tasks if task.key in self._open]

    def enter(self, result: PromptResult | PromptFailure) -> bool:
        """Write a result down; whether it was the last one of its prompt. One of another plan is left alone."""
        if result.key not in self._open:
            return False
        _write(self.plan.folder, result)
        if isinstance(result, PromptFailure):
            self.failures.append(result)
        else:
            self.done += 1
        prompt = self._open.pop(result.key)
        self._left[prompt] -= 1
        return not self._left[prompt]

    @property
    def outcome(self) -> Outcome:
        return Outcome(self.done, self._found, tuple(self.failures))

    def halve_chunk(self, error: ChunkTooLarge) -> None:
        """Go on with chunks of half the size; the run's record remembers that.

        Raises:
            RunStopped: the chunk is 1 already, or was given by hand.
        """
        if self.plan.chunk == 1:
            raise RunStopped(f"{error}; take a smaller model, a shorter dtype or a larger GPU") from error
        half = self.plan.chunk // 2
        if self.plan.config.compute.chunk != "auto":
            raise RunStopped(f"{error}; set compute.chunk={half}, and another output folder") from error
        self.plan = self.plan.with_chunk(half)
        _write_record(self.plan)


def _workers(tally: _Tally) -> str:
    return json.dumps([tally.plan.worker_config.workers, tally.plan.plugin_digests], sort_keys=True)


def _execute_sharing(tallies: Sequence[_Tally], local: bool, reporter: Reporter) -> None:
    """The tasks of plans with the same workers, one plan after the other; a task that two plans hold runs once.

    Where memory does not suffice for a chunk that was not given by hand, the rest goes on with half of it.
    """
    run = _run_here if local else _run_on_ray
    while tasks := {task.key: task for tally in tallies for task in tally.tasks}:
        try:
            with closing(run(tallies[0].plan, list(tasks.values()), reporter)) as results:
                for result in results:
                    for tally in tallies:
                        if tally.enter(result):
                            reporter.prompt_done()
        except ChunkTooLarge as error:
            for tally in tallies:
                tally.halve_chunk(error)
            reporter.note(f"{error}: from here on {tallies[0].plan.chunk} at once")


def _run_on_ray(plan: Plan, tasks: Sequence[PromptTask], reporter: Reporter) -> Results:
    # Here, because a one-process run and a resumed run with nothing left to do need no Ray.
    from actors.session import RaySession

    before = reporter.counted
    with RaySession(plan.worker_config, attempt_prompt, plan.plugins) as session:
        reporter.started()
        yield from session.results(
            tasks, lambda progress: reporter.update(before[0] + progress.steps, before[1] + progress.candidates)
        )


def _run_here(plan: Plan, tasks: Sequence[PromptTask], reporter: Reporter) -> Results:
    from pipeline.local import LocalWorkers

    workers = LocalWorkers.from_config(plan.worker_config, plan.plugins)
    reporter.started()
    try:
        for task in tasks:
            yield asyncio.run(attempt_prompt(task, workers, reporter.add))
    finally:
        workers.close()


def _write(folder: Path, result: PromptResult | PromptFailure) -> None:
    try:
        if isinstance(result, PromptFailure):
            write_part(folder, "failures", result.key, [result.row])
        else:
            _write_finished(folder, result)
    except OSError as error:
        raise RunStopped(f"{folder} cannot be written: {error}") from error


def _write_finished(folder: Path, result: PromptResult) -> None:
    """Write the parts of a finished prompt. The last one marks the key as finished: a crash before it leaves
    the prompt open, and one after it has nothing left to do, so that no key is ever finished and failed."""
    for table in ("samples", "scores", "steps"):
        write_part(folder, table, result.key, result.tables[table])
    remove_part(folder, "failures", result.key)
    write_part(folder, "costs", result.key, result.tables["costs"])


@contextmanager
def _folder_of_our_own(plan: Plan) -> Iterator[None]:
    """Make the run's folder with its record, and keep other drivers out of it while we work."""
    folder = plan.folder
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = os.open(folder / ".lock", os.O_CREAT | os.O_RDWR, 0o644)
    except OSError as error:
        raise _folder_error(plan, str(error)) from error
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            remove_leftovers(folder)
            if not (folder / "config.yaml").is_file():
                _write_record(plan)
        except BlockingIOError as error:
            raise _folder_error(plan, "another run is at work in it") from error
        except OSError as error:
            raise _folder_error(plan, str(error)) from error
        yield
    finally:
        os.close(lock)


def _folder_error(plan: Plan, problem: str) -> RequestError:
    return RequestError(
        file="command line",
        key="output",
        value=str(plan.folder),
        problem=problem,
        allowed="a folder that you can write and that no other run is using",
        mend="set output=... to another place, or wait for the other run",
    )


def _write_record(plan: Plan) -> None:
    write_whole(plan.folder / "config.yaml", _record(plan).encode())


def _record(plan: Plan) -> str:
    """`config.yaml` of a run: the resolved configuration, units, versions, the model's revision, the settled chunk."""
    rewards = plan.config.rewards
    record = {
        "config": plan.config.model_dump(mode="json"),
        "units": {name: create(name).info.unit for name in (*rewards.guided, *rewards.held_out)},
        "versions": {"python": platform.python_version(), **_versions()},
        "model_revision": plan.model_revision,
        "plugins": plan.plugin_digests,
        "chunk": plan.chunk,
    }
    return yaml.safe_dump(record, sort_keys=False, allow_unicode=True)


def _versions() -> dict[str, str | None]:
    packages = ("srsoup", "torch", "diffusers", "transformers", "ray", "pyarrow", "numpy", "pillow")
    return {package: _version(package) for package in packages}


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
