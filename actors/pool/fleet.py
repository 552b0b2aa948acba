"""The actors of a dispatcher: brought up, looked after, replaced, and let go.

- An actor that dies, hangs or no longer answers a probe is replaced. A start that fails is tried again some times.
- `resize` brings more up, or lets some go. `drain` lets those of some nodes go. One that is let go gets no call any
  more and ends when it has computed those that it has.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Coroutine
from dataclasses import dataclass, field
from itertools import count
from typing import Any, Generic, TypeVar

from actors.pool.observer import Observer
from actors.pool.transport import Limits, Member, PartialAnswer, Transport
from actors.protocol import StartFailed, WorkerDied, WorkerOverdue, WorkersLost
from configs.errors import RequestError

# Failed starts of one actor follow each other after this time, doubled each time.
PAUSE_SECONDS = 1.0
# So many probes are sent in the time that one may take to be answered.
PROBES = 3

A = TypeVar("A")


@dataclass(eq=False)
class Call:
    """One call on its way."""

    kind: str
    rows: int
    use: Callable[[Any], Awaitable[Any]]
    near: str | None
    avoid: "set[LiveActor]"
    outcome: "asyncio.Future[PartialAnswer]"
    began: float = 0.0
    limit: asyncio.Timeout | None = None


@dataclass(eq=False)
class LiveActor:
    """A live actor, its calls in the order in which it computes them, and the call that ended it."""

    number: int
    actor: Any
    node: str
    calls: deque[Call] = field(default_factory=deque)
    strikes: int = 0
    lost: bool = False
    blamed: Call | None = None
    care: asyncio.Task[None] | None = None

    @property
    def computing(self) -> Call | None:
        return self.calls[0] if self.calls else None


class Fleet(Generic[A]):
    """Equal actors, as many as are wanted.

    Args:
        changed: is called when an actor has come or gone.
    """

    def __init__(
        self, transport: Transport[A], size: int, limits: Limits, watch: Observer, changed: Callable[[], None]
    ) -> None:
        self._transport, self._size, self._limits, self._observer = transport, size, limits, watch
        self._changed, self._numbers = changed, count()
        self.seats: list[LiveActor] = []
        self._leaving: set[LiveActor] = set()
        self._starts: list[asyncio.Task[None]] = []
        self._given_up = 0
        self._broken: Exception | None = None

    async def open(self) -> None:
        """Start all actors.

        Raises:
            WorkersLost: one of them could not be started.
            RequestError: one of them refuses what it was asked for.
        """
        self._adjust()
        await asyncio.gather(*self._starts, return_exceptions=True)
        if isinstance(self._broken, RequestError):
            raise self._broken
        if self._given_up:
            raise self.lost()

    def close(self) -> None:
        """End all actors, at once. May be called twice."""
        self._size = 0
        for task in self._starts:
            task.cancel()
        for seat in (*self.seats, *self._leaving):
            self._end(seat)
        self.seats, self._starts = [], []
        self._leaving.clear()

    @property
    def hopeless(self) -> bool:
        """There is no actor, and none is coming."""
        return not (self.seats or self._starts or self._leaving)

    def lost(self) -> WorkersLost:
        error = WorkersLost(f"a worker could not be started: {self._broken}")
        error.__cause__ = self._broken
        return error

    def resize(self, size: int) -> None:
        """Have `size` actors from now on."""
        self._size, self._given_up = size, 0
        self._adjust()

    def drain(self, nodes: Collection[str]) -> None:
        """Let the actors on these nodes go, and bring up as many elsewhere."""
        for seat in [seat for seat in self.seats if seat.node in nodes]:
            self._let_go(seat, f"node {seat.node} is drained")
        self._adjust()

    def lose(self, seat: LiveActor, why: str, blame: Call | None) -> None:
        """Take an actor out, and have another in its place. Only the first to tell of its end is heard."""
        if seat.lost:
            return
        seat.blamed = blame
        if seat in self._leaving:
            self._leaving.remove(seat)
        else:
            self.seats.remove(seat)
            self._observer.left(seat.number, why)
        self._end(seat)
        self._adjust()

    def rests(self, seat: LiveActor) -> None:
        """An actor has computed all that it has."""
        if seat in self._leaving:
            self._leaving.remove(seat)
            self._end(seat)

    def _end(self, seat: LiveActor) -> None:
        seat.lost = True
        if seat.care:
            seat.care.cancel()
        self._transport.stop(seat.actor)

    def _let_go(self, seat: LiveActor, why: str) -> None:
        self.seats.remove(seat)
        self._leaving.add(seat)
        self._observer.left(seat.number, why)
        if not seat.calls:
            self.rests(seat)

    def _adjust(self) -> None:
        """Start actors where there are too few. Where there are too many, drop starts first, then the idlest."""
        while len(self.seats) + len(self._starts) < self._size:
            self._starts.append(asyncio.get_running_loop().create_task(self._fill()))
        while len(self.seats) + len(self._starts) > self._size and self._starts:
            self._starts.pop().cancel()
        while len(self.seats) > self._size:
            self._let_go(min(self.seats, key=lambda seat: len(seat.calls)), "fewer are wanted")
        self._changed()

    async def _fill(self) -> None:
        """Start an actor; after some failed starts go on without it."""
        failures = deaths = 0
        while failures < self._limits.starts and deaths < self._limits.start_deaths:
            try:
                member = await self._start()
            except WorkerDied as error:
                self._broken, deaths = error, deaths + 1
            except RequestError as error:  # asking again makes it no better
                self._broken, failures = error, self._limits.starts
            except Exception as error:
                self._broken, failures = error, failures + 1
            else:
                self._starts.remove(_this_task())
                self._welcome(member)
                return
            self._observer.start_failed(str(self._broken))
            await asyncio.sleep(PAUSE_SECONDS * 2**failures if failures < self._limits.starts else 0)
        self._starts.remove(_this_task())
        self._given_up += 1
        self._size -= 1
        self._changed()

    async def _start(self) -> Member[A]:
        try:
            async with asyncio.timeout(self._limits.start_seconds) as limit:
                return await self._transport.start()
        except TimeoutError as error:
            if limit.expired():
                raise StartFailed(f"not ready within {self._limits.start_seconds:g} s") from error
            raise

    def _welcome(self, member: Member[A]) -> None:
        seat = LiveActor(next(self._numbers), *member)
        self.seats.append(seat)
        self._observer.joined(seat.number, seat.node)
        seat.care = asyncio.get_running_loop().create_task(self._look_after(seat))
        self._changed()

    async def _look_after(self, seat: LiveActor) -> None:
        """Probe an actor now and then: one that is alive and answers nothing would hold its calls for very long."""
        patience = self._limits.probe_seconds
        while True:
            await asyncio.sleep(patience / PROBES)
            try:
                async with asyncio.timeout(patience):
                    await self._transport.probe(seat.actor)
            except TimeoutError:
                return self.lose(
                    seat, str(WorkerOverdue(f"no answer to a probe within {patience:g} s")), seat.computing
                )
            except WorkerDied as error:
                return self.lose(seat, str(error), None if error.preempted else seat.computing)


def spawn(tasks: set[asyncio.Task[None]], work: Coroutine[Any, Any, None]) -> None:
    """Start a task, and keep it alive until it is done."""
    task = asyncio.get_running_loop().create_task(work)
    tasks.add(task)
    task.add_done_callback(tasks.discard)


def _this_task() -> Any:
    return asyncio.current_task()
