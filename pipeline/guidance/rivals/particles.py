"""Feynman-Kac steering: particles for each weighting, resampled towards high rewards while they are denoised.

Legend of the shape suffixes: L weightings, N particles of each, B of one batch, M rewards, C channels, H height,
W width.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from pipeline.guidance.ledger import CountedDenoiser, CountedQuery, Ledger
from pipeline.guidance.noise import initial_noise, step_noise
from pipeline.guidance.ports import Denoiser, Query
from pipeline.guidance.runner import OnStep, StepRecord, Trajectory
from pipeline.guidance.search_gradient import STD_FLOOR
from pipeline.guidance.seeds import derive_seed
from pipeline.guidance.simplex import support
from pipeline.guidance.soup import Guided


@dataclass
class Row:
    """The particles of one weighting.

    Attributes:
        w_M, used: its weights, and the indices of the rewards whose weight is above 0.
        x_NCHW: the latents of the particles.
        value_N: s / tau of each particle in the last step with noise, whose differences are the log-potentials.
        log_weight_N: the logarithms of their weights since they were last resampled.
    """

    w_M: Tensor
    used: tuple[int, ...]
    x_NCHW: Tensor
    value_N: Tensor
    log_weight_N: Tensor = field(default_factory=lambda: torch.zeros((), dtype=torch.float64))

    @property
    def best_CHW(self) -> Tensor:
        """The particle with the largest s."""
        return self.x_NCHW[int(self.value_N.argmax())]

    def weigh(self, scores_NS: Tensor, deviation_M: Tensor, temperature: float) -> None:
        """Multiply the weights by the potentials of a step."""
        used = list(self.used)
        value_N = (scores_NS.double() / deviation_M[used]) @ self.w_M[used].double() / temperature
        self.log_weight_N = self.log_weight_N + value_N - self.value_N
        self.value_N = value_N

    def resample(self, seed: int) -> None:
        """Draw as many particles in proportion to their weights, if few of them have most of the weight."""
        share_N = self.log_weight_N.softmax(0)
        if 1 / float(share_N.square().sum()) >= len(share_N) / 2:
            return
        kept = systematic(share_N, seed)
        self.x_NCHW, self.value_N = self.x_NCHW[kept], self.value_N[kept]
        self.log_weight_N = torch.zeros_like(self.log_weight_N)


def systematic(share_N: Tensor, seed: int) -> Tensor:
    """Return N indices by systematic resampling: index n comes floor(N share_n) or ceil(N share_n) times.

    Its mean is N share_n, as with N independent draws, and its variance is smaller.
    """
    n = len(share_N)
    start = torch.rand((), generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    points_N = (torch.arange(n, dtype=torch.float64) + start) / n
    return torch.searchsorted(share_N.cumsum(0), points_N).clamp(max=n - 1)


async def run_particles(
    w_LM: Tensor,
    n: int,
    batch: int,
    temperature: float,
    shape: Sequence[int],
    seed: int,
    denoiser: Denoiser,
    query: Query,
    ledger: Ledger,
    on_step: OnStep = lambda step: None,
) -> Trajectory:
    """Sample p(x_0) exp(s(x_0) / tau) for each weighting by sequential Monte Carlo, and keep its best particle.

    Feynman-Kac steering of Singhal et al., "A General Framework for Inference-time Scaling and Steering of Diffusion
    Models" (ICML 2025, arXiv 2501.06848), with their difference potential: in each step with noise every particle moves
    by the model alone, x_{t-1} = mu + sigma z, and its weight is multiplied by

        G_t = exp((s_t - s_{t+1}) / tau),   s_t = sum_m w_m r_m / d_m,

    where r_m is the reward of the one-step look-ahead and s_{T+1} = 0, so that the product over all steps is
    exp(s_1 / tau). The N particles of a weighting are resampled in proportion to their weights if the effective sample
    size (sum G)^2 / sum G^2 is below N / 2, and then their weights are equal again. After the last step with noise the
    particle with the largest s is kept.

    d_m is the standard deviation of reward m over all particles in the first step that queries, because a black box
    has no scale of its own; the authors take lambda = 1 / tau in units of their reward. All particles start from noise
    of their own. N particles cost as many queries and decodes as N candidates of a weighted-sum step, and N times its
    passes for the means.

    Args:
        w_LM: the weights on the simplex.
        n: N, the number of particles of each weighting, >= 1.
        batch: the number of particles that go through the denoiser at once.
        temperature: tau > 0.
        shape: (C, H, W) of one latent.
        seed: the prompt's own seed.
    """
    rows, records = await steered(
        w_LM,
        n,
        batch,
        temperature,
        shape,
        seed,
        CountedDenoiser(denoiser, ledger),
        CountedQuery(query, ledger),
        on_step,
    )
    return Trajectory(torch.stack([row.best_CHW for row in rows]), tuple(records))


async def steered(
    w_LM: Tensor,
    n: int,
    batch: int,
    temperature: float,
    shape: Sequence[int],
    seed: int,
    denoiser: Denoiser,
    query: Query,
    on_step: OnStep,
) -> tuple[list[Row], list[StepRecord]]:
    """Denoise and resample the particles of all weightings; `run_particles` says how."""
    x_NCHW = torch.stack([initial_noise(derive_seed(seed, "particle", i) if i else seed, shape) for i in range(n)])
    rows = [Row(w_M, support(w_M), x_NCHW, torch.zeros(n, dtype=torch.float64)) for w_M in w_LM]
    deviation_M, records = None, list[StepRecord]()
    for i, timestep in enumerate(denoiser.timesteps):
        sigma = 0.0
        for row in rows:
            moments = [await denoiser.reverse_step(x_BCHW, i) for x_BCHW in row.x_NCHW.split(batch)]
            row.x_NCHW, sigma = torch.cat([one.mu_LCHW for one in moments]), moments[0].sigma
        guided = None
        if sigma:
            z_NCHW = step_noise(seed, i, n, shape)
            for row in rows:
                row.x_NCHW = (sigma * z_NCHW).add_(row.x_NCHW)
            scores = await asyncio.gather(*(query(row.x_NCHW, i, row.used) for row in rows))
            deviation_M = _deviations(rows, scores) if deviation_M is None else deviation_M
            for index, (row, scores_NS) in enumerate(zip(rows, scores, strict=True)):
                row.weigh(scores_NS, deviation_M, temperature)
                row.resample(derive_seed(seed, "resample", i, index))
            guided = _record(rows, scores)
        records.append(StepRecord(i, timestep, "weighted_sum" if sigma else "mean", sigma, guided, None))
        on_step(i)
    return rows, records


def _deviations(rows: Sequence[Row], scores: Sequence[Tensor]) -> Tensor:
    """Return the standard deviation of each reward over all particles that it scored, (M,); 1 where it is 0."""
    columns: list[list[Tensor]] = [[] for _ in rows[0].w_M]
    for row, scores_NS in zip(rows, scores, strict=True):
        for m, r_N in zip(row.used, scores_NS.T, strict=True):
            columns[m].append(r_N)
    found = torch.stack([torch.cat(column).std(correction=0) if column else torch.zeros(()) for column in columns])
    return found.where(found > STD_FLOOR, 1.0).double()


def _record(rows: Sequence[Row], scores: Sequence[Tensor]) -> Guided:
    """Return the kept particles so far, and the statistics of the rewards. There are no gradients: those are NaN."""
    shape = (len(rows), len(rows[0].w_M))
    mean_LM, std_LM = (torch.full(shape, torch.nan, dtype=torch.float64) for _ in range(2))
    for index, (row, scores_NS) in enumerate(zip(rows, scores, strict=True)):
        mean_LM[index, list(row.used)] = scores_NS.mean(0)
        std_LM[index, list(row.used)] = scores_NS.std(0, correction=0)
    none_LM, none_LMM = torch.full(shape[:1], torch.nan), torch.full((*shape, shape[1]), torch.nan)
    return Guided(torch.stack([row.best_CHW for row in rows]), none_LM, mean_LM, std_LM, none_LMM)
