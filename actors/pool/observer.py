"""What a dispatcher tells of its actors and calls as they come and go, for who counts, logs or shows it."""

from typing import Protocol


class Observer(Protocol):
    """Is told at once, in the dispatcher's own event loop, so it must neither wait nor raise.

    Actors have numbers, 0, 1, 2, ... in the order of coming up; one that replaces another has a new one.
    """

    def joined(self, actor: int, node: str) -> None:
        """An actor has loaded and is given calls from now on."""
        ...

    def left(self, actor: int, why: str) -> None:
        """An actor is gone, or is given no call any more: dead, hung, preempted, of a node that is drained."""
        ...

    def start_failed(self, why: str) -> None:
        """An actor did not come up; it may be tried again."""
        ...

    def waiting(self, calls: int) -> None:
        """So many calls have no actor yet."""
        ...

    def computed(self, actor: int, kind: str, rows: int, seconds: float) -> None:
        """An actor has answered a call that it was busy with for so long, messages included."""
        ...

    def failed(self, kind: str, why: str) -> None:
        """A call did not bring a result, by an error of its own, its actor's death or its deadline."""
        ...


class NullObserver:
    """Tells nobody."""

    def joined(self, actor: int, node: str) -> None: ...
    def left(self, actor: int, why: str) -> None: ...
    def start_failed(self, why: str) -> None: ...
    def waiting(self, calls: int) -> None: ...
    def computed(self, actor: int, kind: str, rows: int, seconds: float) -> None: ...
    def failed(self, kind: str, why: str) -> None: ...
