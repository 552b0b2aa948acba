"""Sends the counts of a driver to the tracker of its run, if it has one."""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from configs.plain.texts import described
from pipeline.job.result import PromptFailure, PromptResult
from pipeline.job.summary import Summary
from pipeline.job.trackers import Tracker, open_tracker
from pipeline.planning.plan import Plan

log = logging.getLogger(__name__)


class Counts:
    """The counts of one plan: fronts that are finished and failed, queries, decodes and seconds, of this driver.

    A tracker that cannot be reached does not stop a run: the log says what was wrong, and no more is sent.
    """

    def __init__(self, plan: Plan) -> None:
        self._keys = {task.key for task in plan.tasks}
        self._tracker = _opened(plan)
        self._values = {"fronts_done": 0.0, "fronts_failed": 0.0, "queries": 0.0, "decodes": 0.0, "seconds": 0.0}

    def add(self, result: PromptResult | PromptFailure) -> None:
        """Count a result of this plan, and send all counts."""
        if self._tracker is None or result.key not in self._keys:
            return
        if isinstance(result, PromptFailure):
            self._values["fronts_failed"] += 1
        else:
            (costs,) = result.tables["costs"]
            self._values["fronts_done"] += 1
            for name, column in (("queries", "queries"), ("decodes", "decodes"), ("seconds", "seconds_total")):
                self._values[name] += costs[column]
        try:
            self._tracker.log(self._values, int(self._values["fronts_done"] + self._values["fronts_failed"]))
        except Exception as error:
            self._end(error)

    def close(self) -> None:
        """End the record for this driver."""
        if self._tracker is not None:
            try:
                self._tracker.close()
            except Exception as error:
                self._end(error)

    def _end(self, error: Exception) -> None:
        _warn(type(self._tracker).__name__, error)
        self._tracker = None


@contextmanager
def counts_sent(plans: Sequence[Plan], summary: Summary) -> Iterator[None]:
    """Send the counts of each plan to its tracker, as the results are added to the summary."""
    counts = [Counts(plan) for plan in plans if plan.config.report.tracker is not None]
    summary.listeners += [one.add for one in counts]
    try:
        yield
    finally:
        for one in counts:
            one.close()


def _opened(plan: Plan) -> Tracker | None:
    name = str(plan.config.report.tracker)
    try:
        return open_tracker(name, plan.config.name, plan.folder)
    except Exception as error:
        _warn(name, error)
        return None


def _warn(name: str, error: Exception) -> None:
    log.warning("nothing more is sent to the tracker %s, and the run goes on: %s", name, described(error)[:300])
