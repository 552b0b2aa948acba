"""Chooses the L images of a front from P samples whose rewards are known. It costs no query.

Legend of the shape suffixes: P samples, L weightings, M rewards.
"""

from collections.abc import Sequence
from typing import Literal

import moocore
import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from pipeline.guidance.search_gradient import normalise
from pipeline.guidance.simplex import TOLERANCE

Keep = Literal["weighted", "spread"]

# The reference point lies below the worst sample, by this share of the range of each reward.
MARGIN = 0.05


def choose(w_LM: Tensor, scores_PM: Tensor, keep: Keep) -> list[int]:
    """Return the index of the sample that each weighting keeps.

    Args:
        w_LM: the weights. For `spread` every reward has a one-hot row, and L <= P.
        scores_PM: the rewards of the samples.
        keep: `weighted` chooses argmax_p sum_m w_lm r~_mp for each weighting l by itself, with r~ normalised over the
            samples (`search_gradient.normalise`); the first sample on a tie. `spread` chooses L different samples
            (`spread`).
    """
    r_MP = torch.stack([normalise(r_P) for r_P in scores_PM.T])
    if keep == "weighted":
        return (w_LM @ r_MP).argmax(1).tolist()
    return spread(w_LM.double().numpy(), r_MP.T.double().numpy())


def spread(w_LM: NDArray[np.float64], r_PM: NDArray[np.float64]) -> list[int]:
    """Return L different samples with a large joint hypervolume, in the order of the weightings.

    Under the weighted sum neighbours often choose the same sample, and samples in a hollow of the front are never
    chosen. Here each one-hot row has the best sample of its reward, if it is not taken. Then the sample that adds most
    hypervolume is taken, one after the other. As hypervolume is submodular, what this adds is at least 1 - 1/e of the
    most that as many samples could add (Nemhauser et al. 1978; for fronts Guerreiro et al. 2016, Evol. Comput. 24(3)).
    Finally the mixed rows get these samples so that sum_l w_l . r_p(l) is largest (an assignment problem).

    Args:
        w_LM: the weights, with a one-hot row for every reward.
        r_PM: the normalised rewards, P >= L.
    """
    ends: dict[int, int] = {}
    for row in range(len(w_LM)):
        if w_LM[row].max() > 1 - TOLERANCE:
            order = np.argsort(-r_PM[:, int(w_LM[row].argmax())], kind="stable")
            ends[row] = next(p for p in order.tolist() if p not in ends.values())
    taken = list(ends.values())
    mixed = [row for row in range(len(w_LM)) if row not in ends]
    chosen = _greedy(r_PM, taken, len(mixed))
    of_row, of_chosen = linear_sum_assignment(w_LM[mixed] @ r_PM[chosen].T, maximize=True)
    assigned = ends | {mixed[row]: chosen[p] for row, p in zip(of_row, of_chosen, strict=True)}
    return [assigned[row] for row in range(len(w_LM))]


def _greedy(r_PM: NDArray[np.float64], taken: Sequence[int], n: int) -> list[int]:
    """Return n samples besides those taken, each of which adds most hypervolume to those before it."""
    extent_M = np.ptp(r_PM, axis=0)
    corner = r_PM.min(0) - MARGIN * np.where(extent_M > 0, extent_M, 1.0)
    # Another sample that is dominated adds something only if the front itself has too few samples.
    front = set(np.flatnonzero(moocore.is_nondominated(r_PM, maximise=True, keep_weakly=True)).tolist())
    pool = sorted(front - set(taken))
    if len(pool) < n:
        pool = sorted(set(range(len(r_PM))) - set(taken))
    kept, added = list(taken), list[int]()
    for _ in range(n):
        volumes = [moocore.hypervolume(r_PM[[*kept, p]], ref=corner, maximise=True) for p in pool]
        best = pool.pop(int(np.argmax(volumes)))
        kept.append(best)
        added.append(best)
    return added
