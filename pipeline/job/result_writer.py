"""Writes the results of one plan as they arrive, merges their parts from time to time, and counts them."""

import platform
import time
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from actors.protocol import ChunkTooLarge, RunStopped
from configs.errors import RequestError
from configs.location import Location
from configs.plain.data import dump_yaml
from pipeline.job.progress import Reporter
from pipeline.job.result import PromptFailure, PromptResult
from pipeline.planning.cost import expected_costs
from pipeline.planning.plan import Plan
from pipeline.planning.task import PromptTask
from pipeline.records import DamagedPart, failed_keys, finished_keys, remove_part, write_atomically, write_part
from pipeline.storage.clock import Pace
from pipeline.storage.compact import FULL_KEYS, CannotMerge, compact
from pipeline.storage.costs_index import FrontCost, write_index
from pipeline.storage.disk import store_of
from pipeline.storage.lock import FolderLock
from pipeline.storage.no_failures import remove_part_without_rows, write_part_without_rows
from pipeline.storage.status import DRIVER_FILE, write_driver_record, write_pace
from pipeline.surrogate.rounds import pairs_file
from rewards.plugin import Plugin
from rewards.registry import create

# At the end of a driver, the parts of a table are merged if at least this many are small.
MIN_PARTS_AT_END = 64
# On stores where parts cannot be merged, the index is rewritten after this many fronts, so that `status` opens at most
# this many parts.
FRONTS_PER_INDEX = 128
# How often the pace is written into the run's folder. On an object store each time is a request that costs money.
NOTE_SECONDS, REMOTE_NOTE_SECONDS = 5.0, 60.0


@dataclass(frozen=True)
class Outcome:
    """How the driver's work on one run ended.

    Attributes:
        done: the number of fronts that this driver finished.
        found: the number of fronts that were finished before.
        failures: the fronts that failed in this driver.
    """

    done: int
    found: int
    failures: tuple[PromptFailure, ...]

    @property
    def exit_status(self) -> int:
        return 1 if self.failures else 0


@dataclass
class ResultWriter:
    """Writes the results of one plan, and counts them.

    Attributes:
        lock: the lock of the plan's folder; None if the plan has no open tasks.
        done: the number of fronts that were finished.
        failures: the fronts that failed.
    """

    plan: Plan
    reporter: Reporter
    lock: FolderLock | None
    done: int = 0
    failures: list[PromptFailure] = field(default_factory=list)

    def __post_init__(self) -> None:
        open_tasks = self.plan.open_tasks
        self._prompt_by_open_key = {task.key: task.prompt.prompt_id for task in open_tasks}
        costs = expected_costs(open_tasks, self.plan.config.steps)
        self._expected = {task.key: cost.decodes for task, cost in zip(open_tasks, costs, strict=True)}
        self._noted_at = time.monotonic()
        self._found = len(self.plan.tasks) - len(self._prompt_by_open_key)
        self._open_fronts = Counter(self._prompt_by_open_key.values())
        self._unmerged = 0
        self._can_merge = True
        self._costs = dict[str, FrontCost]()

    def start(self) -> None:
        """Write `driver.yaml`, and remove the rows of unfinished keys from merged parts."""
        plan = self.plan
        decodes = sum(cost.decodes for cost in expected_costs(plan.tasks, plan.config.steps))
        with writing(plan.folder, self.lock):
            self._record, self._costs = write_driver_record(plan.folder, plan.n_prompts, len(plan.tasks), decodes)
            write_part_without_rows(plan.folder)
            self._merge(min_parts=FULL_KEYS)

    def finish(self) -> None:
        """Merge the parts that are left."""
        with writing(self.plan.folder, self.lock):
            self._merge(min_parts=MIN_PARTS_AT_END)

    def note_pace(self, pace: Pace) -> None:
        """Write the pace of the driver into the folder, from time to time. `srsoup status` reads it there."""
        seconds = NOTE_SECONDS if isinstance(self.plan.folder, Path) else REMOTE_NOTE_SECONDS
        if time.monotonic() - self._noted_at < seconds:
            return
        self._noted_at = time.monotonic()
        # A run does not stop because nobody can be told how long it takes.
        with suppress(OSError):
            if self.lock:
                self.lock.check()
            write_pace(self.plan.folder, self._record, pace, sum(self._expected.values()))

    def _merge(self, min_parts: int) -> None:
        """Merge the parts or, if they cannot be merged here, write their index."""
        self._unmerged = 0
        try:
            if self._can_merge:
                compact(self.plan.folder, min_parts)
        except CannotMerge as error:
            self._can_merge = False
            self.reporter.show_message(f"parts stay single, one for each front: {error}")
        if not self._can_merge:
            write_index(self.plan.folder, self._costs)

    @property
    def open_tasks(self) -> list[PromptTask]:
        """The tasks that are neither finished nor failed."""
        return [task for task in self.plan.tasks if task.key in self._prompt_by_open_key]

    def write(self, result: PromptResult | PromptFailure) -> bool:
        """Write a result, and return whether it was the last one of its prompt. Ignores results of other plans."""
        if result.key not in self._prompt_by_open_key:
            return False
        with writing(self.plan.folder, self.lock):
            _write_result(self.plan.folder, result)
            if isinstance(result, PromptResult):
                (row,) = result.tables["costs"]
                self._costs[result.key] = FrontCost(row["decodes"], row["prompt_id"])
            self._unmerged += 1
            if self._unmerged >= (FULL_KEYS if self._can_merge else FRONTS_PER_INDEX):
                self._merge(min_parts=FULL_KEYS)
        expected = self._expected.pop(result.key)
        if isinstance(result, PromptFailure):
            self.failures.append(result)
            self.reporter.front_closed(expected, result.candidates, 0)
        else:
            self.done += 1
            images = len(result.tables["samples"])
            self.reporter.front_closed(expected, self._costs[result.key].decodes - images, images)
        prompt = self._prompt_by_open_key.pop(result.key)
        self._open_fronts[prompt] -= 1
        return not self._open_fronts[prompt]

    @property
    def outcome(self) -> Outcome:
        return Outcome(self.done, self._found, tuple(self.failures))

    def halve_chunk(self, error: ChunkTooLarge) -> None:
        """Continue with chunks of half the size, and write the new size into `config.yaml`.

        Raises:
            RunStopped: the chunk is already 1, or its size was set by the user.
        """
        if self.plan.chunk == 1:
            raise RunStopped(f"{error}; use a smaller model, a dtype of fewer bytes or a larger GPU") from error
        half = self.plan.chunk // 2
        if self.plan.config.compute.chunk != "auto":
            raise RunStopped(f"{error}; set compute.chunk={half}, and another output folder") from error
        self.plan = self.plan.with_chunk(half)
        with writing(self.plan.folder, self.lock):
            write_record(self.plan)

    def count_restarts(self, keys: Collection[str]) -> None:
        """Count a restart of the tasks that were running when the workers ended. It enters `attempts` in the costs."""
        self.plan = self.plan.with_restarts(keys)


@contextmanager
def writing(folder: Location, lock: FolderLock | None = None) -> Iterator[None]:
    """Check the lock before the files of a run are written, and turn an error of the files into RunStopped."""
    try:
        if lock:
            lock.check()
        yield
    except DamagedPart as error:
        raise RunStopped(str(error)) from error
    except OSError as error:
        raise RunStopped(f"{folder} cannot be written: {error}") from error


def _write_result(folder: Location, result: PromptResult | PromptFailure) -> None:
    if isinstance(result, PromptFailure):
        write_part(folder, "failures", result.key, [result.row])
    else:
        _write_finished(folder, result)


def _write_finished(folder: Location, result: PromptResult) -> None:
    """Write the parts of a finished task, `costs` last, because this part marks the key as finished.

    A crash before it leaves the task open. After it nothing is left to do, so no key is both finished and failed.
    """
    for table in ("samples", "scores", "steps"):
        write_part(folder, table, result.key, result.tables[table])
    if result.pairs is not None:
        write_atomically(pairs_file(folder, result.key), result.pairs)
    remove_part(folder, "failures", result.key)
    write_part(folder, "costs", result.key, result.tables["costs"])


def write_record(plan: Plan) -> None:
    """Write the `config.yaml` of a run, and the files of its plugins into `plugins/`."""
    for path, content in _plugin_files(plan.plugins):
        write_atomically(plan.folder / path, content)
    write_atomically(plan.folder / "config.yaml", _record(plan).encode())


def remove_record_of_refused_run(plan: Plan, kind: type[BaseException] | None, *_: object) -> None:
    """Remove the record of a run that was refused before it had any result, as the exit of a context.

    Nothing was started, so a corrected request, such as one that accepts a weight file, finds the folder free.
    """
    folder = plan.folder
    if kind is not None and issubclass(kind, RequestError) and not finished_keys(folder) | failed_keys(folder):
        remove_part_without_rows(folder)
        for name in (DRIVER_FILE, "config.yaml", *(path for path, _ in _plugin_files(plan.plugins))):
            store_of(folder).remove(folder / name)


def _plugin_files(plugins: Sequence[Plugin]) -> Iterator[tuple[str, bytes]]:
    for plugin in plugins:
        yield from ((f"plugins/{path}", content) for path, content in plugin.sent)


def _record(plan: Plan) -> str:
    """Return the `config.yaml` of a run: the resolved configuration, units, versions, model revision and chunk."""
    rewards = plan.config.rewards
    record: dict[str, object] = {
        "config": plan.config.model_dump(mode="json"),
        "units": {name: create(name).info.unit for name in (*rewards.guided, *rewards.held_out)},
        "versions": {"python": platform.python_version(), **_versions()},
        "model_revision": plan.model_revision,
        "plugins": plan.plugin_digests,
        "chunk": plan.chunk,
    }
    if plan.surrogate_file:
        record["surrogate_file"] = plan.surrogate_file
    return dump_yaml(record)


def _versions() -> dict[str, str | None]:
    packages = ("srsoup", "torch", "diffusers", "transformers", "ray", "pyarrow", "numpy", "pillow")
    return {package: _version(package) for package in packages}


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
