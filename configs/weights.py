"""Weights by rule: many rows of the simplex from one line of a configuration."""

import math
from collections.abc import Mapping, Sequence
from fractions import Fraction
from functools import cache
from typing import Any

from configs.errors import InvalidValueError
from configs.sections.adaptive import LARGEST_ADAPTIVE

PAPER_13 = (
    ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
    ((Fraction(1, 3),) * 3,),
    ((0.1, 0.1, 0.8), (0.1, 0.8, 0.1), (0.8, 0.1, 0.1)),
    ((0.2, 0.2, 0.6), (0.2, 0.6, 0.2), (0.6, 0.2, 0.2)),
    ((0.4, 0.4, 0.2), (0.4, 0.2, 0.4), (0.2, 0.4, 0.4)),
)
"""The paper's weights for three rewards (Appendix D), in its order."""

RULES = "{grid: points on an axis}, {das_dennis: partitions}, {riesz: points}, {paper: 13} or {adaptive: points}"
LARGEST = 10_000
WEIGHT_TOLERANCE = 1e-6
"""The largest rounding error of a weight and of the sum of a row."""
# The time of its computation grows with the square of the number.
LARGEST_RIESZ = 200
MOST_REWARDS = 100

WeightRows = list[list[float]]


def weights_by_rule(rule: Mapping[str, Any], n_rewards: int) -> WeightRows:
    """Return the rows that a rule names, for M rewards.

    - `{grid: n}`: every row whose entries are multiples of 1 / (n - 1). For two rewards these are n rows, from
      w_1 = 0 to w_1 = 1.
    - `{das_dennis: p}`: the same with p = n - 1 partitions, as Das and Dennis count them (SIAM J. Optim. 8, 1998).
    - `{riesz: n}`: n rows of least Riesz s-energy (Blank and others, IEEE Trans. Evol. Comput. 25, 2021), computed by
      pymoo from seed 1; at most 200. The one-hot rows are among them. Use it for numbers of rows that no grid has.
    - `{adaptive: n}`: for two rewards `{grid: n}`, which is re-spaced from round to round (the section `adaptive`).
    - `{paper: 13}`: the paper's 13 rows for three rewards (Appendix D).

    Raises:
        InvalidValueError: there is no such rule, or the rule does not take the value.
    """
    if n_rewards > MOST_REWARDS:
        raise InvalidValueError(f"there are {n_rewards:,} rewards", f"name at most {MOST_REWARDS}", "rewards.guided")
    if len(rule) != 1:
        raise InvalidValueError(f"a rule is one key and its value, not {dict(rule)}", f"give one of {RULES}", "weights")
    ((name, value),) = rule.items()
    key = f"weights.{name}"
    if type(value) is not int:
        raise InvalidValueError(f"{key} is {value!r}, which is not a whole number", f"give one of {RULES}", key)
    if name == "paper":
        if (value, n_rewards) != (13, 3):
            raise InvalidValueError(
                f"the paper has 13 weights for 3 rewards, not {value} for {n_rewards}",
                "set {paper: 13} with three guided rewards, or {grid: 6}",
                key,
            )
        return [[float(w) for w in row] for group in PAPER_13 for row in group]
    if name == "adaptive" and (n_rewards != 2 or not 3 <= value <= LARGEST_ADAPTIVE):
        raise InvalidValueError(
            f"{key} is {value} for {n_rewards} rewards, but weights are re-spaced for two rewards and 3 to "
            f"{LARGEST_ADAPTIVE} rows",
            "set {adaptive: 6} with two guided rewards, or {grid: 6}",
            key,
        )
    if name in ("grid", "das_dennis", "adaptive"):
        partitions = value if name == "das_dennis" else value - 1
        if not 1 <= partitions <= LARGEST:
            least = 1 if name == "das_dennis" else 2
            raise InvalidValueError(
                f"{key} is {value}, not within {least}..{LARGEST}", f"set it to {least} or more", key
            )
        return _lattice(n_rewards, partitions)
    if name == "riesz":
        return _riesz(n_rewards, value)
    raise InvalidValueError("there is no such rule", f"give rows, or one of {RULES}", key)


def _lattice(n_rewards: int, partitions: int) -> WeightRows:
    """All rows of multiples of 1/p that sum to 1, ascending. Each entry is the float nearest to its fraction."""
    rows = math.comb(partitions + n_rewards - 1, n_rewards - 1)
    if rows > LARGEST:
        raise InvalidValueError(
            f"the rule gives more than {LARGEST:,} rows for {n_rewards} rewards", "use fewer partitions", "weights"
        )
    counts: list[tuple[int, ...]] = [()]
    for _ in range(n_rewards - 1):
        counts = [(*head, k) for head in counts for k in range(partitions - sum(head) + 1)]
    return [[k / partitions for k in (*head, partitions - sum(head))] for head in counts]


def _riesz(n_rewards: int, n_points: int) -> WeightRows:
    key = "weights.riesz"
    if not n_rewards <= n_points <= LARGEST_RIESZ:
        raise InvalidValueError(
            f"{key} is {n_points}, not within {n_rewards}..{LARGEST_RIESZ}",
            f"set it to {n_rewards} or more, one row for each guided reward, or use a grid",
            key,
        )
    if n_rewards == 1:
        raise InvalidValueError("one reward has one weight only", "set weights to [[1.0]]", key)
    return [list(row) for row in _riesz_rows(n_rewards, n_points)]


@cache
def _riesz_rows(n_rewards: int, n_points: int) -> WeightRows:
    # Imported here, because the import takes half a second and only this rule needs it.
    from pymoo.util.ref_dirs import get_reference_directions

    points = get_reference_directions("energy", n_rewards, n_points, seed=1)
    rows = [[0.0 if w <= WEIGHT_TOLERANCE else float(w) for w in row] for row in points]
    return [list(with_exact_one_hot(row)) for row in rows]


def with_exact_one_hot(row: Sequence[float]) -> Sequence[float]:
    """Return a row of weights, as an exact one-hot row if it differs from one by rounding only.

    Such a row has one entry above `WEIGHT_TOLERANCE`: [0.9999999999999999, 0] is returned as (1.0, 0.0).
    """
    positive = [index for index, w in enumerate(row) if w > WEIGHT_TOLERANCE]
    if len(positive) != 1:
        return row
    return tuple(float(index == positive[0]) for index in range(len(row)))
