"""Calls to equal, stateless actors, and what is done when one fails. How they are carried: `dispatcher.Dispatcher`.

- A call whose actor died under it, or that hung or raised, is made again, on another actor where there is one.
- One that raises is cut in halves where it can be, down to the row that is to blame.
- An actor that twice in a row could not do what another could is replaced.
- A call that failed too often raises `WorkError`, its last error as the cause.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from actors.pool.dispatch import Dispatcher, Unblamed
from actors.pool.fleet import Call, LiveActor
from actors.pool.observer import Observer
from actors.pool.transport import Answer, Limits, PartialAnswer, Transport
from actors.protocol import ChunkTooLarge, InputLost, WorkerDied, WorkerOverdue, WorkError, WorkersLost

A = TypeVar("A")
T = TypeVar("T")


@dataclass
class _Work(Generic[A, T]):
    """What the pool's user asked for, and what has been tried for it, over all its parts."""

    kind: str
    use: Callable[[A, int, int], Awaitable[T]]
    near: str | None
    divisible: bool
    raised_on: set[LiveActor] = field(default_factory=set)
    retries: int = 0

    def call(self, start: int, stop: int) -> Call:
        outcome: asyncio.Future[PartialAnswer] = asyncio.get_running_loop().create_future()
        return Call(
            self.kind, stop - start, lambda actor: self.use(actor, start, stop), self.near, self.raised_on, outcome
        )


class Pool(Generic[A]):
    """Equal actors that are called as one, with retries."""

    def __init__(self, transport: Transport[A], size: int, limits: Limits, watch: Observer | None = None) -> None:
        self._dispatcher, self._limits = Dispatcher(transport, size, limits, watch), limits

    async def open(self) -> None:
        """Start all actors.

        Raises:
            WorkersLost: one of them could not be started.
            RequestError: one of them refused what it was asked for.
        """
        await self._dispatcher.fleet.open()

    def close(self) -> None:
        """End all actors and all that waits for them. May be called twice."""
        self._dispatcher.close()

    def resize(self, size: int) -> None:
        """Have `size` actors from now on. Those that are let go finish the calls that they have."""
        self._dispatcher.fleet.resize(size)

    def drain(self, nodes: Collection[str]) -> None:
        """Let the actors on these nodes go once they have finished the calls that they have."""
        self._dispatcher.fleet.drain(nodes)

    @property
    def size(self) -> int:
        """Actors that are up and stay."""
        return len(self._dispatcher.fleet.seats)

    @property
    def busy_seconds(self) -> float:
        """What all actors together have computed so far."""
        return self._dispatcher.busy_seconds

    async def call(
        self,
        kind: str,
        rows: int,
        use: Callable[[A, int, int], Awaitable[T]],
        *,
        near: str | None = None,
        divisible: bool = False,
    ) -> Answer[T]:
        """Await `use(actor, start, stop)` for rows 0..`rows`: in one part, or in more where `divisible` and it raised.

        A call may be computed twice, so it must be idempotent. A caller that is cancelled leaves its call to
        the actor, which nothing can interrupt, and its slot with it.

        Args:
            kind: calls of one kind take about the same time a row.
            use: raises `WorkerDied` where the actor is gone, `InputLost` where an argument is, else the error
                of the work.
            near: the node that holds most of the input.

        Raises:
            WorkError: from the last error, after the attempts of `Limits`.
            InputLost: at once; who made the input must make it again.
            ChunkTooLarge: at once; the same call would run out of memory on the others too.
            WorkersLost: there are no actors any more.
        """
        work = _Work(kind, use, near, divisible)
        parts = await self._part(work, 0, rows)
        for seat in work.raised_on:
            self._dispatcher.strike(seat)
        return Answer(parts, work.retries)

    async def _part(self, work: _Work[A, T], start: int, stop: int) -> list[PartialAnswer[T]]:
        failures = deaths = 0
        last: Exception
        while True:
            try:
                return [await self._dispatcher.carry(work.call(start, stop))]
            except (InputLost, WorkersLost, ChunkTooLarge):
                raise
            except Unblamed:
                continue
            except WorkerDied as error:
                deaths, last = deaths + 1, error
            except Exception as error:
                failures, last = failures + 1, error
                if work.divisible and stop - start > 1 and not isinstance(error, WorkerOverdue):
                    work.retries += 2
                    middle = (start + stop) // 2
                    return [*await self._part(work, start, middle), *await self._part(work, middle, stop)]
            if failures >= self._limits.failures or deaths >= self._limits.deaths:
                raise _given_up(last, work.kind, start, stop, failures + deaths) from last
            work.retries += 1


def _given_up(error: Exception, kind: str, start: int, stop: int, attempts: int) -> WorkError:
    rows = f"candidate {start}" if stop - start == 1 else f"candidates {start}..{stop - 1}"
    return WorkError(f"{_text(error)} ({kind}, {rows} of its chunk, tried {attempts} times)", attempts)


def _text(error: Exception | None) -> str:
    return str(error) or type(error).__name__
