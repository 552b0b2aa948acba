"""The driver's view of all its cells, dead ones included: their totals, and their events as lines of the run's log."""

import logging
from collections import Counter
from collections.abc import Callable
from typing import NamedTuple

from actors.telemetry.cell_monitor import CellReport
from actors.telemetry.events import Event, one_line
from actors.telemetry.pool_totals import PoolTotals

log = logging.getLogger(__name__)


class NodeInfo(NamedTuple):
    """A node of the cluster, as the log describes it.

    Attributes:
        id: Ray's name of the node.
        logs: the folder on the node in which Ray keeps the output of its workers.
    """

    id: str
    host: str
    address: str
    cpus: float
    gpus: float
    logs: str

    def __str__(self) -> str:
        return f"{self.host} ({self.address})"


class RunMonitor:
    """Adds up the reports of all cells of a driver, and logs their events.

    Attributes:
        fronts: how many fronts of all runs of the driver are `wanted`, `done` and `failed`.
        lost_cells: the number of cells that died or hung.
    """

    def __init__(self) -> None:
        self.lost_cells = 0
        self.fronts = Counter(wanted=0, done=0, failed=0)
        self._pools: list[dict[str, PoolTotals]] = []
        self._nodes: dict[str, NodeInfo] = {}
        self._live_nodes: Callable[[], list[NodeInfo]] = list

    def joined_cluster(self, live_nodes: Callable[[], list[NodeInfo]]) -> None:
        """The driver has joined a cluster. `live_nodes` returns the nodes that are in it at the time of the call."""
        self._live_nodes = live_nodes
        self._log_new_nodes()

    def cell_started(self) -> int:
        """A new cell starts its workers. Returns the cell's number."""
        self._pools.append({})
        number = len(self._pools) - 1
        log.info("cell %d: starts its workers", number)
        return number

    def cell_reported(self, cell: int, report: CellReport) -> None:
        """A cell has sent a report."""
        self._pools[cell] = report.pools
        for event in report.events:
            self._log(cell, event)

    def cell_lost(self, cell: int, reason: str) -> None:
        """A cell has died or hangs, and its workers end with it."""
        self.lost_cells += 1
        self._pools[cell] = {role: pool.without_actors() for role, pool in self._pools[cell].items()}
        log.warning("cell %d: lost: %s", cell, one_line(reason))

    @property
    def pools(self) -> dict[str, PoolTotals]:
        """The totals of all cells together, by role."""
        total: dict[str, PoolTotals] = {}
        for pools in self._pools:
            for role, pool in pools.items():
                total[role] = total[role].plus(pool) if role in total else pool
        return total

    def _log(self, cell: int, event: Event) -> None:
        if event.node is not None and event.node not in self._nodes:
            self._log_new_nodes()
        node = self._nodes.get(event.node or "", event.node)
        actor = ":" if event.actor is None else f" actor {event.actor} on {node}"
        text = f"cell {cell}: {event.role}{actor} {event.text}"
        record = log.makeRecord(log.name, event.level, __file__, 0, text, (), None)
        # The line shows the time of the event, which is earlier than that of the report.
        record.created, record.msecs = event.time, event.time % 1 * 1000
        if log.isEnabledFor(event.level):
            log.handle(record)

    def _log_new_nodes(self) -> None:
        for node in self._live_nodes():
            if node.id not in self._nodes:
                self._nodes[node.id] = node
                log.info("node %s: %g CPU, %g GPU; output of its workers: %s", node, node.cpus, node.gpus, node.logs)
