"""Adds up what the actors of one pool have done. `CellMonitor` has a `PoolCounter` per pool. Plain Python."""

import time
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field, replace


@dataclass(frozen=True)
class CallTotals:
    """The answered calls of one kind: their number, rows and seconds in total, and the longest one's seconds.

    Seconds include the messages between the cell and the actor.
    """

    calls: int = 0
    rows: int = 0
    seconds: float = 0.0
    longest: float = 0.0

    def plus(self, other: "CallTotals") -> "CallTotals":
        return CallTotals(
            self.calls + other.calls,
            self.rows + other.rows,
            self.seconds + other.seconds,
            max(self.longest, other.longest),
        )


@dataclass(frozen=True)
class PoolTotals:
    """What the actors of one pool have done so far, or those of the pools of one role in several cells.

    Attributes:
        device: the device that they compute on, GPU or CPU.
        actors: the number of actors that get calls now.
        joined: actors that have loaded their models so far.
        lost: actors that get no more calls; see `Observer.left`.
        waiting: calls that have no actor yet.
        actor_seconds: the sum over actors of the time from loaded to lost.
        busy_seconds: the sum over actors of the time spent on calls that they answered.
        failed_starts: starts of actors that failed.
        failed_calls: calls that brought no result, by their kind and the error's class. Most were retried.
        calls: calls that were answered, by their kind.
    """

    device: str
    actors: int = 0
    joined: int = 0
    lost: int = 0
    waiting: int = 0
    actor_seconds: float = 0.0
    busy_seconds: float = 0.0
    failed_starts: int = 0
    failed_calls: Counter[tuple[str, str]] = field(default_factory=Counter)
    calls: dict[str, CallTotals] = field(default_factory=dict)

    @property
    def busy_share(self) -> float | None:
        """The share of the actors' time that they were busy; None before the first actor has joined."""
        return self.busy_seconds / self.actor_seconds if self.actor_seconds > 0 else None

    def plus(self, other: "PoolTotals") -> "PoolTotals":
        """Add the totals of another pool of the same role."""
        kinds = {*self.calls, *other.calls}
        return PoolTotals(
            self.device,
            self.actors + other.actors,
            self.joined + other.joined,
            self.lost + other.lost,
            self.waiting + other.waiting,
            self.actor_seconds + other.actor_seconds,
            self.busy_seconds + other.busy_seconds,
            self.failed_starts + other.failed_starts,
            self.failed_calls + other.failed_calls,
            {
                kind: self.calls.get(kind, CallTotals()).plus(other.calls.get(kind, CallTotals()))
                for kind in sorted(kinds)
            },
        )

    def without_actors(self) -> "PoolTotals":
        """The same totals once the pool's cell is dead: no actor is left and no call waits."""
        return replace(self, actors=0, waiting=0)


class PoolCounter:
    """The observer that counts the events of one pool.

    Attributes:
        busy_seconds: by actor, including actors that are gone.
    """

    def __init__(self, device: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._device, self._clock = device, clock
        self.busy_seconds = defaultdict[int, float](float)
        self._joined_at: dict[int, float] = {}
        self._lost_actor_seconds = 0.0
        self._joined = self._lost = self._waiting = self._failed_starts = 0
        self._failed = Counter[tuple[str, str]]()
        self._calls: dict[str, CallTotals] = {}

    def joined(self, actor: int, node: str) -> None:
        self._joined += 1
        self._joined_at[actor] = self._clock()

    def left(self, actor: int, reason: str) -> None:
        # A second report of the same actor is ignored.
        if (joined_at := self._joined_at.pop(actor, None)) is not None:
            self._lost += 1
            self._lost_actor_seconds += self._clock() - joined_at

    def start_failed(self, reason: str) -> None:
        self._failed_starts += 1

    def waiting(self, calls: int) -> None:
        self._waiting = calls

    def computed(self, actor: int, kind: str, rows: int, seconds: float) -> None:
        self.busy_seconds[actor] += seconds
        self._calls[kind] = self._calls.get(kind, CallTotals()).plus(CallTotals(1, rows, seconds, seconds))

    def failed(self, kind: str, reason: str) -> None:
        self._failed[kind, reason.partition(":")[0]] += 1

    def totals(self) -> PoolTotals:
        """What the pool has done until now."""
        now = self._clock()
        return PoolTotals(
            self._device,
            len(self._joined_at),
            self._joined,
            self._lost,
            self._waiting,
            self._lost_actor_seconds + sum(now - joined_at for joined_at in self._joined_at.values()),
            sum(self.busy_seconds.values()),
            self._failed_starts,
            self._failed.copy(),
            dict(self._calls),
        )
