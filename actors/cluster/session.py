"""Runs the tasks of a driver on Ray: plans and supervises cells, passes them tasks, and follows the cluster.

`pipeline.job.driver` opens a `RaySession` per group of plans that share workers.
"""

import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from functools import reduce
from itertools import islice
from types import TracebackType
from typing import Any, Self

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from actors.cluster.cell import Cell, Progress
from actors.cluster.cell_supervisor import CellSupervisor, run_stopped
from actors.cluster.connect import start_or_join
from actors.cluster.nodes import node_infos, placement_nodes
from actors.cluster.placement import plan_workforce, with_settled_placement
from actors.cluster.sizing import BusySeconds, cell_count, resize_by_work, split_among_cells
from actors.cluster.workforce import Sizes
from actors.protocol import WorkersLost
from actors.telemetry.prometheus import RunMetrics
from actors.telemetry.run_monitor import RunMonitor
from configs.errors import RequestError
from configs.schema import RunConfig
from rewards.plugin import Plugin

POLL_SECONDS = 0.5
# The interval at which the session looks for nodes that have joined or left.
FOLLOW_SECONDS = 5.0
CLOSE_SECONDS = 10.0
PROMPTS_PER_DIFFUSION_ACTOR = 2


class RaySession:
    """A context manager that joins the cluster of RAY_ADDRESS, or starts Ray on this machine and stops it at the end.

    Args:
        run_prompt: the coroutine that runs one task on some `Workers`.
        plugins: plugins whose rewards the reward actors hold besides the built-in ones. Actors get the plugins' source.
        run_monitor: gets the reports of all cells.
    """

    def __init__(
        self,
        config: RunConfig,
        run_prompt: Callable[..., Awaitable[Any]],
        plugins: Sequence[Plugin] = (),
        run_monitor: RunMonitor | None = None,
    ) -> None:
        self._config, self._run_prompt, self._plugins = config, run_prompt, tuple(plugins)
        self._run_monitor, self._metrics = run_monitor or RunMonitor(), RunMetrics(config.name)
        self._supervisors: list[CellSupervisor] = []
        self._followed_at, self._drained = 0.0, frozenset[str]()

    def __enter__(self) -> Self:
        """Plan the actors and start the cells. Returns as soon as one cell has opened."""
        start_or_join(self._config)
        try:
            self._run_monitor.joined_cluster(node_infos)
            self._workforce = plan_workforce(self._config, placement_nodes())
            self._config = with_settled_placement(self._config, self._workforce)
            self._sizes = self._workforce.sizes
            cells = cell_count(self._config.compute.cells, self._sizes)
            sizes_of_each = split_among_cells(self._sizes, [Sizes(0, 0, 0)] * cells)
            # A single cell runs on the driver's node, so that losing another node costs it nothing. Several are spread.
            driver = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=True)
            self._cell_scheduling = driver if cells == 1 else "SPREAD"
            self._supervisors = [CellSupervisor(self._start_cell, sizes, self._run_monitor) for sizes in sizes_of_each]
            while not any(supervisor.is_open for supervisor in self._supervisors):
                list(self._take_ready())
                self._read_states()
        except BaseException:
            ray.shutdown()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            for supervisor in self._supervisors:
                supervisor.read_last_report(CLOSE_SECONDS)
            closing = [supervisor.close() for supervisor in self._supervisors]
            ray.wait(closing, num_returns=len(closing), timeout=CLOSE_SECONDS)
            for supervisor in self._supervisors:
                # A cell that hangs has not closed, so it and its actors are ended here.
                supervisor.kill()
        finally:
            ray.shutdown()

    def results(self, tasks: Iterable[Any], on_progress: Callable[[Progress], None]) -> Iterator[Any]:
        """Run the tasks, a limited number at once, and yield their results in the order in which they finish.

        The tasks of a cell that dies or stops answering restart in another cell, and give the same bits there.

        Raises:
            RunStopped: all workers or too many cells are gone, and none can be started.
            ChunkTooLarge: a worker ran out of memory.
            RequestError: a worker cannot load what the configuration requests.
        """
        queue = _Queue(tasks)
        while self._submit(queue):
            yield from self._take_ready()
            self._read_states()
            self._follow_cluster()
            progress = reduce(Progress.plus, (supervisor.progress for supervisor in self._supervisors))
            on_progress(progress)
            self._metrics.export(self._run_monitor, *progress)

    def _start_cell(self, sizes: Sizes, number: int) -> Any:
        cell = Cell.options(scheduling_strategy=self._cell_scheduling)
        return cell.remote(self._config, self._run_prompt, self._workforce, sizes, self._plugins, number)

    def _submit(self, queue: "_Queue") -> bool:
        """Pass each open cell as many tasks as it may have at once. Returns whether any task is unfinished."""
        for supervisor in self._supervisors:
            queue.next_tasks.extend(supervisor.tasks_to_restart)
            supervisor.tasks_to_restart.clear()
        for supervisor in self._supervisors:
            while supervisor.is_open and len(supervisor.tasks) < self._max_tasks(supervisor) and queue.has_next():
                supervisor.submit(queue.next_tasks.popleft())
        return queue.has_next() or any(supervisor.tasks for supervisor in self._supervisors)

    def _max_tasks(self, supervisor: CellSupervisor) -> int:
        requested = self._config.compute.prompts_in_flight
        if requested == "auto":
            return PROMPTS_PER_DIFFUSION_ACTOR * supervisor.sizes.diffusion
        return -(-requested // len(self._supervisors))

    def _take_ready(self) -> Iterator[Any]:
        """Wait up to `POLL_SECONDS` for a cell to open or a task to finish, and yield the results that are ready."""
        supervisors = {reference: supervisor for supervisor in self._supervisors for reference in supervisor.references}
        if not ray.wait(list(supervisors), timeout=POLL_SECONDS)[0]:
            return
        for reference in ray.wait(list(supervisors), num_returns=len(supervisors), timeout=0)[0]:
            try:
                yield from supervisors[reference].take(reference)
            except WorkersLost as error:
                self._remove_cell(supervisors[reference], error)

    def _remove_cell(self, supervisor: CellSupervisor, error: WorkersLost) -> None:
        """Continue without a cell whose workers are lost. If it is the last cell, stop the run."""
        supervisor.read_last_report(CLOSE_SECONDS)
        if len(self._supervisors) == 1:
            raise run_stopped(error) from error
        if supervisor in self._supervisors:
            supervisor.abandon()
            self._supervisors.remove(supervisor)
            self._supervisors[0].tasks_to_restart += supervisor.tasks_to_restart

    def _read_states(self) -> None:
        """Read the state of every open cell, and replace the cells that do not answer or do not open."""
        requests = [(supervisor, supervisor.request_state()) for supervisor in self._supervisors if supervisor.is_open]
        for supervisor, reference in requests:
            supervisor.read_state(reference)
        for supervisor in self._supervisors:
            supervisor.check_opening()

    def _follow_cluster(self) -> None:
        """Fit the actors to the nodes that are in the cluster now and to the work that has been measured."""
        if time.monotonic() - self._followed_at < FOLLOW_SECONDS:
            return
        self._followed_at, nodes = time.monotonic(), placement_nodes()
        draining = frozenset(node.name for node in nodes if node.draining)
        if draining - self._drained:
            for supervisor in self._supervisors:
                supervisor.drain(draining - self._drained)
        self._drained = draining
        try:
            workforce = plan_workforce(self._config, nodes, running=True)
        except RequestError:
            return  # the cluster has no room now: the actors that are left go on, and replacements wait for nodes
        busy = reduce(BusySeconds.plus, (supervisor.busy for supervisor in self._supervisors))
        self._sizes = resize_by_work(workforce, busy, self._sizes)
        sizes_of_each = split_among_cells(self._sizes, [supervisor.sizes for supervisor in self._supervisors])
        for supervisor, sizes in zip(self._supervisors, sizes_of_each, strict=True):
            if workforce.colocated:
                # A reward actor must not start on a GPU before its diffusion actor; see `Cell.open`.
                sizes = sizes._replace(gpu_rewards=max(1, min(sizes.gpu_rewards, supervisor.live.diffusion)))
            supervisor.resize(sizes)


class _Queue:
    """The tasks that no cell has.

    Attributes:
        next_tasks: the next tasks in order: first those taken back from dead cells.
    """

    def __init__(self, tasks: Iterable[Any]) -> None:
        self._tasks, self.next_tasks = iter(tasks), deque[Any]()

    def has_next(self) -> bool:
        """Whether there is a next task. If there is, it is in `next_tasks` afterwards."""
        if not self.next_tasks:
            self.next_tasks.extend(islice(self._tasks, 1))
        return bool(self.next_tasks)
