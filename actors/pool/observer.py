"""The interface through which a dispatcher reports events. `actors.telemetry` implements it to count and log them."""

from typing import Protocol


class Observer(Protocol):
    """Is notified at once, in the dispatcher's event loop, so a method must neither block nor raise.

    Actors are numbered 0, 1, 2, ... in the order in which they become ready. A replacement gets a new number.
    """

    def joined(self, actor: int, node: str) -> None:
        """An actor has loaded its models and gets calls from now on."""
        ...

    def left(self, actor: int, reason: str) -> None:
        """An actor gets no more calls: it died, hung or was preempted, its node is drained, or it is not needed."""
        ...

    def start_failed(self, reason: str) -> None:
        """An actor did not start. The start may be retried."""
        ...

    def waiting(self, calls: int) -> None:
        """`calls` calls have no actor yet."""
        ...

    def computed(self, actor: int, kind: str, rows: int, seconds: float) -> None:
        """An actor has answered a call. `seconds` is how long the call kept it busy, messages included."""
        ...

    def failed(self, kind: str, reason: str) -> None:
        """A call brought no result: it raised, its actor died, or it missed its deadline."""
        ...


class NullObserver:
    """An observer that ignores every event."""

    def joined(self, actor: int, node: str) -> None: ...
    def left(self, actor: int, reason: str) -> None: ...
    def start_failed(self, reason: str) -> None: ...
    def waiting(self, calls: int) -> None: ...
    def computed(self, actor: int, kind: str, rows: int, seconds: float) -> None: ...
    def failed(self, kind: str, reason: str) -> None: ...
