"""What a driver did, for people: printed when it ends, and written to its log. All of it was measured."""

import logging
import re
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

from actors.telemetry.events import one_line
from actors.telemetry.pool_totals import PoolTotals
from actors.telemetry.run_monitor import RunMonitor
from pipeline.job.result import PromptFailure, PromptResult
from pipeline.planning.task import PromptTask
from pipeline.storage.clock import clock

log = logging.getLogger(__name__)

# Column of the costs -> what it is called here. Rewards are told one by one.
PARTS = {"seconds_denoise": "reverse step", "seconds_lookahead": "look-ahead", "seconds_decode": "decode"}
# Parts that are named.
SLOWEST = 4


class Summary:
    """Adds up what comes of the tasks of a driver; what its workers did comes from `run_monitor`.

    Attributes:
        log_file: where the driver logs.
        ready: when the models were loaded, by `now`.
        candidates: decoded and scored since then.
    """

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self.run_monitor = RunMonitor()
        self.log_file: Path | None = None
        self.ready: float | None = None
        self.candidates = 0
        self._now, self._began = now, now()
        self._done = self._failed = self._retries = 0
        self._seconds = defaultdict[str, float](float)
        self._warned = set[tuple[str, str]]()

    def enter(self, task: PromptTask, result: PromptResult | PromptFailure) -> None:
        """What a task came to."""
        if isinstance(result, PromptFailure):
            self._failed += 1
            self._retries += result.row["attempts"] - 1
            self.run_monitor.fronts["failed"] += 1
            # A log is handed around; who wants the prompt finds it in `failures/` by its id.
            message = re.sub(rf"\b{re.escape(task.prompt.text)}\b", "(the prompt)", result.row["message"])
            log.warning("%s failed: %s: %s", _name(task), result.row["error_class"], one_line(message))
            return
        self._done += 1
        self.run_monitor.fronts["done"] += 1
        (costs,) = result.tables["costs"]
        self._retries += costs["attempts"] - 1
        for column, name in PARTS.items():
            self._seconds[name] += costs[column]
        for name, seconds in result.seconds_by_reward.items():
            self._seconds[f"reward {name}"] += seconds
        for warning in result.warnings:
            self._warn(task, warning)

    def _warn(self, task: PromptTask, warning: str) -> None:
        """Once a prompt, though it has several tasks."""
        if (told := (task.prompt.prompt_id, warning)) not in self._warned:
            self._warned.add(told)
            log.warning("%s: %s", _name(task), warning)

    def lines(self) -> list[str]:
        """A line a question: how much in how long, were the workers busy, what took longest, what went wrong."""
        parts = {
            "done": self._work(),
            "busy": "; ".join(_busy(role, pool) for role, pool in self.run_monitor.pools.items() if pool.actor_seconds),
            "slowest": self._slowest(),
            "faults": self._faults(),
        }
        return [f"{name:<10}{text}" for name, text in parts.items() if text]

    def details(self) -> list[str]:
        """The calls of the workers, a line a kind."""
        return [
            f"{role}, {kind}: {calls.calls:,} calls of {calls.rows:,} rows, {calls.seconds / calls.calls:.3f} s each, "
            f"{calls.longest:.3f} s the longest"
            for role, pool in self.run_monitor.pools.items()
            for kind, calls in pool.calls.items()
        ]

    def _work(self) -> str:
        end = self._now()
        text = f"{self._done:,} fronts in {clock(end - self._began)}, {self._failed:,} failed"
        if self.ready is not None:
            text += f"; {clock(self.ready - self._began)} until the models were loaded"
            if self.candidates and end > self.ready:
                text += f", then {self.candidates / (end - self.ready):.1f} candidates a second"
        return text

    def _slowest(self) -> str:
        """Measured where it was computed, of the fronts that are done."""
        total = sum(self._seconds.values())
        slowest_first = sorted(((spent, name) for name, spent in self._seconds.items() if spent), reverse=True)
        named = slowest_first[:SLOWEST]
        if rest := sum(spent for spent, _ in slowest_first[SLOWEST:]):
            named.append((rest, "all else"))
        return ", ".join(f"{name} {spent:.1f} s ({spent / total:.0%})" for spent, name in named)

    def _faults(self) -> str:
        pools = self.run_monitor.pools.values()
        counts = {
            "calls made again": self._retries,
            "actors lost or let go": sum(pool.lost for pool in pools),
            "starts of actors failed": sum(pool.failed_starts for pool in pools),
            "cells lost": self.run_monitor.lost_cells,
        }
        return ", ".join(f"{count:,} {what}" for what, count in counts.items() if count) or "none"


def _busy(role: str, pool: PoolTotals) -> str:
    count = pool.actors or pool.joined
    actors = f"{count} {pool.device} actor{'s' if count != 1 else ''}"
    return f"{role} {pool.busy_share:.0%} of {actors}{'' if pool.actors else ', gone'}"


def _name(task: PromptTask) -> str:
    return f"prompt {task.prompt.prompt_id}, {task.method}"
