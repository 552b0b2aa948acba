"""Starts, probes, replaces and retires the actors of a dispatcher (`dispatch.Dispatcher`).

- An actor that dies, hangs or stops answering probes is replaced. A failed start is retried a few times.
- `resize` starts actors or retires some; `drain` retires those on given nodes. A retired actor gets no more calls, and
  ends once it has computed the calls that it has.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Coroutine
from dataclasses import dataclass, field
from itertools import count
from typing import Any, Generic, TypeVar

from actors.pool.observer import Observer
from actors.pool.transport import Limits, PartialAnswer, StartedActor, Transport
from actors.protocol import StartFailed, WorkerDied, WorkerOverdue, WorkersLost
from configs.errors import RequestError
from configs.plain.texts import message_of

# The pause before a start is retried. It doubles with each start of the same actor that raised or timed out.
RETRY_PAUSE_SECONDS = 1.0
# Probes sent within the timeout of one probe.
PROBES_PER_TIMEOUT = 3

A = TypeVar("A")


@dataclass(eq=False)
class Call:
    """One call that waits for an actor or is with one.

    Attributes:
        compute: computes the call on an actor, given its handle.
        input_node: the node that holds most of the call's input.
        avoid: actors that get the call only if there are no others, because it raised on them.
        outcome: the future that the caller awaits.
        start_time: when its actor became free to compute it, on the event loop's clock; None before that.
        timeout: ends the call if it misses its deadline.
    """

    kind: str
    rows: int
    compute: Callable[[Any], Awaitable[Any]]
    input_node: str | None
    avoid: "set[LiveActor]"
    outcome: "asyncio.Future[PartialAnswer[Any]]"
    start_time: float | None = None
    timeout: asyncio.Timeout | None = None


@dataclass(eq=False)
class LiveActor:
    """An actor that has loaded its models.

    Attributes:
        handle: the actor as its transport returned it.
        calls: in the order in which the actor computes them; the first one is being computed.
        failures: consecutive calls that raised on this actor and succeeded on another.
        stopped: whether it has been ended. Later reports of its death are ignored.
        fatal_call: the call that made it die or hang, if there was one.
        probing: the task that probes it.
    """

    number: int
    handle: Any
    node: str
    calls: deque[Call] = field(default_factory=deque)
    failures: int = 0
    stopped: bool = False
    fatal_call: Call | None = None
    probing: asyncio.Task[None] | None = None

    @property
    def current_call(self) -> Call | None:
        """The call that is being computed."""
        return self.calls[0] if self.calls else None


class Fleet(Generic[A]):
    """The interchangeable actors of one dispatcher, kept at the requested number.

    Args:
        on_change: called whenever an actor has been added, removed or given up.
    """

    def __init__(
        self, transport: Transport[A], size: int, limits: Limits, observer: Observer, on_change: Callable[[], None]
    ) -> None:
        self._transport, self._size, self._limits, self._observer = transport, size, limits, observer
        self._on_change, self._numbers = on_change, count()
        self.actors: list[LiveActor] = []
        self._retired: set[LiveActor] = set()
        self._starts: list[asyncio.Task[None]] = []
        self._abandoned_starts = 0
        self._start_error: Exception | None = None

    async def open(self) -> None:
        """Start all actors, and wait until every start has succeeded or was given up.

        Raises:
            WorkersLost: an actor could not be started.
            RequestError: an actor cannot load what the configuration requests.
        """
        self._start_or_retire()
        await asyncio.gather(*self._starts, return_exceptions=True)
        if isinstance(self._start_error, RequestError):
            raise self._start_error
        if self._abandoned_starts:
            raise self.workers_lost()

    def close(self) -> None:
        """End all actors at once. May be called twice."""
        self._size = 0
        for task in self._starts:
            task.cancel()
        for actor in (*self.actors, *self._retired):
            self._stop(actor)
        self.actors, self._starts = [], []
        self._retired.clear()

    @property
    def is_exhausted(self) -> bool:
        """Whether there is no actor and none is being started."""
        return not (self.actors or self._starts or self._retired)

    def workers_lost(self) -> WorkersLost:
        """Return the error for callers when there are no actors: the last failed start is its cause."""
        error = WorkersLost(f"a worker could not be started: {self._start_error}")
        error.__cause__ = self._start_error
        return error

    def resize(self, size: int) -> None:
        """Keep `size` actors from now on."""
        self._size, self._abandoned_starts = size, 0
        self._start_or_retire()

    def drain(self, nodes: Collection[str]) -> None:
        """Retire the actors on these nodes, and start as many elsewhere."""
        for actor in [actor for actor in self.actors if actor.node in nodes]:
            self._retire(actor, f"node {actor.node} is drained")
        self._start_or_retire()

    def remove(self, actor: LiveActor, reason: str, fatal_call: Call | None) -> None:
        """End an actor that died, hung or must be replaced, and start another. Ignores an actor that has been ended."""
        if actor.stopped:
            return
        actor.fatal_call = fatal_call
        if actor in self._retired:
            self._retired.remove(actor)
        else:
            self.actors.remove(actor)
            self._observer.left(actor.number, reason)
        self._stop(actor)
        self._start_or_retire()

    def stop_if_retired(self, actor: LiveActor) -> None:
        """End an actor without calls if it is retired."""
        if actor in self._retired:
            self._retired.remove(actor)
            self._stop(actor)

    def _stop(self, actor: LiveActor) -> None:
        actor.stopped = True
        if actor.probing:
            actor.probing.cancel()
        self._transport.stop(actor.handle)

    def _retire(self, actor: LiveActor, reason: str) -> None:
        self.actors.remove(actor)
        self._retired.add(actor)
        self._observer.left(actor.number, reason)
        if not actor.calls:
            self.stop_if_retired(actor)

    def _start_or_retire(self) -> None:
        """Bring the number of actors to the requested one. Cancel starts first, then retire the least busy actors."""
        while len(self.actors) + len(self._starts) < self._size:
            self._starts.append(asyncio.get_running_loop().create_task(self._start_with_retries()))
        while len(self.actors) + len(self._starts) > self._size and self._starts:
            self._starts.pop().cancel()
        while len(self.actors) > self._size:
            self._retire(min(self.actors, key=lambda actor: len(actor.calls)), "fewer actors are needed")
        self._on_change()

    async def _start_with_retries(self) -> None:
        """Start one actor. After too many failures the fleet goes on with one actor less."""
        failures = deaths = 0
        while failures < self._limits.start_failures and deaths < self._limits.start_deaths:
            try:
                started = await self._start()
            except WorkerDied as error:
                self._start_error, deaths = error, deaths + 1
            except RequestError as error:  # a retry would fail in the same way
                self._start_error, failures = error, self._limits.start_failures
            except Exception as error:
                self._start_error, failures = error, failures + 1
            else:
                self._starts.remove(_this_task())
                self._add(started)
                return
            self._observer.start_failed(message_of(self._start_error))
            await asyncio.sleep(RETRY_PAUSE_SECONDS * 2**failures if failures < self._limits.start_failures else 0)
        self._starts.remove(_this_task())
        self._abandoned_starts += 1
        self._size -= 1
        self._on_change()

    async def _start(self) -> StartedActor[A]:
        try:
            async with asyncio.timeout(self._limits.start_seconds) as timeout:
                return await self._transport.start()
        except TimeoutError as error:
            if timeout.expired():
                raise StartFailed(f"not ready within {self._limits.start_seconds:g} s") from error
            raise

    def _add(self, started: StartedActor[A]) -> None:
        actor = LiveActor(next(self._numbers), *started)
        self.actors.append(actor)
        self._observer.joined(actor.number, actor.node)
        actor.probing = asyncio.get_running_loop().create_task(self._probe_forever(actor))
        self._on_change()

    async def _probe_forever(self, actor: LiveActor) -> None:
        """Probe an actor regularly: one that is alive but stuck would keep its calls until their deadline."""
        seconds = self._limits.probe_seconds
        while True:
            await asyncio.sleep(seconds / PROBES_PER_TIMEOUT)
            try:
                async with asyncio.timeout(seconds):
                    await self._transport.probe(actor.handle)
            except TimeoutError:
                overdue = WorkerOverdue(f"no answer to a probe within {seconds:g} s")
                return self.remove(actor, str(overdue), actor.current_call)
            except WorkerDied as error:
                return self.remove(actor, str(error), None if error.preempted else actor.current_call)


def spawn(tasks: set[asyncio.Task[None]], coroutine: Coroutine[Any, Any, None]) -> None:
    """Start an asyncio task, and keep a reference to it in `tasks` until it is done."""
    task = asyncio.get_running_loop().create_task(coroutine)
    tasks.add(task)
    task.add_done_callback(tasks.discard)


def _this_task() -> Any:
    return asyncio.current_task()
