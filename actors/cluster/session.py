"""A run's stay on Ray: settle its actors, supervisor its cells, feed them, follow the cluster, and take all down."""

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
from actors.cluster.cell_supervisor import CellSupervisor, stopped
from actors.cluster.connect import start_or_join
from actors.cluster.nodes import cluster_nodes, live_nodes
from actors.cluster.placement import pinned, settle
from actors.cluster.sizing import BusySeconds, by_work, n_cells, shares
from actors.cluster.workforce import Sizes
from actors.protocol import WorkersLost
from actors.telemetry.prometheus import RunMetrics
from actors.telemetry.run_monitor import RunMonitor
from configs.errors import RequestError
from configs.schema import RunConfig
from rewards.plugin import Plugin

POLL_SECONDS = 0.5
# How often the cluster is asked for nodes that came or go.
FOLLOW_SECONDS = 5.0
CLOSE_SECONDS = 10.0
PROMPTS_PER_DIFFUSION_ACTOR = 2


class RaySession:
    """Context manager. Joins the cluster of RAY_ADDRESS, or starts Ray on this machine and stops it at the end.

    Args:
        plugins: what the reward actors are to know besides our rewards; sent to them as source.
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
        self._followed, self._drained = 0.0, frozenset[str]()

    def __enter__(self) -> Self:
        """Settle the actors and supervisor the cells; ready when the first of them is."""
        start_or_join(self._config)
        try:
            self._run_monitor.joined_cluster(live_nodes)
            self._force = settle(self._config, cluster_nodes())
            self._config, self._sizes = pinned(self._config, self._force), self._force.sizes
            cells = n_cells(self._config.compute.cells, self._sizes)
            sizes_of_each = shares(self._sizes, [Sizes(0, 0, 0)] * cells)
            # One cell lives where the driver does, so that no other node takes its prompts along; several are spread.
            driver = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=True)
            self._where = driver if cells == 1 else "SPREAD"
            self._supervisors = [CellSupervisor(self._start_cell, sizes, self._run_monitor) for sizes in sizes_of_each]
            while not any(supervisor.is_open for supervisor in self._supervisors):
                list(self._ready())
                self._look_at_cells()
        except BaseException:
            ray.shutdown()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            for supervisor in self._supervisors:
                supervisor.hear_last(CLOSE_SECONDS)
            closing = [supervisor.close() for supervisor in self._supervisors]
            ray.wait(closing, num_returns=len(closing), timeout=CLOSE_SECONDS)
            for supervisor in self._supervisors:
                # Where a cell is dead or hangs, what is left of it ends with it.
                supervisor.kill()
        finally:
            ray.shutdown()

    def results(self, tasks: Iterable[Any], on_progress: Callable[[Progress], None]) -> Iterator[Any]:
        """Run the tasks, a bounded number at once; yield what each comes to, in the order of finishing.

        The tasks of a cell that died, or that gives no sign of life, begin anew in another: the same bits.

        Raises:
            RunStopped: there are no workers, or no cells, and none can be started.
            ChunkTooLarge: a worker ran out of memory.
            RequestError: a worker refuses what it is asked for.
        """
        queue = _Queue(tasks)
        while self._hand_out(queue):
            yield from self._ready()
            self._look_at_cells()
            self._follow_cluster()
            progress = reduce(Progress.plus, (supervisor.progress for supervisor in self._supervisors))
            on_progress(progress)
            self._metrics.export(self._run_monitor, *progress)

    def _start_cell(self, sizes: Sizes, number: int) -> Any:
        cell = Cell.options(scheduling_strategy=self._where)
        return cell.remote(self._config, self._run_prompt, self._force, sizes, self._plugins, number)

    def _hand_out(self, queue: "_Queue") -> bool:
        """Give each open cell as many tasks as it can have at once; whether any are left or under way."""
        for supervisor in self._supervisors:
            queue.again.extend(supervisor.begin_again)
            supervisor.begin_again.clear()
        for supervisor in self._supervisors:
            while supervisor.is_open and len(supervisor.tasks) < self._in_flight(supervisor) and queue.more():
                supervisor.give(queue.again.popleft())
        return queue.more() or any(supervisor.tasks for supervisor in self._supervisors)

    def _in_flight(self, supervisor: CellSupervisor) -> int:
        wanted = self._config.compute.prompts_in_flight
        if wanted == "auto":
            return PROMPTS_PER_DIFFUSION_ACTOR * supervisor.sizes.diffusion
        return -(-wanted // len(self._supervisors))

    def _ready(self) -> Iterator[Any]:
        """Wait a little for something to be done; yield the results that are there."""
        supervisors = {reference: supervisor for supervisor in self._supervisors for reference in supervisor.references}
        if not ray.wait(list(supervisors), timeout=POLL_SECONDS)[0]:
            return
        for reference in ray.wait(list(supervisors), num_returns=len(supervisors), timeout=0)[0]:
            try:
                yield from supervisors[reference].take(reference)
            except WorkersLost as error:
                self._disband(supervisors[reference], error)

    def _disband(self, supervisor: CellSupervisor, error: WorkersLost) -> None:
        """Go on without a cell that has no workers and gets none; without any cell the run cannot."""
        supervisor.hear_last(CLOSE_SECONDS)
        if len(self._supervisors) == 1:
            raise stopped(error) from error
        if supervisor in self._supervisors:
            supervisor.leave()
            self._supervisors.remove(supervisor)
            self._supervisors[0].begin_again += supervisor.begin_again

    def _look_at_cells(self) -> None:
        asked = [(supervisor, supervisor.ask()) for supervisor in self._supervisors if supervisor.is_open]
        for supervisor, reference in asked:
            supervisor.hear(reference)
        for supervisor in self._supervisors:
            supervisor.check_opening()

    def _follow_cluster(self) -> None:
        """Fit the actors to the nodes that are there now, and to the work that was measured."""
        if time.monotonic() - self._followed < FOLLOW_SECONDS:
            return
        self._followed, nodes = time.monotonic(), cluster_nodes()
        draining = frozenset(node.name for node in nodes if node.draining)
        if draining - self._drained:
            for supervisor in self._supervisors:
                supervisor.drain(draining - self._drained)
        self._drained = draining
        try:
            force = settle(self._config, nodes, begun=True)
        except RequestError:
            return  # no room at all: what is left of the actors, and their replacements, wait for nodes
        work = reduce(BusySeconds.plus, (supervisor.work for supervisor in self._supervisors))
        self._sizes = by_work(force, work, self._sizes)
        for supervisor, sizes in zip(
            self._supervisors, shares(self._sizes, [p.sizes for p in self._supervisors]), strict=True
        ):
            if force.colocated:
                # A reward actor comes to a GPU after its diffusion actor: see `cell`.
                sizes = sizes._replace(networks=max(1, min(sizes.networks, supervisor.up.diffusion)))
            supervisor.resize(sizes)


class _Queue:
    """Tasks that no cell has. `again`: those that are next, taken back from cells that died before all others."""

    def __init__(self, tasks: Iterable[Any]) -> None:
        self._tasks, self.again = iter(tasks), deque[Any]()

    def more(self) -> bool:
        """Whether there is a next task, which `again` then holds."""
        if not self.again:
            self.again.extend(islice(self._tasks, 1))
        return bool(self.again)
