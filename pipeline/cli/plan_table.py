"""The tables that `check` prints."""

import math
import os
from collections import Counter
from collections.abc import Sequence
from typing import Literal

from rich.table import Table
from rich.text import Text

from configs.addresses import Server
from configs.schema import RunConfig
from diffusion.source import EMBEDDED
from pipeline.planning.accepted_weights import accepted_lines
from pipeline.planning.cost import expected_cost, expected_costs
from pipeline.planning.downloads import Download, model_downloads, reward_downloads, size_text
from pipeline.planning.gpu.estimate import gpu_hours, gpu_memory
from pipeline.planning.gpu.rates import forecast_hours
from pipeline.planning.method.weight_rounds import unadapted
from pipeline.planning.plan import Plan, prompt_task
from pipeline.planning.prompt_summary import prompt_rows
from pipeline.planning.prompts import Prompt
from pipeline.planning.surrogates.rounds import unamortised
from pipeline.planning.task import PromptTask

# Seconds that one CPU core takes for one candidate of the embedded model (look-ahead, decode, two cheap rewards).
# Measured on configs/demo.yaml with two busy cores: 198 s for 10,560 candidates of 64 x 64 pixels. From 48 x 48 to
# 128 x 128 the seconds are in proportion to the pixels, to 7 % (docs/results.md).
EMBEDDED_SECONDS_PER_CANDIDATE, EMBEDDED_PIXELS = 0.019, 64 * 64
NOT_KNOWN = "not known until the prompts are on this machine"


def plan_table(plan: Plan) -> Table:
    """One table that describes a plan, a row for each property."""
    config = plan.config
    rows = prompt_rows(plan.prompts, config.model)
    rows.append(("weights", f"{len(config.weights)} over {' and '.join(config.rewards.guided)}"))
    rows.append(("held-out rewards", ", ".join(config.rewards.held_out) or "none"))
    family = plan.pipeline or "not on this machine yet: `run` downloads it and checks its family"
    rows.append(("model", f"{config.model.name}, revision {plan.model_revision[:12]}, {family}"))
    if plan.image_size:
        rows.append(("images", "{} x {} pixels, height x width".format(*plan.image_size)))
    rows.append(("steps T, candidates N", f"{config.steps}, {config.queries}"))
    for method in config.methods:
        cost = expected_cost(_task_of(plan, method), config.steps)
        text = f"{cost.queries:,} queries and {cost.decodes:,} decodes a front"
        why = " (measured cosines decide; `costs/` counts what was done)"
        rows.append((method, f"at most {text}{why}" if cost.bound else text))
    rows += _weight_rows(plan.tasks)
    rows += _surrogate_rows(plan)
    queries, decodes = _total(plan)
    at_most = "at most " if _is_bound([plan]) else ""
    rows.append(("in all", f"{at_most}{queries:,} queries, {decodes:,} decodes" if plan.tasks else NOT_KNOWN))
    done = f"{len(plan.tasks) - len(plan.open_tasks)} of {len(plan.tasks)} fronts"
    rows.append(("done already", done if plan.tasks else NOT_KNOWN))
    rows += needs([plan])
    actors = config.compute.diffusion_actors
    automatic = "one for each GPU, or for each CPU core if there is no GPU"
    rows.append(("diffusion actors", automatic if actors == "auto" else str(actors)))
    rows.append(("output", str(plan.folder)))
    return _table(f"{config.name}: the plan", rows)


def _weight_rows(tasks: Sequence[PromptTask]) -> list[tuple[str, str]]:
    """The rounds of adaptive weights: how many fronts of each method have which weights."""
    rounds = Counter((task.method, task.weights_round) for task in tasks if task.weights_round is not None)
    rows = []
    for (method, number), count in sorted(rounds.items()):
        spacing = "re-spaced by the scores of the rounds before" if number else "evenly spaced"
        rows.append((f"weights of {method}, round {number}", f"{count:,} fronts, {spacing}"))
    return rows + ([("weights", warning)] if (warning := unadapted(tasks)) else [])


def _surrogate_rows(plan: Plan) -> list[tuple[str, str]]:
    """What a surrogate changes: the fronts and the costs of each round, and the memory of its backward passes."""
    if plan.config.surrogate is None:
        return []
    of_round: dict[int, list[PromptTask]] = {}
    for task in plan.tasks:
        if task.round is not None:
            of_round.setdefault(task.round, []).append(task)
    rows = []
    for number, tasks in sorted(of_round.items()):
        cost = expected_cost(tasks[0], plan.config.steps)
        by = "a surrogate" if number or tasks[0].surrogate else "queries alone"
        text = f"{len(tasks):,} fronts by {by}: {cost.queries:,} queries and {cost.decodes:,} decodes each"
        rows.append((f"surrogate, round {number}", text))
    if warning := unamortised(plan.config, plan.tasks):
        rows.append(("surrogate", warning))
    saving = "is set" if plan.config.model.gradient_checkpointing else "takes less"
    memory = (
        f"that of the denoiser's activations for one row; its peak is not known; model.gradient_checkpointing {saving}"
    )
    return [*rows, ("memory of backward passes", memory)]


def _task_of(plan: Plan, method: str) -> PromptTask:
    """Return the first task of a method, or one of an empty prompt if the prompts are not here yet."""
    found = next((task for task in plan.tasks if task.method == method), None)
    return found or prompt_task(plan.config, Prompt("", "", ""), 0, method, plan.model_revision, "{}")


def _table(title: str, rows: Sequence[tuple[str, str]]) -> Table:
    table = Table(title=title, show_header=False, title_justify="left")
    for heading, text in rows:
        # As `Text`, brackets in a prompt or a path are not read as markup.
        table.add_row(heading, Text(text))
    return table


def prompts_table(plans: Sequence[Plan]) -> Table:
    """A table of the prompts of a sweep: once if all points have the same, else for each source and model."""
    points = {(plan.config.prompts, plan.config.model.name, plan.config.model.revision): plan for plan in plans}
    rows = [row for plan in points.values() for row in prompt_rows(plan.prompts, plan.config.model)]
    return _table("the prompts of the sweep", rows)


def sweep_table(plans: Sequence[Plan]) -> Table:
    """A table of the points of a sweep, one row for each point, and the costs of all points together."""
    table = Table(title="the points of the sweep", title_justify="left")
    for heading in ("point", "method", "queries a front", "decodes a front", "fronts", "done already"):
        justify: Literal["left", "right"] = "left" if heading in ("point", "method") else "right"
        table.add_column(heading, justify=justify, overflow="fold")
    for plan in plans:
        done = len(plan.tasks) - len(plan.open_tasks)
        for method in plan.config.methods:
            cost = expected_cost(_task_of(plan, method), plan.config.steps)
            fronts = str(len(plan.tasks) // len(plan.config.methods))
            sign = "<= " if cost.bound else ""
            numbers = (f"{sign}{cost.queries:,}", f"{sign}{cost.decodes:,}", fronts, str(done))
            table.add_row(Text(plan.folder.name), method, *numbers)
    totals = [_total(plan) for plan in plans]
    sign = "<= " if _is_bound(plans) else ""
    queries, decodes = (f"{sign}{sum(column):,}" for column in zip(*totals, strict=True))
    table.add_section()
    table.add_row("in all", "", queries, decodes, str(sum(len(plan.tasks) for plan in plans)), "")
    return table


def _total(plan: Plan) -> tuple[int, int]:
    """The queries and the decodes of all tasks."""
    costs = expected_costs(plan.tasks, plan.config.steps)
    return sum(cost.queries for cost in costs), sum(cost.decodes for cost in costs)


def _is_bound(plans: Sequence[Plan]) -> bool:
    return any(cost.bound for plan in plans for cost in expected_costs(plan.tasks, plan.config.steps))


def needs_table(plans: Sequence[Plan]) -> Table:
    """A table of the downloads, memory and time that all points of a sweep need together."""
    return _table("what the sweep needs", needs(plans))


def needs(plans: Sequence[Plan]) -> list[tuple[str, str]]:
    """Downloads with their sizes, memory and time of plans that run as one job. Nothing is loaded or downloaded."""
    configs = [plan.config for plan in plans]
    rewards = dict.fromkeys(name for c in configs for name in (*c.rewards.guided, *c.rewards.held_out))
    models = dict.fromkeys(download for config in configs for download in model_downloads(config.model))
    rows = [("model download", _listed(tuple(models))), ("reward downloads", _listed(reward_downloads(tuple(rewards))))]
    accepted = dict.fromkeys(line for config in configs for line in accepted_lines(config))
    rows += [("accepted weights", "\n".join(accepted))] if accepted else []
    rows += [("hosts queried", hosts)] if (hosts := _hosts_queried(configs)) else []
    complete = all(plan.tasks for plan in plans)
    if all(config.model.name == EMBEDDED for config in configs):
        seconds = _expected_seconds(plans) if complete else NOT_KNOWN
        return [*rows, ("GPU", "none is needed"), ("seconds expected", seconds)]
    hours = [str(paper) for paper in (gpu_hours(plans),) if paper] + forecast_hours(plans)
    unknown = "not known for this model at this size: run one prompt (prompts.limit=1) and read its costs"
    memory = "\n".join(dict.fromkeys(gpu_memory(config) for config in configs))
    expected = unknown if not hours else "\n".join(hours) if complete else NOT_KNOWN
    return [*rows, ("GPU memory", memory), ("GPU hours", expected)]


def _hosts_queried(configs: Sequence[RunConfig]) -> str:
    """Each host that prompts and images are sent to, in a line, and where its key comes from."""
    lines = dict[str, None]()
    for rewards in (config.rewards for config in configs):
        judged = [(rewards.judge.url, rewards.judge.key_variable)] if rewards.judge is not None else []
        served = [(url, server.key_variable) for server in rewards.servers.values() for url in server.url]
        for url, variable in (*judged, *served):
            server = Server.of(url)
            key = f"with the key in {variable}, if it is set"
            if not server.may_get_key:
                key = "without a key, which goes over https or to this machine only"
            lines[f"{server.name} over {server.scheme} ({key})"] = None
    return "\n".join(lines)


def _listed(downloads: Sequence[Download]) -> str:
    """One line for each download, and the sum of the sizes that are known of files not on this machine yet."""
    if not downloads:
        return "none"
    missing = [download.size for download in downloads if not download.here]
    known = sum(size for size in missing if size is not None)
    unknown = sum(size is None for size in missing)
    files = "1 of a size" if unknown == 1 else f"{unknown} of sizes"
    total = size_text(known) + (f" and {files} not known" if unknown else "")
    return "\n".join([*map(str, downloads), f"in all to download: {total}"])


def _expected_seconds(plans: Sequence[Plan]) -> str:
    candidates = 0.0
    for plan in plans:
        decodes = sum(cost.decodes for cost in expected_costs(plan.open_tasks, plan.config.steps))
        candidates += decodes * math.prod(plan.image_size or ()) / EMBEDDED_PIXELS
    actors = plans[0].config.compute.diffusion_actors
    cores = min(os.cpu_count() or 1, actors if actors != "auto" else os.cpu_count() or 1)
    about = "at most about" if _is_bound(plans) else "about"
    return f"{about} {candidates * EMBEDDED_SECONDS_PER_CANDIDATE / cores:,.0f} on {cores} CPU cores"
