"""The commands `run`, `sweep` and `check`, and the command line of `python -m pipeline`.

Imports what costs time only when a command needs it.
"""

import shlex
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

import typer
from rich.console import Console

from configs.packaged import config_file
from configs.sweep import is_sweep
from pipeline.checked_request import check_workers_import_srsoup, plan_of, plans_of_sweep, reporter_of
from pipeline.cli.app import Command, new_app
from pipeline.cli.errors import request_errors
from pipeline.cli.folder_commands import compact_run, status, verify_run
from pipeline.cli.guard import INTERRUPTED
from pipeline.cli.options import AllowOpen, ConfigFile, Local, Over, Overrides, Plugins
from pipeline.redaction import redacted

if TYPE_CHECKING:
    from pipeline.job.summary import Summary
    from pipeline.planning.plan import Plan


def run(
    config: ConfigFile,
    overrides: Overrides = None,
    local: Local = False,
    plugin: Plugins = None,
    allow_open_cluster: AllowOpen = False,
) -> None:
    """Make the front of every prompt of a configuration.

    All results go to one folder: runs/NAME in the current folder, unless output=FOLDER is given. The same command
    again continues a run that stopped: finished prompts are kept.

    Exit status: 0 if all prompts are finished, 1 if some failed (they are listed) or the run had to stop, 2 if the
    request is wrong and nothing was started.
    """
    with request_errors():
        if not local:
            check_workers_import_srsoup()
        plan = plan_of(config_file(config), overrides or [], plugin or [], fetch=True)
        exit_status = execute_plans([plan], local, allow_open_cluster)
    if not exit_status:
        print(f"next: srsoup report {shlex.quote(str(plan.folder))}")
    raise typer.Exit(exit_status)


def sweep(
    config: ConfigFile,
    overrides: Overrides = None,
    over: Over = None,
    local: Local = False,
    plugin: Plugins = None,
    allow_open_cluster: AllowOpen = False,
) -> None:
    """Run a configuration once for each combination of some values. Models are loaded once.

    The values are those of --over, or of the key `sweep` in the file. Each point has a folder of its own. The same
    command again continues a sweep that stopped.

    Exit status: 0 if all prompts are finished, 1 if some failed (they are listed) or the sweep had to stop, 2 if the
    request is wrong and nothing was started.
    """
    with request_errors():
        if not local:
            check_workers_import_srsoup()
        plans = plans_of_sweep(config_file(config), overrides or [], over or [], plugin or [], fetch=True)
        exit_status = execute_plans(plans, local, allow_open_cluster)
    if not exit_status:
        print("next: srsoup report " + shlex.join(str(plan.folder) for plan in plans))
    raise typer.Exit(exit_status)


def check(config: ConfigFile, overrides: Overrides = None, over: Over = None, plugin: Plugins = None) -> None:
    """Check a configuration, and print what `run` would do and need. No model is loaded.

    It prints the first and last prompts, how many are equal or longer than the model reads, queries, decodes,
    downloads with their sizes, GPU memory and GPU hours. Memory and hours come with the measurement that they rest on;
    what nobody has measured is "not known". For a sweep, every point is checked.

    Exit status: 2 if the configuration is wrong.
    """
    with request_errors():
        check_workers_import_srsoup()
        file, given, plugins = config_file(config), overrides or [], plugin or []
        swept = over or is_sweep(file)
        plans = plans_of_sweep(file, given, over or [], plugins) if swept else [plan_of(file, given, plugins)]
        from pipeline.cli.plan_table import needs_table, plan_table, prompts_table, sweep_table

        tables = (
            [make(plans) for make in (sweep_table, prompts_table, needs_table)] if swept else [plan_table(plans[0])]
        )
        Console(markup=False, emoji=False).print(*tables)
        _warn(plans)


_CONTINUE = "finished fronts are kept; the same command continues the run"


def execute_plans(plans: "Sequence[Plan]", local: bool, allow_open_cluster: bool = False) -> int:
    """Execute plans, print how they ended, and return the exit status."""
    from actors.protocol import RunStopped
    from pipeline.job.driver import execute
    from pipeline.job.progress import Reporter
    from pipeline.job.summary import Summary

    _warn(plans)
    summary = Summary()
    for plan in plans:
        if found := len(plan.tasks) - len(plan.open_tasks):
            print(f"{found} of {len(plan.tasks)} fronts are done already in {plan.folder}")
    try:
        outcomes = execute(
            plans,
            local=local,
            reporter=reporter_of(plans, None, Reporter),
            summary=summary,
            allow_open_cluster=allow_open_cluster,
        )
    except RunStopped as stop:
        _print_summary(summary)
        print(redacted(f"stopped: {stop}"), file=sys.stderr)
        print(_CONTINUE, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"interrupted: {_CONTINUE}", file=sys.stderr)
        return INTERRUPTED
    for plan, outcome in zip(plans, outcomes, strict=True):
        for failure in outcome.failures:
            print(f"failed: {failure.row['prompt']!r:.80}: {failure.row['error_class']}: {failure.row['message']:.300}")
        print(f"{outcome.found + outcome.done} of {len(plan.tasks)} fronts in {plan.folder}")
        if outcome.failures:
            print(f"{len(outcome.failures)} failed: see {plan.folder / 'failures'}; the same command tries them again")
    _print_summary(summary)
    return max(outcome.exit_status for outcome in outcomes)


def _warn(plans: "Sequence[Plan]") -> None:
    from pipeline.planning.cpu_support import slow_dtype

    for warning in dict.fromkeys(slow_dtype(plan.config) for plan in plans):
        if warning:
            print(f"warning: {warning}", file=sys.stderr)


def _print_summary(summary: "Summary") -> None:
    """Print the summary of a driver that had something to do."""
    if summary.log_file:
        print(*summary.lines(), f"log       {summary.log_file}", sep="\n")


COMMANDS = (
    Command(run, "srsoup run demo seed=1 output=runs/seed1"),
    Command(sweep, "srsoup sweep demo --over soup.steps=0,10,20"),
    Command(check, "srsoup check hpd_sdxl prompts.limit=100"),
    Command(status, "srsoup status runs/demo"),
    Command(compact_run, "srsoup compact runs/demo", "compact"),
    Command(verify_run, "srsoup verify runs/demo", "verify"),
)
app = new_app(*COMMANDS)
