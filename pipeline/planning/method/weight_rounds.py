"""Divides the fronts of a run into the rounds of its adaptive weights."""

from collections.abc import Sequence
from dataclasses import replace

from configs.schema import SURROGATE_METHODS, RunConfig
from pipeline.planning.surrogates.rounds import round_at
from pipeline.planning.task import PromptTask

ADAPTING = SURROGATE_METHODS


def with_weight_rounds(config: RunConfig, tasks: Sequence[PromptTask]) -> tuple[PromptTask, ...]:
    """Return the tasks with the rounds of their weights, in the same order.

    By the order of their keys, the tasks of each method fill rounds of 8, 16, 32, ... fronts, if `first_round` is 8;
    the last round has all that are left. The weights of the first round are those of the configuration, and the driver
    gives those of later rounds.
    """
    section = config.adaptive
    if section is None:
        return tuple(tasks)
    sizes = [section.first_round * 2**index for index in range(section.rounds - 1)]
    round_of: dict[str, int] = {}
    for method in ADAPTING:
        keys = sorted(task.key for task in tasks if task.method == method)
        round_of |= {key: round_at(position, sizes) for position, key in enumerate(keys)}
    return tuple(replace(task, weights_round=round_of.get(task.key)) for task in tasks)


def unadapted(tasks: Sequence[PromptTask]) -> str | None:
    """Return a line for a run of adaptive weights all of whose fronts are in the first round."""
    rounds = [task.weights_round for task in tasks if task.weights_round is not None]
    if not rounds or any(rounds):
        return None
    return (
        f"no weights of this run are re-spaced: all {len(rounds)} fronts are in the first round; set a smaller "
        "adaptive.first_round"
    )
