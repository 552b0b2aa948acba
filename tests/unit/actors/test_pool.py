"""The rules of the pool, on a clock that jumps and actors that are a few lines each: no Ray, no waiting."""

import asyncio
import functools
import inspect
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from actors.pool.pool import Pool
from actors.pool.transport import Limits
from actors.protocol import InputLost, WorkerDied, WorkerOverdue, WorkError, WorkersLost
from tests.support.fake_pool import LOAD, FakeActor, FakeTransport, ask, names, takes
from tests.support.virtual_time import now, run

LIMITS = Limits(call_seconds=60.0)


def on_pool(size: int, fails: int = 0, limits: Limits = LIMITS) -> Callable[..., Callable[[], None]]:
    """A test that is given an open pool of actors and its transport, and runs on the jumping clock."""

    def decorate(test: Callable[[Pool[FakeActor], FakeTransport], Awaitable[None]]) -> Callable[[], None]:
        async def whole() -> None:
            transport = FakeTransport(fails)
            pool = Pool(transport, size, limits)
            await pool.open()
            await test(pool, transport)
            pool.close()

        @functools.wraps(test)
        def wrapped() -> None:
            run(whole())

        wrapped.__signature__ = inspect.Signature()  # type: ignore[attr-defined]
        return wrapped

    return decorate


@on_pool(4)
async def test_calls_are_spread_and_never_more_than_two_are_with_an_actor(pool: Pool, transport: FakeTransport) -> None:
    start = now()
    assert sorted(await names(pool, 12)) == [0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3]
    assert now() - start == 3.0
    tasks = [asyncio.create_task(ask(pool, takes(1.0))) for _ in range(12)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert [len(seat.calls) for seat in pool._dispatcher.fleet.seats] == [2, 2, 2, 2]
    await asyncio.gather(*tasks)


@on_pool(2)
async def test_a_call_goes_to_the_least_estimated_work_and_not_to_the_fewest_calls(
    pool: Pool, transport: FakeTransport
) -> None:
    await ask(pool, takes(20.0), "long")
    await ask(pool, takes(1.0), "short")
    long = asyncio.create_task(ask(pool, takes(20.0), "long"))
    await asyncio.sleep(0.1)
    first, second = await asyncio.gather(ask(pool, takes(1.0), "short"), ask(pool, takes(1.0), "short"))
    assert first.parts[0].value == second.parts[0].value == 1 - (await long).parts[0].value


@on_pool(4)
async def test_pixels_stay_on_their_node_unless_its_actors_have_much_more_to_do(
    pool: Pool, transport: FakeTransport
) -> None:
    assert await names(pool, 2, near="node1") == [2, 3]
    tasks = [asyncio.create_task(ask(pool, takes(5.0), near="node1")) for _ in range(2)]
    await asyncio.sleep(0.1)
    assert (await names(pool, 1, near="node1"))[0] in (0, 1)
    await asyncio.gather(*tasks)


@on_pool(2)
async def test_an_actor_that_dies_is_replaced_and_only_the_call_it_computed_is_blamed(
    pool: Pool, transport: FakeTransport
) -> None:
    lives = iter([True])

    async def deadly(actor: FakeActor) -> int:
        if next(lives, False):
            actor.death.set()
        return actor.name

    asked = [ask(pool, deadly), *(ask(pool, takes(1.0)) for _ in range(3))]
    answers = await asyncio.gather(*asked)
    assert [answer.retries for answer in answers] == [1, 0, 0, 0]
    assert transport.stopped == [0]
    await asyncio.sleep(LOAD)
    assert sorted(await names(pool, 2)) == [1, 2]


@on_pool(2)
async def test_a_call_that_kills_every_worker_fails_alone(pool: Pool, transport: FakeTransport) -> None:
    async def deadly(actor: FakeActor) -> None:
        await asyncio.sleep(0.5)
        actor.death.set()
        await asyncio.sleep(1)

    async def innocent() -> None:
        for _ in range(40):
            await names(pool, 2)

    bystanders = asyncio.create_task(innocent())
    with pytest.raises(WorkError, match=r"died .*tried 5 times") as caught:
        await ask(pool, deadly)
    assert isinstance(caught.value.__cause__, WorkerDied) and caught.value.attempts == 5
    await bystanders
    await asyncio.sleep(LOAD)
    assert len(transport.stopped) == 5 and len(pool._dispatcher.fleet.seats) == 2


@on_pool(1)
async def test_preempted_deaths_are_not_counted(pool: Pool, transport: FakeTransport) -> None:
    asked = asyncio.create_task(ask(pool, takes(5.0)))
    for _ in range(20):
        await asyncio.sleep(1.0)
        transport.made[-1].preempted = True
        transport.made[-1].death.set()
        await asyncio.sleep(LOAD + 0.5)
    answer = await asked
    assert answer.retries == 0 and answer.parts[0].value == 20


@on_pool(2)
async def test_a_call_that_hangs_fails_within_three_deadlines_and_its_actors_are_replaced(
    pool: Pool, transport: FakeTransport
) -> None:
    start = now()
    hanging = asyncio.create_task(ask(pool, takes(1e9)))
    assert set(await names(pool, 200)) >= {1}
    with pytest.raises(WorkError, match="no answer within 60 s") as caught:
        await hanging
    assert isinstance(caught.value.__cause__, WorkerOverdue) and caught.value.attempts == 3
    assert now() - start <= 3 * LIMITS.call_seconds + 3 * LOAD + 200
    await asyncio.sleep(LOAD)
    assert len(transport.stopped) == 3 and len(pool._dispatcher.fleet.seats) == 2


@on_pool(1)
async def test_the_deadline_runs_from_when_the_actor_is_free(pool: Pool, transport: FakeTransport) -> None:
    assert await names(pool, 6, seconds=50.0) == [0] * 6 and transport.stopped == []


@on_pool(1)
async def test_a_call_behind_one_that_hangs_is_not_blamed(pool: Pool, transport: FakeTransport) -> None:
    hanging = asyncio.create_task(ask(pool, takes(1e9)))
    await asyncio.sleep(0)
    behind = await ask(pool, takes(1.0))
    assert behind.retries == 0
    with pytest.raises(WorkError):
        await hanging


@on_pool(3)
async def test_an_error_is_tried_on_other_actors_and_an_actor_that_alone_raises_is_replaced(
    pool: Pool, transport: FakeTransport
) -> None:
    async def broken(actor: FakeActor) -> int:
        await asyncio.sleep(1)
        if actor.name == 0:
            raise RuntimeError("CUDA error: device-side assert")
        return actor.name

    answers = [(await asyncio.gather(*(ask(pool, broken) for _ in range(3)))) for _ in range(3)]
    assert {answer.parts[0].value for three in answers for answer in three} == {1, 2}
    assert [sum(answer.retries for answer in three) for three in answers] == [1, 1, 0]
    assert transport.stopped == [0]


@on_pool(3)
async def test_a_poisoned_row_is_found_by_halving_and_tried_on_every_actor(
    pool: Pool, transport: FakeTransport
) -> None:
    tried: list[tuple[int, int, int]] = []

    async def score(actor: FakeActor, start: int, stop: int) -> list[int]:
        tried.append((start, stop, actor.name))
        if start <= 11 < stop:
            raise ValueError("score is NaN")
        return list(range(start, stop))

    with pytest.raises(WorkError, match=r"score is NaN \(reward x, candidate 11 of its chunk, tried 3 times\)"):
        await pool.call("reward x", 16, score, divisible=True)
    assert [(a, b) for a, b, _ in tried] == [(0, 16), (0, 8), (8, 16), (8, 12), (8, 10), (10, 12), (10, 11)] + [
        (11, 12)
    ] * 3
    assert transport.stopped == []


@on_pool(2)
async def test_halves_that_go_well_are_joined_in_order(pool: Pool, transport: FakeTransport) -> None:
    async def score(actor: FakeActor, start: int, stop: int) -> list[int]:
        if stop - start > 3:
            raise MemoryError
        return list(range(start, stop))

    parts, retries = await pool.call("reward x", 10, score, divisible=True)
    assert [row for part in parts for row in part.value] == list(range(10)) and retries == 6


@on_pool(1)
async def test_lost_input_goes_straight_to_who_made_it(pool: Pool, transport: FakeTransport) -> None:
    async def lost(actor: FakeActor) -> None:
        raise InputLost("its node died")

    with pytest.raises(InputLost):
        await ask(pool, lost)
    assert len(transport.made[0].computed) == 1


@on_pool(1)
async def test_a_caller_that_is_cancelled_keeps_its_slot_until_the_actor_is_done(
    pool: Pool, transport: FakeTransport
) -> None:
    gone = [asyncio.create_task(ask(pool, takes(30.0))) for _ in range(3)]
    await asyncio.sleep(1)
    for task in gone:
        task.cancel()
    start = now()
    assert (await ask(pool, takes(1.0))).retries == 0
    assert now() - start == 60.0, "two calls were with the actor, the third had not been sent"


@on_pool(2, fails=2)
async def test_a_start_that_fails_is_tried_again(pool: Pool, transport: FakeTransport) -> None:
    assert transport.starts == 4 and sorted(await names(pool, 2)) == [0, 1]


@on_pool(1)
async def test_actors_that_are_killed_while_they_load_are_started_more_often(
    pool: Pool, transport: FakeTransport
) -> None:
    transport.fails, transport.failure = 9, WorkerDied("killed")
    transport.made[0].death.set()
    assert (await ask(pool, takes(1.0))).retries == 1
    assert transport.starts == 1 + 9 + 1


def test_a_pool_that_cannot_start_an_actor_says_why() -> None:
    with pytest.raises(WorkersLost, match="could not be started: no weights"):
        run(Pool(FakeTransport(fails=100), 1, LIMITS).open())


def test_an_actor_that_never_comes_up_is_not_waited_for_for_ever() -> None:
    limits = Limits(call_seconds=60.0, start_seconds=LOAD / 2)
    with pytest.raises(WorkersLost, match="not ready within 5 s"):
        run(Pool(FakeTransport(), 1, limits).open())


@on_pool(2)
async def test_the_pool_goes_on_with_the_actors_it_has_and_stops_with_the_last(
    pool: Pool, transport: FakeTransport
) -> None:
    transport.fails = 100
    transport.made[0].death.set()
    assert set(await names(pool, 4)) == {1}
    await asyncio.sleep(100)
    assert len(pool._dispatcher.fleet.seats) == 1 and transport.starts == 2 + 3
    transport.made[1].death.set()
    with pytest.raises(WorkersLost, match="no weights"):
        await names(pool, 4)
    with pytest.raises(WorkersLost, match="no weights"):
        await names(pool, 1)


@on_pool(8, limits=Limits(call_seconds=60.0))
async def test_nothing_is_lost_when_actors_die_all_the_time(pool: Pool, transport: FakeTransport) -> None:
    async def chaos() -> None:
        while True:
            await asyncio.sleep(3.0)
            alive = [seat.actor for seat in pool._dispatcher.fleet.seats]
            if alive:
                alive[int(now()) % len(alive)].death.set()

    killer = asyncio.create_task(chaos())
    answers = await asyncio.gather(*(ask(pool, takes(0.2 + (i % 7) / 10)) for i in range(2_000)))
    killer.cancel()
    assert len(answers) == 2_000 and sum(answer.retries for answer in answers) > 0
    assert len(transport.stopped) > 20


@on_pool(64)
async def test_sixty_four_actors_are_kept_busy(pool: Pool, transport: FakeTransport) -> None:
    start = now()
    await names(pool, 64 * 50, seconds=0.18)
    assert now() - start == pytest.approx(50 * 0.18)


class Notes:
    """A watch that writes all down."""

    def __init__(self) -> None:
        self.told: list[tuple[Any, ...]] = []

    def __getattr__(self, event: str) -> Callable[..., None]:
        return lambda *facts: self.told.append((event, *facts))


def test_a_watch_is_told_who_comes_and_goes_and_what_each_computed() -> None:
    notes, transport = Notes(), FakeTransport(fails=1)

    async def deadly(actor: FakeActor) -> None:
        await asyncio.sleep(2.0)
        actor.death.set()
        await asyncio.sleep(1)

    async def whole() -> None:
        pool = Pool(transport, 1, Limits(call_seconds=60.0, deaths=1), notes)
        await pool.open()
        await pool.call("decode", 3, lambda actor, *_: actor.compute(takes(5.0)))
        with pytest.raises(WorkError):
            await ask(pool, deadly, "score")
        await ask(pool, takes(1.0), "score")
        pool.close()

    run(whole())
    told = [note for note in notes.told if note[0] != "waiting"]
    assert told == [
        ("start_failed", "no weights"),
        ("joined", 0, "node0"),
        ("computed", 0, "decode", 3, 5.0),
        ("left", 0, "actor 0 died"),
        ("failed", "score", "WorkerDied: actor 0 died"),
        ("joined", 1, "node0"),
        ("computed", 1, "score", 1, 1.0),
    ]
    assert {n for event, n, *_ in notes.told if event == "waiting"} == {0, 1}


@on_pool(1, limits=Limits(call_seconds=1e6))
async def test_a_wedged_actor_answers_no_probe_and_is_replaced_long_before_its_call_is_overdue(
    pool: Pool, transport: FakeTransport
) -> None:
    start = now()

    async def wedging(actor: FakeActor) -> int:
        if actor.name == 0:
            actor.wedged = True
            await asyncio.sleep(1e9)
        return actor.name

    answer = await ask(pool, wedging)
    assert (answer.parts[0].value, answer.retries) == (1, 1) and transport.stopped == [0]
    assert now() - start <= LIMITS.probe_seconds * 4 / 3 + LOAD


@on_pool(2)
async def test_an_idle_actor_that_died_is_replaced_before_it_is_called(pool: Pool, transport: FakeTransport) -> None:
    transport.made[0].death.set()
    await asyncio.sleep(LIMITS.probe_seconds / 3 + LOAD + 1)
    answers = await asyncio.gather(*(ask(pool, takes(1.0)) for _ in range(2)))
    assert [answer.retries for answer in answers] == [0, 0] and pool.size == 2


@on_pool(2)
async def test_actors_that_compute_for_long_answer_probes_and_stay(pool: Pool, transport: FakeTransport) -> None:
    assert sorted(await names(pool, 2, seconds=LIMITS.call_seconds - 1)) == [0, 1] and transport.stopped == []


@on_pool(1)
async def test_more_actors_come_when_more_are_wanted(pool: Pool, transport: FakeTransport) -> None:
    pool.resize(3)
    start = now()
    assert set(await names(pool, 12, seconds=LOAD)) == {0, 1, 2}
    assert now() - start < 12 * LOAD / 2


@on_pool(3)
async def test_actors_that_are_too_many_finish_their_calls_and_go(pool: Pool, transport: FakeTransport) -> None:
    tasks = [asyncio.create_task(ask(pool, takes(5.0))) for _ in range(8)]
    await asyncio.sleep(1)
    pool.resize(1)
    assert pool.size == 1 and transport.stopped == []
    answers = await asyncio.gather(*tasks)
    assert sum(answer.retries for answer in answers) == 0 and len(transport.stopped) == 2
    assert len(set(await names(pool, 4))) == 1


@on_pool(4)
async def test_the_actors_of_a_drained_node_finish_and_others_come_elsewhere(
    pool: Pool, transport: FakeTransport
) -> None:
    tasks = [asyncio.create_task(ask(pool, takes(5.0))) for _ in range(8)]
    await asyncio.sleep(1)
    pool.drain({"node0"})
    assert sorted(await names(pool, 2)) == [2, 3], "actors 0 and 1 are given nothing any more"
    assert sum(answer.retries for answer in await asyncio.gather(*tasks)) == 0
    assert sorted(transport.stopped) == [0, 1]
    await asyncio.sleep(LOAD)
    assert pool.size == 4 and set(await names(pool, 8)) == {2, 3, 4, 5}


@on_pool(1)
async def test_a_drained_actor_that_dies_is_not_replaced_twice(pool: Pool, transport: FakeTransport) -> None:
    asked = asyncio.create_task(ask(pool, takes(50.0)))
    await asyncio.sleep(1)
    pool.drain({"node0"})
    transport.made[0].preempted = True
    transport.made[0].death.set()
    answer = await asked
    assert (answer.parts[0].value, answer.retries) == (1, 0) and pool.size == 1 and transport.starts == 2


@on_pool(2)
async def test_starts_that_wait_for_a_node_are_dropped_when_fewer_are_wanted(
    pool: Pool, transport: FakeTransport
) -> None:
    transport.made[1].death.set()
    await asyncio.sleep(LIMITS.probe_seconds / 3 + 1)
    pool.resize(1)
    await asyncio.sleep(LOAD * 2)
    assert pool.size == 1 and len(transport.made) == 2 and transport.starts == 3
    pool.resize(2)
    await asyncio.sleep(LOAD + 1)
    assert pool.size == 2


@on_pool(1)
async def test_a_pool_that_gave_an_actor_up_tries_again_when_it_is_resized(
    pool: Pool, transport: FakeTransport
) -> None:
    transport.fails = 3
    pool.resize(2)
    await asyncio.sleep(100)
    assert pool.size == 1
    pool.resize(2)
    await asyncio.sleep(LOAD + 1)
    assert pool.size == 2
