"""What a task should cost, before it is begun. What it did cost is counted by the ledger."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.planning.task import PromptTask


@dataclass(frozen=True)
class ExpectedCost:
    """What one prompt of one method should cost; what it did cost is counted by the ledger.

    Attributes:
        steps: denoising steps that are told to the progress bar, of batches one after the other.
    """

    queries: int
    decodes: int
    steps: int


def expected_cost(task: PromptTask, steps: int) -> ExpectedCost:
    """Queries and decodes of a task, with hidden exemplars where the weights lack a one-hot.

    For weights that hold all M one-hots: queries = N M (T (L-M+1) - K (L-M)), decodes = N (M K + L (T-K)) + L
    (Table 4). Steps with sigma = 0 ask nothing and are not foreseen here.
    """
    n, n_weights, n_rewards = task.guidance.candidates, len(task.weights), len(task.guided)
    if task.method == "unguided":
        return ExpectedCost(0, n_weights, steps)
    if task.method == "best_of":
        batches = math.ceil(task.samples / task.chunk)
        return ExpectedCost(n_rewards * task.samples, task.samples + n_weights, batches * steps)
    k = task.guidance.soup_steps
    shared = k if task.guidance.first == "soup" else 0
    return ExpectedCost(
        queries=queries_of(n, task.weights, shared, steps - k),
        decodes=n * (n_rewards * shared + n_weights * (steps - k)) + n_weights,
        steps=steps,
    )


def queries_of(candidates: int, weights: Sequence[Sequence[float]], shared: int, alone: int) -> int:
    """N (M `shared` + A `alone`): soup steps ask each reward for its exemplar, weighted-sum steps each of the A
    rewards with a weight above 0."""
    asked = sum(w > 0 for row in weights for w in row)
    return candidates * (len(weights[0]) * shared + asked * alone)
