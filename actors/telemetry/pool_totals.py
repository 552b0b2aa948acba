"""What the actors of one pool have done, added up from what its dispatcher tells. Plain Python."""

import time
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field, replace


@dataclass(frozen=True)
class Calls:
    """Calls of one kind that were answered: how many, their rows, and their seconds with messages."""

    calls: int = 0
    rows: int = 0
    seconds: float = 0.0
    longest: float = 0.0

    def plus(self, other: "Calls") -> "Calls":
        return Calls(
            self.calls + other.calls,
            self.rows + other.rows,
            self.seconds + other.seconds,
            max(self.longest, other.longest),
        )


@dataclass(frozen=True)
class PoolTotals:
    """What the actors of a pool, or of like pools of several cells, have done so far.

    Attributes:
        device: what they compute on, GPU or CPU.
        actors: that are there now.
        joined, lost: actors that came up, and that are gone or given no call any more.
        waiting: calls that have no actor yet.
        actor_seconds, busy_seconds: of all actors together: from loaded to gone, and computing what they answered.
        failed_starts: actors that did not come up.
        failed_calls: calls that brought no result, by their kind and the error's class; most were made again.
        calls: those that did, by their kind.
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
    calls: dict[str, Calls] = field(default_factory=dict)

    @property
    def busy_share(self) -> float | None:
        """None while no actor has been there."""
        return self.busy_seconds / self.actor_seconds if self.actor_seconds > 0 else None

    def plus(self, other: "PoolTotals") -> "PoolTotals":
        """Of two pools of one role."""
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
            {kind: self.calls.get(kind, Calls()).plus(other.calls.get(kind, Calls())) for kind in sorted(kinds)},
        )

    def dead(self) -> "PoolTotals":
        """The same, with all actors gone."""
        return replace(self, actors=0, waiting=0)


class PoolCounter:
    """The `Observer` that counts.

    Attributes:
        busy: seconds by actor, also of those that are gone.
    """

    def __init__(self, device: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._device, self._clock = device, clock
        self.busy = defaultdict[int, float](float)
        self._since: dict[int, float] = {}
        self._gone_seconds = 0.0
        self._joined = self._lost = self._waiting = self._failed_starts = 0
        self._failed = Counter[tuple[str, str]]()
        self._calls: dict[str, Calls] = {}

    def joined(self, actor: int, node: str) -> None:
        self._joined += 1
        self._since[actor] = self._clock()

    def left(self, actor: int, why: str) -> None:
        # Told again where an actor that was let go died at its last calls.
        if (since := self._since.pop(actor, None)) is not None:
            self._lost += 1
            self._gone_seconds += self._clock() - since

    def start_failed(self, why: str) -> None:
        self._failed_starts += 1

    def waiting(self, calls: int) -> None:
        self._waiting = calls

    def computed(self, actor: int, kind: str, rows: int, seconds: float) -> None:
        self.busy[actor] += seconds
        self._calls[kind] = self._calls.get(kind, Calls()).plus(Calls(1, rows, seconds, seconds))

    def failed(self, kind: str, why: str) -> None:
        self._failed[kind, why.partition(":")[0]] += 1

    def totals(self) -> PoolTotals:
        now = self._clock()
        return PoolTotals(
            self._device,
            len(self._since),
            self._joined,
            self._lost,
            self._waiting,
            self._gone_seconds + sum(now - since for since in self._since.values()),
            sum(self.busy.values()),
            self._failed_starts,
            self._failed.copy(),
            dict(self._calls),
        )
