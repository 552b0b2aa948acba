"""What a driver knows of its cells, dead ones too: their totals, and their events as lines of its log."""

import logging
from collections import Counter
from collections.abc import Callable
from typing import NamedTuple

from actors.telemetry.cell_monitor import CellReport
from actors.telemetry.events import Event, one_line
from actors.telemetry.pool_totals import PoolTotals

log = logging.getLogger(__name__)


class NodeInfo(NamedTuple):
    """A machine of the cluster.

    Attributes:
        id: Ray's name of it.
        logs: the folder on it in which Ray keeps what its workers print.
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
    """Adds up over all cells of a driver.

    Attributes:
        fronts: of all runs of the driver, how many are `wanted`, `done` and `failed`.
        lost_cells: that died or hung.
    """

    def __init__(self) -> None:
        self.lost_cells = 0
        self.fronts = Counter(wanted=0, done=0, failed=0)
        self._pools: list[dict[str, PoolTotals]] = []
        self._nodes: dict[str, NodeInfo] = {}
        self._live_nodes: Callable[[], list[NodeInfo]] = list

    def joined_cluster(self, live_nodes: Callable[[], list[NodeInfo]]) -> None:
        """The driver is on a cluster; `live_nodes` tells who else is."""
        self._live_nodes = live_nodes
        self._learn_nodes()

    def opened(self) -> int:
        """A new cell begins to start its workers; its number."""
        self._pools.append({})
        number = len(self._pools) - 1
        log.info("cell %d: starts its workers", number)
        return number

    def heard(self, cell: int, report: CellReport) -> None:
        """A cell has told how it is."""
        self._pools[cell] = report.pools
        for event in report.events:
            self._log(cell, event)

    def lost(self, cell: int, why: str) -> None:
        """A cell died or hangs, and its workers end with it."""
        self.lost_cells += 1
        self._pools[cell] = {role: pool.dead() for role, pool in self._pools[cell].items()}
        log.warning("cell %d: lost: %s", cell, one_line(why))

    @property
    def pools(self) -> dict[str, PoolTotals]:
        """By role, of all cells together."""
        total: dict[str, PoolTotals] = {}
        for pools in self._pools:
            for role, pool in pools.items():
                total[role] = total[role].plus(pool) if role in total else pool
        return total

    def _log(self, cell: int, event: Event) -> None:
        if event.node is not None and event.node not in self._nodes:
            self._learn_nodes()
        who = ":" if event.actor is None else f" actor {event.actor} on {self._nodes.get(event.node or '', event.node)}"
        text = f"cell {cell}: {event.role}{who} {event.what}"
        record = log.makeRecord(log.name, event.level, __file__, 0, text, (), None)
        # When it happened, not when we heard of it.
        record.created, record.msecs = event.time, event.time % 1 * 1000
        if log.isEnabledFor(event.level):
            log.handle(record)

    def _learn_nodes(self) -> None:
        for node in self._live_nodes():
            if node.id not in self._nodes:
                self._nodes[node.id] = node
                log.info("node %s: %g CPU, %g GPU; output of its workers: %s", node, node.cpus, node.gpus, node.logs)
