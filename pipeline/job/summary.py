"""The summary of a driver's work, which is printed when it ends and written to its log. All figures are measured."""

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

# Column of the costs -> name of the stage in the summary. Each reward is a stage of its own.
STAGES = {"seconds_denoise": "reverse step", "seconds_lookahead": "look-ahead", "seconds_decode": "decode"}
# How many of the slowest stages are listed by name.
LISTED_STAGES = 4


class Summary:
    """Adds up the results of a driver's tasks. The figures of the workers come from `run_monitor`.

    Args:
        now: the clock.

    Attributes:
        log_file: the path of the driver's log.
        loaded_at: when the models were loaded, by the clock `now`; None until then.
        candidates: the number of candidates that were decoded and scored.
        listeners: functions that are called with each result.
    """

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self.run_monitor = RunMonitor()
        self.log_file: Path | None = None
        self.loaded_at: float | None = None
        self.candidates = 0
        self.listeners = list[Callable[[PromptResult | PromptFailure], None]]()
        self._now, self._began = now, now()
        self._done = self._failed = self._retries = 0
        self._seconds = defaultdict[str, float](float)
        self._warned = set[tuple[str, str]]()

    def add(self, task: PromptTask, result: PromptResult | PromptFailure) -> None:
        """Add the result of a task, and log it with its error or its warnings."""
        for listen in self.listeners:
            listen(result)
        if isinstance(result, PromptFailure):
            self._failed += 1
            self._retries += result.row["attempts"] - 1
            self.run_monitor.fronts["failed"] += 1
            # Logs are shared, so they must not quote prompts. The prompt is in `failures/`, by its id.
            message = re.sub(rf"\b{re.escape(task.prompt.text)}\b", "(the prompt)", result.row["message"])
            log.warning("%s failed: %s: %s", _name(task), result.row["error_class"], one_line(message))
            return
        self._done += 1
        self.run_monitor.fronts["done"] += 1
        (costs,) = result.tables["costs"]
        self._retries += costs["attempts"] - 1
        for column, name in STAGES.items():
            self._seconds[name] += costs[column]
        for name, seconds in result.seconds_by_reward.items():
            self._seconds[f"reward {name}"] += seconds
        fronts = self.run_monitor.fronts
        log.info(
            "%s done: %d decodes in %.1f s; %d of %d fronts",
            _name(task), costs["decodes"], costs["seconds_total"], fronts["done"], fronts["wanted"],
        )  # fmt: skip
        for warning in result.warnings:
            self._warn(task, warning)

    def _warn(self, task: PromptTask, warning: str) -> None:
        """Log a warning once for each prompt, although a prompt has several tasks."""
        if (prompt_warning := (task.prompt.prompt_id, warning)) not in self._warned:
            self._warned.add(prompt_warning)
            log.warning("%s: %s", _name(task), warning)

    def lines(self) -> list[str]:
        """Return the lines of the summary: the work done, the share of busy time, the slowest stages, the faults."""
        lines = {
            "done": self._work(),
            "busy": "; ".join(_busy(role, pool) for role, pool in self.run_monitor.pools.items() if pool.actor_seconds),
            "slowest": self._slowest(),
            "faults": self._faults(),
        }
        return [f"{name:<10}{text}" for name, text in lines.items() if text]

    def details(self) -> list[str]:
        """Return the figures of the workers' calls, one line for each kind of call."""
        return [
            f"{role}, {kind}: {calls.calls:,} calls with {calls.rows:,} rows, {calls.seconds / calls.calls:.3f} s "
            f"on average, {calls.longest:.3f} s at most"
            for role, pool in self.run_monitor.pools.items()
            for kind, calls in pool.calls.items()
        ]

    def _work(self) -> str:
        end = self._now()
        text = f"{self._done:,} fronts in {clock(end - self._began)}, {self._failed:,} failed"
        if self.loaded_at is not None:
            text += f"; {clock(self.loaded_at - self._began)} until the models were loaded"
            if self.candidates and end > self.loaded_at:
                text += f", then {self.candidates / (end - self.loaded_at):.1f} candidates a second"
        return text

    def _slowest(self) -> str:
        """Return the slowest stages of the finished fronts, by the seconds that their workers measured."""
        total = sum(self._seconds.values())
        slowest_first = sorted(((spent, name) for name, spent in self._seconds.items() if spent), reverse=True)
        listed = slowest_first[:LISTED_STAGES]
        if rest := sum(spent for spent, _ in slowest_first[LISTED_STAGES:]):
            listed.append((rest, "all else"))
        return ", ".join(f"{name} {spent:.1f} s ({spent / total:.0%})" for spent, name in listed)

    def _faults(self) -> str:
        pools = self.run_monitor.pools.values()
        counts = {
            "calls retried": self._retries,
            "actors lost or removed": sum(pool.lost for pool in pools),
            "failed starts of actors": sum(pool.failed_starts for pool in pools),
            "cells lost": self.run_monitor.lost_cells,
        }
        return ", ".join(f"{count:,} {fault}" for fault, count in counts.items() if count) or "none"


def _busy(role: str, pool: PoolTotals) -> str:
    count = pool.actors or pool.joined
    actors = f"{count} {pool.device} actor{'s' if count != 1 else ''}"
    return f"{role} {pool.busy_share:.0%} of {actors}{'' if pool.actors else ' (ended)'}"


def _name(task: PromptTask) -> str:
    return f"prompt {task.prompt.prompt_id}, {task.method}"
