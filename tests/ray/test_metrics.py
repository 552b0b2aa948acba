"""The metrics as Prometheus reads them from a real Ray node."""

import re
import time
import urllib.request
from collections.abc import Iterator
from typing import NamedTuple

import pytest
import ray

from actors.telemetry.prometheus import METRICS, ExportingMonitor, RunMetrics
from actors.telemetry.run_monitor import RunMonitor


class Sample(NamedTuple):
    """One line of Prometheus' text format."""

    name: str
    tags: dict[str, str]
    value: float


@pytest.fixture
def endpoint(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Start Ray with one node. Yields the URL at which it serves the node's metrics."""
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    often = {"metrics_report_interval_ms": 500}
    ray.init(address="local", num_cpus=1, include_dashboard=False, log_to_driver=False, _system_config=often)
    try:
        (node,) = ray.nodes()
        yield f"http://{node['NodeManagerAddress']}:{node['MetricsExportPort']}/metrics"
    finally:
        ray.shutdown()


def scraped(endpoint: str) -> list[Sample]:
    try:
        text = urllib.request.urlopen(endpoint, timeout=10).read().decode()
    except OSError:
        return []  # the node's agent has not started yet
    found = re.findall(r"^ray_(srsoup_\w+)\{(.*)\} (\S+)$", text, re.MULTILINE)
    return [Sample(name, dict(re.findall(r'(\w+)="([^"]*)"', tags)), float(value)) for name, tags, value in found]


def names_of(sample: Sample) -> set[str]:
    """The sample's name, and the name of its histogram if it is the count of one."""
    return {sample.name, sample.name.removesuffix("_count")}


def ours(sample: Sample) -> Sample:
    """Remove the tags that Ray adds."""
    return sample._replace(tags={tag: value for tag, value in sample.tags.items() if re.fullmatch("[a-z]+", tag)})


@pytest.mark.ray
@pytest.mark.slow
def test_every_metric_is_served_with_its_tags_and_its_value(endpoint: str) -> None:
    monitor, run_monitor = ExportingMonitor("snails", 3), RunMonitor()
    observer = monitor.new_observer("diffusion", "GPU")
    observer.joined(0, "node")
    observer.joined(1, "node")
    for seconds in (2.0, 5.0):
        observer.computed(0, "decode", 16, seconds)
    observer.failed("decode", "WorkerDied: it died")
    observer.left(1, "it died")
    observer.start_failed("no weights")
    observer.waiting(4)
    monitor.add_pixel_bytes(3_000)
    run_monitor.fronts.update(wanted=9, done=2, failed=1)
    monitor.report()
    RunMetrics("snails").export(run_monitor, steps=40, candidates=640)

    deadline = time.monotonic() + 90
    samples: list[Sample] = []
    while time.monotonic() < deadline and not set(METRICS) <= {name for s in samples for name in names_of(s)}:
        time.sleep(0.5)
        samples = scraped(endpoint)

    pool = {"run": "snails", "cell": "3", "role": "diffusion"}
    for expected in (
        Sample("srsoup_waiting_calls", pool, 4),
        Sample("srsoup_actors", pool | {"device": "GPU"}, 1),
        Sample("srsoup_actor_busy_seconds_total", pool | {"device": "GPU", "actor": "0"}, 7),
        Sample("srsoup_work_seconds_total", pool | {"kind": "decode"}, 7),
        Sample("srsoup_rows_total", pool | {"kind": "decode"}, 32),
        Sample("srsoup_call_seconds_count", pool | {"kind": "decode"}, 2),
        Sample("srsoup_call_seconds_bucket", pool | {"kind": "decode", "le": "3.0"}, 1),
        Sample("srsoup_failed_calls_total", pool | {"kind": "decode", "error": "WorkerDied"}, 1),
        Sample("srsoup_lost_actors_total", pool, 1),
        Sample("srsoup_failed_starts_total", pool, 1),
        Sample("srsoup_pixel_bytes_total", {"run": "snails", "cell": "3"}, 3_000),
        Sample("srsoup_steps_total", {"run": "snails"}, 40),
        Sample("srsoup_candidates_total", {"run": "snails"}, 640),
        Sample("srsoup_fronts", {"run": "snails", "state": "wanted"}, 9),
        Sample("srsoup_lost_cells", {"run": "snails"}, 0),
    ):
        assert expected in [ours(sample) for sample in samples]
