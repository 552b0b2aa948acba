"""All denoising steps of one prompt: Sample Reward Soups, the weighted sum (K = 0), and the unguided model.

Legend of the shape suffixes: L weights, R rows of latents (the L weights, then hidden exemplars), N
candidates, M rewards, C channels, H height, W width.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from pipeline.guidance.ledger import CountedDenoiser, CountedQuery, Ledger
from pipeline.guidance.noise import NoiseKind, initial_noise, step_noise
from pipeline.guidance.overlap import overlap_quartiles
from pipeline.guidance.ports import Denoiser, Query
from pipeline.guidance.search_gradient import StepKind
from pipeline.guidance.seeds import derive_seed
from pipeline.guidance.shaping import PLAIN, Shaping
from pipeline.guidance.simplex import Soup, with_exemplars
from pipeline.guidance.soup import Correction, Guided, soup_step, weighted_sum_step

Phase = Literal["soup", "weighted_sum", "unguided", "mean"]


@dataclass(frozen=True)
class Guidance:
    """The options of the method.

    Attributes:
        candidates: N >= 1, look-ahead candidates around each mean.
        soup_steps: K, 0..T; the first K steps share the exemplars' rewards, 0 is the weighted sum.
        step: how long a move is; see `search_gradient.move`.
        correction: how an exemplar's gradient is carried over; see `soup.corrected_gradient`.
        noise: how the N noises of a step are drawn; see `noise.step_noise`.
        first: what the first K steps are: `soup`, or `unguided`, the ablation of Figure 7 (right).
        shaping: how rewards become factors of the noises; see `shaping.Shaping`.
    """

    candidates: int
    soup_steps: int
    step: StepKind = "sphere"
    correction: Correction = "renormalised"
    noise: NoiseKind = "plain"
    first: Literal["soup", "unguided"] = "soup"
    shaping: Shaping = PLAIN


@dataclass(frozen=True)
class StepRecord:
    """What happened in one step, for the `steps` table; the arrays cover the L visible weights only.

    Attributes:
        guided: gradient lengths and reward statistics; None where the step asked nothing.
        overlap_LM3: quartiles of Appendix B; None where no exemplars run.
    """

    step: int
    timestep: int
    phase: Phase
    sigma: float
    guided: Guided | None
    overlap_LM3: Tensor | None


@dataclass(frozen=True)
class Trajectory:
    """Final latents of the L weights (or seeds), float32, and the record of each step."""

    x_LCHW: Tensor
    steps: tuple[StepRecord, ...]


OnStep = Callable[[int], None]


async def run_guided(
    w_LM: Tensor,
    shape: Sequence[int],
    seed: int,
    guidance: Guidance,
    denoiser: Denoiser,
    query: Query,
    ledger: Ledger,
    on_step: OnStep = lambda step: None,
) -> Trajectory:
    """Guide L copies of one x_T, one for each weight: K soup steps (Algorithm 2), then weighted-sum steps.

    With `guidance.first` unguided, the first K steps are x_{t-1} = mu + sigma z of one common sample instead.

    Args:
        w_LM: weights on the simplex (`simplex.as_weights`).
        shape: (C, H, W) of one latent.
        seed: the prompt's own; x_T and the noises of every step come from it alone.
        guidance: the options of the method.
        denoiser, query: the ports, bound to the prompt.
        ledger: is added to as calls are made.
        on_step: is called with each step's index when the step is done.

    Raises:
        ValueError: K is not within 0..T.
    """
    denoiser, query = CountedDenoiser(denoiser, ledger), CountedQuery(query, ledger)
    n_steps, n_weights = len(denoiser.timesteps), len(w_LM)
    if not 0 <= guidance.soup_steps <= n_steps:
        raise ValueError(f"soup steps K is {guidance.soup_steps}; it must be 0..{n_steps}, the denoising steps T")
    soup, shaping = with_exemplars(w_LM), guidance.shaping
    n_first = len(soup.w_RM) if guidance.first == "soup" else 1
    x_RCHW = initial_noise(seed, shape).expand(n_first, *shape)
    records = []
    for i, timestep in enumerate(denoiser.timesteps):
        if i == guidance.soup_steps:
            soup, x_RCHW = _without_hidden(soup), _visible(x_RCHW, n_weights)
        mu_RCHW, sigma = await denoiser.reverse_step(x_RCHW, i)
        phase: Phase = "mean" if sigma == 0 else guidance.first if i < guidance.soup_steps else "weighted_sum"
        z_NCHW = step_noise(seed, i, guidance.candidates, shape, guidance.noise)
        x_RCHW, guided = mu_RCHW, None
        if phase == "unguided":
            x_RCHW = mu_RCHW + sigma * z_NCHW[:1]
        elif phase == "soup":
            guided = await soup_step(
                mu_RCHW, sigma, z_NCHW, soup, query, i, guidance.correction, guidance.step, shaping
            )
        elif phase == "weighted_sum":
            guided = await weighted_sum_step(mu_RCHW, sigma, z_NCHW, soup.w_RM, query, i, guidance.step, shaping)
        if guided is not None:
            x_RCHW, guided = guided.x_RCHW, guided.first(n_weights)
        parted = sigma and soup.exemplars and max(soup.exemplars) < len(mu_RCHW)
        overlap = overlap_quartiles(mu_RCHW, soup.exemplars, sigma)[:n_weights] if parted else None
        records.append(StepRecord(i, timestep, phase, sigma, guided, overlap))
        on_step(i)
    return Trajectory(_visible(x_RCHW, n_weights), tuple(records))


def _visible(x_RCHW: Tensor, n_weights: int) -> Tensor:
    """The rows of the user's weights; one common row is theirs all."""
    return x_RCHW[:n_weights] if len(x_RCHW) > 1 else x_RCHW.expand(n_weights, *x_RCHW.shape[1:])


def _without_hidden(soup: Soup) -> Soup:
    """The user's rows alone. Exemplars stay known, for the overlap, where all are among those rows."""
    known = soup.exemplars if all(row < soup.visible for row in soup.exemplars) else ()
    return Soup(soup.w_RM[: soup.visible], known, soup.visible)


def unguided_seeds(seed: int, n: int) -> tuple[int, ...]:
    """Seeds of their own for the n samples that the unguided model draws for a prompt."""
    return tuple(derive_seed(seed, "unguided", index) for index in range(n))


async def run_unguided(
    seeds: Sequence[int],
    shape: Sequence[int],
    denoiser: Denoiser,
    ledger: Ledger,
    on_step: OnStep = lambda step: None,
) -> Trajectory:
    """Draw one sample of the pretrained model from each seed: x_{t-1} = mu + sigma z, no query."""
    denoiser = CountedDenoiser(denoiser, ledger)
    x_LCHW = torch.stack([initial_noise(seed, shape) for seed in seeds])
    records = []
    for i, timestep in enumerate(denoiser.timesteps):
        mu_LCHW, sigma = await denoiser.reverse_step(x_LCHW, i)
        z_LCHW = torch.cat([step_noise(seed, i, 1, shape) for seed in seeds])
        x_LCHW = mu_LCHW + sigma * z_LCHW
        records.append(StepRecord(i, timestep, "unguided" if sigma else "mean", sigma, None, None))
        on_step(i)
    return Trajectory(x_LCHW, tuple(records))
