"""Calls interchangeable, stateless actors, and retries failed calls. `actors.cluster` has one pool per kind of actor.

- A call whose actor died or hung, or that raised, is retried, on another actor if there is one.
- A call whose network computed NaN or infinity is not retried.
- A call that raises is split in halves if it can be, down to the row that makes it fail.
- An actor is replaced if two consecutive calls raised on it and succeeded on another.
- A call that failed too often raises `CallFailed`, with its last error as the cause.

`dispatch.Dispatcher` chooses the actor of each call.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from actors.pool.dispatch import CallInterrupted, Dispatcher
from actors.pool.fleet import Call, LiveActor
from actors.pool.observer import Observer
from actors.pool.transport import Answer, Limits, PartialAnswer, Transport
from actors.protocol import (
    CallFailed,
    ChunkTooLarge,
    InputLost,
    NotFiniteError,
    WorkerDied,
    WorkerOverdue,
    WorkersLost,
)
from configs.plain.texts import message_of

A = TypeVar("A")
T = TypeVar("T")


@dataclass
class _Request(Generic[A, T]):
    """The arguments of one `Pool.call`, and what its attempts have in common.

    Attributes:
        raised_on: actors on which an attempt raised.
        retries: attempts after the first one, over all partial calls.
    """

    kind: str
    compute: Callable[[A, int, int], Awaitable[T]]
    input_node: str | None
    divisible: bool
    raised_on: set[LiveActor] = field(default_factory=set)
    retries: int = 0

    def call(self, start: int, stop: int) -> Call:
        """Return one attempt at rows `start`..`stop`."""
        outcome: asyncio.Future[PartialAnswer[Any]] = asyncio.get_running_loop().create_future()
        return Call(
            self.kind,
            stop - start,
            lambda handle: self.compute(handle, start, stop),
            self.input_node,
            self.raised_on,
            outcome,
        )


class Pool(Generic[A]):
    """Interchangeable actors that are called as if they were one."""

    def __init__(self, transport: Transport[A], size: int, limits: Limits, observer: Observer | None = None) -> None:
        self._dispatcher, self._limits = Dispatcher(transport, size, limits, observer), limits

    async def open(self) -> None:
        """Start all actors.

        Raises:
            WorkersLost: an actor could not be started.
            RequestError: an actor cannot load what the configuration requests.
        """
        await self._dispatcher.fleet.open()

    def close(self) -> None:
        """End all actors and the tasks that wait for them. May be called twice."""
        self._dispatcher.close()

    def resize(self, size: int) -> None:
        """Keep `size` actors from now on. Actors that are retired finish the calls that they have."""
        self._dispatcher.fleet.resize(size)

    def drain(self, nodes: Collection[str]) -> None:
        """Retire the actors on these nodes. They finish the calls that they have."""
        self._dispatcher.fleet.drain(nodes)

    @property
    def size(self) -> int:
        """The number of actors that have loaded and are not retired."""
        return len(self._dispatcher.fleet.actors)

    @property
    def busy_seconds(self) -> float:
        """The seconds that all actors together have spent on calls that they answered."""
        return self._dispatcher.busy_seconds

    async def call(
        self,
        kind: str,
        rows: int,
        compute: Callable[[A, int, int], Awaitable[T]],
        *,
        input_node: str | None = None,
        divisible: bool = False,
    ) -> Answer[T]:
        """Await `compute(handle, 0, rows)` on an actor, with retries; if it raises and is `divisible`, halve the rows.

        A call may be computed twice, so it must be idempotent. If the caller is cancelled, the actor still computes the
        call, because nothing can interrupt it, and the call keeps its slot until then.

        Args:
            kind: a name for calls that take about the same time per row.
            compute: calls the actor of a handle for rows `start`..`stop`. Raises `WorkerDied` if the actor is gone,
                `InputLost` if an argument is gone, and otherwise the error of the computation.
            divisible: whether `compute` may be called for some of the rows.
            input_node: the node that holds most of the input.

        Raises:
            CallFailed: after the number of attempts that `Limits` allows, or at once if a network computed NaN or
                infinity; the last error is its cause.
            InputLost: at once; the caller must compute the input again.
            ChunkTooLarge: at once; the call would run out of memory on every actor.
            WorkersLost: there are no actors left.
        """
        request = _Request(kind, compute, input_node, divisible)
        partials = await self._attempt(request, 0, rows)
        for actor in request.raised_on:
            self._dispatcher.count_failure(actor)
        return Answer(partials, request.retries)

    async def _attempt(self, request: _Request[A, T], start: int, stop: int) -> list[PartialAnswer[T]]:
        failures = deaths = 0
        last: Exception
        while True:
            try:
                return [await self._dispatcher.submit(request.call(start, stop))]
            except (InputLost, WorkersLost, ChunkTooLarge):
                raise
            except CallInterrupted:
                continue
            except WorkerDied as error:
                deaths, last = deaths + 1, error
            except NotFiniteError as error:
                raise call_failed(error, request.kind, start, stop, failures + deaths + 1) from error
            except Exception as error:
                failures, last = failures + 1, error
                if request.divisible and stop - start > 1 and not isinstance(error, WorkerOverdue):
                    request.retries += 2
                    middle = (start + stop) // 2
                    return [*await self._attempt(request, start, middle), *await self._attempt(request, middle, stop)]
            if failures >= self._limits.call_failures or deaths >= self._limits.call_deaths:
                raise call_failed(last, request.kind, start, stop, failures + deaths) from last
            request.retries += 1


def call_failed(error: Exception, kind: str, start: int, stop: int, attempts: int) -> CallFailed:
    """Return the error of a call whose last attempt raised `error`. It names the kind of call and its rows."""
    rows = f"candidate {start}" if stop - start == 1 else f"candidates {start}..{stop - 1}"
    text = message_of(error) or type(error).__name__
    tried = "once" if attempts == 1 else f"{attempts} times"
    return CallFailed(f"{text} ({kind}, {rows} of its chunk, tried {tried})", attempts)
