"""What a cell knows of its pools, for its driver and for metrics. Plain Python."""

import time
from collections.abc import Callable
from typing import NamedTuple

from actors.pool.observer import Observer
from actors.telemetry.events import Event, EventLog, EventRecorder
from actors.telemetry.pool_totals import PoolCounter, PoolTotals


class CellReport(NamedTuple):
    """What the pools of a cell have done so far, by role, and what has happened since the last report."""

    pools: dict[str, PoolTotals]
    events: tuple[Event, ...]


class ObserverGroup:
    """Tells several watches."""

    def __init__(self, *watches: Observer) -> None:
        self._watches = watches

    def joined(self, actor: int, node: str) -> None:
        for watch in self._watches:
            watch.joined(actor, node)

    def left(self, actor: int, why: str) -> None:
        for watch in self._watches:
            watch.left(actor, why)

    def start_failed(self, why: str) -> None:
        for watch in self._watches:
            watch.start_failed(why)

    def waiting(self, calls: int) -> None:
        for watch in self._watches:
            watch.waiting(calls)

    def computed(self, actor: int, kind: str, rows: int, seconds: float) -> None:
        for watch in self._watches:
            watch.computed(actor, kind, rows, seconds)

    def failed(self, kind: str, why: str) -> None:
        for watch in self._watches:
            watch.failed(kind, why)


class CellMonitor:
    """Watches the pools of a cell.

    Attributes:
        workloads: by role.
        pixel_bytes: of all images that were decoded for this cell.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic, utc: Callable[[], float] = time.time) -> None:
        self._clock, self._event_log = clock, EventLog(utc)
        self.workloads: dict[str, PoolCounter] = {}
        self.pixel_bytes = 0

    def watch(self, role: str, device: str, *others: Observer) -> Observer:
        """A watch for the pool of a role, whose actors compute on GPU or CPU; `others` are told too."""
        self.workloads[role] = PoolCounter(device, self._clock)
        return ObserverGroup(self.workloads[role], EventRecorder(self._event_log, role), *others)

    def decoded(self, pixel_bytes: int) -> None:
        self.pixel_bytes += pixel_bytes

    def report(self) -> CellReport:
        """Events are in one report each."""
        pools = {role: workload.totals() for role, workload in self.workloads.items()}
        return CellReport(pools, self._event_log.fetch())
