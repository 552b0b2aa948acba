"""What is counted and written down of a pool, on a clock that jumps; and what a driver makes of several cells."""

import asyncio
import logging
import re
from collections import Counter

import pytest

from actors.pool.pool import Pool
from actors.pool.transport import Limits
from actors.protocol import WorkError
from actors.telemetry.cell_monitor import CellMonitor, CellReport
from actors.telemetry.events import KEPT, SHOWN, EventLog, EventRecorder
from actors.telemetry.pool_totals import Calls, PoolCounter, PoolTotals
from actors.telemetry.prometheus import METRICS, ExportingMonitor, RunMetrics
from actors.telemetry.run_monitor import NodeInfo, RunMonitor
from actors.telemetry.warnings import warnings_of
from tests.support.fake_pool import LOAD, FakeActor, FakeTransport, ask, names, takes
from tests.support.virtual_time import now, run


async def deadly(actor: FakeActor) -> None:
    await asyncio.sleep(2.0)
    actor.death.set()
    await asyncio.sleep(1)


def test_busy_seconds_over_the_seconds_that_the_actors_were_there() -> None:
    monitor = CellMonitor(now)

    async def whole() -> tuple[PoolTotals, CellReport, CellReport]:
        pool = Pool(FakeTransport(), 2, Limits(60.0, deaths=1), monitor.watch("diffusion", "CPU"))
        await pool.open()
        await names(pool, 6, seconds=5.0)
        await asyncio.sleep(10.0 - now() % 5)
        before = monitor.workloads["diffusion"].totals()
        with pytest.raises(WorkError):
            await ask(pool, deadly, "score")
        await asyncio.sleep(LOAD + 1.0)
        pool.close()
        return before, monitor.report(), monitor.report()

    before, report, later = run(whole())
    after = report.pools["diffusion"]
    # Two actors for 15 s of calls and 10 s of nothing, in which three calls of 5 s each.
    assert (before.busy_seconds, before.actor_seconds) == (30.0, 50.0) and before.busy_share == 0.6
    assert before.calls == {"work": Calls(6, 6, 30.0, 5.0)} and before.waiting == 0
    # Then one was there for 2 s more, and another came 10 s later; a call that brought nothing is not work.
    assert (after.joined, after.lost, after.actors) == (3, 1, 2) and after.busy_seconds == 30.0
    assert after.actor_seconds == pytest.approx(50.0 + (2.0 + LOAD + 1.0) + 2.0 + 1.0)
    assert after.failed_calls == {("score", "WorkerDied"): 1}
    assert [event.what for event in report.events] == [
        "is up", "is up", "is let go: actor 0 died", "a call failed (score): WorkerDied: actor 0 died", "is up",
    ]  # fmt: skip
    assert later.events == (), "each is told once"


def test_calls_that_wait_are_seen_while_they_do() -> None:
    workload = PoolCounter("GPU", now)

    async def whole() -> tuple[int, int]:
        pool = Pool(FakeTransport(), 1, Limits(60.0), workload)
        await pool.open()
        tasks = [asyncio.create_task(ask(pool, takes(1.0))) for _ in range(5)]
        await asyncio.sleep(0.5)
        waiting = workload.totals().waiting
        await asyncio.gather(*tasks)
        return waiting, workload.totals().waiting

    assert run(whole()) == (3, 0), "one is computed and one is at hand"


def test_an_actor_that_leaves_twice_has_left_once() -> None:
    workload = PoolCounter("CPU", lambda: 0.0)
    workload.joined(0, "node")
    workload.left(0, "its node is drained")
    workload.left(0, "it died")
    assert (workload.totals().lost, workload.totals().actors) == (1, 0)


def test_a_diary_keeps_the_newest_and_says_how_many_it_did_not() -> None:
    event_log = EventLog(lambda: 7.0)
    watch = EventRecorder(event_log, "rewards")
    for call in range(KEPT + 5):
        watch.failed("reward r", f"ValueError: {call}\n" + "x" * 1000)
    events = event_log.fetch()
    assert events[0].what == "5 events before this one were not kept" and len(events) == KEPT + 1
    assert events[1].what.startswith("a call failed (reward r): ValueError: 5 xxx")
    assert all("\n" not in event.what and len(event.what) < SHOWN + 50 for event in events)
    assert event_log.fetch() == ()


def report_of(busy: float, *, lost: int = 0, events: tuple = ()) -> CellReport:
    totals = PoolTotals("GPU", 2, 2, lost, 1, 10.0, busy, 0, Counter({("decode", "WorkerDied"): lost}))
    return CellReport({"diffusion": totals}, events)


def test_what_a_dead_cell_did_counts_and_its_actors_are_gone(caplog: pytest.LogCaptureFixture) -> None:
    run_monitor = RunMonitor()
    with caplog.at_level(logging.INFO):
        first, second = run_monitor.opened(), run_monitor.opened()
        run_monitor.heard(first, report_of(4.0, lost=1))
        run_monitor.heard(first, report_of(6.0, lost=1))
        run_monitor.heard(second, report_of(9.0))
        run_monitor.lost(first, "it hangs\nfor long")
    pool = run_monitor.pools["diffusion"]
    assert (pool.busy_seconds, pool.actor_seconds, pool.actors, pool.waiting) == (15.0, 20.0, 2, 1)
    assert pool.failed_calls == {("decode", "WorkerDied"): 1} and run_monitor.lost_cells == 1
    assert caplog.records[-1].getMessage() == "cell 0: lost: it hangs for long"


def test_an_event_is_a_line_with_its_own_time_and_the_node_in_peoples_words(caplog: pytest.LogCaptureFixture) -> None:
    nodes = [NodeInfo("a1", "gpu7", "10.0.0.7", 64, 8, "/tmp/ray/logs")]
    run_monitor, event_log = RunMonitor(), EventLog(lambda: 1234.5)
    watch = EventRecorder(event_log, "diffusion")
    watch.joined(3, "a1")
    nodes.append(NodeInfo("b2", "gpu8", "10.0.0.8", 64, 8, "/tmp/ray/logs"))
    watch.joined(4, "b2")
    watch.start_failed("no weights")
    with caplog.at_level(logging.INFO):
        cell = run_monitor.opened()
        run_monitor.joined_cluster(lambda: nodes[:1] if len(caplog.records) < 2 else nodes)
        run_monitor.heard(cell, report_of(1.0, events=event_log.fetch()))
    assert [record.getMessage() for record in caplog.records] == [
        "cell 0: starts its workers",
        "node gpu7 (10.0.0.7): 64 CPU, 8 GPU; output of its workers: /tmp/ray/logs",
        "cell 0: diffusion actor 3 on gpu7 (10.0.0.7) is up",
        "node gpu8 (10.0.0.8): 64 CPU, 8 GPU; output of its workers: /tmp/ray/logs",
        "cell 0: diffusion actor 4 on gpu8 (10.0.0.8) is up",
        "cell 0: diffusion: an actor did not come up: no weights",
    ]
    assert caplog.records[2].created == 1234.5 and caplog.records[-1].levelno == logging.WARNING


def test_warnings_go_with_the_answer() -> None:
    log = logging.getLogger("diffusion.some_model")
    with warnings_of("diffusion") as warnings:
        log.warning("%s is cut", "the prompt")
        log.info("loaded")
        logging.getLogger("elsewhere").warning("no")
    log.warning("later")
    assert warnings == ["the prompt is cut"]


def test_all_metrics_take_what_they_are_told() -> None:
    """Ray itself refuses a tag that a metric does not have, and one that is missing."""
    monitor = ExportingMonitor("test", 3)
    watch = monitor.watch("diffusion", "GPU")
    watch.joined(0, "node")
    watch.computed(0, "decode", 16, 2.5)
    watch.failed("decode", "WorkerDied: it died")
    watch.left(0, "it died")
    watch.start_failed("no weights")
    monitor.decoded(1000)
    monitor.report()
    metrics = RunMetrics("test")
    metrics.export(RunMonitor(), 1, 2)
    told = {*monitor._exporter._metrics, *metrics._exporter._metrics}
    assert told == set(METRICS)


def test_metrics_have_prometheus_names() -> None:
    for name, metric in METRICS.items():
        assert re.fullmatch(r"srsoup_[a-z_]+", name)
        assert name.endswith("_total") == (metric.kind == "counter"), name


def test_totals_that_fall_are_told_to_no_counter() -> None:
    told = list[float]()
    exporter = RunMetrics("test")._exporter
    exporter.metric("srsoup_steps_total").inc = lambda value, tags: told.append(value)
    for steps in (5, 8, 3, 9):
        exporter.tell("srsoup_steps_total", steps)
    assert told == [5, 3, 1], "the steps that a dead cell's prompts do again are not counted again"
