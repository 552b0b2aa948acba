"""What `check` prints of a plan."""

import os
from collections.abc import Sequence
from typing import Literal

from rich.table import Table

from configs.addresses import Server
from configs.schema import RunConfig
from diffusion.source import EMBEDDED
from pipeline.planning.accepted_weights import accepted_lines
from pipeline.planning.cost import expected_cost
from pipeline.planning.downloads import Download, model_downloads, reward_downloads, size_text
from pipeline.planning.gpu_estimate import gpu_hours, gpu_memory
from pipeline.planning.plan import Plan

# Seconds of one CPU core for one candidate of the embedded model (look-ahead, decode, two cheap rewards).
# Measured on configs/demo.yaml with both of two cores busy: 198 s for 10,560 candidates.
EMBEDDED_SECONDS_PER_CANDIDATE = 0.019


def plan_table(plan: Plan) -> Table:
    """A table of what the plan will do, in words and numbers."""
    config = plan.config
    table = Table(title=f"{config.name}: the plan", show_header=False, title_justify="left")
    table.add_row("prompts", f"{plan.n_prompts}, from {plan.tasks[0].prompt.source}")
    table.add_row("weights", f"{len(config.weights)} over {' and '.join(config.rewards.guided)}")
    table.add_row("held-out rewards", ", ".join(config.rewards.held_out) or "none")
    family = plan.pipeline or "not on this machine: run gets it and checks its family"
    table.add_row("model", f"{config.model.name}, revision {plan.model_revision[:12]}, {family}")
    table.add_row("steps T, candidates N", f"{config.steps}, {config.queries}")
    for method in config.methods:
        cost = expected_cost(next(task for task in plan.tasks if task.method == method), config.steps)
        table.add_row(method, f"{cost.queries:,} queries and {cost.decodes:,} decodes a front")
    queries, decodes = _total(plan)
    table.add_row("in all", f"{queries:,} queries, {decodes:,} decodes")
    table.add_row("done already", f"{len(plan.tasks) - len(plan.open_tasks)} of {len(plan.tasks)} fronts")
    for heading, text in needs([plan]):
        table.add_row(heading, text)
    actors = config.compute.diffusion_actors
    table.add_row("diffusion actors", "one a GPU, or one a CPU core without" if actors == "auto" else str(actors))
    table.add_row("output", str(plan.folder))
    return table


def sweep_table(plans: Sequence[Plan]) -> Table:
    """A table of the points of a sweep, one row each, with what they cost in all."""
    table = Table(title="the points of the sweep", title_justify="left")
    for heading in ("point", "method", "queries a front", "decodes a front", "fronts", "done already"):
        justify: Literal["left", "right"] = "left" if heading in ("point", "method") else "right"
        table.add_column(heading, justify=justify, overflow="fold")
    for plan in plans:
        done = len(plan.tasks) - len(plan.open_tasks)
        for method in plan.config.methods:
            cost = expected_cost(next(task for task in plan.tasks if task.method == method), plan.config.steps)
            fronts = str(len(plan.tasks) // len(plan.config.methods))
            table.add_row(plan.folder.name, method, f"{cost.queries:,}", f"{cost.decodes:,}", fronts, str(done))
    totals = [_total(plan) for plan in plans]
    queries, decodes = (f"{sum(column):,}" for column in zip(*totals, strict=True))
    table.add_section()
    table.add_row("in all", "", queries, decodes, str(sum(len(plan.tasks) for plan in plans)), "")
    return table


def _total(plan: Plan) -> tuple[int, int]:
    """Queries and decodes of all tasks."""
    costs = [expected_cost(task, plan.config.steps) for task in plan.tasks]
    return sum(cost.queries for cost in costs), sum(cost.decodes for cost in costs)


def needs_table(plans: Sequence[Plan]) -> Table:
    """A table of what the points of a sweep need together; they differ in no model and no reward that is not listed."""
    table = Table(title="what the sweep needs", show_header=False, title_justify="left")
    for heading, text in needs(plans):
        table.add_row(heading, text)
    return table


def needs(plans: Sequence[Plan]) -> list[tuple[str, str]]:
    """Downloads with their sizes, memory and time, of plans that are run as one job. Nothing is loaded or fetched."""
    configs = [plan.config for plan in plans]
    rewards = dict.fromkeys(name for c in configs for name in (*c.rewards.guided, *c.rewards.held_out))
    models = dict.fromkeys(download for config in configs for download in model_downloads(config.model))
    rows = [("model download", _listed(tuple(models))), ("reward downloads", _listed(reward_downloads(tuple(rewards))))]
    accepted = dict.fromkeys(line for config in configs for line in accepted_lines(config))
    rows += [("accepted weights", "\n".join(accepted))] if accepted else []
    rows += [("hosts queried", hosts)] if (hosts := _hosts_queried(configs)) else []
    if all(config.model.name == EMBEDDED for config in configs):
        return [*rows, ("GPU", "none is needed"), ("seconds expected", _expected_seconds(plans))]
    hours = gpu_hours(plans)
    unknown = "not known for this model: run one prompt (prompts.limit=1) and read its costs"
    memory = "\n".join(dict.fromkeys(gpu_memory(config) for config in configs))
    return [*rows, ("GPU memory", memory), ("GPU hours", unknown if hours is None else str(hours))]


def _hosts_queried(configs: Sequence[RunConfig]) -> str:
    """Each host that the judge sends prompts and images to, in a line, and where its key comes from."""
    lines = dict[str, None]()
    for judge in (config.rewards.judge for config in configs):
        if judge is not None:
            server = Server.of(judge.url)
            key = f"with the key in {judge.key_variable}, if it is set"
            if not server.may_get_key:
                key = "without a key, which goes over https or to this machine only"
            lines[f"{server.name} over {server.scheme} ({key})"] = None
    return "\n".join(lines)


def _listed(downloads: Sequence[Download]) -> str:
    """Each download in a line, and the sum of what is known and not here yet."""
    if not downloads:
        return "none"
    missing = [download.size for download in downloads if not download.here]
    known = sum(size for size in missing if size is not None)
    unknown = sum(size is None for size in missing)
    files = "1 of a size" if unknown == 1 else f"{unknown} of sizes"
    total = size_text(known) + (f" and {files} not known" if unknown else "")
    return "\n".join([*map(str, downloads), f"in all to get: {total}"])


def _expected_seconds(plans: Sequence[Plan]) -> str:
    candidates = sum(expected_cost(task, plan.config.steps).decodes for plan in plans for task in plan.open_tasks)
    actors = plans[0].config.compute.diffusion_actors
    cores = min(os.cpu_count() or 1, actors if actors != "auto" else os.cpu_count() or 1)
    return f"about {candidates * EMBEDDED_SECONDS_PER_CANDIDATE / cores:,.0f} on {cores} CPU cores"
