"""The job: go through the open tasks of a plan on Ray or in this process, and write each as it finishes."""

import asyncio
import fcntl
import os
import platform
from collections import Counter
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import yaml

from actors.protocol import ChunkTooLarge, RunStopped
from configs.errors import RequestError
from pipeline.plan import Plan
from pipeline.progress import Reporter
from pipeline.records import remove_leftovers, remove_part, write_part, write_whole
from pipeline.task import PromptFailure, PromptResult, attempt_prompt

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


def execute(plan: Plan, *, local: bool, reporter: Reporter) -> Outcome:
    """Run every task of the plan that is not finished yet.

    Each finished prompt is on the disk, whole, before the next is looked at; a call after a crash goes on.

    Raises:
        RequestError: the folder cannot be written, or another driver is at work in it.
        RunStopped: the run cannot go on, for want of workers or of room on the disk; what is finished is kept.
    """
    tasks = plan.open_tasks
    found = len(plan.tasks) - len(tasks)
    if not tasks:
        return Outcome(0, found, ())
    done, failures = 0, list[PromptFailure]()
    left = Counter(task.prompt.prompt_id for task in tasks)
    prompt_of = {task.key: task.prompt.prompt_id for task in tasks}
    with _folder_of_our_own(plan), reporter, closing(_results(plan, reporter, local=local)) as results:
        for result in results:
            _write(plan.folder, result)
            if isinstance(result, PromptFailure):
                failures.append(result)
            else:
                done += 1
            left[prompt_of[result.key]] -= 1
            if not left[prompt_of[result.key]]:
                reporter.prompt_done()
    return Outcome(done, found, tuple(failures))


def _results(plan: Plan, reporter: Reporter, *, local: bool) -> Results:
    """What each open task comes to. Where memory does not suffice for a chunk that was not given by hand, the
    rest of the run goes on with half of it; the run's record remembers that."""
    ended = set[str]()
    while True:
        try:
            with closing(_run_here(plan, reporter) if local else _run_on_ray(plan, reporter)) as results:
                for result in results:
                    ended.add(result.key)
                    yield result
            return
        except ChunkTooLarge as error:
            plan = replace(plan, tasks=tuple(task for task in plan.open_tasks if task.key not in ended))
            plan = plan.with_chunk(_smaller_chunk(plan, error))
            _write_record(plan)
            reporter.note(f"{error}: from here on {plan.chunk} at once")


def _smaller_chunk(plan: Plan, error: ChunkTooLarge) -> int:
    if plan.chunk == 1:
        raise RunStopped(f"{error}; take a smaller model, a shorter dtype or a larger GPU") from error
    half = plan.chunk // 2
    if plan.config.compute.chunk != "auto":
        raise RunStopped(f"{error}; set compute.chunk={half}, and another output folder") from error
    return half


def _run_on_ray(plan: Plan, reporter: Reporter) -> Results:
    # Here, because a one-process run and a resumed run with nothing left to do need no Ray.
    from actors.session import RaySession

    with RaySession(plan.worker_config, attempt_prompt) as session:
        reporter.started()
        yield from session.results(plan.open_tasks, lambda progress: reporter.update(*progress))


def _run_here(plan: Plan, reporter: Reporter) -> Results:
    from pipeline.local import LocalWorkers

    workers = LocalWorkers.from_config(plan.worker_config)
    reporter.started()
    try:
        for task in plan.open_tasks:
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
    """`config.yaml` of a run: the resolved configuration, versions, the model's revision, the settled chunk."""
    record = {
        "config": plan.config.model_dump(mode="json"),
        "versions": {"python": platform.python_version(), **_versions()},
        "model_revision": plan.model_revision,
        "chunk": plan.chunk,
    }
    write_whole(plan.folder / "config.yaml", yaml.safe_dump(record, sort_keys=False, allow_unicode=True).encode())


def _versions() -> dict[str, str | None]:
    packages = ("srsoup", "torch", "diffusers", "transformers", "ray", "pyarrow", "numpy", "pillow")
    return {package: _version(package) for package in packages}


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
