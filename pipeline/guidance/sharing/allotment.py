"""How many candidates each evaluated row gets in a step, if few evaluated rows are to get more of them each."""

from typing import NamedTuple


class Budget(NamedTuple):
    """What one step may cost at most: that of a weighted-sum step with N candidates around each row.

    Attributes:
        queries: N times the number of weights above 0.
        candidates: N times the number of weightings.
    """

    queries: int
    candidates: int


def budget_of(n: int, positive_weights: int, n_weights: int) -> Budget:
    """Return the budget of a step for a mean of n candidates around each of the weightings."""
    return Budget(n * positive_weights, n * n_weights)


def most_anchors(budget: Budget, reads: int) -> int:
    """Return how many anchors, of which each reads at most so many rewards, can have two candidates each."""
    return min(budget.queries // (2 * reads), budget.candidates // 2)


def candidates_each(budget: Budget, anchors: int, readings: int) -> int:
    """Return the largest N with N `readings` <= queries and N `anchors` <= candidates of the budget.

    The move of a row along its gradient gains in proportion to cos sqrt(N) (`docs/methods.md`). So if half the rows
    can stand for all of them with a cosine above sqrt(1/2), giving their candidates to these rows is a gain.

    Args:
        budget: the budget of the step.
        anchors: A, the number of evaluated rows.
        readings: the number of rewards that they read, added up over the rows.
    """
    return min(budget.queries // readings, budget.candidates // anchors)
