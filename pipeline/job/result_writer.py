"""What has come of one plan: each result written down as it comes, the parts merged now and then, and the count."""

import platform
from collections import Counter
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version

import yaml

from actors.protocol import ChunkTooLarge, RunStopped
from configs.location import Location
from pipeline.job.progress import Reporter
from pipeline.job.result import PromptFailure, PromptResult
from pipeline.planning.cost import expected_cost
from pipeline.planning.plan import Plan
from pipeline.planning.task import PromptTask
from pipeline.records import DamagedPart, remove_part, write_part, write_whole
from pipeline.storage.compact import FULL_KEYS, CannotExchange, compact
from pipeline.storage.costs_index import FrontCost, write_index
from pipeline.storage.lock import Hold
from pipeline.storage.no_failures import write_part_without_rows
from pipeline.storage.status import write_driver_record
from rewards.registry import create

# A run that leaves fewer parts than this at its end leaves them single, one a prompt.
WORTH_MERGING = 64
# Where parts stay single their index is written anew for so many: who asks how far the run is opens no more of them.
UNINDEXED = 128


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


@dataclass
class ResultWriter:
    """What has come of one plan in this call.

    Attributes:
        hold: on the plan's folder; None where there is nothing to do in it.
    """

    plan: Plan
    reporter: Reporter
    hold: Hold | None
    done: int = 0
    failures: list[PromptFailure] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._open = {task.key: task.prompt.prompt_id for task in self.plan.open_tasks}
        self._found = len(self.plan.tasks) - len(self._open)
        self._left = Counter(self._open.values())
        self._single = 0
        self._compacts = True
        self._costs = dict[str, FrontCost]()

    def begin(self) -> None:
        """Say in the folder what is to be done, and fix what a crash or a damaged part has left there."""
        plan = self.plan
        decodes = sum(expected_cost(task, plan.config.steps).decodes for task in plan.tasks)
        with written(plan.folder, self.hold):
            self._costs = write_driver_record(plan.folder, plan.n_prompts, len(plan.tasks), decodes)
            write_part_without_rows(plan.folder)
            self._compact(at_least=FULL_KEYS)

    def end(self) -> None:
        with written(self.plan.folder, self.hold):
            self._compact(at_least=WORTH_MERGING)

    def _compact(self, at_least: int) -> None:
        """Merge parts; where that cannot be done, keep an index of them."""
        self._single = 0
        try:
            if self._compacts:
                compact(self.plan.folder, at_least)
        except CannotExchange as error:
            self._compacts = False
            self.reporter.note(f"parts stay single, one a prompt: {error}")
        if not self._compacts:
            write_index(self.plan.folder, self._costs)

    @property
    def tasks(self) -> list[PromptTask]:
        """What has not ended yet."""
        return [task for task in self.plan.tasks if task.key in self._open]

    def enter(self, result: PromptResult | PromptFailure) -> bool:
        """Write a result down; whether it was the last one of its prompt. One of another plan is left alone."""
        if result.key not in self._open:
            return False
        with written(self.plan.folder, self.hold):
            _write(self.plan.folder, result)
            if isinstance(result, PromptResult):
                (row,) = result.tables["costs"]
                self._costs[result.key] = FrontCost(row["decodes"], row["prompt_id"])
            self._single += 1
            if self._single >= (FULL_KEYS if self._compacts else UNINDEXED):
                self._compact(at_least=FULL_KEYS)
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
        with written(self.plan.folder, self.hold):
            write_record(self.plan)

    def begin_again(self, keys: Collection[str]) -> None:
        """Tasks that were begun when the workers ended have to begin anew; their costs will tell."""
        self.plan = self.plan.begun_again(keys)


@contextmanager
def written(folder: Location, hold: Hold | None = None) -> Iterator[None]:
    """Work on the files of a run, which cannot go on without them, while the folder is ours."""
    try:
        if hold:
            hold.check()
        yield
    except DamagedPart as error:
        raise RunStopped(str(error)) from error
    except OSError as error:
        raise RunStopped(f"{folder} cannot be written: {error}") from error


def _write(folder: Location, result: PromptResult | PromptFailure) -> None:
    if isinstance(result, PromptFailure):
        write_part(folder, "failures", result.key, [result.row])
    else:
        _write_finished(folder, result)


def _write_finished(folder: Location, result: PromptResult) -> None:
    """Write the parts of a finished prompt. The last one marks the key as finished: a crash before it leaves
    the prompt open, and one after it has nothing left to do, so that no key is ever finished and failed."""
    for table in ("samples", "scores", "steps"):
        write_part(folder, table, result.key, result.tables[table])
    remove_part(folder, "failures", result.key)
    write_part(folder, "costs", result.key, result.tables["costs"])


def write_record(plan: Plan) -> None:
    """Write `config.yaml` of a run."""
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
