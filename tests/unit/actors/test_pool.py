"""The rules of the pool, tested with small fake actors on a simulated clock, so without Ray and without waiting."""

import asyncio
import functools
import inspect
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from actors.pool.pool import Pool
from actors.pool.transport import Limits
from actors.protocol import CallFailed, InputLost, NotFiniteError, WorkerDied, WorkerOverdue, WorkersLost
from tests.support.cluster.virtual_time import now, run
from tests.support.fake_pool import LOAD_SECONDS, FakeActor, FakeTransport, actors_used, call_once, compute_for

LIMITS = Limits(call_seconds=60.0)

PoolTest = Callable[[Pool[FakeActor], FakeTransport], Awaitable[None]]


def on_pool(size: int, failing_starts: int = 0, limits: Limits = LIMITS) -> Callable[[PoolTest], Callable[[], None]]:
    """Decorate a test so that it gets an open pool and its transport, and runs on the simulated clock."""

    def decorate(test: PoolTest) -> Callable[[], None]:
        async def with_pool() -> None:
            transport = FakeTransport(failing_starts)
            pool = Pool(transport, size, limits)
            await pool.open()
            await test(pool, transport)
            pool.close()

        @functools.wraps(test)
        def wrapped() -> None:
            run(with_pool())

        # Without this pytest takes the parameters of `test` for fixtures.
        vars(wrapped)["__signature__"] = inspect.Signature()
        return wrapped

    return decorate


@on_pool(4)
async def test_calls_are_spread_evenly_and_an_actor_has_at_most_two(
    pool: Pool[FakeActor], transport: FakeTransport
) -> None:
    start = now()
    assert sorted(await actors_used(pool, 12)) == [0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3]
    assert now() - start == 3.0
    tasks = [asyncio.create_task(call_once(pool, compute_for(1.0))) for _ in range(12)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert [len(actor.calls) for actor in pool._dispatcher.fleet.actors] == [2, 2, 2, 2]
    await asyncio.gather(*tasks)


@on_pool(2)
async def test_a_call_goes_to_the_actor_with_the_least_estimated_work_even_if_it_has_more_calls(
    pool: Pool[FakeActor], transport: FakeTransport
) -> None:
    await call_once(pool, compute_for(20.0), "long")
    await call_once(pool, compute_for(1.0), "short")
    long = asyncio.create_task(call_once(pool, compute_for(20.0), "long"))
    await asyncio.sleep(0.1)
    first, second = await asyncio.gather(
        call_once(pool, compute_for(1.0), "short"), call_once(pool, compute_for(1.0), "short")
    )
    assert first.partials[0].value == second.partials[0].value == 1 - (await long).partials[0].value


@on_pool(4)
async def test_a_call_goes_to_the_node_of_its_input_unless_the_actors_there_are_much_busier(
    pool: Pool[FakeActor], transport: FakeTransport
) -> None:
    assert await actors_used(pool, 2, input_node="node1") == [2, 3]
    tasks = [asyncio.create_task(call_once(pool, compute_for(5.0), input_node="node1")) for _ in range(2)]
    await asyncio.sleep(0.1)
    assert (await actors_used(pool, 1, input_node="node1"))[0] in (0, 1)
    await asyncio.gather(*tasks)


@on_pool(2)
async def test_a_dead_actor_is_replaced_and_only_the_call_that_it_computed_counts_a_retry(
    pool: Pool[FakeActor], transport: FakeTransport
) -> None:
    deaths = iter([True])

    async def deadly(actor: FakeActor) -> int:
        if next(deaths, False):
            actor.death.set()
        return actor.name

    calls = [call_once(pool, deadly), *(call_once(pool, compute_for(1.0)) for _ in range(3))]
    answers = await asyncio.gather(*calls)
    assert [answer.retries for answer in answers] == [1, 0, 0, 0]
    assert transport.stopped == [0]
    await asyncio.sleep(LOAD_SECONDS)
    assert sorted(await actors_used(pool, 2)) == [1, 2]


@on_pool(2)
async def test_a_call_that_kills_every_actor_fails_and_the_other_calls_succeed(
    pool: Pool[FakeActor], transport: FakeTransport
) -> None:
    async def deadly(actor: FakeActor) -> None:
        await asyncio.sleep(0.5)
        actor.death.set()
        await asyncio.sleep(1)

    async def harmless() -> None:
        for _ in range(40):
            await actors_used(pool, 2)

    others = asyncio.create_task(harmless())
    with pytest.raises(CallFailed, match=r"died .*tried 5 times") as caught:
        await call_once(pool, deadly)
    assert isinstance(caught.value.__cause__, WorkerDied) and caught.value.attempts == 5
    await others
    await asyncio.sleep(LOAD_SECONDS)
    assert len(transport.stopped) == 5 and len(pool._dispatcher.fleet.actors) == 2


@on_pool(1)
async def test_preemptions_do_not_count_against_a_call(pool: Pool[FakeActor], transport: FakeTransport) -> None:
    call = asyncio.create_task(call_once(pool, compute_for(5.0)))
    for _ in range(20):
        await asyncio.sleep(1.0)
        transport.started[-1].preempted = True
        transport.started[-1].death.set()
        await asyncio.sleep(LOAD_SECONDS + 0.5)
    answer = await call
    assert answer.retries == 0 and answer.partials[0].value == 20


@on_pool(2)
async def test_a_call_that_hangs_fails_within_three_deadlines_and_its_actors_are_replaced(
    pool: Pool[FakeActor], transport: FakeTransport
) -> None:
    start = now()
    hanging = asyncio.create_task(call_once(pool, compute_for(1e9)))
    assert set(await actors_used(pool, 200)) >= {1}
    with pytest.raises(CallFailed, match="no answer within 60 s") as caught:
        await hanging
    assert isinstance(caught.value.__cause__, WorkerOverdue) and caught.value.attempts == 3
    assert now() - start <= 3 * LIMITS.call_seconds + 3 * LOAD_SECONDS + 200
    await asyncio.sleep(LOAD_SECONDS)
    assert len(transport.stopped) == 3 and len(pool._dispatcher.fleet.actors) == 2


@on_pool(1)
async def test_the_deadline_of_a_call_starts_when_its_actor_is_free(
    pool: Pool[FakeActor], transport: FakeTransport
) -> None:
    assert await actors_used(pool, 6, seconds=50.0) == [0] * 6 and transport.stopped == []


@on_pool(1)
async def test_a_call_that_is_answered_before_an_earlier_one_counts_no_time_of_its_own(
    pool: Pool[FakeActor], transport: FakeTransport
) -> None:
    """An earlier call may still wait for its input. The actor is never busier than the clock."""

    async def at_once(kind: str, seconds: float) -> None:
        # Past the actor's queue, as Ray does with a call whose input is there.
        await pool.call(kind, 1, lambda actor, *_: asyncio.sleep(seconds, actor.name))

    start = now()
    await asyncio.gather(at_once("slow", 5.0), at_once("quick", 1.0))
    await at_once("quick", 1.0)
    assert now() - start == 6.0 and pool.busy_seconds == 6.0
    assert pool._dispatcher._seconds_per_row == {"slow": 5.0, "quick": 1.0}


@on_pool(1)
async def test_a_call_that_waits_behind_one_that_hangs_counts_no_retry(
    pool: Pool[FakeActor], transport: FakeTransport
) -> None:
    hanging = asyncio.create_task(call_once(pool, compute_for(1e9)))
    await asyncio.sleep(0)
    behind = await call_once(pool, compute_for(1.0))
    assert behind.retries == 0
    with pytest.raises(CallFailed):
        await hanging


@on_pool(3)
async def test_a_call_that_raises_is_retried_on_other_actors_and_an_actor_that_alone_raises_is_replaced(
    pool: Pool[FakeActor], transport: FakeTransport
) -> None:
    async def broken(actor: FakeActor) -> int:
        await asyncio.sleep(1)
        if actor.name == 0:
            raise RuntimeError("CUDA error: device-side assert")
        return actor.name

    answers = [(await asyncio.gather(*(call_once(pool, broken) for _ in range(3)))) for _ in range(3)]
    assert {answer.partials[0].value for three in answers for answer in three} == {1, 2}
    assert [sum(answer.retries for answer in three) for three in answers] == [1, 1, 0]
    assert transport.stopped == [0]


@on_pool(4)
async def test_a_call_whose_network_computes_nan_is_not_retried(
    pool: Pool[FakeActor], transport: FakeTransport
) -> None:
    async def work(actor: FakeActor) -> None:
        raise NotFiniteError("decoder", "float16", 3)

    with pytest.raises(
        CallFailed, match=r"decoder of step 3 .*\(work, candidate 0 of its chunk, tried once\)"
    ) as error:
        await call_once(pool, work)
    assert error.value.attempts == 1 and isinstance(error.value.__cause__, NotFiniteError)
    assert sum(len(actor.computed) for actor in transport.started) == 1
    assert len(await actors_used(pool, 4)) == 4 and not transport.stopped


@on_pool(3)
async def test_a_row_that_raises_is_found_by_halving_and_retried_on_every_actor(
    pool: Pool[FakeActor], transport: FakeTransport
) -> None:
    attempts: list[tuple[int, int, int]] = []

    async def score(actor: FakeActor, start: int, stop: int) -> list[int]:
        attempts.append((start, stop, actor.name))
        if start <= 11 < stop:
            raise ValueError("score is NaN")
        return list(range(start, stop))

    with pytest.raises(CallFailed, match=r"score is NaN \(reward x, candidate 11 of its chunk, tried 3 times\)"):
        await pool.call("reward x", 16, score, divisible=True)
    assert [(a, b) for a, b, _ in attempts] == [(0, 16), (0, 8), (8, 16), (8, 12), (8, 10), (10, 12), (10, 11)] + [
        (11, 12)
    ] * 3
    assert transport.stopped == []


@on_pool(2)
async def test_partial_answers_are_joined_in_the_order_of_their_rows(
    pool: Pool[FakeActor], transport: FakeTransport
) -> None:
    async def score(actor: FakeActor, start: int, stop: int) -> list[int]:
        if stop - start > 3:
            raise MemoryError
        return list(range(start, stop))

    partials, retries = await pool.call("reward x", 10, score, divisible=True)
    assert [row for partial in partials for row in partial.value] == list(range(10)) and retries == 6


@on_pool(1)
async def test_lost_input_is_raised_to_the_caller_without_a_retry(
    pool: Pool[FakeActor], transport: FakeTransport
) -> None:
    async def lost(actor: FakeActor) -> None:
        raise InputLost("its node died")

    with pytest.raises(InputLost):
        await call_once(pool, lost)
    assert len(transport.started[0].computed) == 1


@on_pool(1)
async def test_a_cancelled_call_keeps_its_slot_until_the_actor_has_computed_it(
    pool: Pool[FakeActor], transport: FakeTransport
) -> None:
    cancelled = [asyncio.create_task(call_once(pool, compute_for(30.0))) for _ in range(3)]
    await asyncio.sleep(1)
    for task in cancelled:
        task.cancel()
    start = now()
    assert (await call_once(pool, compute_for(1.0))).retries == 0
    assert now() - start == 60.0, "two calls had been sent to the actor, and the third had not"


@on_pool(2, failing_starts=2)
async def test_a_failed_start_is_retried(pool: Pool[FakeActor], transport: FakeTransport) -> None:
    assert transport.starts == 4 and sorted(await actors_used(pool, 2)) == [0, 1]


@on_pool(1)
async def test_a_start_is_retried_more_often_if_the_actor_was_killed_than_if_it_raised(
    pool: Pool[FakeActor], transport: FakeTransport
) -> None:
    transport.failing_starts, transport.start_error = 9, WorkerDied("killed")
    transport.started[0].death.set()
    assert (await call_once(pool, compute_for(1.0))).retries == 1
    assert transport.starts == 1 + 9 + 1


def test_a_pool_that_cannot_start_an_actor_names_the_cause() -> None:
    with pytest.raises(WorkersLost, match="could not be started: no weights"):
        run(Pool(FakeTransport(failing_starts=100), 1, LIMITS).open())


def test_the_start_of_an_actor_has_a_timeout() -> None:
    limits = Limits(call_seconds=60.0, start_seconds=LOAD_SECONDS / 2)
    with pytest.raises(WorkersLost, match="not ready within 5 s"):
        run(Pool(FakeTransport(), 1, limits).open())


@on_pool(2)
async def test_the_pool_goes_on_with_the_actors_that_are_left_and_fails_with_the_last(
    pool: Pool[FakeActor], transport: FakeTransport
) -> None:
    transport.failing_starts = 100
    transport.started[0].death.set()
    assert set(await actors_used(pool, 4)) == {1}
    await asyncio.sleep(100)
    assert len(pool._dispatcher.fleet.actors) == 1 and transport.starts == 2 + 3
    transport.started[1].death.set()
    with pytest.raises(WorkersLost, match="no weights"):
        await actors_used(pool, 4)
    with pytest.raises(WorkersLost, match="no weights"):
        await actors_used(pool, 1)


@on_pool(8, limits=Limits(call_seconds=60.0))
async def test_no_call_is_lost_when_actors_die_all_the_time(pool: Pool[FakeActor], transport: FakeTransport) -> None:
    async def chaos() -> None:
        while True:
            await asyncio.sleep(3.0)
            alive = [actor.handle for actor in pool._dispatcher.fleet.actors]
            if alive:
                alive[int(now()) % len(alive)].death.set()

    killer = asyncio.create_task(chaos())
    answers = await asyncio.gather(*(call_once(pool, compute_for(0.2 + (i % 7) / 10)) for i in range(2_000)))
    killer.cancel()
    assert len(answers) == 2_000 and sum(answer.retries for answer in answers) > 0
    assert len(transport.stopped) > 20


@on_pool(64)
async def test_sixty_four_actors_are_kept_busy(pool: Pool[FakeActor], transport: FakeTransport) -> None:
    start = now()
    await actors_used(pool, 64 * 50, seconds=0.18)
    assert now() - start == pytest.approx(50 * 0.18)


class RecordingObserver:
    """An observer that records the name and the arguments of every notification."""

    def __init__(self) -> None:
        self.notifications: list[tuple[Any, ...]] = []

    def __getattr__(self, event: str) -> Callable[..., None]:
        return lambda *arguments: self.notifications.append((event, *arguments))


def test_an_observer_is_notified_of_actors_that_join_and_leave_and_of_each_answered_or_failed_call() -> None:
    observer, transport = RecordingObserver(), FakeTransport(failing_starts=1)

    async def deadly(actor: FakeActor) -> None:
        await asyncio.sleep(2.0)
        actor.death.set()
        await asyncio.sleep(1)

    async def make_calls() -> None:
        pool = Pool(transport, 1, Limits(call_seconds=60.0, call_deaths=1), observer)
        await pool.open()
        await pool.call("decode", 3, lambda actor, *_: actor.compute(compute_for(5.0)))
        with pytest.raises(CallFailed):
            await call_once(pool, deadly, "score")
        await call_once(pool, compute_for(1.0), "score")
        pool.close()

    run(make_calls())
    assert [notification for notification in observer.notifications if notification[0] != "waiting"] == [
        ("start_failed", "no weights"),
        ("joined", 0, "node0"),
        ("computed", 0, "decode", 3, 5.0),
        ("left", 0, "actor 0 died"),
        ("failed", "score", "WorkerDied: actor 0 died"),
        ("joined", 1, "node0"),
        ("computed", 1, "score", 1, 1.0),
    ]
    assert {n for event, n, *_ in observer.notifications if event == "waiting"} == {0, 1}


@on_pool(1, limits=Limits(call_seconds=1e6))
async def test_a_stuck_actor_is_replaced_long_before_the_deadline_of_its_call(
    pool: Pool[FakeActor], transport: FakeTransport
) -> None:
    start = now()

    async def sticking(actor: FakeActor) -> int:
        if actor.name == 0:
            actor.stuck = True
            await asyncio.sleep(1e9)
        return actor.name

    answer = await call_once(pool, sticking)
    assert (answer.partials[0].value, answer.retries) == (1, 1) and transport.stopped == [0]
    assert now() - start <= LIMITS.probe_seconds * 4 / 3 + LOAD_SECONDS


@on_pool(2)
async def test_an_idle_actor_that_died_is_replaced_before_it_is_called(
    pool: Pool[FakeActor], transport: FakeTransport
) -> None:
    transport.started[0].death.set()
    await asyncio.sleep(LIMITS.probe_seconds / 3 + LOAD_SECONDS + 1)
    answers = await asyncio.gather(*(call_once(pool, compute_for(1.0)) for _ in range(2)))
    assert [answer.retries for answer in answers] == [0, 0] and pool.size == 2


@on_pool(2)
async def test_actors_answer_probes_during_long_calls_and_are_not_replaced(
    pool: Pool[FakeActor], transport: FakeTransport
) -> None:
    assert sorted(await actors_used(pool, 2, seconds=LIMITS.call_seconds - 1)) == [0, 1] and transport.stopped == []


@on_pool(1)
async def test_resizing_to_more_starts_actors(pool: Pool[FakeActor], transport: FakeTransport) -> None:
    pool.resize(3)
    start = now()
    assert set(await actors_used(pool, 12, seconds=LOAD_SECONDS)) == {0, 1, 2}
    assert now() - start < 12 * LOAD_SECONDS / 2


@on_pool(3)
async def test_resizing_to_fewer_retires_actors_that_finish_their_calls_first(
    pool: Pool[FakeActor], transport: FakeTransport
) -> None:
    tasks = [asyncio.create_task(call_once(pool, compute_for(5.0))) for _ in range(8)]
    await asyncio.sleep(1)
    pool.resize(1)
    assert pool.size == 1 and transport.stopped == []
    answers = await asyncio.gather(*tasks)
    assert sum(answer.retries for answer in answers) == 0 and len(transport.stopped) == 2
    assert len(set(await actors_used(pool, 4))) == 1


@on_pool(4)
async def test_the_actors_of_a_drained_node_finish_their_calls_and_others_start_elsewhere(
    pool: Pool[FakeActor], transport: FakeTransport
) -> None:
    tasks = [asyncio.create_task(call_once(pool, compute_for(5.0))) for _ in range(8)]
    await asyncio.sleep(1)
    pool.drain({"node0"})
    assert sorted(await actors_used(pool, 2)) == [2, 3], "actors 0 and 1 get no more calls"
    assert sum(answer.retries for answer in await asyncio.gather(*tasks)) == 0
    assert sorted(transport.stopped) == [0, 1]
    await asyncio.sleep(LOAD_SECONDS)
    assert pool.size == 4 and set(await actors_used(pool, 8)) == {2, 3, 4, 5}


@on_pool(1)
async def test_a_drained_actor_that_dies_is_replaced_only_once(pool: Pool[FakeActor], transport: FakeTransport) -> None:
    call = asyncio.create_task(call_once(pool, compute_for(50.0)))
    await asyncio.sleep(1)
    pool.drain({"node0"})
    transport.started[0].preempted = True
    transport.started[0].death.set()
    answer = await call
    assert (answer.partials[0].value, answer.retries) == (1, 0) and pool.size == 1 and transport.starts == 2


@on_pool(2)
async def test_resizing_to_fewer_cancels_starts_first(pool: Pool[FakeActor], transport: FakeTransport) -> None:
    transport.started[1].death.set()
    await asyncio.sleep(LIMITS.probe_seconds / 3 + 1)
    pool.resize(1)
    await asyncio.sleep(LOAD_SECONDS * 2)
    assert pool.size == 1 and len(transport.started) == 2 and transport.starts == 3
    pool.resize(2)
    await asyncio.sleep(LOAD_SECONDS + 1)
    assert pool.size == 2


@on_pool(1)
async def test_a_pool_that_gave_up_a_start_tries_again_when_it_is_resized(
    pool: Pool[FakeActor], transport: FakeTransport
) -> None:
    transport.failing_starts = 3
    pool.resize(2)
    await asyncio.sleep(100)
    assert pool.size == 1
    pool.resize(2)
    await asyncio.sleep(LOAD_SECONDS + 1)
    assert pool.size == 2
