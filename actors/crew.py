"""Actors at work: who gets a call, how long it may take, and who replaces an actor that dies or hangs.

Plain Python: actors come from a `Transport`, and the clock is that of the event loop. A call is carried once;
what to do after an error is `pool.Pool`'s.

- A call goes to the actor with the least estimated work that has a slot free, where moving its input to another
  node counts as work. An actor has two slots: it computes one call and has the next one at hand.
- A call has a deadline from when its actor is free for it. An actor that misses it counts as hung.
- An actor that dies or hangs is replaced. The call that it was computing is blamed, unless it was preempted;
  those behind it are not.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from itertools import count
from typing import Any, Generic, TypeVar

from actors.protocol import ChunkTooLarge, InputLost, StartFailed, WorkerDied, WorkerOverdue, WorkersLost
from actors.transport import Limits, Member, Part, Transport
from actors.watch import Unwatched, Watch
from configs.errors import RequestError

# One call being computed and one waiting behind it keep an actor busy; more would only hold memory.
SLOTS = 2
# What fetching a chunk of pixels from another node costs, about: 25 MB at 5 Gbit/s.
MOVE_SECONDS = 0.04
# The share that one more measurement has in the pace of its kind of call.
NEWEST = 0.2
# Failed starts of one actor follow each other after this time, doubled each time.
PAUSE_SECONDS = 1.0

A = TypeVar("A")


@dataclass(eq=False)
class Call:
    """One call on its way."""

    kind: str
    rows: int
    use: Callable[[Any], Awaitable[Any]]
    near: str | None
    avoid: "set[Seat]"
    outcome: "asyncio.Future[Part]"
    began: float = 0.0
    limit: asyncio.Timeout | None = None


@dataclass(eq=False)
class Seat:
    """A live actor, its calls in the order in which it computes them, and who killed it."""

    number: int
    actor: Any
    node: str
    calls: deque[Call] = field(default_factory=deque)
    strikes: int = 0
    lost: bool = False
    blamed: Call | None = None


class Unblamed(Exception):
    """The actor of a call is gone, but not by this call's doing."""


class Crew(Generic[A]):
    """Equal actors behind one queue; first come, first served."""

    def __init__(self, transport: Transport[A], size: int, limits: Limits, watch: Watch | None = None) -> None:
        self._transport, self._size, self._limits = transport, size, limits
        self._watch = watch or Unwatched()
        self._numbers = count()
        self._seats: list[Seat] = []
        self._waiting: deque[Call] = deque()
        self._pace: dict[str, float] = {}
        self._starting = self._given_up = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._broken: Exception | None = None

    async def open(self) -> None:
        """Start all actors.

        Raises:
            WorkersLost: one of them could not be started.
            RequestError: one of them refuses what it was asked for.
        """
        self._starting = self._size
        await asyncio.gather(*(self._fill() for _ in range(self._size)))
        if isinstance(self._broken, RequestError):
            raise self._broken
        if self._given_up:
            raise self._lost() from self._broken

    def close(self) -> None:
        """End all actors and all that waits for them. May be called twice."""
        for task in self._tasks:
            task.cancel()
        for seat in self._seats:
            self._transport.stop(seat.actor)
        self._seats = []

    async def carry(self, call: Call) -> Part:
        """Have one call computed, once.

        Raises:
            Unblamed: its actor is gone; the call may be carried again as if nothing had been.
            WorkerDied, WorkerOverdue: its actor is gone, and this call was what it computed.
            WorkersLost: there are no actors any more.
            Exception: what the call raised.
        """
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
        self._watch.waiting(len(self._waiting))

    def _pick(self, call: Call) -> Seat | None:
        seats = [seat for seat in self._seats if seat not in call.avoid] or self._seats
        free = [seat for seat in seats if len(seat.calls) < SLOTS]

        def work(seat: Seat) -> float:
            return sum(map(self._estimate, seat.calls)) + (MOVE_SECONDS if call.near not in (None, seat.node) else 0.0)

        return min(free, key=work, default=None)

    def _estimate(self, call: Call) -> float:
        return self._pace.get(call.kind, 1.0) * call.rows

    async def _run(self, seat: Seat, call: Call) -> None:
        """Carry one call; on an error free its slot first, then tell who waits for it."""
        try:
            async with asyncio.timeout(None) as call.limit:
                if seat.calls[0] is call:
                    self._begin(call)
                value = await call.use(seat.actor)
        except WorkerDied as error:
            self._lose(seat, str(error), blame=None if error.preempted else seat.calls[0])
            self._settle(seat, call, error if seat.blamed is call else Unblamed())
        except Exception as error:
            if not call.limit or not call.limit.expired():
                if not isinstance(error, InputLost | ChunkTooLarge):
                    call.avoid.add(seat)
                self._settle(seat, call, error)
                return
            overdue = WorkerOverdue(f"no answer within {self._limits.call_seconds:g} s")
            self._lose(seat, str(overdue), blame=call)
            self._settle(seat, call, overdue if seat.blamed is call else Unblamed())
        else:
            seat.strikes = 0
            self._measure(seat, call)
            self._settle(seat, call, Part(value, seat.node))

    def _begin(self, call: Call) -> None:
        """The actor is free for this call: its time runs from now."""
        call.began = asyncio.get_running_loop().time()
        if call.limit:
            call.limit.reschedule(call.began + self._limits.call_seconds)

    def _measure(self, seat: Seat, call: Call) -> None:
        seconds = asyncio.get_running_loop().time() - call.began
        self._watch.computed(seat.number, call.kind, call.rows, seconds)
        pace = seconds / max(call.rows, 1)
        known = self._pace.get(call.kind, pace)
        self._pace[call.kind] = known + NEWEST * (pace - known)

    def _settle(self, seat: Seat, call: Call, outcome: Part | Exception) -> None:
        seat.calls.remove(call)
        if seat.calls:
            self._begin(seat.calls[0])
        if not call.outcome.done():
            if isinstance(outcome, Exception):
                if not isinstance(outcome, Unblamed):
                    self._watch.failed(call.kind, f"{type(outcome).__name__}: {outcome}")
                call.outcome.set_exception(outcome)
            else:
                call.outcome.set_result(outcome)
        self._dispatch()

    def strike(self, seat: Seat) -> None:
        """An actor raised where another had no trouble."""
        seat.strikes += 1
        if seat.strikes >= self._limits.strikes:
            self._lose(seat, "it raised where others had no trouble", blame=None)

    def _lose(self, seat: Seat, why: str, blame: Call | None) -> None:
        """Take an actor out and start another in its place. Only the first to tell of its end is heard."""
        if seat.lost:
            return
        self._watch.left(seat.number, why)
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
                member = await self._start()
            except WorkerDied as error:
                self._watch.start_failed(str(error))
                self._broken, deaths = error, deaths + 1
            except RequestError as error:  # asking again makes it no better
                self._broken, failures = error, self._limits.starts
            except Exception as error:
                self._watch.start_failed(str(error))
                self._broken, failures = error, failures + 1
                await asyncio.sleep(PAUSE_SECONDS * 2**failures)
            else:
                self._seats.append(Seat(next(self._numbers), *member))
                self._watch.joined(self._seats[-1].number, member.node)
                break
        else:
            self._given_up += 1
        self._starting -= 1
        if not self._seats and not self._starting:
            for call in self._waiting:
                if not call.outcome.done():
                    call.outcome.set_exception(self._lost())
        self._dispatch()

    async def _start(self) -> Member[A]:
        try:
            async with asyncio.timeout(self._limits.start_seconds) as limit:
                return await self._transport.start()
        except TimeoutError as error:
            if limit.expired():
                raise StartFailed(f"not ready within {self._limits.start_seconds:g} s") from error
            raise

    def _lost(self) -> WorkersLost:
        return WorkersLost(f"a worker could not be started: {self._broken}")

    def _spawn(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
