"""Actors at work: who gets a call, and how long it may take.

Plain Python: actors come from a `Transport`, and the clock is that of the event loop. A call is carried once;
what to do after an error is `pool.Pool`'s. Who is there to carry it: `fleet.Fleet`.

- A call goes to the actor with the least estimated work that has a slot free, where moving its input to another
  node counts as work. An actor has two slots: it computes one call and has the next one at hand.
- A call has a deadline from when its actor is free for it. An actor that misses it counts as hung.
- Where an actor dies or hangs, the call that it was computing is blamed, unless it was preempted; those behind it
  are not.
"""

import asyncio
from collections import deque
from typing import Generic, TypeVar

from actors.pool.fleet import Call, Fleet, LiveActor, spawn
from actors.pool.observer import NullObserver, Observer
from actors.pool.transport import Limits, PartialAnswer, Transport
from actors.protocol import ChunkTooLarge, InputLost, WorkerDied, WorkerOverdue

# One call being computed and one waiting behind it keep an actor busy; more would only hold memory.
SLOTS = 2
# What fetching a chunk of pixels from another node costs, about: 25 MB at 5 Gbit/s.
MOVE_SECONDS = 0.04
# The share that one more measurement has in the pace of its kind of call.
NEWEST = 0.2

A = TypeVar("A")


class Unblamed(Exception):
    """The actor of a call is gone, but not by this call's doing."""


class Dispatcher(Generic[A]):
    """Equal actors behind one queue; first come, first served."""

    def __init__(self, transport: Transport[A], size: int, limits: Limits, watch: Observer | None = None) -> None:
        self._limits, self._observer = limits, watch or NullObserver()
        self.fleet = Fleet(transport, size, limits, self._observer, self._dispatch)
        self._waiting: deque[Call] = deque()
        self._pace: dict[str, float] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self.busy_seconds = 0.0

    def close(self) -> None:
        """End all actors and all that waits for them. May be called twice."""
        for task in self._tasks:
            task.cancel()
        self.fleet.close()

    async def carry(self, call: Call) -> PartialAnswer:
        """Have one call computed, once.

        Raises:
            Unblamed: its actor is gone; the call may be carried again as if nothing had been.
            WorkerDied, WorkerOverdue: its actor is gone, and this call was what it computed.
            WorkersLost: there are no actors any more.
            Exception: what the call raised.
        """
        self._waiting.append(call)
        self._dispatch()
        return await call.outcome

    def _dispatch(self) -> None:
        """Give waiting calls to free actors, the oldest first; without hope of an actor tell all who wait."""
        held = []
        while self._waiting and any(len(seat.calls) < SLOTS for seat in self.fleet.seats):
            call = self._waiting.popleft()
            if call.outcome.done():
                continue
            if seat := self._pick(call):
                seat.calls.append(call)
                spawn(self._tasks, self._run(seat, call))
            else:
                held.append(call)
        self._waiting.extendleft(reversed(held))
        while self._waiting and self.fleet.hopeless:
            call = self._waiting.popleft()
            if not call.outcome.done():
                call.outcome.set_exception(self.fleet.lost())
        self._observer.waiting(len(self._waiting))

    def _pick(self, call: Call) -> LiveActor | None:
        seats = [seat for seat in self.fleet.seats if seat not in call.avoid] or self.fleet.seats
        free = [seat for seat in seats if len(seat.calls) < SLOTS]

        def work(seat: LiveActor) -> float:
            return sum(map(self._estimate, seat.calls)) + (MOVE_SECONDS if call.near not in (None, seat.node) else 0.0)

        return min(free, key=work, default=None)

    def _estimate(self, call: Call) -> float:
        return self._pace.get(call.kind, 1.0) * call.rows

    async def _run(self, seat: LiveActor, call: Call) -> None:
        """Carry one call; on an error free its slot first, then tell who waits for it."""
        try:
            async with asyncio.timeout(None) as call.limit:
                if seat.computing is call:
                    self._begin(call)
                value = await call.use(seat.actor)
        except WorkerDied as error:
            self.fleet.lose(seat, str(error), None if error.preempted else seat.computing)
            self._settle(seat, call, error if seat.blamed is call else Unblamed())
        except Exception as error:
            if not call.limit or not call.limit.expired():
                if not isinstance(error, InputLost | ChunkTooLarge):
                    call.avoid.add(seat)
                self._settle(seat, call, error)
                return
            overdue = WorkerOverdue(f"no answer within {self._limits.call_seconds:g} s")
            self.fleet.lose(seat, str(overdue), blame=call)
            self._settle(seat, call, overdue if seat.blamed is call else Unblamed())
        else:
            seat.strikes = 0
            self._measure(seat, call)
            self._settle(seat, call, PartialAnswer(value, seat.node))

    def _begin(self, call: Call) -> None:
        """The actor is free for this call: its time runs from now."""
        call.began = asyncio.get_running_loop().time()
        if call.limit:
            call.limit.reschedule(call.began + self._limits.call_seconds)

    def _measure(self, seat: LiveActor, call: Call) -> None:
        seconds = asyncio.get_running_loop().time() - call.began
        self.busy_seconds += seconds
        self._observer.computed(seat.number, call.kind, call.rows, seconds)
        pace = seconds / max(call.rows, 1)
        known = self._pace.get(call.kind, pace)
        self._pace[call.kind] = known + NEWEST * (pace - known)

    def _settle(self, seat: LiveActor, call: Call, outcome: PartialAnswer | Exception) -> None:
        seat.calls.remove(call)
        if seat.calls:
            self._begin(seat.calls[0])
        else:
            self.fleet.rests(seat)
        if not call.outcome.done():
            if isinstance(outcome, Exception):
                if not isinstance(outcome, Unblamed):
                    self._observer.failed(call.kind, f"{type(outcome).__name__}: {outcome}")
                call.outcome.set_exception(outcome)
            else:
                call.outcome.set_result(outcome)
        self._dispatch()

    def strike(self, seat: LiveActor) -> None:
        """An actor raised where another had no trouble."""
        seat.strikes += 1
        if seat.strikes >= self._limits.strikes:
            self.fleet.lose(seat, "it raised where others had no trouble", blame=None)
