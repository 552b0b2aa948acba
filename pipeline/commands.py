"""The command line of a run: `run` and `check`. Imports what costs time only when a command needs it."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from configs.errors import RequestError
from configs.load import load_config, origin

if TYPE_CHECKING:
    from pipeline.plan import Plan

# One error, one message: a traceback of ours would bury it.
app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)

ConfigFile = Annotated[Path, typer.Argument(help="A YAML file, see configs/.", metavar="CONFIG")]
Overrides = Annotated[
    list[str] | None,
    typer.Argument(help="Values to set on top of the file, such as soup.steps=10.", metavar="[KEY=VALUE]..."),
]


@contextmanager
def request_errors() -> Iterator[None]:
    """Turn a wrong request into its message and exit status 2."""
    try:
        yield
    except RequestError as error:
        print(f"error: {error}", file=sys.stderr)
        raise typer.Exit(2) from error


def planned(config: Path, overrides: list[str] | None) -> "Plan":
    """Load and check a request."""
    settings = load_config(config, overrides or [])
    from pipeline.plan import make_plan

    return make_plan(settings, lambda key: origin(key, config, overrides or []))


@app.command()
def run(
    config: ConfigFile,
    overrides: Overrides = None,
    local: Annotated[
        bool, typer.Option("--local", help="Run in this one process, without Ray: for a debugger. Same bits.")
    ] = False,
) -> None:
    """Make the front of every prompt. The same command again goes on where it stopped.

    Exit status: 0 all prompts are done, 1 some failed (they are listed) or the run had to stop, 2 the request
    was wrong and nothing was started.
    """
    with request_errors():
        plan = planned(config, overrides)
        from actors.protocol import RunStopped
        from pipeline.driver import execute
        from pipeline.plan import expected_cost
        from pipeline.progress import Reporter

        tasks, steps = plan.open_tasks, plan.config.steps
        found = len(plan.tasks) - len(tasks)
        if found:
            print(f"{found} of {len(plan.tasks)} fronts are done already in {plan.folder}")
        candidates = sum(expected_cost(task, steps).decodes - len(task.weights) for task in tasks)
        prompts = len({task.prompt.prompt_id for task in tasks})
        try:
            outcome = execute(plan, local=local, reporter=Reporter(prompts, steps * len(tasks), candidates))
        except RunStopped as stop:
            print(f"stopped: {stop}", file=sys.stderr)
            print(f"what is finished is kept in {plan.folder}; the same command goes on", file=sys.stderr)
            raise typer.Exit(1) from stop
    for failure in outcome.failures:
        print(f"failed: {failure.row['prompt']!r:.80}: {failure.row['error_class']}: {failure.row['message']:.300}")
    print(f"{outcome.found + outcome.done} of {len(plan.tasks)} fronts in {plan.folder}")
    if outcome.failures:
        print(f"{len(outcome.failures)} failed: see {plan.folder / 'failures'}; the same command tries them again")
    else:
        print(f"next: srsoup report {plan.folder}")
    raise typer.Exit(outcome.exit_status)


@app.command()
def check(config: ConfigFile, overrides: Overrides = None) -> None:
    """Check a request and print what it would do, without loading a model. Exit status 2 if it is wrong."""
    with request_errors():
        plan = planned(config, overrides)
        from pipeline.plan_table import plan_table

        Console().print(plan_table(plan))
