"""Prometheus metrics of a run, through Ray, which serves them on every node and puts `ray_` before their names.

A cell exports what its pools do, the driver how far the run is. Counts are exported every few seconds, from totals
that are kept anyway; only the seconds of each call are handed over one by one, for their histogram.
"""

import time
from typing import Any, NamedTuple

from ray.util.metrics import Counter, Gauge, Histogram

from actors.pool.observer import NullObserver, Observer
from actors.telemetry.cell_monitor import CellMonitor, CellReport
from actors.telemetry.run_monitor import RunMonitor

# Ray reads them every few seconds too (`RAY_metrics_report_interval_ms`, 10,000).
EVERY_SECONDS = 2.0
BOUNDARIES = [0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0]

Tags = tuple[tuple[str, str], ...]


class Metric(NamedTuple):
    """What is exported: `kind` is Prometheus' word."""

    kind: str
    description: str
    tags: tuple[str, ...]


_POOL = ("run", "cell", "role")
METRICS = {
    "srsoup_waiting_calls": Metric("gauge", "Calls that have no actor yet", _POOL),
    "srsoup_actors": Metric("gauge", "Actors that are given calls", (*_POOL, "device")),
    "srsoup_actor_busy_seconds_total": Metric(
        "counter", "Seconds that an actor has computed calls, messages included", (*_POOL, "device", "actor")
    ),
    # Of its sum Ray knows only what the middles of the buckets make, so the sums are told apart.
    "srsoup_call_seconds": Metric("histogram", "Seconds of a call that was answered", (*_POOL, "kind")),
    "srsoup_work_seconds_total": Metric("counter", "Seconds of all calls that were answered", (*_POOL, "kind")),
    "srsoup_rows_total": Metric("counter", "Candidates or images of all calls that were answered", (*_POOL, "kind")),
    "srsoup_failed_calls_total": Metric(
        "counter", "Calls that brought no result; most are made again", (*_POOL, "kind", "error")
    ),
    "srsoup_lost_actors_total": Metric("counter", "Actors that are gone or given no call any more", _POOL),
    "srsoup_failed_starts_total": Metric("counter", "Actors that did not come up", _POOL),
    "srsoup_pixel_bytes_total": Metric(
        "counter", "Bytes of the images decoded, of which rewards read", ("run", "cell")
    ),
    "srsoup_steps_total": Metric("counter", "Denoising steps of prompts done", ("run",)),
    "srsoup_candidates_total": Metric("counter", "Candidates decoded and scored", ("run",)),
    "srsoup_fronts": Metric("gauge", "Fronts of the run that are wanted, done and failed", ("run", "state")),
    "srsoup_lost_cells": Metric("gauge", "Cells of this driver that died or hung", ("run",)),
}


class Exporter:
    """Hands totals over to Ray.

    Args:
        fixed: tags of all metrics of this process.
    """

    def __init__(self, **fixed: str) -> None:
        self._fixed, self._due = fixed, float("-inf")
        self._metrics = dict[str, Any]()
        self._told = dict[tuple[str, Tags], float]()

    def due(self) -> bool:
        """Whether it is time to hand them over again."""
        if (now := time.monotonic()) < self._due:
            return False
        self._due = now + EVERY_SECONDS
        return True

    def tell(self, name: str, value: float, **tags: str) -> None:
        """Set a gauge, or bring a counter up to a total."""
        metric = self.metric(name)
        if METRICS[name].kind == "gauge":
            metric.set(value, tags)
            return
        key = (name, tuple(tags.items()))
        if value > (told := self._told.get(key, 0.0)):
            metric.inc(value - told, tags)
            self._told[key] = value

    def metric(self, name: str) -> Any:
        """Ray's own, made when it is first asked for."""
        if name not in self._metrics:
            kind, description, tags = METRICS[name]
            if kind == "histogram":
                metric: Any = Histogram(name, description, BOUNDARIES, tags)
            else:
                metric = (Gauge if kind == "gauge" else Counter)(name, description, tags)
            metric.set_default_tags({tag: value for tag, value in self._fixed.items() if tag in tags})
            self._metrics[name] = metric
        return self._metrics[name]


class CallSeconds(NullObserver):
    """The `Observer` that tells the seconds of each call of a pool."""

    def __init__(self, exporter: Exporter, role: str) -> None:
        self._histogram, self._role = exporter.metric("srsoup_call_seconds"), role

    def computed(self, actor: int, kind: str, rows: int, seconds: float) -> None:
        self._histogram.observe(seconds, {"role": self._role, "kind": kind})


class ExportingMonitor(CellMonitor):
    """The monitor of a cell on Ray: it exports what it knows when it is asked for a report."""

    def __init__(self, run: str, cell: int) -> None:
        super().__init__()
        self._exporter = Exporter(run=run, cell=str(cell))

    def watch(self, role: str, device: str, *others: Observer) -> Observer:
        return super().watch(role, device, CallSeconds(self._exporter, role), *others)

    def report(self) -> CellReport:
        report = super().report()
        if self._exporter.due():
            self._export(report)
        return report

    def _export(self, report: CellReport) -> None:
        tell = self._exporter.tell
        tell("srsoup_pixel_bytes_total", self.pixel_bytes)
        for role, pool in report.pools.items():
            tell("srsoup_waiting_calls", pool.waiting, role=role)
            tell("srsoup_actors", pool.actors, role=role, device=pool.device)
            tell("srsoup_lost_actors_total", pool.lost, role=role)
            tell("srsoup_failed_starts_total", pool.failed_starts, role=role)
            for kind, calls in pool.calls.items():
                tell("srsoup_work_seconds_total", calls.seconds, role=role, kind=kind)
                tell("srsoup_rows_total", calls.rows, role=role, kind=kind)
            for (kind, error), times in pool.failed_calls.items():
                tell("srsoup_failed_calls_total", times, role=role, kind=kind, error=error)
            for actor, seconds in self.workloads[role].busy.items():
                tell("srsoup_actor_busy_seconds_total", seconds, role=role, device=pool.device, actor=str(actor))


class RunMetrics:
    """How far a driver is."""

    def __init__(self, run: str) -> None:
        self._exporter = Exporter(run=run)

    def export(self, run_monitor: RunMonitor, steps: int, candidates: int) -> None:
        if not self._exporter.due():
            return
        tell = self._exporter.tell
        for state, fronts in run_monitor.fronts.items():
            tell("srsoup_fronts", fronts, state=state)
        tell("srsoup_steps_total", steps)
        tell("srsoup_candidates_total", candidates)
        tell("srsoup_lost_cells", run_monitor.lost_cells)
