"""What it costs a cell's event loop to be watched: counts, the log's events, and metrics on a real Ray.

python -m benchmarks.watching
"""

import json
import time
from collections.abc import Callable

import ray

from actors.pool.observer import Observer
from actors.telemetry.cell_monitor import CellMonitor
from actors.telemetry.prometheus import ExportingMonitor

ACTORS, CALLS, TIMES = 64, 2_000, 15


def seconds_of(work: Callable[[], object]) -> float:
    """CPU seconds of this process."""
    start = time.process_time()
    work()
    return time.process_time() - start


def seconds_a_call(watch: Observer) -> float:
    def calls() -> None:
        for call in range(CALLS):
            watch.computed(call % ACTORS, "decode", 16, 2.5)

    return min(seconds_of(calls) for _ in range(TIMES)) / CALLS


def seconds_a_report(monitor: ExportingMonitor) -> float:
    """When it is time to export, and every actor has computed since."""

    def one() -> float:
        monitor._exporter._due = 0.0
        for actor in range(ACTORS):
            monitor.workloads["diffusion"].computed(actor, "decode", 16, 2.5)
        return seconds_of(monitor.report)

    return min(one() for _ in range(TIMES))


def main() -> None:
    ray.init(address="local", num_cpus=1, include_dashboard=False, log_to_driver=False)
    monitor = ExportingMonitor("benchmark", 0)
    exporting = monitor.watch("diffusion", "GPU")
    for actor in range(ACTORS):
        exporting.joined(actor, "node")
    figures = {
        "us_a_call_counted": 1e6 * seconds_a_call(CellMonitor().watch("diffusion", "GPU")),
        "us_a_call_counted_and_in_a_histogram": 1e6 * seconds_a_call(exporting),
        f"ms_a_report_of_{ACTORS}_actors": 1e3 * seconds_a_report(monitor),
    }
    print(json.dumps(figures))
    ray.shutdown()


if __name__ == "__main__":
    main()
