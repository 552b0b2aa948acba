"""Collects the events of a cell's pools that deserve a line in the run's log, until the driver fetches them."""

import logging
import time
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

# Events that are kept. If the driver does not fetch them in time, the oldest ones are dropped.
MAX_EVENTS = 1000
# Characters of an error message that are logged. `failures/` has the whole message of an error that failed a prompt.
MAX_CHARACTERS = 300


class Event(NamedTuple):
    """Something that happened in a pool.

    Attributes:
        time: seconds since 1970.
        level: a level of `logging`.
        role: the role of the pool, such as `diffusion`.
        actor: the actor's number in the pool; None if the event concerns no single actor.
        node: Ray's name of the actor's node.
        text: one line.
    """

    time: float
    level: int
    role: str
    actor: int | None
    node: str | None
    text: str


class EventLog:
    """The events of all pools of a cell."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._events, self._dropped = deque[Event](maxlen=MAX_EVENTS), 0

    def add(self, level: int, role: str, actor: int | None, node: str | None, text: str) -> None:
        self._dropped += len(self._events) == MAX_EVENTS
        self._events.append(Event(self._clock(), level, role, actor, node, text))

    def fetch(self) -> tuple[Event, ...]:
        """Remove and return the events since the last call."""
        events = list(self._events)
        if self._dropped:
            text = f"{self._dropped} events before this one were not kept"
            events.insert(0, events[0]._replace(level=logging.WARNING, actor=None, node=None, text=text))
        self._events.clear()
        self._dropped = 0
        return tuple(events)


class EventRecorder:
    """The observer that records the actors that join and leave a pool and the calls that fail in it."""

    def __init__(self, event_log: EventLog, role: str) -> None:
        self._event_log, self._role = event_log, role
        self._nodes: dict[int, str] = {}

    def joined(self, actor: int, node: str) -> None:
        self._nodes[actor] = node
        self._event_log.add(logging.INFO, self._role, actor, node, "is up")

    def left(self, actor: int, reason: str) -> None:
        text = f"is removed: {one_line(reason)}"
        self._event_log.add(logging.WARNING, self._role, actor, self._nodes.get(actor), text)

    def start_failed(self, reason: str) -> None:
        self._event_log.add(logging.WARNING, self._role, None, None, f"an actor did not start: {one_line(reason)}")

    def waiting(self, calls: int) -> None: ...

    def computed(self, actor: int, kind: str, rows: int, seconds: float) -> None: ...

    def failed(self, kind: str, reason: str) -> None:
        self._event_log.add(logging.WARNING, self._role, None, None, f"a call failed ({kind}): {one_line(reason)}")


def one_line(text: str) -> str:
    """Put a message on one line and cut it after `MAX_CHARACTERS`."""
    line = " ".join(text.split())
    return line if len(line) <= MAX_CHARACTERS else line[:MAX_CHARACTERS] + "..."
