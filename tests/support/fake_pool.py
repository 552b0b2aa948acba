"""Actors that are a few lines each, for the rules of the pool on the clock of `virtual_time`: no Ray, no waiting."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from actors.pool.pool import Pool
from actors.pool.transport import Answer, Member
from actors.protocol import WorkerDied
from tests.support.virtual_time import now

LOAD = 10.0


class FakeActor:
    """Computes one call after the other, in order, and can be killed at any time."""

    def __init__(self, name: int) -> None:
        self.name, self.turn, self.death = name, asyncio.Lock(), asyncio.Event()
        self.preempted, self.wedged, self.computed = False, False, list[Any]()

    async def compute(self, work: Callable[["FakeActor"], Awaitable[Any]]) -> Any:
        alive, death = asyncio.create_task(self._in_turn(work)), asyncio.create_task(self.death.wait())
        await asyncio.wait((alive, death), return_when=asyncio.FIRST_COMPLETED)
        if self.death.is_set():
            alive.cancel()
            raise WorkerDied(f"actor {self.name} died", self.preempted)
        death.cancel()
        return alive.result()

    async def _in_turn(self, work: Callable[["FakeActor"], Awaitable[Any]]) -> Any:
        async with self.turn:
            self.computed.append(now())
            return await work(self)


class FakeTransport:
    """Actors named 0, 1, 2, ... in the order of starting, two to a node; `fails` starts of any go wrong at first."""

    def __init__(self, fails: int = 0) -> None:
        self.made, self.stopped, self.fails, self.starts = list[FakeActor](), list[int](), fails, 0
        self.failure: Exception = OSError("no weights")

    async def start(self) -> Member[FakeActor]:
        self.starts += 1
        await asyncio.sleep(LOAD)
        if self.fails:
            self.fails -= 1
            raise self.failure
        self.made.append(FakeActor(len(self.made)))
        return Member(self.made[-1], f"node{self.made[-1].name // 2}")

    async def probe(self, actor: FakeActor) -> None:
        if actor.wedged:
            await asyncio.Event().wait()
        if actor.death.is_set():
            raise WorkerDied(f"actor {actor.name} died", actor.preempted)

    def stop(self, actor: FakeActor) -> None:
        self.stopped.append(actor.name)
        actor.death.set()


def takes(seconds: float) -> Callable[[FakeActor], Awaitable[int]]:
    async def work(actor: FakeActor) -> int:
        await asyncio.sleep(seconds)
        return actor.name

    return work


async def ask(
    pool: Pool[FakeActor], work: Callable[[FakeActor], Awaitable[Any]], kind: str = "work", **options: Any
) -> Answer[Any]:
    return await pool.call(kind, 1, lambda actor, *_: actor.compute(work), **options)


async def names(pool: Pool[FakeActor], n: int, seconds: float = 1.0, **options: Any) -> list[int]:
    answers = await asyncio.gather(*(ask(pool, takes(seconds), **options) for _ in range(n)))
    return [answer.parts[0].value for answer in answers]
