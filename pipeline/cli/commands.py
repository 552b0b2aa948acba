"""The command line of a run. Imports what costs time only when a command needs it."""

import shlex
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from configs.errors import RequestError
from configs.load import load_config, origin
from configs.location import Location, location_of
from configs.sweep import is_sweep, load_sweep
from pipeline.redaction import redacted

if TYPE_CHECKING:
    from pipeline.job.summary import Summary
    from pipeline.planning.plan import Plan

# One error, one message: a traceback of ours would bury it.
app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)

ConfigFile = Annotated[Path, typer.Argument(help="A YAML file, see configs/.", metavar="CONFIG")]
Overrides = Annotated[
    list[str] | None,
    typer.Argument(help="Values to set on top of the file, such as soup.steps=10.", metavar="[KEY=VALUE]..."),
]
Over = Annotated[
    list[str] | None,
    typer.Option(help="A key and its values, such as soup.steps=0,10,20; several give the product."),
]
Local = Annotated[
    bool, typer.Option("--local", help="Run in this one process, without Ray: for a debugger. Same bits.")
]

AllowOpen = Annotated[
    bool,
    typer.Option(
        "--allow-open-cluster",
        help="Also run on a cluster of RAY_ADDRESS that asks nobody for a token: its network has to keep others out.",
    ),
]
Plugins = Annotated[
    list[Path] | None,
    typer.Option(
        "--plugin", help="A Python file of rewards, see docs/own_reward.md; may be given again.", metavar="FILE"
    ),
]


@contextmanager
def request_errors() -> Iterator[None]:
    """Turn a wrong request into its message and exit status 2."""
    try:
        yield
    except RequestError as error:
        print(redacted(f"error: {error}"), file=sys.stderr)
        raise typer.Exit(2) from error


def planned(config: Path, overrides: list[str] | None, plugins: list[Path] | None, *, fetch: bool = False) -> "Plan":
    """Load and check a request; `fetch` gets what of a hub model has to be read for that."""
    settings = load_config(config, overrides or [])
    from pipeline.planning.plan import make_plan
    from pipeline.planning.plugins import read_plugins

    told = read_plugins(plugins or [])
    return make_plan(settings, lambda key: origin(key, config, overrides or []), told, fetch=fetch)


def planned_sweep(
    config: Path,
    overrides: list[str] | None,
    over: list[str] | None,
    plugins: list[Path] | None,
    *,
    fetch: bool = False,
) -> "list[Plan]":
    """`planned`, of every point of a sweep."""
    points = load_sweep(config, overrides or [], over or [])
    from pipeline.planning.plan import make_plan
    from pipeline.planning.plugins import read_plugins

    told, given = read_plugins(plugins or []), [*(overrides or []), *(over or [])]
    return [make_plan(point, lambda key: origin(key, config, given), told, fetch=fetch) for point in points]


@app.command()
def run(
    config: ConfigFile,
    overrides: Overrides = None,
    local: Local = False,
    plugin: Plugins = None,
    allow_open_cluster: AllowOpen = False,
) -> None:
    """Make the front of every prompt. The same command again goes on where it stopped.

    Exit status: 0 all prompts are done, 1 some failed (they are listed) or the run had to stop, 2 the request
    was wrong and nothing was started.
    """
    with request_errors():
        plan = planned(config, overrides, plugin, fetch=True)
        _run([plan], local, allow_open_cluster, f"srsoup report {shlex.quote(str(plan.folder))}")


@app.command()
def sweep(
    config: ConfigFile,
    overrides: Overrides = None,
    over: Over = None,
    local: Local = False,
    plugin: Plugins = None,
    allow_open_cluster: AllowOpen = False,
) -> None:
    """Run a configuration once for each point of a product of values; one folder a point, models loaded once.

    The points are those of --over, or of the file's own key `sweep`. The same command again goes on where it
    stopped. Exit status as of `run`.
    """
    with request_errors():
        plans = planned_sweep(config, overrides, over, plugin, fetch=True)
        _run(plans, local, allow_open_cluster, "srsoup report " + shlex.join(str(plan.folder) for plan in plans))


def _run(plans: "Sequence[Plan]", local: bool, allow_open_cluster: bool, after: str) -> None:
    """Execute plans, tell how they ended, and end with the exit status."""
    from actors.protocol import RunStopped
    from pipeline.job.driver import execute
    from pipeline.job.progress import Reporter
    from pipeline.job.summary import Summary
    from pipeline.planning.cost import expected_cost

    _warn(plans)
    summary = Summary()
    steps = candidates = prompts = 0
    for plan in plans:
        found = len(plan.tasks) - len(plan.open_tasks)
        if found:
            print(f"{found} of {len(plan.tasks)} fronts are done already in {plan.folder}")
        for task in plan.open_tasks:
            cost = expected_cost(task, plan.config.steps)
            steps += cost.steps
            candidates += cost.decodes - len(task.weights)
        prompts += len({task.prompt.prompt_id for task in plan.open_tasks})
    try:
        outcomes = execute(
            plans,
            local=local,
            reporter=Reporter(prompts, steps, candidates),
            summary=summary,
            allow_open_cluster=allow_open_cluster,
        )
    except RunStopped as stop:
        _print_summary(summary)
        print(redacted(f"stopped: {stop}"), file=sys.stderr)
        print("what is finished is kept; the same command goes on", file=sys.stderr)
        raise typer.Exit(1) from stop
    for plan, outcome in zip(plans, outcomes, strict=True):
        for failure in outcome.failures:
            print(f"failed: {failure.row['prompt']!r:.80}: {failure.row['error_class']}: {failure.row['message']:.300}")
        print(f"{outcome.found + outcome.done} of {len(plan.tasks)} fronts in {plan.folder}")
        if outcome.failures:
            print(f"{len(outcome.failures)} failed: see {plan.folder / 'failures'}; the same command tries them again")
    _print_summary(summary)
    status = max(outcome.exit_status for outcome in outcomes)
    if not status:
        print(f"next: {after}")
    raise typer.Exit(status)


def _warn(plans: "Sequence[Plan]") -> None:
    from pipeline.planning.cpu_support import slow_dtype

    for warning in dict.fromkeys(slow_dtype(plan.config) for plan in plans):
        if warning:
            print(f"warning: {warning}", file=sys.stderr)


def _print_summary(summary: "Summary") -> None:
    """Of a driver that had something to do."""
    if summary.log_file:
        print(*summary.lines(), f"log       {summary.log_file}", sep="\n")


RunFolder = Annotated[str, typer.Argument(help="A run's folder, such as runs/demo or s3://bucket/demo.", metavar="RUN")]


@contextmanager
def reading(run: str) -> Iterator[Location]:
    """The folder of a run that a command was given; what is wrong with it becomes a message and exit status 2."""
    try:
        yield location_of(run)
    except (ValueError, OSError) as error:
        print(redacted(f"error: {error}"), file=sys.stderr)
        raise typer.Exit(2) from error


@app.command()
def status(run: RunFolder) -> None:
    """Tell how far a run is, whether its driver lives or not. Exit status 2 if there is none in the folder."""
    from pipeline.storage.status import read_status

    with reading(run) as folder:
        lines = read_status(folder).lines()
    print(*lines, sep="\n")


@app.command(name="compact")
def compact_run(run: RunFolder) -> None:
    """Merge the parts of a run into few, as `run` does by itself; others may read meanwhile.

    Exit status 2 if there is no run, or one is at work in the folder, or its parts cannot be merged there.
    """
    from pipeline.records import holds
    from pipeline.storage.compact import CannotExchange, compact
    from pipeline.storage.disk import remove_leftovers
    from pipeline.storage.lock import FolderInUse, lock_of

    with reading(run) as folder:
        if not holds(folder, "config.yaml"):
            raise FileNotFoundError(f"no run in {run}: it holds no config.yaml")
        try:
            with lock_of(folder):
                remove_leftovers(folder)
                print(f"{compact(folder):,} files less in {run}")
        except (CannotExchange, FolderInUse) as error:
            raise OSError(f"{run}: {error}") from error


@app.command()
def check(config: ConfigFile, overrides: Overrides = None, over: Over = None, plugin: Plugins = None) -> None:
    """Check a request and print what it would do and need, without loading a model. Exit status 2 if it is wrong.

    Downloads are named with their sizes, and GPU memory and hours with the measurement that they rest on; what nobody
    has measured is said to be not known.

    Of a sweep, by its own key `sweep` or by --over, every point is checked.
    """
    with request_errors():
        swept = over or is_sweep(config)
        plans = planned_sweep(config, overrides, over, plugin) if swept else [planned(config, overrides, plugin)]
        from pipeline.cli.plan_table import needs_table, plan_table, sweep_table

        tables = [sweep_table(plans), needs_table(plans)] if swept else [plan_table(plans[0])]
        Console().print(*tables)
        _warn(plans)
