"""A request from the command line or from Python, made into checked plans and a progress display.

Imports what costs time only after the configuration has been checked.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TextIO, TypeVar

from configs.errors import RequestError
from configs.load import load_config, origin
from configs.schema import RunConfig
from configs.sweep import load_sweep
from pipeline.shadowing import ALLOWED, fix_of, problem_of, shadows_on_workers

if TYPE_CHECKING:
    from pipeline.job.progress import Reporter
    from pipeline.planning.plan import Plan

R = TypeVar("R", bound="Reporter")


def check_workers_import_srsoup() -> None:
    """Refuse files in the current folder that Ray's workers would import in place of SRSoup's packages.

    Raises:
        RequestError: there are such files; names them.
    """
    if shadows := shadows_on_workers():
        raise RequestError(
            file=", ".join(map(str, shadows)), key="(its name)", value=", ".join(path.name for path in shadows),
            problem=problem_of(shadows), allowed=ALLOWED, fix=fix_of(shadows),
        )  # fmt: skip


def plan_of(file: Path, overrides: Sequence[str], plugins: Sequence[Path], *, fetch: bool = False) -> "Plan":
    """Load and check the configuration of one run.

    Args:
        fetch: download the configuration files of a model on the hub, which are needed to check it.

    Raises:
        RequestError: the request is wrong; names file, key, value, what is allowed and the fix.
    """
    return _plans([load_config(file, overrides)], file, overrides, plugins, fetch)[0]


def plans_of_sweep(
    file: Path, overrides: Sequence[str], over: Sequence[str], plugins: Sequence[Path], *, fetch: bool = False
) -> "list[Plan]":
    """`plan_of` for every point of a sweep."""
    return _plans(load_sweep(file, overrides, over), file, [*overrides, *over], plugins, fetch)


def plan_of_config(config: RunConfig, plugins: Sequence[Path]) -> "Plan":
    """`plan_of` for a configuration that a program has loaded or made."""
    return _plans([config], Path("(a RunConfig)"), (), plugins, True)[0]


def _plans(
    configs: Sequence[RunConfig], file: Path, given: Sequence[str], plugins: Sequence[Path], fetch: bool
) -> "list[Plan]":
    from pipeline.planning.plan import make_plan
    from pipeline.planning.plugins import read_plugins

    sources = read_plugins(plugins)
    return [make_plan(config, lambda key: origin(key, file, given), sources, fetch=fetch) for config in configs]


def reporter_of(plans: "Sequence[Plan]", stream: TextIO | None, kind: "type[R]") -> "R":
    """The progress display of all prompts that are not finished yet.

    Args:
        stream: is written to; None is the standard error stream.
        kind: `Reporter`, or a class derived from it.
    """
    from pipeline.planning.cost import expected_costs

    tasks = [task for plan in plans for task in plan.open_tasks]
    costs = [cost for plan in plans for cost in expected_costs(plan.open_tasks, plan.config.steps)]
    return kind(
        sum(len({task.prompt.prompt_id for task in plan.open_tasks}) for plan in plans),
        sum(cost.steps for cost in costs),
        sum(cost.decodes - len(task.weights) for cost, task in zip(costs, tasks, strict=True)),
        stream,
        sum(len(task.weights) for task in tasks),
    )
