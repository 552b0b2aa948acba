"""Where a cell is, and after it another if it dies: what it was given, what has come of it, and what it tells."""

import time
from collections.abc import Callable, Collection
from contextlib import suppress
from typing import Any

import ray
from ray.exceptions import GetTimeoutError, RayActorError

from actors.cluster.cell import CellState, Progress
from actors.cluster.sizing import BusySeconds
from actors.cluster.workforce import Sizes
from actors.protocol import ChunkTooLarge, RunStopped, WorkersLost
from actors.telemetry.cell_monitor import CellReport
from actors.telemetry.run_monitor import RunMonitor

# Loading a model of many GB from a cold disk takes minutes; a cluster that cannot supervisor an actor waits
# for ever.
READY_SECONDS = 900.0
# A cell only passes messages and takes small steps: one that says nothing for so long hangs.
CELL_SECONDS = 120.0
# Cells that may die one after the other without a prompt finished between.
CELL_DEATHS = 3
_NOTHING = CellState(Progress(), Sizes(0, 0, 0), BusySeconds(), CellReport({}, ()))


class CellSupervisor:
    """A cell's supervisor in a run.

    Args:
        start: a new cell with actors of these sizes, under a number of its own.
        run_monitor: is told what the cells report.

    Attributes:
        tasks: that the cell has, by the reference of their result.
        begin_again: tasks of cells that died here, each by its own word for that, `task.restarted()`.
    """

    def __init__(self, start: Callable[[Sizes, int], Any], sizes: Sizes, run_monitor: RunMonitor) -> None:
        self._start, self.sizes, self._run_monitor, self._deaths = start, sizes, run_monitor, 0
        self.tasks: dict[Any, Any] = {}
        self.begin_again: list[Any] = []
        # Of the cells that died here: what they finished counts as done, and all that they did as work.
        self._finished, self._done_before, self._work_before = Progress(), Progress(), BusySeconds()
        self._fill()

    def _fill(self) -> None:
        self._state, self._since, self._number = _NOTHING, time.monotonic(), self._run_monitor.opened()
        self._cell = self._start(self.sizes, self._number)
        self._opening = self._cell.open.remote()

    @property
    def is_open(self) -> bool:
        """Its workers have loaded: it can be given tasks."""
        return self._opening is None

    @property
    def references(self) -> list[Any]:
        """What may become ready."""
        return list(self.tasks) if self.is_open else [self._opening, *self.tasks]

    @property
    def up(self) -> Sizes:
        return self._state.up

    @property
    def progress(self) -> Progress:
        return self._done_before.plus(self._state.progress)

    @property
    def work(self) -> BusySeconds:
        return self._work_before.plus(self._state.work)

    def give(self, task: Any) -> None:
        self.tasks[self._cell.run.remote(task)] = task

    def take(self, reference: Any) -> list[Any]:
        """The result behind a reference that is ready; none if it was the cell's opening, or the cell died.

        Raises:
            WorkersLost: the cell has no workers, and none can be started.
            ChunkTooLarge: a worker ran out of memory.
            RequestError: a worker refuses what it is asked for.
            RunStopped: too many cells have died here.
        """
        try:
            answer = ray.get(reference, timeout=CELL_SECONDS)
        except (RayActorError, GetTimeoutError) as error:
            # Of several references of a cell that died the first one buries it, and the others are forgotten.
            if reference in self.references:
                self._bury(error)
            return []
        except ChunkTooLarge as error:
            raise ChunkTooLarge(error.chunk) from error
        if reference is self._opening:
            self._opening = None
            if answer is not None:
                raise answer
            return []
        del self.tasks[reference]
        result, progress = answer
        self._deaths, self._finished = 0, self._finished.plus(progress)
        return [result]

    def ask(self) -> Any:
        """A reference to the cell's state, for `hear`."""
        return self._cell.state.remote()

    def hear(self, reference: Any) -> None:
        """Take the cell's state in; a cell that tells none is dead.

        Raises:
            RunStopped: as `take`.
        """
        try:
            self._state = ray.get(reference, timeout=CELL_SECONDS)
        except (RayActorError, GetTimeoutError) as error:
            self._bury(error)
        else:
            self._run_monitor.heard(self._number, self._state.report)

    def hear_last(self, seconds: float) -> None:
        """Take the state in of a cell that is about to end, if it has any to tell."""
        with suppress(RayActorError, GetTimeoutError):
            self._run_monitor.heard(self._number, ray.get(self.ask(), timeout=seconds).report)

    def check_opening(self) -> None:
        """Give up a cell that does not open.

        Raises:
            RunStopped: as `take`.
        """
        if not self.is_open and time.monotonic() - self._since > READY_SECONDS:
            self._bury(TimeoutError(f"the workers were not ready within {READY_SECONDS:g} s"))

    def resize(self, sizes: Sizes) -> None:
        if sizes != self.sizes:
            self.sizes = sizes
            self._cell.resize.remote(sizes)

    def drain(self, nodes: Collection[str]) -> None:
        self._cell.drain.remote(nodes)

    def close(self) -> Any:
        """A reference that is ready when the workers are told to end."""
        return self._cell.close.remote()

    def kill(self) -> None:
        ray.kill(self._cell)

    def leave(self) -> None:
        """End the cell; its tasks are to begin again."""
        self.kill()
        self.begin_again += [task.restarted() for task in self.tasks.values()]
        self.tasks = {}

    def _bury(self, error: Exception) -> None:
        self.leave()
        self._run_monitor.lost(self._number, str(error))
        self._deaths += 1
        if self._deaths >= CELL_DEATHS:
            raise RunStopped(f"{CELL_DEATHS} cells in a row died or hung with no prompt finished: {error}") from error
        self._done_before = self._done_before.plus(self._finished)
        self._work_before, self._finished = self.work, Progress()
        self._fill()


def stopped(error: WorkersLost) -> RunStopped:
    """Why a run without workers cannot go on. Ray's copy of an error has the stack of the other process in its text."""
    return RunStopped(str(getattr(error, "cause", error)))
