"""Best of n: draw n samples of the unguided model, and keep one of them for each weighting.

In several generations it is an evolutionary search: the samples after the first generation start from mutated noises of
the best samples so far.

Legend of the shape suffixes: n samples, B samples of one batch, L weightings, M rewards, C channels, H height,
W width.
"""

import math
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from pipeline.guidance.choosing.choice import Keep, choose
from pipeline.guidance.ledger import Ledger
from pipeline.guidance.noise import initial_noise
from pipeline.guidance.ports import Denoiser
from pipeline.guidance.runner import OnStep, StepRecord, Trajectory, run_unguided, unguided_seeds
from pipeline.guidance.seeds import derive_seed

# Decodes final latents (B, C, H, W), queries every guiding reward and returns the scores, float64 (B, M).
ScoreFinals = Callable[[Tensor], Awaitable[Tensor]]


class Chosen(NamedTuple):
    """The trajectory of the chosen samples, one for each weighting, and their seeds."""

    trajectory: Trajectory
    seeds: tuple[int, ...]


@dataclass(frozen=True)
class Origin:
    """The noise that a sample starts from: that of its seed, mixed into that of its parent.

    x_T = sqrt(1 - beta^2) x_T(parent) + beta z(seed), which is again N(0, I). The noises of the steps are those of the
    first ancestor, so that a small beta gives a similar sample.
    """

    seed: int
    parent: "Origin | None" = None

    @property
    def ancestor(self) -> int:
        """The seed of the first ancestor."""
        return self.seed if self.parent is None else self.parent.ancestor

    def noise(self, shape: Sequence[int], mutation: float) -> Tensor:
        """Return x_T, float32; `mutation` is beta."""
        own = initial_noise(self.seed, shape)
        if self.parent is None:
            return own
        return math.sqrt(1 - mutation**2) * self.parent.noise(shape, mutation) + mutation * own


@dataclass(frozen=True)
class Evolution:
    """The generations of a search.

    Attributes:
        generations: G >= 1; 1 draws all samples independently.
        mutation: beta in (0, 1], the share of fresh noise in x_T of a child; 1 forgets the parent but for its step
            noises.
    """

    generations: int = 1
    mutation: float = 0.5

    def sizes(self, n: int) -> tuple[int, ...]:
        """Return the number of samples of each generation, as equal as can be, the larger ones first."""
        count = min(self.generations, n)
        return tuple(n // count + (index < n % count) for index in range(count))


ONE_GENERATION = Evolution()
"""All samples are drawn independently."""


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
    evolution: Evolution = ONE_GENERATION,
) -> Chosen:
    """Draw n samples in batches, score each with every reward, and choose one for each weighting (`choice.choose`).

    Latents are not kept. Instead, each batch that holds a chosen sample is drawn again from the same seeds, which gives
    the same bits and costs at most L batches of denoising and no query.

    In several generations each weighting's best sample so far, by its weighted sum of the normalised rewards, is the
    parent of every L-th child. This is the search over initial noises of "Scaling Image and Video Generation via
    Test-Time Evolutionary Search" (He et al. 2025, arXiv 2505.17618), with two differences: it does not mutate latents
    of later steps, and its parents are the best of each weighting and not those of one reward.

    Args:
        n: the number of samples, >= 1; they cost n M queries and n decodes.
        batch: B, the number of samples that are denoised at once.
        seed: the prompt's own seed. The samples' seeds are derived from it, and the first of them are those of the
            unguided model (`runner.unguided_seeds`).
        keep: how the samples are chosen.
        evolution: the generations.
    """

    async def denoised(origins: Sequence[Origin], counted: OnStep) -> Trajectory:
        x_BCHW = torch.stack([one.noise(shape, evolution.mutation) for one in origins])
        ancestors = [one.ancestor for one in origins]
        return await run_unguided(ancestors, shape, denoiser, ledger, counted, x_BCHW)

    batches, scores, parents = list[Sequence[Origin]](), list[Tensor](), list[Origin]()
    for number, size in enumerate(evolution.sizes(n)):
        if number:
            seeds = [derive_seed(seed, "mutation", number, index) for index in range(size)]
            drawn = [Origin(one, parents[index % len(parents)]) for index, one in enumerate(seeds)]
        else:
            drawn = [Origin(one) for one in unguided_seeds(seed, size)]
        for origins in (drawn[i : i + batch] for i in range(0, size, batch)):
            r_BM = await score((await denoised(origins, on_step)).x_LCHW)
            ledger.decodes += len(r_BM)
            ledger.queries.update({m: len(r_BM) for m in range(r_BM.shape[1])})
            batches.append(origins)
            scores.append(r_BM)
        everyone = [one for origins in batches for one in origins]
        parents = [everyone[index] for index in choose(w_LM, torch.cat(scores), "weighted")]
    chosen = choose(w_LM, torch.cat(scores), keep)
    places = [(number, index) for number, origins in enumerate(batches) for index in range(len(origins))]
    redrawn: dict[int, Trajectory] = {}
    for number in sorted({places[index][0] for index in chosen}):
        redrawn[number] = await denoised(batches[number], lambda step: None)
    x_LCHW = torch.stack([redrawn[places[index][0]].x_LCHW[places[index][1]] for index in chosen])
    records: tuple[StepRecord, ...] = next(iter(redrawn.values())).steps
    return Chosen(Trajectory(x_LCHW, records), tuple(everyone[index].seed for index in chosen))
