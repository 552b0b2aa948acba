"""What a cell counts and records of its pools, on a simulated clock, and what the driver makes of several cells."""

import asyncio
import logging
import re
from collections import Counter

import pytest

from actors.pool.pool import Pool
from actors.pool.transport import Limits
from actors.protocol import CallFailed
from actors.telemetry.cell_monitor import CellMonitor, CellReport
from actors.telemetry.events import MAX_CHARACTERS, MAX_EVENTS, Event, EventLog, EventRecorder
from actors.telemetry.pool_totals import CallTotals, PoolCounter, PoolTotals
from actors.telemetry.prometheus import METRICS, ExportingMonitor, RunMetrics
from actors.telemetry.run_monitor import NodeInfo, RunMonitor
from actors.telemetry.warnings import collected_warnings
from tests.support.cluster.virtual_time import now, run
from tests.support.fake_pool import LOAD_SECONDS, FakeActor, FakeTransport, actors_used, call_once, compute_for


async def deadly(actor: FakeActor) -> None:
    await asyncio.sleep(2.0)
    actor.death.set()
    await asyncio.sleep(1)


def test_the_busy_share_is_busy_seconds_over_the_seconds_since_the_actors_joined() -> None:
    monitor = CellMonitor(now)

    async def use_pool() -> tuple[PoolTotals, CellReport, CellReport]:
        pool = Pool(FakeTransport(), 2, Limits(60.0, call_deaths=1), monitor.new_observer("diffusion", "CPU"))
        await pool.open()
        await actors_used(pool, 6, seconds=5.0)
        await asyncio.sleep(10.0 - now() % 5)
        before = monitor.counters["diffusion"].totals()
        with pytest.raises(CallFailed):
            await call_once(pool, deadly, "score")
        await asyncio.sleep(LOAD_SECONDS + 1.0)
        pool.close()
        return before, monitor.report(), monitor.report()

    before, report, later = run(use_pool())
    after = report.pools["diffusion"]
    # Two actors have been there for 25 s, and each was busy with three calls of 5 s.
    assert (before.busy_seconds, before.actor_seconds) == (30.0, 50.0) and before.busy_share == 0.6
    assert before.calls == {"work": CallTotals(6, 6, 30.0, 5.0)} and before.waiting == 0
    # Then one actor dies after 2 s, and its replacement joins 10 s later. The failed call adds no busy seconds.
    assert (after.joined, after.lost, after.actors) == (3, 1, 2) and after.busy_seconds == 30.0
    assert after.actor_seconds == pytest.approx(50.0 + (2.0 + LOAD_SECONDS + 1.0) + 2.0 + 1.0)
    assert after.failed_calls == {("score", "WorkerDied"): 1}
    assert [event.text for event in report.events] == [
        "is up", "is up", "is removed: actor 0 died", "a call failed (score): WorkerDied: actor 0 died", "is up",
    ]  # fmt: skip
    assert later.events == (), "each event is in one report"


def test_waiting_calls_are_counted_while_they_wait() -> None:
    counter = PoolCounter("GPU", now)

    async def use_pool() -> tuple[int, int]:
        pool = Pool(FakeTransport(), 1, Limits(60.0), counter)
        await pool.open()
        tasks = [asyncio.create_task(call_once(pool, compute_for(1.0))) for _ in range(5)]
        await asyncio.sleep(0.5)
        waiting = counter.totals().waiting
        await asyncio.gather(*tasks)
        return waiting, counter.totals().waiting

    assert run(use_pool()) == (3, 0), "one call is computed, one is with the actor, and three wait"


def test_an_actor_that_is_reported_to_have_left_twice_counts_once() -> None:
    counter = PoolCounter("CPU", lambda: 0.0)
    counter.joined(0, "node")
    counter.left(0, "its node is drained")
    counter.left(0, "it died")
    assert (counter.totals().lost, counter.totals().actors) == (1, 0)


def test_an_event_log_keeps_the_newest_events_and_says_how_many_it_dropped() -> None:
    event_log = EventLog(lambda: 7.0)
    recorder = EventRecorder(event_log, "rewards")
    for call in range(MAX_EVENTS + 5):
        recorder.failed("reward r", f"ValueError: {call}\n" + "x" * 1000)
    events = event_log.fetch()
    assert events[0].text == "5 events before this one were not kept" and len(events) == MAX_EVENTS + 1
    assert events[1].text.startswith("a call failed (reward r): ValueError: 5 xxx")
    assert all("\n" not in event.text and len(event.text) < MAX_CHARACTERS + 50 for event in events)
    assert event_log.fetch() == ()


def report_of(busy: float, *, lost: int = 0, events: tuple[Event, ...] = ()) -> CellReport:
    totals = PoolTotals("GPU", 2, 2, lost, 1, 10.0, busy, 0, Counter({("decode", "WorkerDied"): lost}))
    return CellReport({"diffusion": totals}, events)


def test_the_totals_of_a_dead_cell_still_count_but_not_its_actors(caplog: pytest.LogCaptureFixture) -> None:
    run_monitor = RunMonitor()
    with caplog.at_level(logging.INFO):
        first, second = run_monitor.cell_started(), run_monitor.cell_started()
        run_monitor.cell_reported(first, report_of(4.0, lost=1))
        run_monitor.cell_reported(first, report_of(6.0, lost=1))
        run_monitor.cell_reported(second, report_of(9.0))
        run_monitor.cell_lost(first, "it hangs\nfor long")
    pool = run_monitor.pools["diffusion"]
    assert (pool.busy_seconds, pool.actor_seconds, pool.actors, pool.waiting) == (15.0, 20.0, 2, 1)
    assert pool.failed_calls == {("decode", "WorkerDied"): 1} and run_monitor.lost_cells == 1
    assert caplog.records[-1].getMessage() == "cell 0: lost: it hangs for long"


def test_an_event_is_logged_with_its_own_time_and_with_the_host_of_its_node(caplog: pytest.LogCaptureFixture) -> None:
    nodes = [NodeInfo("a1", "gpu7", "10.0.0.7", 64, 8, "/tmp/ray/logs")]
    run_monitor, event_log = RunMonitor(), EventLog(lambda: 1234.5)
    recorder = EventRecorder(event_log, "diffusion")
    recorder.joined(3, "a1")
    nodes.append(NodeInfo("b2", "gpu8", "10.0.0.8", 64, 8, "/tmp/ray/logs"))
    recorder.joined(4, "b2")
    recorder.start_failed("no weights")
    with caplog.at_level(logging.INFO):
        cell = run_monitor.cell_started()
        run_monitor.joined_cluster(lambda: nodes[:1] if len(caplog.records) < 2 else nodes)
        run_monitor.cell_reported(cell, report_of(1.0, events=event_log.fetch()))
    assert [record.getMessage() for record in caplog.records] == [
        "cell 0: starts its workers",
        "node gpu7 (10.0.0.7): 64 CPU, 8 GPU; output of its workers: /tmp/ray/logs",
        "cell 0: diffusion actor 3 on gpu7 (10.0.0.7) is up",
        "node gpu8 (10.0.0.8): 64 CPU, 8 GPU; output of its workers: /tmp/ray/logs",
        "cell 0: diffusion actor 4 on gpu8 (10.0.0.8) is up",
        "cell 0: diffusion: an actor did not start: no weights",
    ]
    assert caplog.records[2].created == 1234.5 and caplog.records[-1].levelno == logging.WARNING


def test_warnings_of_a_logger_and_those_below_it_are_collected() -> None:
    log = logging.getLogger("diffusion.some_model")
    with collected_warnings("diffusion") as warnings:
        log.warning("%s is cut", "the prompt")
        log.info("loaded")
        logging.getLogger("elsewhere").warning("no")
    log.warning("later")
    assert warnings == ["the prompt is cut"]


def test_all_metrics_are_exported_with_the_tags_that_they_declare() -> None:
    """Ray itself raises if a metric gets a tag that it does not declare, or misses one."""
    monitor = ExportingMonitor("test", 3)
    observer = monitor.new_observer("diffusion", "GPU")
    observer.joined(0, "node")
    observer.computed(0, "decode", 16, 2.5)
    observer.failed("decode", "WorkerDied: it died")
    observer.left(0, "it died")
    observer.start_failed("no weights")
    monitor.add_pixel_bytes(1000)
    monitor.report()
    metrics = RunMetrics("test")
    metrics.export(RunMonitor(), 1, 2)
    exported = {*monitor._exporter._metrics, *metrics._exporter._metrics}
    assert exported == set(METRICS)


def test_metric_names_follow_the_rules_of_prometheus() -> None:
    for name, metric in METRICS.items():
        assert re.fullmatch(r"srsoup_[a-z_]+", name)
        assert name.endswith("_total") == (metric.kind == "counter"), name


def test_a_total_that_falls_leaves_its_counter_alone() -> None:
    increments = list[float]()
    exporter = RunMetrics("test")._exporter
    exporter.metric("srsoup_steps_total").inc = lambda value, tags: increments.append(value)
    for steps in (5, 8, 3, 9):
        exporter.export("srsoup_steps_total", steps)
    assert increments == [5, 3, 1], "steps that are repeated after a cell died are not counted twice"
