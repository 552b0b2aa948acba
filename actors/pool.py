"""Calls to equal, stateless actors: which of them gets a call, and what is done when one fails.

Plain Python: actors come from a `Transport`, and the clock is that of the event loop, so that tests drive every
rule here without Ray and without waiting. The rules:

- A call goes to the actor with the least estimated work that has a slot free, where moving its input to another
  node counts as work. An actor has two slots: it computes one call and has the next one at hand.
- A call has a deadline from when its actor is free for it. An actor that misses it counts as hung.
- An actor that dies or hangs is replaced. The call that it was computing is blamed and made again, on another
  actor where there is one; those behind it, and all if it was preempted, are made again without blame.
- A call that raises is cut in halves where it can be, down to the row that is to blame, and made again on others.
- An actor that twice in a row could not do what another could is replaced.
- A call that failed too often raises `WorkError`, its last error as the cause.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from actors.protocol import ChunkTooLarge, InputLost, WorkerDied, WorkerOverdue, WorkError, WorkersLost
from actors.transport import Answer, Limits, Part, Transport

# One call being computed and one waiting behind it keep an actor busy; more would only hold memory.
SLOTS = 2
# What fetching a chunk of pixels from another node costs, about: 25 MB at 5 Gbit/s.
MOVE_SECONDS = 0.04
# The share that one more measurement has in the pace of its kind of call.
NEWEST = 0.2
# Failed starts of one actor follow each other after this time, doubled each time.
PAUSE_SECONDS = 1.0

A = TypeVar("A")
T = TypeVar("T")


@dataclass(eq=False)
class _Call:
    """One call on its way."""

    kind: str
    rows: int
    use: Callable[[Any], Awaitable[Any]]
    near: str | None
    avoid: "set[_Seat]"
    outcome: "asyncio.Future[Part]"
    began: float = 0.0
    limit: asyncio.Timeout | None = None


@dataclass(eq=False)
class _Seat:
    """A live actor, its calls in the order in which it computes them, and who killed it."""

    actor: Any
    node: str
    calls: deque[_Call] = field(default_factory=deque)
    strikes: int = 0
    lost: bool = False
    blamed: _Call | None = None


class _Unblamed(Exception):
    """The actor of a call is gone, but not by this call's doing."""


@dataclass
class _Work(Generic[A, T]):
    """What the pool's user asked for, and what has been tried for it, over all its parts."""

    kind: str
    use: Callable[[A, int, int], Awaitable[T]]
    near: str | None
    divisible: bool
    raised_on: set[_Seat] = field(default_factory=set)
    retries: int = 0

    def call(self, start: int, stop: int) -> _Call:
        outcome: asyncio.Future[Part] = asyncio.get_running_loop().create_future()
        return _Call(
            self.kind, stop - start, lambda actor: self.use(actor, start, stop), self.near, self.raised_on, outcome
        )


class Pool(Generic[A]):
    """Equal actors behind one queue; first come, first served."""

    def __init__(self, transport: Transport[A], size: int, limits: Limits) -> None:
        self._transport, self._size, self._limits = transport, size, limits
        self._seats: list[_Seat] = []
        self._waiting: deque[_Call] = deque()
        self._pace: dict[str, float] = {}
        self._starting = self._given_up = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._broken: Exception | None = None

    async def open(self) -> None:
        """Start all actors.

        Raises:
            WorkersLost: one of them could not be started.
        """
        self._starting = self._size
        await asyncio.gather(*(self._fill() for _ in range(self._size)))
        if self._given_up:
            raise self._lost() from self._broken

    def close(self) -> None:
        """End all actors and all that waits for them. May be called twice."""
        for task in self._tasks:
            task.cancel()
        for seat in self._seats:
            self._transport.stop(seat.actor)
        self._seats = []

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
            self._strike(seat)
        return Answer(parts, work.retries)

    async def _part(self, work: _Work[A, T], start: int, stop: int) -> list[Part[T]]:
        failures = deaths = 0
        last: Exception
        while True:
            try:
                return [await self._outcome(work.call(start, stop))]
            except (InputLost, WorkersLost, ChunkTooLarge):
                raise
            except _Unblamed:
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

    async def _outcome(self, call: _Call) -> Part:
        if not self._seats and not self._starting:
            raise self._lost() from self._broken
        self._waiting.append(call)
        self._dispatch()
        return await call.outcome

    def _dispatch(self) -> None:
        """Give waiting calls to free actors, the oldest first."""
        held = []
        while self._waiting and any(len(seat.calls) < SLOTS for seat in self._seats):
            call = self._waiting.popleft()
            if call.outcome.done():
                continue
            if seat := self._pick(call):
                seat.calls.append(call)
                self._spawn(self._run(seat, call))
            else:
                held.append(call)
        self._waiting.extendleft(reversed(held))

    def _pick(self, call: _Call) -> _Seat | None:
        seats = [seat for seat in self._seats if seat not in call.avoid] or self._seats
        free = [seat for seat in seats if len(seat.calls) < SLOTS]

        def work(seat: _Seat) -> float:
            return sum(map(self._estimate, seat.calls)) + (MOVE_SECONDS if call.near not in (None, seat.node) else 0.0)

        return min(free, key=work, default=None)

    def _estimate(self, call: _Call) -> float:
        return self._pace.get(call.kind, 1.0) * call.rows

    async def _run(self, seat: _Seat, call: _Call) -> None:
        """Carry one call; on an error free its slot first, then tell who waits for it."""
        try:
            async with asyncio.timeout(None) as call.limit:
                if seat.calls[0] is call:
                    self._begin(call)
                value = await call.use(seat.actor)
        except WorkerDied as error:
            self._lose(seat, blame=None if error.preempted else seat.calls[0])
            self._settle(seat, call, error if seat.blamed is call else _Unblamed())
        except Exception as error:
            if not call.limit or not call.limit.expired():
                if not isinstance(error, InputLost | ChunkTooLarge):
                    call.avoid.add(seat)
                self._settle(seat, call, error)
                return
            self._lose(seat, blame=call)
            overdue = WorkerOverdue(f"no answer within {self._limits.call_seconds:g} s")
            self._settle(seat, call, overdue if seat.blamed is call else _Unblamed())
        else:
            seat.strikes = 0
            self._measure(call)
            self._settle(seat, call, Part(value, seat.node))

    def _begin(self, call: _Call) -> None:
        """The actor is free for this call: its time runs from now."""
        call.began = asyncio.get_running_loop().time()
        if call.limit:
            call.limit.reschedule(call.began + self._limits.call_seconds)

    def _measure(self, call: _Call) -> None:
        pace = (asyncio.get_running_loop().time() - call.began) / max(call.rows, 1)
        known = self._pace.get(call.kind, pace)
        self._pace[call.kind] = known + NEWEST * (pace - known)

    def _settle(self, seat: _Seat, call: _Call, outcome: Part | Exception) -> None:
        seat.calls.remove(call)
        if seat.calls:
            self._begin(seat.calls[0])
        if not call.outcome.done():
            if isinstance(outcome, Exception):
                call.outcome.set_exception(outcome)
            else:
                call.outcome.set_result(outcome)
        self._dispatch()

    def _strike(self, seat: _Seat) -> None:
        """An actor raised where another had no trouble."""
        seat.strikes += 1
        if seat.strikes >= self._limits.strikes:
            self._lose(seat, blame=None)

    def _lose(self, seat: _Seat, blame: _Call | None) -> None:
        """Take an actor out and start another in its place. Only the first to tell of its end is heard."""
        if seat.lost:
            return
        seat.lost, seat.blamed = True, blame
        self._seats.remove(seat)
        self._transport.stop(seat.actor)
        self._starting += 1
        self._spawn(self._fill())

    async def _fill(self) -> None:
        """Start an actor; after some failed starts go on without it, and without any, tell all who wait."""
        failures = deaths = 0
        while failures < self._limits.starts and deaths < self._limits.start_deaths:
            try:
                async with asyncio.timeout(self._limits.start_seconds):
                    member = await self._transport.start()
            except WorkerDied as error:
                self._broken, deaths = error, deaths + 1
            except Exception as error:
                self._broken, failures = error, failures + 1
                await asyncio.sleep(PAUSE_SECONDS * 2**failures)
            else:
                self._seats.append(_Seat(*member))
                break
        else:
            self._given_up += 1
        self._starting -= 1
        if not self._seats and not self._starting:
            for call in self._waiting:
                if not call.outcome.done():
                    call.outcome.set_exception(self._lost())
        self._dispatch()

    def _lost(self) -> WorkersLost:
        return WorkersLost(f"a worker could not be started: {_text(self._broken)}")

    def _spawn(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _given_up(error: Exception, kind: str, start: int, stop: int, attempts: int) -> WorkError:
    rows = f"candidate {start}" if stop - start == 1 else f"candidates {start}..{stop - 1}"
    return WorkError(f"{_text(error)} ({kind}, {rows} of its chunk, tried {attempts} times)", attempts)


def _text(error: Exception | None) -> str:
    return str(error) or type(error).__name__
