"""The types that a pool shares with its users: its limits, the interface that starts and stops actors, and answers."""

from dataclasses import dataclass
from typing import Generic, NamedTuple, Protocol, TypeVar

A = TypeVar("A")
T = TypeVar("T")


@dataclass(frozen=True)
class Limits:
    """The timeouts of a pool, and the numbers of failures after which it gives up.

    Attributes:
        call_seconds: timeout of one call, counted from the moment when its actor is free to compute it.
        start_seconds: timeout of the start of an actor, until its models are loaded and it answers.
        probe_seconds: timeout of a probe, which an actor answers even while it computes a call.
        call_failures: attempts of one call that may raise or time out before the call fails.
        call_deaths: actors that may die during one call before it fails. More than `call_failures`, because a worker
            is killed by bad luck more often than a call raises by bad luck.
        start_failures: consecutive starts of one actor that may raise or time out; the pool then goes on without it.
        start_deaths: starts of one actor during which it may be killed. More, because that may be bad luck too.
        actor_failures: consecutive calls that may fail on an actor and succeed on another before it is replaced.
    """

    call_seconds: float
    start_seconds: float = 900.0
    probe_seconds: float = 60.0
    call_failures: int = 3
    call_deaths: int = 5
    start_failures: int = 3
    start_deaths: int = 10
    actor_failures: int = 2


class StartedActor(NamedTuple, Generic[A]):
    """The handle of an actor that has loaded its models, and the node that it runs on."""

    handle: A
    node: str


class Transport(Protocol[A]):
    """Starts and stops the actors of a pool."""

    async def start(self) -> StartedActor[A]:
        """Start an actor and wait until it has loaded. If this is cancelled, nothing of the actor may remain."""
        ...

    async def probe(self, handle: A) -> None:
        """Wait for a sign of life from an actor, which it gives even while it computes a call.

        Raises:
            WorkerDied: the actor is gone.
        """
        ...

    def stop(self, handle: A) -> None:
        """End an actor at once, whatever it is doing. Does nothing if the actor is dead."""
        ...


class PartialAnswer(NamedTuple, Generic[T]):
    """An actor's result for all rows of a call or for some of them, and the node of that actor."""

    value: T
    node: str


class Answer(NamedTuple, Generic[T]):
    """The partial answers of a call in the order of their rows, and how many calls were retried for them."""

    partials: list[PartialAnswer[T]]
    retries: int
