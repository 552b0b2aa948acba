"""Observes the pools of one cell, and reports their totals and events to the driver and to metrics. Plain Python."""

import time
from collections.abc import Callable
from typing import NamedTuple

from actors.pool.observer import Observer
from actors.telemetry.events import Event, EventLog, EventRecorder
from actors.telemetry.pool_totals import PoolCounter, PoolTotals


class CellReport(NamedTuple):
    """The totals of a cell's pools by role, and the events since the last report."""

    pools: dict[str, PoolTotals]
    events: tuple[Event, ...]


class ObserverGroup:
    """The observer that notifies several others, in order."""

    def __init__(self, *observers: Observer) -> None:
        self._observers = observers

    def joined(self, actor: int, node: str) -> None:
        for observer in self._observers:
            observer.joined(actor, node)

    def left(self, actor: int, reason: str) -> None:
        for observer in self._observers:
            observer.left(actor, reason)

    def start_failed(self, reason: str) -> None:
        for observer in self._observers:
            observer.start_failed(reason)

    def waiting(self, calls: int) -> None:
        for observer in self._observers:
            observer.waiting(calls)

    def computed(self, actor: int, kind: str, rows: int, seconds: float) -> None:
        for observer in self._observers:
            observer.computed(actor, kind, rows, seconds)

    def failed(self, kind: str, reason: str) -> None:
        for observer in self._observers:
            observer.failed(kind, reason)


class CellMonitor:
    """Counts and records the events of a cell's pools.

    Attributes:
        counters: the counter of each pool, by role.
        pixel_bytes: bytes of all images that were decoded for this cell.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic, utc: Callable[[], float] = time.time) -> None:
        self._clock, self._event_log = clock, EventLog(utc)
        self.counters: dict[str, PoolCounter] = {}
        self.pixel_bytes = 0

    def new_observer(self, role: str, device: str, *others: Observer) -> Observer:
        """Return the observer for the pool of a role, whose actors compute on GPU or CPU. It notifies `others` too."""
        self.counters[role] = PoolCounter(device, self._clock)
        return ObserverGroup(self.counters[role], EventRecorder(self._event_log, role), *others)

    def add_pixel_bytes(self, pixel_bytes: int) -> None:
        """Count the bytes of images that have just been decoded."""
        self.pixel_bytes += pixel_bytes

    def report(self) -> CellReport:
        """Report the totals until now and the events since the last report."""
        pools = {role: counter.totals() for role, counter in self.counters.items()}
        return CellReport(pools, self._event_log.fetch())
