"""What a pool is told and given: its limits, who brings actors up and down, and what comes back from a call."""

from dataclasses import dataclass
from typing import Generic, NamedTuple, Protocol, TypeVar

A = TypeVar("A")
T = TypeVar("T")


@dataclass(frozen=True)
class Limits:
    """When to give up.

    Attributes:
        call_seconds: for one call, from when its actor is free for it.
        start_seconds: for a new actor, until it has loaded and answers.
        probe_seconds: for an answer to a probe, which an actor gives beside what it computes.
        failures: of one call that raised or was overdue.
        deaths: of actors by one call; more than `failures`, for bad luck kills a worker more often than a call.
        starts: of an actor that raised or were overdue in a row, after which the pool goes on without it.
        start_deaths: the same of those that were killed while they loaded; more, for that may be bad luck.
        strikes: calls in a row that another actor could do, after which an actor is replaced.
    """

    call_seconds: float
    start_seconds: float = 900.0
    probe_seconds: float = 60.0
    failures: int = 3
    deaths: int = 5
    starts: int = 3
    start_deaths: int = 10
    strikes: int = 2


class Member(NamedTuple, Generic[A]):
    """An actor, and the node that it runs on."""

    actor: A
    node: str


class Transport(Protocol[A]):
    """Brings actors up and down."""

    async def start(self) -> Member[A]:
        """A new actor that has loaded and answers. May be cancelled: nothing of it may stay behind then."""
        ...

    async def probe(self, actor: A) -> None:
        """Answers if the actor is alive and not wedged, whatever it is computing.

        Raises:
            WorkerDied: it is gone.
        """
        ...

    def stop(self, actor: A) -> None:
        """End an actor at once, whatever it is doing, also if it is dead."""
        ...


class PartialAnswer(NamedTuple, Generic[T]):
    """What an actor answered for a call, or for a part of its rows, and that actor's node."""

    value: T
    node: str


class Answer(NamedTuple, Generic[T]):
    """The parts of a call in the order of their rows, and how many calls were made again for them."""

    parts: list[PartialAnswer[T]]
    retries: int
