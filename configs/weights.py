"""Weights by rule: rows of the simplex from one line of a configuration."""

from collections.abc import Mapping
from fractions import Fraction
from typing import Any

PAPER_13 = (
    ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
    ((Fraction(1, 3),) * 3,),
    ((0.1, 0.1, 0.8), (0.1, 0.8, 0.1), (0.8, 0.1, 0.1)),
    ((0.2, 0.2, 0.6), (0.2, 0.6, 0.2), (0.6, 0.2, 0.2)),
    ((0.4, 0.4, 0.2), (0.4, 0.2, 0.4), (0.2, 0.4, 0.4)),
)
"""The paper's weights for three rewards (Appendix D), in its order."""

RULES = "{grid: points an axis}, {das_dennis: partitions}, {riesz: points} or {paper: 13}"
LARGEST = 10_000

WeightRows = list[list[float]]


def weights_by_rule(rule: Mapping[str, Any], n_rewards: int) -> WeightRows:
    """The rows that a rule names, for M rewards.

    - `{grid: n}`: every row whose entries are multiples of 1 / (n - 1); for two rewards n rows from w_1 = 0 to 1.
    - `{das_dennis: p}`: the same with p = n - 1 partitions, as Das and Dennis count them (SIAM J. Optim. 8, 1998).
    - `{riesz: n}`: n rows of least Riesz s-energy (Blank and others, IEEE Trans. Evol. Comput. 25, 2021; pymoo's, from
      seed 1), the one-hot rows among them; for numbers of rows that no grid has.
    - `{paper: 13}`: the paper's for three rewards (Appendix D).

    Raises:
        ValueError: no such rule, or a value that it does not take; the part after a semicolon is the fix.
    """
    if len(rule) != 1:
        raise ValueError(f"weights: a rule is one key and its value, not {dict(rule)}; give one of {RULES}")
    ((name, value),) = rule.items()
    if type(value) is not int:
        raise ValueError(f"weights.{name}: {value!r} is no whole number; give one of {RULES}")
    if name == "paper":
        if (value, n_rewards) != (13, 3):
            raise ValueError(
                f"weights.paper: the paper has 13 weights for 3 rewards, not {value} for {n_rewards}; "
                "set {paper: 13} with three guided rewards, or {grid: 6}"
            )
        return [[float(w) for w in row] for group in PAPER_13 for row in group]
    if name in ("grid", "das_dennis"):
        partitions = value - 1 if name == "grid" else value
        if not 1 <= partitions <= LARGEST:
            least = 2 if name == "grid" else 1
            raise ValueError(f"weights.{name}: {value} is not within {least}..{LARGEST}; set it to {least} or more")
        return _lattice(n_rewards, partitions)
    if name == "riesz":
        return _riesz(n_rewards, value)
    raise ValueError(f"weights.{name}: there is no such rule; give rows, or one of {RULES}")


def _lattice(n_rewards: int, partitions: int) -> WeightRows:
    """All rows of multiples of 1/p that sum to 1, ascending; each entry the float nearest to its fraction."""
    counts: list[tuple[int, ...]] = [()]
    for _ in range(n_rewards - 1):
        counts = [(*head, k) for head in counts for k in range(partitions - sum(head) + 1)]
        if len(counts) > LARGEST:
            raise ValueError(f"weights: these are more than {LARGEST} rows; use fewer partitions")
    return [[k / partitions for k in (*head, partitions - sum(head))] for head in counts]


def _riesz(n_rewards: int, n_points: int) -> WeightRows:
    if not n_rewards <= n_points <= LARGEST:
        raise ValueError(
            f"weights.riesz: {n_points} is not within {n_rewards}..{LARGEST}; set it to {n_rewards} or more, one row "
            "for each guided reward"
        )
    if n_rewards == 1:
        raise ValueError("weights.riesz: one reward has one weight only; set weights to [[1.0]]")
    # Here, because it costs half a second and only this rule needs it.
    from pymoo.util.ref_dirs import get_reference_directions

    points = get_reference_directions("energy", n_rewards, n_points, seed=1)
    return [[0.0 if w < 1e-9 else 1.0 if w > 1 - 1e-9 else float(w) for w in row] for row in points]
