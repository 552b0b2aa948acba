"""A whole run from Python: what `srsoup.run` does before it opens the results."""

import io
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from actors.protocol import RunStopped
from configs.errors import RequestError
from configs.location import Location
from configs.packaged import config_file
from configs.schema import RunConfig
from pipeline.checked_request import check_workers_import_srsoup, plan_of, plan_of_config, reporter_of
from pipeline.job.driver import execute
from pipeline.job.progress import Reporter
from pipeline.library.thread import Report, in_a_thread
from pipeline.planning.plan import Plan
from pipeline.redaction import redacted
from rewards import registry


def run_config(
    config: RunConfig | str | Path,
    overrides: Sequence[str],
    *,
    local: bool,
    plugins: Sequence[str | Path],
    progress: bool,
    allow_open_cluster: bool,
) -> Location:
    """Run a configuration, and return the folder of its results. The arguments are those of `srsoup.run`.

    Raises:
        RequestError: the request is wrong, and nothing was started.
        RuntimeError: the run had to stop; finished prompts are kept.
    """
    if not local:
        check_workers_import_srsoup()
        _check_ray_is_down()
    plan = _plan(config, overrides, plugins)
    stream = None if progress else io.StringIO()
    try:
        if local:
            in_a_thread(lambda report: _execute_here(plan, stream, report), lambda steps, candidates: None)
        else:
            reporter = reporter_of([plan], stream, Reporter)
            execute([plan], local=False, reporter=reporter, allow_open_cluster=allow_open_cluster)
    except RunStopped as stop:
        what_now = "finished prompts are kept, and the same call continues the run"
        raise RuntimeError(redacted(f"the run in {plan.folder} stopped: {stop}; {what_now}")) from stop
    return plan.folder


class _InterruptibleReporter(Reporter):
    """A progress display whose updates end the run if its caller was interrupted."""

    report: Report

    def add(self, steps: int, candidates: int) -> None:
        self.report(steps, candidates)
        super().add(steps, candidates)


def _execute_here(plan: Plan, stream: io.StringIO | None, report: Report) -> None:
    """Execute a plan in this thread; the number of torch's threads is then what it was."""
    threads = torch.get_num_threads()
    reporter = reporter_of([plan], stream, _InterruptibleReporter)
    reporter.report = report
    try:
        execute([plan], local=True, reporter=reporter)
    finally:
        torch.set_num_threads(threads)


def _plan(config: RunConfig | str | Path, overrides: Sequence[str], plugins: Sequence[str | Path]) -> Plan:
    """The checked plan of the arguments of a call."""
    for key, value in {"overrides": overrides, "plugins": plugins}.items():
        if isinstance(value, str | Path):
            fix = f"write {key}=[{str(value)!r}]"
            raise _error(key, value, "one value stands where a list is expected", "a list", fix)
    if isinstance(config, RunConfig) and overrides:
        fix = "give them to load_config, which returns the RunConfig"
        raise _error("overrides", list(overrides), "a RunConfig takes no overrides", "overrides of a file", fix)
    # Those of an earlier call: a plugin file may have been edited since.
    registry.forget_plugins()
    files = [Path(plugin) for plugin in plugins]
    if isinstance(config, RunConfig):
        return plan_of_config(config, files)
    return plan_of(config_file(config), overrides, files, fetch=True)


def _check_ray_is_down() -> None:
    """Refuse if Ray runs in this process already: a run starts or joins its own cluster.

    Raises:
        RequestError: it runs.
    """
    if (ray := sys.modules.get("ray")) is not None and ray.is_initialized():
        raise _error(
            "local", False, "Ray runs in this process already, and a run starts or joins a cluster itself",
            "a process in which Ray does not run, or local=True",
            "call ray.shutdown() first, and set RAY_ADDRESS if the run is to join a cluster",
        )  # fmt: skip


def _error(key: str, value: Any, problem: str, allowed: str, fix: str) -> RequestError:
    return RequestError(file="run", key=key, value=value, problem=problem, allowed=allowed, fix=fix)
