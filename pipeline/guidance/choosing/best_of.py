"""Best of n: draw n samples of the unguided model, and keep one of them for each weighting.

Legend of the shape suffixes: n samples, B samples of one batch, L weightings, M rewards, C channels, H height,
W width.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from pipeline.guidance.choosing.choice import Keep, choose
from pipeline.guidance.ledger import Ledger
from pipeline.guidance.ports import Denoiser
from pipeline.guidance.runner import OnStep, StepRecord, Trajectory, run_unguided, unguided_seeds

# Decodes final latents (B, C, H, W), queries every guiding reward and returns the scores, float64 (B, M).
ScoreFinals = Callable[[Tensor], Awaitable[Tensor]]


class Chosen(NamedTuple):
    """The trajectory of the chosen samples, one for each weighting, and their seeds."""

    trajectory: Trajectory
    seeds: tuple[int, ...]


async def run_best_of(
    w_LM: Tensor,
    n: int,
    batch: int,
    shape: Sequence[int],
    seed: int,
    denoiser: Denoiser,
    score: ScoreFinals,
    ledger: Ledger,
    on_step: OnStep = lambda step: None,
    keep: Keep = "weighted",
) -> Chosen:
    """Draw n samples in batches, score each with every reward, and choose one for each weighting (`choice.choose`).

    Latents are not kept. Instead, each batch that holds a chosen sample is drawn again from the same seeds, which gives
    the same bits and costs at most L batches of denoising and no query.

    Args:
        n: the number of samples, >= 1; they cost n M queries and n decodes.
        batch: B, the number of samples that are denoised at once.
        seed: the prompt's own seed. The samples' seeds are derived from it, and the first of them are those of the
            unguided model (`runner.unguided_seeds`).
        keep: how the samples are chosen.
    """
    seeds = unguided_seeds(seed, n)
    batches = [seeds[i : i + batch] for i in range(0, n, batch)]
    scores = []
    for drawn in batches:
        x_BCHW = (await run_unguided(drawn, shape, denoiser, ledger, on_step)).x_LCHW
        r_BM = await score(x_BCHW)
        ledger.decodes += len(r_BM)
        ledger.queries.update({m: len(r_BM) for m in range(r_BM.shape[1])})
        scores.append(r_BM)
    chosen = choose(w_LM, torch.cat(scores), keep)
    redrawn: dict[int, Trajectory] = {}
    for number in sorted({index // batch for index in chosen}):
        redrawn[number] = await run_unguided(batches[number], shape, denoiser, ledger)
    x_LCHW = torch.stack([redrawn[index // batch].x_LCHW[index % batch] for index in chosen])
    records: tuple[StepRecord, ...] = next(iter(redrawn.values())).steps
    return Chosen(Trajectory(x_LCHW, records), tuple(seeds[index] for index in chosen))
