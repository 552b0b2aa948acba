"""Several guided fronts of one prompt, of whose samples each weighting keeps one.

Legend of the shape suffixes: n fronts, L weightings, P = n L samples, M rewards, C channels, H height, W width.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from pipeline.guidance.choosing.best_of import Chosen, ScoreFinals
from pipeline.guidance.choosing.choice import Keep, choose
from pipeline.guidance.ledger import Ledger
from pipeline.guidance.ports import Denoiser, Query, Surrogate
from pipeline.guidance.runner import Guidance, OnStep, Trajectory, run_guided
from pipeline.guidance.seeds import derive_seed


async def run_best_front(
    w_LM: Tensor,
    n: int,
    shape: Sequence[int],
    seed: int,
    guidance: Guidance,
    denoiser: Denoiser,
    query: Query,
    score: ScoreFinals,
    ledger: Ledger,
    on_step: OnStep = lambda step: None,
    surrogate: Surrogate | None = None,
    keep: Keep = "weighted",
) -> Chosen:
    """Guide n fronts, score all P samples with every reward, and choose one for each weighting among all of them.

    It costs P M queries and P decodes besides the guidance. With guidance that asks for few queries this is a cheap way
    to raise a front, paid in passes through the denoiser.

    Args:
        n: the number of fronts, >= 1.
        seed: the seed of the first front; those of the others are derived from it.
        keep: how the samples are chosen (`choice.choose`).

    Returns:
        The chosen samples with the seeds of their fronts. The records of the steps are those of the first front.
    """
    seeds = [seed, *(derive_seed(seed, "front", index) for index in range(1, n))]
    trajectories, scores = list[Trajectory](), list[Tensor]()
    for one in seeds:
        trajectory = await run_guided(w_LM, shape, one, guidance, denoiser, query, ledger, on_step, surrogate)
        r_LM = await score(trajectory.x_LCHW)
        ledger.decodes += len(r_LM)
        ledger.queries.update({m: len(r_LM) for m in range(r_LM.shape[1])})
        trajectories.append(trajectory)
        scores.append(r_LM)
    chosen = choose(w_LM, torch.cat(scores), keep)
    x_PCHW = torch.cat([trajectory.x_LCHW for trajectory in trajectories])
    return Chosen(
        Trajectory(x_PCHW[chosen], trajectories[0].steps), tuple(seeds[index // len(w_LM)] for index in chosen)
    )
