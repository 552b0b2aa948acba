"""Exports metrics of a run to Prometheus through Ray, which serves them on every node with the prefix `ray_`.

A cell exports the totals of its pools (`ExportingMonitor`), and the driver exports the progress of the run
(`RunMetrics`), both every few seconds. Only the seconds of each call are exported one by one, for a histogram.
"""

import time
from typing import Any, NamedTuple

from ray.util.metrics import Counter, Gauge, Histogram

from actors.pool.observer import NullObserver, Observer
from actors.telemetry.cell_monitor import CellMonitor, CellReport
from actors.telemetry.run_monitor import RunMonitor

# Ray itself collects the metrics every 10 s (`RAY_metrics_report_interval_ms`).
EXPORT_SECONDS = 2.0
BUCKET_BOUNDARIES = [0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0]

Tags = tuple[tuple[str, str], ...]


class Metric(NamedTuple):
    """An exported metric.

    Attributes:
        kind: `gauge`, `counter` or `histogram`, as Prometheus defines them.
        description: the help text that Prometheus shows.
        tags: the names of its tags (labels).
    """

    kind: str
    description: str
    tags: tuple[str, ...]


_POOL = ("run", "cell", "role")
METRICS = {
    "srsoup_waiting_calls": Metric("gauge", "Calls that have no actor yet", _POOL),
    "srsoup_actors": Metric("gauge", "Actors that get calls", (*_POOL, "device")),
    "srsoup_actor_busy_seconds_total": Metric(
        "counter", "Seconds that an actor spent on calls it answered, messages included", (*_POOL, "device", "actor")
    ),
    # Ray estimates a histogram's sum from the middles of its buckets, so exact sums are a metric of their own.
    "srsoup_call_seconds": Metric("histogram", "Seconds of one answered call", (*_POOL, "kind")),
    "srsoup_work_seconds_total": Metric("counter", "Seconds of all answered calls", (*_POOL, "kind")),
    "srsoup_rows_total": Metric("counter", "Candidates or images of all answered calls", (*_POOL, "kind")),
    "srsoup_failed_calls_total": Metric(
        "counter", "Calls that brought no result; most are retried", (*_POOL, "kind", "error")
    ),
    "srsoup_lost_actors_total": Metric("counter", "Actors that died or get no more calls", _POOL),
    "srsoup_failed_starts_total": Metric("counter", "Starts of actors that failed", _POOL),
    "srsoup_pixel_bytes_total": Metric("counter", "Bytes of the decoded images, which rewards read", ("run", "cell")),
    "srsoup_steps_total": Metric("counter", "Denoising steps done, summed over fronts", ("run",)),
    "srsoup_candidates_total": Metric("counter", "Candidates decoded and scored", ("run",)),
    "srsoup_fronts": Metric("gauge", "Fronts of the run that are wanted, done and failed", ("run", "state")),
    "srsoup_lost_cells": Metric("gauge", "Cells of this driver that died or hung", ("run",)),
}


class Exporter:
    """Passes totals to Ray's metrics.

    Args:
        fixed: the tags that all metrics of this process have in common.
    """

    def __init__(self, **fixed: str) -> None:
        self._fixed, self._due = fixed, float("-inf")
        self._metrics = dict[str, Any]()
        self._exported = dict[tuple[str, Tags], float]()

    def is_due(self) -> bool:
        """Whether it is time for another export. If it is, the next one is due `EXPORT_SECONDS` later."""
        if (now := time.monotonic()) < self._due:
            return False
        self._due = now + EXPORT_SECONDS
        return True

    def export(self, name: str, value: float, **tags: str) -> None:
        """Set a gauge to a value, or raise a counter to a total. A total that has fallen leaves the counter alone."""
        metric = self.metric(name)
        if METRICS[name].kind == "gauge":
            metric.set(value, tags)
            return
        key = (name, tuple(tags.items()))
        if value > (exported := self._exported.get(key, 0.0)):
            metric.inc(value - exported, tags)
            self._exported[key] = value

    def metric(self, name: str) -> Any:
        """Return Ray's metric of this name; the first call creates it."""
        if name not in self._metrics:
            kind, description, tags = METRICS[name]
            if kind == "histogram":
                metric: Any = Histogram(name, description, BUCKET_BOUNDARIES, tags)
            else:
                metric = (Gauge if kind == "gauge" else Counter)(name, description, tags)
            metric.set_default_tags({tag: value for tag, value in self._fixed.items() if tag in tags})
            self._metrics[name] = metric
        return self._metrics[name]


class CallSeconds(NullObserver):
    """The observer that exports the seconds of each call of a pool."""

    def __init__(self, exporter: Exporter, role: str) -> None:
        self._histogram, self._role = exporter.metric("srsoup_call_seconds"), role

    def computed(self, actor: int, kind: str, rows: int, seconds: float) -> None:
        self._histogram.observe(seconds, {"role": self._role, "kind": kind})


class ExportingMonitor(CellMonitor):
    """The monitor of a cell on Ray. Besides reporting to the driver it exports metrics."""

    def __init__(self, run: str, cell: int) -> None:
        super().__init__()
        self._exporter = Exporter(run=run, cell=str(cell))

    def new_observer(self, role: str, device: str, *others: Observer) -> Observer:
        return super().new_observer(role, device, CallSeconds(self._exporter, role), *others)

    def report(self) -> CellReport:
        report = super().report()
        if self._exporter.is_due():
            self._export(report)
        return report

    def _export(self, report: CellReport) -> None:
        export = self._exporter.export
        export("srsoup_pixel_bytes_total", self.pixel_bytes)
        for role, pool in report.pools.items():
            export("srsoup_waiting_calls", pool.waiting, role=role)
            export("srsoup_actors", pool.actors, role=role, device=pool.device)
            export("srsoup_lost_actors_total", pool.lost, role=role)
            export("srsoup_failed_starts_total", pool.failed_starts, role=role)
            for kind, calls in pool.calls.items():
                export("srsoup_work_seconds_total", calls.seconds, role=role, kind=kind)
                export("srsoup_rows_total", calls.rows, role=role, kind=kind)
            for (kind, error), times in pool.failed_calls.items():
                export("srsoup_failed_calls_total", times, role=role, kind=kind, error=error)
            for actor, seconds in self.counters[role].busy_seconds.items():
                export("srsoup_actor_busy_seconds_total", seconds, role=role, device=pool.device, actor=str(actor))


class RunMetrics:
    """The metrics that the driver exports: the progress of its runs and the cells that it lost."""

    def __init__(self, run: str) -> None:
        self._exporter = Exporter(run=run)

    def export(self, run_monitor: RunMonitor, steps: int, candidates: int) -> None:
        if not self._exporter.is_due():
            return
        export = self._exporter.export
        for state, fronts in run_monitor.fronts.items():
            export("srsoup_fronts", fronts, state=state)
        export("srsoup_steps_total", steps)
        export("srsoup_candidates_total", candidates)
        export("srsoup_lost_cells", run_monitor.lost_cells)
