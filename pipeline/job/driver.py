"""The job: go through the open tasks of a plan on Ray or in this process, and write each as it finishes."""

import asyncio
import json
import logging
import signal
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from functools import partial
from itertools import groupby, takewhile
from threading import Event, current_thread, main_thread

from actors.cluster.connect import prepare as prepare_cluster
from actors.protocol import ChunkTooLarge, RunStopped
from actors.telemetry.run_monitor import RunMonitor
from configs.errors import RequestError
from pipeline.job.progress import Reporter
from pipeline.job.result import PromptFailure, PromptResult
from pipeline.job.result_writer import Outcome, ResultWriter, write_record, written
from pipeline.job.run_log import run_log
from pipeline.job.run_prompt import attempt_prompt
from pipeline.job.summary import Summary
from pipeline.planning.plan import Plan
from pipeline.planning.resume import folder_error
from pipeline.planning.task import PromptTask
from pipeline.records import holds
from pipeline.storage.disk import remove_leftovers, store_of
from pipeline.storage.lock import FolderInUse, Hold, lock_of
from pipeline.storage.status import DRIVER_FILE

log = logging.getLogger(__name__)

Results = Generator[PromptResult | PromptFailure, None, None]


def execute(
    plans: Sequence[Plan],
    *,
    local: bool,
    reporter: Reporter,
    summary: Summary | None = None,
    allow_open_cluster: bool = False,
) -> tuple[Outcome, ...]:
    """Run every task of the plans that is not finished yet, one outcome a plan.

    Each finished prompt is on the disk, whole, before the next is looked at; a call after a crash goes on. Plans
    whose workers are the same (`configs.schema.RunConfig.workers`) share them: their models are loaded once.

    Args:
        summary: is told what comes of it.
        allow_open_cluster: also on a cluster that asks nobody for a token.

    Raises:
        RequestError: a folder cannot be written, or another driver is at work in it, or the cluster is refused.
        RunStopped: the run cannot go on, for want of workers or of room on the disk, or was told to end by a
            SIGTERM; what is finished is kept.
    """
    if not local and any(plan.open_tasks for plan in plans):
        prepare_cluster(allow_open_cluster)
    with ExitStack() as stack:
        hold_on = {plan.folder: stack.enter_context(_folder_of_our_own(plan)) for plan in plans if has_work(plan)}
        # What another driver finished since the plan was made is seen only now that it is out.
        writers = [ResultWriter(replace(plan), reporter, hold_on.get(plan.folder)) for plan in plans]
        if begun := [writer for writer in writers if has_work(writer.plan)]:
            summary = summary or Summary()
            stack.enter_context(_logging(begun, reporter, summary))
            for writer in begun:
                writer.begin()
            stack.enter_context(reporter)
            told_to_end = stack.enter_context(_ending_on_sigterm(reporter))
            for _, sharing in groupby(sorted(begun, key=_workers), key=_workers):
                _execute_sharing(list(sharing), local, reporter, summary, told_to_end)
            for writer in begun:
                writer.end()
    return tuple(writer.outcome for writer in writers)


def has_work(plan: Plan) -> bool:
    """Whether fronts are left to make, or `driver.yaml` has been lost and is to be written again."""
    return bool(plan.open_tasks) or not holds(plan.folder, DRIVER_FILE)


@contextmanager
def _logging(writers: Sequence[ResultWriter], reporter: Reporter, summary: Summary) -> Iterator[None]:
    """Log what happens, and the summary at the end, however that comes.

    Raises:
        RunStopped: the log cannot be written.
    """
    with ExitStack() as stack:
        folders = [writer.plan.folder for writer in writers]
        with written(folders[0]):
            summary.log_file = stack.enter_context(run_log(folders, reporter.note))
        for plan in (writer.plan for writer in writers):
            left, fronts = len(plan.open_tasks), len(plan.tasks)
            log.info("%s: %d of %d fronts to make, chunks of %d", plan.folder, left, fronts, plan.chunk)
        wanted = {task.key for writer in writers for task in writer.plan.tasks}
        left_open = {task.key for writer in writers for task in writer.plan.open_tasks}
        summary.run_monitor.fronts.update(wanted=len(wanted), done=len(wanted - left_open))
        try:
            yield
        finally:
            summary.ready, summary.candidates = reporter.loaded, reporter.counted[1]
            for line in (*summary.details(), *summary.lines()):
                log.info("%s", line)


def _workers(writer: ResultWriter) -> str:
    return json.dumps([writer.plan.config.workers, writer.plan.plugin_digests], sort_keys=True)


def _execute_sharing(
    writers: Sequence[ResultWriter], local: bool, reporter: Reporter, summary: Summary, told_to_end: Event
) -> None:
    """The tasks of plans with the same workers, one plan after the other; a task that two plans hold runs once.

    Where memory does not suffice for a chunk that was not given by hand, the rest of all plans with chunks of that
    size or more goes on with half of theirs, on workers that are started anew.
    """
    run = _run_here if local else partial(_run_on_ray, run_monitor=summary.run_monitor)
    while tasks := {task.key: task for writer in writers for task in writer.tasks}:
        under_way = set[str]()
        try:
            until_told = takewhile(lambda _: not told_to_end.is_set(), tasks.values())
            with closing(run(writers[0].plan, _noted(until_told, under_way), reporter)) as results:
                for result in results:
                    under_way.discard(result.key)
                    summary.enter(tasks[result.key], result)
                    for writer in writers:
                        if writer.enter(result):
                            reporter.prompt_done()
        except ChunkTooLarge as error:
            too_large = [writer for writer in writers if writer.tasks and writer.plan.chunk >= error.chunk]
            for writer in too_large:
                writer.halve_chunk(error)
            for writer in writers:
                writer.begin_again(under_way)
            sizes = sorted({writer.plan.chunk for writer in too_large})
            text = f"{error}: from here on {' or '.join(map(str, sizes))} at once"
            log.warning("%s", text)
            reporter.note(text)
        if told_to_end.is_set() and any(writer.tasks for writer in writers):
            raise RunStopped("told to end by SIGTERM, with prompts left to do")


def _noted(tasks: Iterable[PromptTask], keys: set[str]) -> Iterator[PromptTask]:
    """The tasks as they are asked for, their keys noted."""
    for task in tasks:
        keys.add(task.key)
        yield task


@contextmanager
def _ending_on_sigterm(reporter: Reporter) -> Iterator[Event]:
    """An event that the first SIGTERM sets: no prompt is begun any more, and those under way are finished and kept
    for as long as we live. A second one ends us at once. Only the main thread is told of signals."""
    told = Event()
    if current_thread() is not main_thread():
        yield told
        return

    def end(*_: object) -> None:
        signal.signal(signal.SIGTERM, before)
        told.set()
        text = "told to end: the prompts under way are finished, no other is begun"
        log.warning("%s", text)
        reporter.note(text)

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield told
    finally:
        signal.signal(signal.SIGTERM, before)


def _run_on_ray(plan: Plan, tasks: Iterable[PromptTask], reporter: Reporter, *, run_monitor: RunMonitor) -> Results:
    # Here, because a one-process run and a resumed run with nothing left to do need no Ray.
    from actors.cluster.session import RaySession

    before = reporter.counted
    with RaySession(plan.config, attempt_prompt, plan.plugins, run_monitor) as session:
        reporter.started()
        yield from session.results(
            tasks, lambda progress: reporter.update(before[0] + progress.steps, before[1] + progress.candidates)
        )


def _run_here(plan: Plan, tasks: Iterable[PromptTask], reporter: Reporter) -> Results:
    from pipeline.job.local_workers import LocalWorkers

    workers = LocalWorkers.from_config(plan.config, plan.plugins)
    reporter.started()
    try:
        for task in tasks:
            yield asyncio.run(attempt_prompt(task, workers, reporter.add))
    finally:
        workers.close()


@contextmanager
def _folder_of_our_own(plan: Plan) -> Iterator[Hold]:
    """Make the run's folder with its record, and keep other drivers out of it while we work."""
    folder = plan.folder
    with ExitStack() as stack:
        try:
            store_of(folder).make(folder)
            hold = stack.enter_context(lock_of(folder))
            remove_leftovers(folder)
            if not holds(folder, "config.yaml"):
                write_record(plan)
        except OSError as error:
            raise folder_error(folder, str(error), "command line") from error
        except FolderInUse as error:
            raise RequestError(
                file="command line", key="output", value=str(folder), problem=str(error),
                allowed="a folder that no other run is using",
                fix="set output=... to another place, or wait for the other run",
            ) from error  # fmt: skip
        yield hold
