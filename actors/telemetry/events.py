"""The events of a cell that are worth a line in the run's log, kept until its driver fetches them."""

import logging
import time
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

# A driver that is away for long finds the newest of them.
KEPT = 1000
# Characters of an error's own words: enough to know it by; `failures/` has the whole of what lost a prompt.
SHOWN = 300


class Event(NamedTuple):
    """Something that happened.

    Attributes:
        time: seconds since 1970.
        level: of `logging`.
        role: the pool's, such as `diffusion`.
        actor: its number in the pool, if it was one actor's.
        node: Ray's name of the node that it is on.
        what: one line.
    """

    time: float
    level: int
    role: str
    actor: int | None
    node: str | None
    what: str


class EventLog:
    """Events of all pools of a cell."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._events, self._dropped = deque[Event](maxlen=KEPT), 0

    def note(self, level: int, role: str, actor: int | None, node: str | None, what: str) -> None:
        self._dropped += len(self._events) == KEPT
        self._events.append(Event(self._clock(), level, role, actor, node, what))

    def fetch(self) -> tuple[Event, ...]:
        """What has happened since the last time."""
        events = list(self._events)
        if self._dropped:
            text = f"{self._dropped} events before this one were not kept"
            events.insert(0, events[0]._replace(level=logging.WARNING, actor=None, node=None, what=text))
        self._events.clear()
        self._dropped = 0
        return tuple(events)


class EventRecorder:
    """The `Observer` that writes down who comes and goes, and which calls fail."""

    def __init__(self, event_log: EventLog, role: str) -> None:
        self._event_log, self._role = event_log, role
        self._nodes: dict[int, str] = {}

    def joined(self, actor: int, node: str) -> None:
        self._nodes[actor] = node
        self._event_log.note(logging.INFO, self._role, actor, node, "is up")

    def left(self, actor: int, why: str) -> None:
        self._event_log.note(logging.WARNING, self._role, actor, self._nodes.get(actor), f"is let go: {one_line(why)}")

    def start_failed(self, why: str) -> None:
        self._event_log.note(logging.WARNING, self._role, None, None, f"an actor did not come up: {one_line(why)}")

    def waiting(self, calls: int) -> None: ...

    def computed(self, actor: int, kind: str, rows: int, seconds: float) -> None: ...

    def failed(self, kind: str, why: str) -> None:
        self._event_log.note(logging.WARNING, self._role, None, None, f"a call failed ({kind}): {one_line(why)}")


def one_line(text: str) -> str:
    """A message, which may have many lines, as the beginning of one."""
    line = " ".join(text.split())
    return line if len(line) <= SHOWN else line[:SHOWN] + "..."
