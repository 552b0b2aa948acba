"""All denoising steps of one prompt: Sample Reward Soups, the weighted sum (K = 0), and the unguided model.

Legend of the shape suffixes: L weightings, R rows of latents (one for each weighting, then the hidden exemplars),
N candidates, M rewards, C channels, H height, W width.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from pipeline.guidance.combining.options import WEIGHTED_SUM, Combining
from pipeline.guidance.control_variate import surrogate_step
from pipeline.guidance.ledger import CountedDenoiser, CountedQuery, CountedSurrogate, Ledger
from pipeline.guidance.noise import NoiseKind, extra_noise, initial_noise, step_noise
from pipeline.guidance.overlap import overlap_quartiles
from pipeline.guidance.ports import Denoiser, Query, Surrogate
from pipeline.guidance.rivals.selection import Selection, selection_step
from pipeline.guidance.row_gradients import Correction
from pipeline.guidance.search_gradient import Move, StepKind
from pipeline.guidance.seeds import derive_seed
from pipeline.guidance.shaping import PLAIN, Shaping
from pipeline.guidance.sharing.auto_step import Borrowed, SharedSteps, Sharing
from pipeline.guidance.simplex import Soup, with_exemplars
from pipeline.guidance.soup import Guided, soup_step, weighted_sum_step

Phase = Literal["soup", "weighted_sum", "unguided", "mean"]


@dataclass(frozen=True)
class Guidance:
    """The options of the method.

    Attributes:
        candidates: N, the number of look-ahead candidates around each mean, >= 1; or 0 with a surrogate.
        soup_steps: K in 0..T, the number of steps that share the exemplars' rewards; K = 0 is the weighted sum.
        step: the rule for the length of a move; see `search_gradient.move`.
        correction: the rule that carries an exemplar's gradient over to another row; see `row_gradients`.
        noise: the rule that draws the N noises of a step; see `noise.step_noise`.
        first: the kind of the first K steps: `soup`, or `unguided` for the ablation of Figure 7 (right).
        shaping: the rule that turns rewards into factors of the noises; see `shaping.Shaping`.
        soup_first: the number of weighted-sum steps before the K soup steps; 0 for unguided steps.
        strength: the share of a move that is along the gradient; the rest is fresh noise (`search_gradient.Move`).
        unbiased: whether a surrogate's error enters the gradient; see `control_variate.surrogate_step`.
        sharing: the options of sharing by measured cosines in all steps, for which K is T; None shares in the first K.
        combining: how the rewards of a row become one direction; without a surrogate only.
        selection: the rule of a rival in the place of the search gradient; in weighted-sum steps only.
        particle_temperature: tau of `rivals.particles`, whose particles are the candidates; None for other methods.
    """

    candidates: int
    soup_steps: int
    step: StepKind = "sphere"
    correction: Correction = "renormalised"
    noise: NoiseKind = "plain"
    first: Literal["soup", "unguided"] = "soup"
    shaping: Shaping = PLAIN
    soup_first: int = 0
    strength: float = 1.0
    unbiased: bool = True
    sharing: Sharing | None = None
    combining: Combining = WEIGHTED_SUM
    selection: Selection | None = None
    particle_temperature: float | None = None

    @property
    def soup_end(self) -> int:
        """The index of the first step after the soup steps, from which on no row of a hidden exemplar is needed."""
        return self.soup_first + self.soup_steps if self.soup_steps else 0


@dataclass(frozen=True)
class StepRecord:
    """The record of one step for the `steps` table; its arrays cover the L visible weightings alone.

    Attributes:
        guided: gradient lengths and reward statistics; None if the step made no query.
        overlap_LM3: quartiles of Appendix B; None if the step has no noise or an exemplar has no row of its own.
        borrowed: from where each row has its gradients; None if that is not decided by measured cosines.
    """

    step: int
    timestep: int
    phase: Phase
    sigma: float
    guided: Guided | None
    overlap_LM3: Tensor | None
    borrowed: Borrowed | None = None


@dataclass(frozen=True)
class Trajectory:
    """The final latents of the L weightings (or seeds), float32, and the record of each step."""

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
    surrogate: Surrogate | None = None,
) -> Trajectory:
    """Guide L copies of one x_T, one for each weighting: K soup steps (Algorithm 2), then weighted-sum steps.

    With `guidance.sharing`, measured cosines decide in each step which rows are evaluated (`sharing.auto_step`). Else
    `guidance.soup_first` weighted-sum steps come before the soup steps, and guide the hidden exemplars too. If
    `guidance.first` is `unguided`, the first K steps are x_{t-1} = mu + sigma z of one common sample instead.

    Args:
        w_LM: weights on the simplex (`simplex.as_weights`).
        shape: (C, H, W) of one latent.
        seed: the prompt's own seed, the only source of x_T and of the noises of every step.
        guidance: the options of the method.
        denoiser, query: the ports, bound to the prompt.
        ledger: the ledger that counts the calls.
        on_step: a function that is called with the index of each step when the step is done.
        surrogate: a surrogate of the rewards, bound to the prompt, as the control variate of every guided step.

    Raises:
        ValueError: the soup steps are not within the T steps.
    """
    denoiser, query = CountedDenoiser(denoiser, ledger), CountedQuery(query, ledger)
    counted = surrogate and CountedSurrogate(surrogate, ledger)
    soup, x_RCHW = _start(w_LM, shape, seed, guidance, len(denoiser.timesteps))
    sharing = guidance.sharing and SharedSteps(guidance.sharing, soup, guidance.candidates, guidance.noise, seed)
    records = []
    for i, timestep in enumerate(denoiser.timesteps):
        if i == guidance.soup_end:
            soup, x_RCHW = _without_hidden(soup), _visible(x_RCHW, soup.visible)
        mu_RCHW, sigma = await denoiser.reverse_step(x_RCHW, i)
        noises = _Noises(seed, i, guidance, shape)
        outcome: tuple[Guided | None, Borrowed | None]
        if sharing and sigma:
            rules = (guidance.correction, noises.move, guidance.shaping, guidance.combining)
            moved = await sharing.step(mu_RCHW, sigma, query, i, *rules)
            phase: Phase = "soup" if moved.borrowed.by_any else "weighted_sum"
            x_RCHW, outcome = moved.guided.x_RCHW, (moved.guided.first(soup.visible), moved.borrowed)
        else:
            phase, x_RCHW, guided = await _next_latents(mu_RCHW, sigma, noises, soup, query, counted, i, guidance)
            outcome = (guided, None)
        guided, borrowed = outcome
        records.append(StepRecord(i, timestep, phase, sigma, guided, _overlap(mu_RCHW, sigma, soup), borrowed))
        on_step(i)
    return Trajectory(_visible(x_RCHW, soup.visible), tuple(records))


def _start(w_LM: Tensor, shape: Sequence[int], seed: int, guidance: Guidance, n_steps: int) -> tuple[Soup, Tensor]:
    """Return the soup of the first K steps and x_T for each of its rows (for one row, if they are unguided)."""
    first, k = guidance.soup_first, guidance.soup_steps
    if k < 0 or first < 0 or first + k > n_steps:
        after = f" after {first} other steps" if first else ""
        raise ValueError(f"soup steps K is {k}{after}; it must be 0..{n_steps - first}, within the denoising steps T")
    soup = with_exemplars(w_LM)
    n_rows = len(soup.w_RM) if guidance.first == "soup" else 1
    return soup, initial_noise(seed, shape).expand(n_rows, *shape)


class _Noises:
    """The noises of one step, each from a stream of its own."""

    def __init__(self, seed: int, step: int, guidance: Guidance, shape: Sequence[int]) -> None:
        self._seed, self._step, self._guidance, self._shape = seed, step, guidance, shape
        fresh_D = None if guidance.strength == 1 else extra_noise(seed, "fresh", step, shape).flatten()
        self.move = Move(guidance.step, guidance.strength, fresh_D)

    def of_candidates(self) -> Tensor:
        return step_noise(self._seed, self._step, self._guidance.candidates, self._shape, self._guidance.noise)

    def of_surrogate(self) -> Tensor:
        return extra_noise(self._seed, "surrogate", self._step, self._shape)


async def _next_latents(
    mu_RCHW: Tensor,
    sigma: float,
    noises: _Noises,
    soup: Soup,
    query: Query,
    surrogate: Surrogate | None,
    i: int,
    guidance: Guidance,
) -> tuple[Phase, Tensor, Guided | None]:
    """Return the phase of step i, its latents x_{t-1}, and for a guided step the outcome of the visible rows."""
    if sigma == 0:
        return "mean", mu_RCHW, None
    z_NCHW, move, shared = noises.of_candidates(), noises.move, guidance.soup_first <= i < guidance.soup_end
    rules = (move, guidance.shaping, guidance.combining)
    if shared and guidance.first == "unguided":
        return "unguided", mu_RCHW + sigma * z_NCHW[:1], None
    if surrogate:
        e_CHW = noises.of_surrogate()
        guided = await surrogate_step(
            mu_RCHW, sigma, z_NCHW, e_CHW, soup, surrogate, i, shared, guidance.correction, move, guidance.unbiased
        )
    elif guidance.selection:
        guided = await selection_step(mu_RCHW, sigma, z_NCHW, soup.w_RM, query, i, guidance.selection, guidance.shaping)
    elif shared:
        guided = await soup_step(mu_RCHW, sigma, z_NCHW, soup, query, i, guidance.correction, *rules)
    else:
        guided = await weighted_sum_step(mu_RCHW, sigma, z_NCHW, soup.w_RM, query, i, *rules)
    return "soup" if shared else "weighted_sum", guided.x_RCHW, guided.first(soup.visible)


def _overlap(mu_RCHW: Tensor, sigma: float, soup: Soup) -> Tensor | None:
    """Return the overlap of each visible row with each exemplar, or None if it is not defined in this step."""
    if not sigma or not soup.exemplars or max(soup.exemplars) >= len(mu_RCHW):
        return None
    return overlap_quartiles(mu_RCHW, soup.exemplars, sigma)[: soup.visible]


def _visible(x_RCHW: Tensor, n_weights: int) -> Tensor:
    """Return the rows of the user's weightings. If there is one common row, every weighting gets it."""
    return x_RCHW[:n_weights] if len(x_RCHW) > 1 else x_RCHW.expand(n_weights, *x_RCHW.shape[1:])


def _without_hidden(soup: Soup) -> Soup:
    """Drop the hidden exemplars. The exemplars stay known, for the overlap, if none of them was hidden."""
    known = soup.exemplars if all(row < soup.visible for row in soup.exemplars) else ()
    return Soup(soup.w_RM[: soup.visible], known, soup.visible)


def unguided_seeds(seed: int, n: int) -> tuple[int, ...]:
    """Derive n seeds from a prompt's seed, one for each sample of the unguided model."""
    return tuple(derive_seed(seed, "unguided", index) for index in range(n))


async def run_unguided(
    seeds: Sequence[int],
    shape: Sequence[int],
    denoiser: Denoiser,
    ledger: Ledger,
    on_step: OnStep = lambda step: None,
    x_LCHW: Tensor | None = None,
    passes: int | None = None,
) -> Trajectory:
    """Draw one sample of the pretrained model from each seed: x_{t-1} = mu + sigma z, without any query.

    Args:
        x_LCHW: the noises x_T of the samples; None for those of the seeds, which also give the noises of the steps.
        passes: the number of noise predictions of a step; None for one a sample. A soup of outputs makes more.
    """
    denoiser = CountedDenoiser(denoiser, ledger, passes)
    x_LCHW = torch.stack([initial_noise(seed, shape) for seed in seeds]) if x_LCHW is None else x_LCHW
    records = []
    for i, timestep in enumerate(denoiser.timesteps):
        mu_LCHW, sigma = await denoiser.reverse_step(x_LCHW, i)
        z_LCHW = torch.cat([step_noise(seed, i, 1, shape) for seed in seeds])
        x_LCHW = mu_LCHW + sigma * z_LCHW
        records.append(StepRecord(i, timestep, "unguided" if sigma else "mean", sigma, None, None))
        on_step(i)
    return Trajectory(x_LCHW, tuple(records))
