"""The expected cost of a task, computed before it starts. The ledger counts the actual cost."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from configs.step_checks import SOUPS_OF_ADAPTERS
from pipeline.guidance.sharing.auto_step import Sharing
from pipeline.guidance.simplex import TOLERANCE
from pipeline.planning.task import PromptTask


@dataclass(frozen=True)
class ExpectedCost:
    """The expected cost of one task.

    Attributes:
        queries: calls of a reward on a candidate.
        decodes: decoded images: the candidates and the final images.
        steps: denoising steps, counted once for all rows of a batch, as the progress display counts them.
        bound: whether queries and decodes are upper bounds, because what is measured on the way decides them.
    """

    queries: int
    decodes: int
    steps: int
    bound: bool = False


def expected_cost(task: PromptTask, steps: int) -> ExpectedCost:
    """Return the expected cost of a task, including the hidden exemplars of rewards without a one-hot weighting.

    If the weightings include all M one-hots: queries = N M (T (L-M+1) - K (L-M)), decodes = N (M K + L (T-K)) + L
    (Table 4). Steps with sigma = 0 make no query; this formula does not consider them.

    Args:
        task: the task.
        steps: T, the number of denoising steps.
    """
    n, n_weights, n_rewards = task.guidance.candidates, len(task.weights), len(task.guided)
    if task.method in ("unguided", *SOUPS_OF_ADAPTERS):
        return ExpectedCost(0, n_weights, steps)
    if task.method == "best_of":
        batches = sum(math.ceil(size / task.chunk) for size in task.evolution.sizes(task.samples))
        return ExpectedCost(n_rewards * task.samples, task.samples + n_weights, batches * steps)
    if task.guidance.sharing:
        return _largest_cost(task, task.guidance.sharing, steps)
    k = task.guidance.soup_steps
    shared = k if task.guidance.first == "soup" else 0
    hidden = n * hidden_exemplars(task.weights) * task.guidance.soup_first
    # The samples among which several fronts let each weighting choose.
    pool = task.fronts * n_weights if task.fronts > 1 else 0
    return ExpectedCost(
        queries=task.fronts * (queries_of(n, task.weights, shared, steps - k) + hidden) + n_rewards * pool,
        decodes=task.fronts * (n * (n_rewards * shared + n_weights * (steps - k)) + hidden) + pool + n_weights,
        steps=task.fronts * steps,
    )


def _largest_cost(task: PromptTask, sharing: Sharing, steps: int) -> ExpectedCost:
    """Return what steps cost at most that share by measured cosines.

    In the first step all rows have the same mean, so that only the exemplars are evaluated; in the others all rows may
    be. With `allot` no step costs more than a weighted-sum step with N candidates around each weighting.
    """
    n, n_weights, n_rewards = task.guidance.candidates, len(task.weights), len(task.guided)
    positive = queries_of(1, task.weights, 0, 1)
    if sharing.allot:
        return ExpectedCost(n * positive * steps, n * n_weights * steps + n_weights, steps, bound=True)
    hidden = hidden_exemplars(task.weights)
    rows = n_weights + hidden
    first = n_rewards * n_rewards if sharing.every_reward else n_rewards
    later = rows * n_rewards if sharing.every_reward else positive + hidden
    return ExpectedCost(
        n * (first + later * (steps - 1)), n * (n_rewards + rows * (steps - 1)) + n_weights, steps, bound=True
    )


def expected_costs(tasks: Sequence[PromptTask], steps: int) -> list[ExpectedCost]:
    """Return the expected cost of each task of one run, in which the method, N and the number of fronts decide."""
    costs = dict[tuple[str, int, int], ExpectedCost]()
    for task in tasks:
        if (kind := (task.method, task.guidance.candidates, task.fronts)) not in costs:
            costs[kind] = expected_cost(task, steps)
    return [costs[task.method, task.guidance.candidates, task.fronts] for task in tasks]


def hidden_exemplars(weights: Sequence[Sequence[float]]) -> int:
    """Return the number of rewards without a one-hot weighting. Their exemplars are guided until the soup steps end."""
    return sum(all(row[m] != 1 for row in weights) for m in range(len(weights[0])))


def queries_of(candidates: int, weights: Sequence[Sequence[float]], soup_steps: int, weighted_sum_steps: int) -> int:
    """Return N (M `soup_steps` + A `weighted_sum_steps`), where A is the number of positive weights in all rows.

    A soup step queries each reward for its exemplar. A weighted-sum step queries, for each row, every reward whose
    weight is above 0, that is, above the tolerance of rounding.
    """
    positive = sum(w > TOLERANCE for row in weights for w in row)
    return candidates * (len(weights[0]) * soup_steps + positive * weighted_sum_steps)
