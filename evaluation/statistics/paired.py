"""Two methods on the same prompts: the difference with its interval, a sign-flip test, win rates, Holm's correction."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evaluation.statistics.bootstrap import mean_interval

Values = NDArray[np.float64]
# Up to this number of prompts every assignment of signs is tried, 65,536 at most.
EXACT_PROMPTS = 16
# With more prompts, this many random assignments are tried.
DRAWS = 20_000


@dataclass(frozen=True)
class Paired:
    """How the values of one method differ from those of another, front by front.

    Attributes:
        difference: mean over fronts of first - second.
        low, high: its 95 % interval (`bootstrap.mean_interval`); NaN if it is not known.
        p: two-sided p value of the sign-flip test over prompts.
        exact: whether every assignment of signs was tried.
        prompts: number of different prompts, which are the units.
        wins, ties, losses: prompts for which the first method is better, equal, worse, by the mean over their seeds.
    """

    difference: float
    low: float
    high: float
    p: float
    exact: bool
    prompts: int
    wins: int
    ties: int
    losses: int

    @property
    def win_rate(self) -> float:
        """The share of prompts for which the first method is better; a tie counts half."""
        return (self.wins + self.ties / 2) / self.prompts


def compare(first: Values, second: Values, prompts: NDArray[np.str_]) -> Paired:
    """Compares two methods on the same fronts.

    Args:
        first, second: one value for each front, in the same order, shape (n,).
        prompts: the prompt of each front, shape (n,). Fronts of one prompt are one unit, because its seeds are not
            independent.
    """
    differences = np.asarray(first, dtype=np.float64) - np.asarray(second, dtype=np.float64)
    names, index = np.unique(prompts, return_inverse=True)
    sums: Values = np.bincount(index, weights=differences).astype(np.float64)
    low, high = mean_interval(differences, prompts)
    p, exact = sign_flip_test(sums)
    small = 1e-12 * float(np.abs([first, second]).max())
    wins, losses = int((sums > small).sum()), int((sums < -small).sum())
    return Paired(float(differences.mean()), low, high, p, exact, len(names), wins, len(names) - wins - losses, losses)


def sign_flip_test(differences: Values) -> tuple[float, bool]:
    """Returns the two-sided p value of |sum of differences| if every sign is as likely as its opposite.

    It assumes nothing but that: if the methods are equally good, the difference of a prompt might as well have the
    other sign. So it holds for two prompts too, but n prompts cannot give less than 2^(1 - n). Five prompts therefore
    never reach 0.05. With more than 16 prompts the signs are drawn, always from seed 0, and p is (k + 1) / (draws + 1)
    for k draws that are as extreme.

    Returns:
        The p value, and whether every assignment of signs was tried.
    """
    n = len(differences)
    # Sums that are equal but for rounding count as equal.
    least = abs(float(differences.sum())) - 1e-12 * float(np.abs(differences).sum())
    if n <= EXACT_PROMPTS:
        signs = 1.0 - 2.0 * ((np.arange(2**n)[:, None] >> np.arange(n)) & 1)
        return float((np.abs(signs @ differences) >= least).mean()), True
    random, extreme, at_once = np.random.default_rng(0), 0, max(1, 2_000_000 // n)
    for start in range(0, DRAWS, at_once):
        signs = random.choice(np.array([-1.0, 1.0]), size=(min(at_once, DRAWS - start), n))
        extreme += int((np.abs(signs @ differences) >= least).sum())
    return (extreme + 1) / (DRAWS + 1), False


def holm(p: Values) -> Values:
    """Returns the p values after Holm's correction for their number (Holm 1979), in the same order; NaN stays NaN.

    The k-th smallest of n values is multiplied by n - k + 1, and is at least as large as the one before it. The chance
    that one or more true hypotheses have a corrected value under 0.05 is then at most 5 %.
    """
    p = np.asarray(p, dtype=np.float64)
    known = np.flatnonzero(~np.isnan(p))
    order = known[np.argsort(p[known], kind="stable")]
    corrected = np.full(len(p), np.nan)
    factors = np.arange(len(order), 0, -1)
    corrected[order] = np.minimum(1.0, np.maximum.accumulate(p[order] * factors))
    return corrected
