"""The driver: runs the open tasks of plans, on Ray or in this process, and writes each result as it arrives."""

import asyncio
import json
import logging
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from functools import partial
from itertools import groupby
from threading import Event

from actors.cluster.connect import prepare as prepare_cluster
from actors.protocol import ChunkTooLarge, RunStopped
from actors.telemetry.run_monitor import RunMonitor
from configs.errors import RequestError
from configs.plain.texts import described
from pipeline.job.batches import Batches, batches_of
from pipeline.job.counts import counts_sent
from pipeline.job.progress import Reporter
from pipeline.job.result import PromptFailure, PromptResult
from pipeline.job.result_writer import Outcome, ResultWriter, remove_record_of_refused_run, write_record, writing
from pipeline.job.run_log import run_log
from pipeline.job.run_prompt import attempt_prompt
from pipeline.job.sigterm import stop_on_sigterm
from pipeline.job.summary import Summary
from pipeline.planning.accepted_weights import accepted_lines
from pipeline.planning.method.weight_rounds import unadapted
from pipeline.planning.plan import Plan
from pipeline.planning.resume import folder_error
from pipeline.planning.surrogates.rounds import unamortised
from pipeline.planning.task import PromptTask
from pipeline.records import has_file
from pipeline.storage.disk import remove_leftovers, store_of
from pipeline.storage.lock import FolderInUse, FolderLock, lock_folder
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
    """Run every unfinished task of the plans, and return one outcome for each plan.

    Each result is written before the next is taken, so that after a crash the same call continues the run. Plans that
    need the same workers (`configs.schema.RunConfig.workers`) share them, so their models are loaded once.

    Args:
        local: whether to run in this process, without Ray.
        summary: a summary to which the work of this driver is added.
        allow_open_cluster: whether a cluster that requires no token is accepted too.

    Raises:
        RequestError: a folder cannot be written, another driver is using it, or the cluster is refused.
        RunStopped: workers or disk space ran out, or a SIGTERM arrived. Finished results are kept.
    """
    if not local and any(plan.open_tasks for plan in plans):
        prepare_cluster(allow_open_cluster)
    with ExitStack() as stack:
        locks = {plan.folder: stack.enter_context(_locked_folder(plan)) for plan in plans if has_work(plan)}
        # `replace` makes the plan look for finished keys again: another driver may have finished some before the lock.
        writers = [ResultWriter(replace(plan), reporter, locks.get(plan.folder)) for plan in plans]
        if active := [writer for writer in writers if has_work(writer.plan)]:
            summary = summary or Summary()
            stack.enter_context(_logging(active, reporter, summary))
            for writer in active:
                writer.start()
            stack.enter_context(reporter)
            stack.enter_context(_pace_noted(active, reporter))
            stop_requested = stack.enter_context(stop_on_sigterm(reporter))
            for _, group in groupby(sorted(active, key=_workers_key), key=_workers_key):
                _run_on_shared_workers(list(group), local, reporter, summary, stop_requested)
            for writer in active:
                writer.finish()
    return tuple(writer.outcome for writer in writers)


def has_work(plan: Plan) -> bool:
    """Whether fronts are left to make, or `driver.yaml` has been lost and is to be written again."""
    return bool(plan.open_tasks) or not has_file(plan.folder, DRIVER_FILE)


@contextmanager
def _logging(writers: Sequence[ResultWriter], reporter: Reporter, summary: Summary) -> Iterator[None]:
    """Log the events of the run and, at the end, its summary, even if the run ends with an error.

    Raises:
        RunStopped: the log cannot be written.
    """
    with ExitStack() as stack:
        folders = [writer.plan.folder for writer in writers]
        with writing(folders[0]):
            summary.log_file = stack.enter_context(run_log(folders, reporter.show_message))
        for plan in (writer.plan for writer in writers):
            n_open, n_fronts = len(plan.open_tasks), len(plan.tasks)
            log.info("%s: %d of %d fronts are open, chunks of %d candidates", plan.folder, n_open, n_fronts, plan.chunk)
            for line in accepted_lines(plan.config):
                log.warning("%s", line)
            for warning in filter(None, (unamortised(plan.config, plan.tasks), unadapted(plan.tasks))):
                log.warning("%s", warning)
                reporter.show_message(warning)
        stack.enter_context(counts_sent([writer.plan for writer in writers], summary))
        wanted = {task.key for writer in writers for task in writer.plan.tasks}
        still_open = {task.key for writer in writers for task in writer.plan.open_tasks}
        summary.run_monitor.fronts.update(wanted=len(wanted), done=len(wanted - still_open))
        try:
            yield
        finally:
            summary.loaded_at, summary.candidates = reporter.loaded_at, reporter.counts[1]
            for line in (*summary.details(), *summary.lines()):
                log.info("%s", line)


@contextmanager
def _pace_noted(writers: Sequence[ResultWriter], reporter: Reporter) -> Iterator[None]:
    """Write the pace of the driver into the folders of its runs meanwhile."""

    def note() -> None:
        for writer in writers:
            writer.note_pace(reporter.pace)

    before, reporter.on_update = reporter.on_update, note
    try:
        yield
    finally:
        reporter.on_update = before


def _workers_key(writer: ResultWriter) -> str:
    """Return a text that is equal for plans that can share workers."""
    return json.dumps([writer.plan.config.workers, writer.plan.plugin_digests], sort_keys=True)


def _run_on_shared_workers(
    writers: Sequence[ResultWriter], local: bool, reporter: Reporter, summary: Summary, stop_requested: Event
) -> None:
    """Run the tasks of plans that share workers, plan by plan. A task that is in two plans runs once.

    If a chunk does not fit into memory and its size was not set by the user, all plans with chunks of that size or more
    halve theirs. The remaining tasks then run on new workers.
    """
    run = _run_here if local else partial(_run_on_ray, run_monitor=summary.run_monitor)
    while tasks := {task.key: task for writer in writers for task in writer.open_tasks}:
        running = set[str]()
        try:
            batches = Batches(batches_of(writers, tasks, running, stop_requested))
            with closing(run(writers[0].plan, batches, reporter)) as results:
                for result in results:
                    running.discard(result.key)
                    summary.add(tasks[result.key], result)
                    for writer in writers:
                        if writer.write(result):
                            reporter.prompt_done()
        except ChunkTooLarge as error:
            too_large = [writer for writer in writers if writer.open_tasks and writer.plan.chunk >= error.chunk]
            for writer in too_large:
                writer.halve_chunk(error)
            for writer in writers:
                writer.count_restarts(running)
            sizes = sorted({writer.plan.chunk for writer in too_large})
            text = f"{error}; from now on {' or '.join(map(str, sizes))} at once"
            log.warning("%s", text)
            reporter.show_message(text)
        if stop_requested.is_set() and any(writer.open_tasks for writer in writers):
            raise RunStopped("a SIGTERM arrived before all prompts were done")


def _run_on_ray(plan: Plan, tasks: Batches, reporter: Reporter, *, run_monitor: RunMonitor) -> Results:
    # Imported here, because a run in one process, or one with nothing left to do, needs no Ray.
    from actors.cluster.session import RaySession

    steps, candidates = reporter.counts
    with RaySession(plan.config, attempt_prompt, plan.plugins, run_monitor) as session:
        reporter.started()
        for batch in tasks.batches:
            yield from session.results(
                batch, lambda progress: reporter.update(steps + progress.steps, candidates + progress.candidates)
            )


def _run_here(plan: Plan, tasks: Iterable[PromptTask], reporter: Reporter) -> Results:
    from pipeline.job.local_workers import LocalWorkers

    try:
        workers = LocalWorkers.from_config(plan.config, plan.plugins)
    except RequestError:
        raise
    except Exception as error:
        raise RunStopped(f"the models cannot be loaded: {described(error)}") from error
    reporter.started()
    try:
        for task in tasks:
            yield asyncio.run(attempt_prompt(task, workers, reporter.add))
    finally:
        workers.close()


@contextmanager
def _locked_folder(plan: Plan) -> Iterator[FolderLock]:
    """Make the run's folder with its `config.yaml`, and hold its lock."""
    folder = plan.folder
    with ExitStack() as stack:
        try:
            store_of(folder).make_folder(folder)
            lock = stack.enter_context(lock_folder(folder))
            remove_leftovers(folder)
            if not has_file(folder, "config.yaml"):
                write_record(plan)
                stack.push(partial(remove_record_of_refused_run, plan))
        except OSError as error:
            raise folder_error(folder, str(error), "command line") from error
        except FolderInUse as error:
            raise RequestError(
                file="command line", key="output", value=str(folder), problem=str(error),
                allowed="a folder that no other run is using",
                fix="set output=... to another folder, or wait until the other run ends",
            ) from error  # fmt: skip
        yield lock
