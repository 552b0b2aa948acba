"""Divides the fronts of a run into the rounds of its surrogate."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from configs.schema import SURROGATE_METHODS, RunConfig
from pipeline.planning.prompts import Prompt
from pipeline.planning.task import PromptTask


def with_rounds(config: RunConfig, tasks: Sequence[PromptTask], content: bytes | None) -> tuple[PromptTask, ...]:
    """Return the tasks with their rounds, in the same order.

    By the order of their keys, the tasks whose method takes a surrogate fill rounds of 8, 16, 32, ... fronts, if
    `first_round` is 8; the last round has all that are left. A task of a later round than the first gets the N of the
    section `surrogate`; the driver adds the surrogate itself. If one is given, all tasks have it from the start.

    Args:
        content: the content of a given surrogate's file.
    """
    section = config.surrogate
    if section is None:
        return tuple(tasks)
    keys = sorted(task.key for task in tasks if task.method in SURROGATE_METHODS)
    sizes = [section.first_round * 2**index for index in range(section.rounds - 1)] if content is None else []
    round_of = {key: round_at(position, sizes) for position, key in enumerate(keys)}
    last = max(round_of.values(), default=0)

    def in_round(task: PromptTask) -> PromptTask:
        if task.key not in round_of:
            return task
        number = round_of[task.key]
        pairs = section.pairs if number < last else 0
        guidance, fronts, keep = task.guidance, 1, task.keep
        if number or content:
            fronts, keep = section.fronts, section.keep
            # In the last round nothing is left to train, so queries that serve nothing else are not made.
            n = section.queries if section.unbiased or pairs else 0
            strength = guidance.strength if section.strength is None else section.strength
            guidance = replace(guidance, candidates=n, unbiased=section.unbiased, strength=strength)
        placed = replace(task, guidance=guidance, round=number, fronts=fronts, keep=keep)
        return replace(placed, pairs=pairs, surrogate=content, gradients_at_once=section.rows)

    return tuple(in_round(task) for task in tasks)


def round_at(position: int, sizes: Sequence[int]) -> int:
    """Return the round of the task at a position, if all rounds but the last have these sizes."""
    for number, size in enumerate(sizes):
        if position < size:
            return number
        position -= size
    return len(sizes)


def fronts_digest(config: RunConfig, prompts: Sequence[Prompt]) -> str:
    """Return the SHA-256 of all that names the fronts of a run. What a surrogate is trained on depends on them."""
    methods = [method for method in config.methods if method in SURROGATE_METHODS]
    fronts: list[Any] = [config.seed, config.seeds, methods, [[one.prompt_id, one.text] for one in prompts]]
    return hashlib.sha256(json.dumps(fronts).encode()).hexdigest()


def unamortised(config: RunConfig, tasks: Sequence[PromptTask]) -> str | None:
    """Return a line for a run whose surrogate helps none of its fronts, because they are all in the first round."""
    section = config.surrogate
    if section is None or section.file is not None or any(task.round for task in tasks):
        return None
    count = sum(task.round is not None for task in tasks)
    if not count:
        return None
    rest = "surrogate.rounds is 1" if section.rounds == 1 else f"surrogate.first_round is {section.first_round}"
    return (
        f"no front of this run has a surrogate: there are {count}, and {rest}; all are guided by queries alone. "
        "Name a trained one by surrogate.file, or set a smaller surrogate.first_round"
    )
