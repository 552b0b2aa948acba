"""Supervises one cell: starts it, passes it tasks, reads its state, and replaces it when it dies. Used by `session`."""

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

# Timeout of a cell's start. Loading a model of many GB from a cold disk takes minutes. Without a timeout the run would
# wait forever on a cluster that has no room for an actor.
OPEN_SECONDS = 900.0
# Timeout of a cell's answer. A cell only passes messages and takes short steps; one that is silent for longer hangs.
ANSWER_SECONDS = 120.0
# Consecutive cells that may die without finishing a prompt before the run stops.
MAX_DEATHS = 3
_EMPTY_STATE = CellState(Progress(), Sizes(0, 0, 0), BusySeconds(), CellReport({}, ()))


class CellSupervisor:
    """The driver's side of one cell, and of the cells that replace it.

    Args:
        start: starts a cell with actors of these sizes and a number of its own, and returns its handle.
        run_monitor: gets the cell's reports.

    Attributes:
        tasks: the tasks that the cell has, by the Ray reference of their result.
        tasks_to_restart: tasks of cells that died, as their own `task.restarted()` returned them.
    """

    def __init__(self, start: Callable[[Sizes, int], Any], sizes: Sizes, run_monitor: RunMonitor) -> None:
        self._start, self.sizes, self._run_monitor, self._deaths = start, sizes, run_monitor, 0
        self.tasks: dict[Any, Any] = {}
        self.tasks_to_restart: list[Any] = []
        # Of dead cells, only the progress of finished prompts counts, but all busy seconds do.
        self._finished, self._earlier_progress, self._earlier_busy = Progress(), Progress(), BusySeconds()
        self._start_cell()

    def _start_cell(self) -> None:
        self._state, self._start_time, self._number = _EMPTY_STATE, time.monotonic(), self._run_monitor.cell_started()
        self._cell = self._start(self.sizes, self._number)
        self._opening = self._cell.open.remote()

    @property
    def is_open(self) -> bool:
        """Whether the cell's workers have loaded, so that it can get tasks."""
        return self._opening is None

    @property
    def references(self) -> list[Any]:
        """The Ray references to wait for: those of the tasks, and that of the opening while the cell opens."""
        return list(self.tasks) if self.is_open else [self._opening, *self.tasks]

    @property
    def live(self) -> Sizes:
        """The cell's actors that have loaded, as last reported."""
        return self._state.live

    @property
    def progress(self) -> Progress:
        """The work done by this cell and by the cells before it."""
        return self._earlier_progress.plus(self._state.progress)

    @property
    def busy(self) -> BusySeconds:
        """The busy seconds of this cell and of the cells before it."""
        return self._earlier_busy.plus(self._state.busy)

    def submit(self, task: Any) -> None:
        """Pass a task to the cell."""
        self.tasks[self._cell.run.remote(task)] = task

    def take(self, reference: Any) -> list[Any]:
        """Take the result of a reference that is ready: a list of one. It is empty for the opening or a dead cell.

        Raises:
            WorkersLost: the cell has no workers, and none can be started.
            ChunkTooLarge: a worker ran out of memory.
            RequestError: a worker cannot load what the configuration requests.
            RunStopped: too many cells have died.
        """
        try:
            answer = ray.get(reference, timeout=ANSWER_SECONDS)
        except (RayActorError, GetTimeoutError) as error:
            # The first failed reference of a dead cell replaces the cell. Its other references are then unknown here.
            if reference in self.references:
                self._replace_dead_cell(error)
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

    def request_state(self) -> Any:
        """Request the cell's state. Returns a Ray reference for `read_state`."""
        return self._cell.state.remote()

    def read_state(self, reference: Any) -> None:
        """Wait for the cell's state and store it. A cell that does not answer counts as dead.

        Raises:
            RunStopped: too many cells have died.
        """
        try:
            self._state = ray.get(reference, timeout=ANSWER_SECONDS)
        except (RayActorError, GetTimeoutError) as error:
            self._replace_dead_cell(error)
        else:
            self._run_monitor.cell_reported(self._number, self._state.report)

    def read_last_report(self, seconds: float) -> None:
        """Pass on the last report of a cell that is about to end, unless the cell does not answer in time."""
        with suppress(RayActorError, GetTimeoutError):
            state = ray.get(self.request_state(), timeout=seconds)
            self._run_monitor.cell_reported(self._number, state.report)

    def check_opening(self) -> None:
        """Replace a cell that has not opened in time.

        Raises:
            RunStopped: too many cells have died.
        """
        if not self.is_open and time.monotonic() - self._start_time > OPEN_SECONDS:
            self._replace_dead_cell(TimeoutError(f"the workers were not ready within {OPEN_SECONDS:g} s"))

    def resize(self, sizes: Sizes) -> None:
        """Have the cell keep actors of these sizes from now on."""
        if sizes != self.sizes:
            self.sizes = sizes
            self._cell.resize.remote(sizes)

    def drain(self, nodes: Collection[str]) -> None:
        """Have the cell's actors leave these nodes."""
        self._cell.drain.remote(nodes)

    def close(self) -> Any:
        """Have the cell end its workers. Returns a Ray reference that is ready when it has done so."""
        return self._cell.close.remote()

    def kill(self) -> None:
        """End the cell at once."""
        ray.kill(self._cell)

    def abandon(self) -> None:
        """End the cell at once, and move its tasks to `tasks_to_restart`."""
        self.kill()
        self.tasks_to_restart += [task.restarted() for task in self.tasks.values()]
        self.tasks = {}

    def _replace_dead_cell(self, error: Exception) -> None:
        self.abandon()
        self._run_monitor.cell_lost(self._number, str(error))
        self._deaths += 1
        if self._deaths >= MAX_DEATHS:
            raise RunStopped(f"{MAX_DEATHS} cells in a row died or hung with no prompt finished: {error}") from error
        self._earlier_progress = self._earlier_progress.plus(self._finished)
        self._earlier_busy, self._finished = self.busy, Progress()
        self._start_cell()


def run_stopped(error: WorkersLost) -> RunStopped:
    """The error of a run without workers. Ray's copy of an error has the other process's stack in its text."""
    return RunStopped(str(getattr(error, "cause", error)))
