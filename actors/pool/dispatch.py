"""Assigns the calls of a `pool.Pool` to its actors, and limits how long each may take.

Plain Python: actors come from a `Transport`, and the clock is that of the event loop. `Dispatcher` has a call computed
once; `pool.Pool` decides whether to retry it; `fleet.Fleet` starts and replaces the actors.

- A call goes to the actor with a free slot that is expected to begin it first. The time to move the call's input to
  another node counts. An actor has two slots, so that it has its next call when it answers one.
- A call has a deadline, counted from the moment when its actor is free to compute it. An actor that misses the deadline
  counts as hung.
- When an actor dies or hangs, the failure counts against the call that it was computing, unless the actor was
  preempted. The call that waits behind it is not affected.
"""

import asyncio
from collections import deque
from typing import Any, Generic, TypeVar

from actors.pool.fleet import Call, Fleet, LiveActor, spawn
from actors.pool.observer import NullObserver, Observer
from actors.pool.transport import Limits, PartialAnswer, Transport
from actors.protocol import ChunkTooLarge, InputLost, WorkerDied, WorkerOverdue

# One call that is computed and one that waits behind it keep an actor busy; more would only take memory.
SLOTS = 2
# The approximate time to fetch a chunk of pixels from another node: 25 MB at 5 Gbit/s.
TRANSFER_SECONDS = 0.04
# The weight of the newest measurement in the moving average of the seconds per row.
NEWEST_WEIGHT = 0.2

A = TypeVar("A")


class CallInterrupted(Exception):
    """The actor of a call died, hung or was preempted, and the call did not cause it."""


class Dispatcher(Generic[A]):
    """Interchangeable actors behind one queue. The call that has waited longest goes first."""

    def __init__(self, transport: Transport[A], size: int, limits: Limits, observer: Observer | None = None) -> None:
        self._limits, self._observer = limits, observer or NullObserver()
        self.fleet = Fleet(transport, size, limits, self._observer, self._assign_calls)
        self._waiting: deque[Call] = deque()
        self._seconds_per_row: dict[str, float] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self.busy_seconds = 0.0

    def close(self) -> None:
        """End all actors and the tasks that wait for them. May be called twice."""
        for task in self._tasks:
            task.cancel()
        self.fleet.close()

    async def submit(self, call: Call) -> PartialAnswer[Any]:
        """Have one call computed once.

        Raises:
            CallInterrupted: the actor is gone, and not because of this call. Repeating the call is not a retry.
            WorkerDied, WorkerOverdue: the actor is gone, and it was computing this call.
            WorkersLost: there are no actors left.
            Exception: the error that the call raised.
        """
        self._waiting.append(call)
        self._assign_calls()
        return await call.outcome

    def _assign_calls(self) -> None:
        """Give waiting calls to actors with a free slot, the oldest first. If no actor will come, fail all of them."""
        deferred = []
        while self._waiting and any(len(actor.calls) < SLOTS for actor in self.fleet.actors):
            call = self._waiting.popleft()
            if call.outcome.done():
                continue
            if actor := self._choose_actor(call):
                actor.calls.append(call)
                spawn(self._tasks, self._compute(actor, call))
            else:
                deferred.append(call)
        self._waiting.extendleft(reversed(deferred))
        while self._waiting and self.fleet.is_exhausted:
            call = self._waiting.popleft()
            if not call.outcome.done():
                call.outcome.set_exception(self.fleet.workers_lost())
        self._observer.waiting(len(self._waiting))

    def _choose_actor(self, call: Call) -> LiveActor | None:
        actors = [actor for actor in self.fleet.actors if actor not in call.avoid] or self.fleet.actors
        free = [actor for actor in actors if len(actor.calls) < SLOTS]

        def wait(actor: LiveActor) -> float:
            transfer = TRANSFER_SECONDS if call.input_node not in (None, actor.node) else 0.0
            return sum(map(self._estimated_seconds, actor.calls)) + transfer

        return min(free, key=wait, default=None)

    def _estimated_seconds(self, call: Call) -> float:
        return self._seconds_per_row.get(call.kind, 1.0) * call.rows

    async def _compute(self, actor: LiveActor, call: Call) -> None:
        """Compute one call. Its slot is freed before the caller gets the outcome."""
        try:
            async with asyncio.timeout(None) as call.timeout:
                if actor.current_call is call:
                    self._start_clock(call)
                value = await call.compute(actor.handle)
        except WorkerDied as error:
            self.fleet.remove(actor, str(error), None if error.preempted else actor.current_call)
            self._finish(actor, call, error if actor.fatal_call is call else CallInterrupted())
        except Exception as error:
            if not call.timeout or not call.timeout.expired():
                if not isinstance(error, InputLost | ChunkTooLarge):
                    call.avoid.add(actor)
                self._finish(actor, call, error)
                return
            overdue = WorkerOverdue(f"no answer within {self._limits.call_seconds:g} s")
            self.fleet.remove(actor, str(overdue), fatal_call=call)
            self._finish(actor, call, overdue if actor.fatal_call is call else CallInterrupted())
        else:
            actor.failures = 0
            self._record_seconds(actor, call)
            self._finish(actor, call, PartialAnswer(value, actor.node))

    def _start_clock(self, call: Call) -> None:
        """Set the deadline of a call whose actor is free to compute it now."""
        call.start_time = now = asyncio.get_running_loop().time()
        if call.timeout:
            call.timeout.reschedule(now + self._limits.call_seconds)

    def _record_seconds(self, actor: LiveActor, call: Call) -> None:
        if call.start_time is None:
            # An actor may answer a call before the one that it was given first, whose input it still waits for. The
            # clock of that one has run for both.
            self._observer.computed(actor.number, call.kind, call.rows, 0.0)
            return
        seconds = asyncio.get_running_loop().time() - call.start_time
        self.busy_seconds += seconds
        self._observer.computed(actor.number, call.kind, call.rows, seconds)
        newest = seconds / max(call.rows, 1)
        average = self._seconds_per_row.get(call.kind, newest)
        self._seconds_per_row[call.kind] = average + NEWEST_WEIGHT * (newest - average)

    def _finish(self, actor: LiveActor, call: Call, outcome: PartialAnswer[Any] | Exception) -> None:
        """Free the slot of a call, start the clock of the next one, and hand the outcome to the caller."""
        actor.calls.remove(call)
        if not actor.calls:
            self.fleet.stop_if_retired(actor)
        elif actor.calls[0].start_time is None:
            self._start_clock(actor.calls[0])
        if not call.outcome.done():
            if isinstance(outcome, Exception):
                if not isinstance(outcome, CallInterrupted):
                    self._observer.failed(call.kind, f"{type(outcome).__name__}: {outcome}")
                call.outcome.set_exception(outcome)
            else:
                call.outcome.set_result(outcome)
        self._assign_calls()

    def count_failure(self, actor: LiveActor) -> None:
        """Count a call that raised on this actor and succeeded on another. After too many, replace the actor."""
        actor.failures += 1
        if actor.failures >= self._limits.actor_failures:
            self.fleet.remove(actor, "calls raised on it and succeeded on other actors", fatal_call=None)
