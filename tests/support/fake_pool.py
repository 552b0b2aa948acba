"""Fake actors and their transport, for tests of the pool on the simulated clock of `virtual_time`, without Ray."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from actors.pool.pool import Pool
from actors.pool.transport import Answer, StartedActor
from actors.protocol import WorkerDied
from tests.support.cluster.virtual_time import now

LOAD_SECONDS = 10.0


class FakeActor:
    """Computes one call after the other, in the order of arrival, and can be killed at any time.

    Attributes:
        death: set to kill the actor.
        preempted: whether its death is a preemption.
        stuck: whether it is alive and answers no probe.
        computed: the times at which it began its calls.
    """

    def __init__(self, name: int) -> None:
        self.name, self.lock, self.death = name, asyncio.Lock(), asyncio.Event()
        self.preempted, self.stuck, self.computed = False, False, list[Any]()

    async def compute(self, work: Callable[["FakeActor"], Awaitable[Any]]) -> Any:
        result, death = asyncio.create_task(self._in_turn(work)), asyncio.create_task(self.death.wait())
        await asyncio.wait((result, death), return_when=asyncio.FIRST_COMPLETED)
        if self.death.is_set():
            result.cancel()
            raise WorkerDied(f"actor {self.name} died", self.preempted)
        death.cancel()
        return result.result()

    async def _in_turn(self, work: Callable[["FakeActor"], Awaitable[Any]]) -> Any:
        async with self.lock:
            self.computed.append(now())
            return await work(self)


class FakeTransport:
    """Starts actors named 0, 1, 2, ... in the order of their starts, two on each node.

    Attributes:
        started: all actors that it has started.
        stopped: the names of the actors that it has stopped.
        failing_starts: the number of starts that will fail with `start_error` before one succeeds.
        starts: the number of starts so far, failed ones included.
    """

    def __init__(self, failing_starts: int = 0) -> None:
        self.started, self.stopped, self.failing_starts, self.starts = list[FakeActor](), list[int](), failing_starts, 0
        self.start_error: Exception = OSError("no weights")

    async def start(self) -> StartedActor[FakeActor]:
        self.starts += 1
        await asyncio.sleep(LOAD_SECONDS)
        if self.failing_starts:
            self.failing_starts -= 1
            raise self.start_error
        self.started.append(FakeActor(len(self.started)))
        return StartedActor(self.started[-1], f"node{self.started[-1].name // 2}")

    async def probe(self, handle: FakeActor) -> None:
        if handle.stuck:
            await asyncio.Event().wait()
        if handle.death.is_set():
            raise WorkerDied(f"actor {handle.name} died", handle.preempted)

    def stop(self, handle: FakeActor) -> None:
        self.stopped.append(handle.name)
        handle.death.set()


def compute_for(seconds: float) -> Callable[[FakeActor], Awaitable[int]]:
    """Return a computation of this many seconds, whose result is the name of its actor."""

    async def work(actor: FakeActor) -> int:
        await asyncio.sleep(seconds)
        return actor.name

    return work


async def call_once(
    pool: Pool[FakeActor], work: Callable[[FakeActor], Awaitable[Any]], kind: str = "work", **options: Any
) -> Answer[Any]:
    """Make one call of one row."""
    return await pool.call(kind, 1, lambda actor, *_: actor.compute(work), **options)


async def actors_used(pool: Pool[FakeActor], n: int, seconds: float = 1.0, **options: Any) -> list[int]:
    """Make n calls at once. Returns the names of the actors that answered them, in the order of the calls."""
    answers = await asyncio.gather(*(call_once(pool, compute_for(seconds), **options) for _ in range(n)))
    return [answer.partials[0].value for answer in answers]
