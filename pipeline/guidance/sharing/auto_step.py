"""Guided steps that choose by measured cosines which rows are evaluated and which borrow (`soup.steps: auto`).

Legend of the shape suffixes: R rows of latents (one for each of the L weightings, then the hidden exemplars),
A anchors (evaluated rows), N candidates, M rewards, C channels, H height, W width, D = C*H*W.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from pipeline.guidance.combining.options import WEIGHTED_SUM, Combining
from pipeline.guidance.noise import NoiseKind, row_noise, step_noise
from pipeline.guidance.ports import Query
from pipeline.guidance.row_gradients import Correction, pooled_gradients
from pipeline.guidance.search_gradient import Move, normalise
from pipeline.guidance.shaping import Shaping
from pipeline.guidance.sharing.allotment import budget_of, candidates_each, most_anchors
from pipeline.guidance.sharing.anchors import Anchors, choose_anchors, pooled
from pipeline.guidance.sharing.cosine_law import CosineLaw, distances
from pipeline.guidance.simplex import TOLERANCE, Soup
from pipeline.guidance.soup import Guided, candidates, moved


@dataclass(frozen=True)
class Sharing:
    """The options of sharing by measured cosines.

    Attributes:
        threshold: the least cosine with which a row borrows, in 0..1. A row that borrows moves cos times as far along
            its own gradient as with N candidates of its own, and a row with twice the candidates sqrt(2) times as far.
            So at equal queries, to evaluate half the rows is worth it if the cosine is above sqrt(1/2).
        every_reward: whether other rows may take every reward from an evaluated row, so that it is scored by those
            that they do; or only the rewards with a weight above 0 in that row.
        allot: whether N is the mean over the steps (`allotment`), or the number of candidates in each of them.
    """

    threshold: float = 0.7
    every_reward: bool = True
    allot: bool = False


@dataclass(frozen=True)
class Borrowed:
    """From where each row has its gradients in a step.

    Attributes:
        anchor_RM: the row that is the nearest anchor for each reward: the row itself, if it was evaluated.
        cosine_RM: the expected cosine of the true gradients of the row and of that anchor.
        candidates: N, the number of candidates around each evaluated row.
        by_any: whether any row takes a gradient that it uses from another row.
    """

    anchor_RM: Tensor
    cosine_RM: Tensor
    candidates: int
    by_any: bool


class SharedStep(NamedTuple):
    """The outcome of a step for all rows, and from where each row had its gradients."""

    guided: Guided
    borrowed: Borrowed


def common_candidates(n: int) -> int:
    """Return how many of N candidates have noises common to all rows if the others have noises of their own: half.

    Only over common noises can two rows be compared with few candidates (`cosine_law`).
    """
    return max(2, n // 2)


class SharedSteps:
    """The guided steps of one prompt. It holds what the steps before have told about the cosines."""

    def __init__(self, sharing: Sharing, soup: Soup, n: int, noise: NoiseKind, seed: int) -> None:
        self._sharing, self._soup, self._n, self._noise, self._seed = sharing, soup, n, noise, seed
        self._distinct = noise == "distinct"
        self._used_RM = soup.w_RM > TOLERANCE
        self._reads_RM = torch.ones_like(self._used_RM) if sharing.every_reward else self._used_RM
        positive = int(self._used_RM[: soup.visible].sum())
        self._budget = budget_of(n, positive, soup.visible) if sharing.allot else None
        self._law = CosineLaw()

    async def step(
        self,
        mu_RCHW: Tensor,
        sigma: float,
        query: Query,
        i: int,
        correction: Correction,
        move: Move,
        shaping: Shaping,
        combining: Combining = WEIGHTED_SUM,
    ) -> SharedStep:
        """Move all rows along g^l = sum_m w_m sum_a c_lam (g_am + correction_am), with the shares of `anchors.pooled`.

        The candidates around each anchor are decoded once, and scored by the rewards that any row takes from it.
        """
        mu_RD = mu_RCHW.flatten(1).double()
        delta_RR = distances(mu_RD, sigma)
        anchors, c_RAM = self._anchors(delta_RR, self._law.rate(i))
        rows, reads_AM = list(anchors.rows), (c_RAM > 0).any(0)
        n = candidates_each(self._budget, len(rows), int(reads_AM.sum())) if self._budget else self._n
        z_ANCHW = self._noises(i, n, rows, mu_RCHW.shape[1:])
        z_AND = z_ANCHW.flatten(2)
        scores_AMN = await self._scores(mu_RCHW, sigma, z_ANCHW, anchors, reads_AM, query, i)
        same = common_candidates(n) if self._distinct else n
        r_AMN = torch.stack([torch.stack([normalise(r_N[:same]) for r_N in r_MN]) for r_MN in scores_AMN])
        self._law.measure(i, r_AMN, reads_AM, z_AND[0, :same], delta_RR[rows][:, rows])

        r_RAMN = (c_RAM * self._soup.w_RM[:, None])[:, :, :, None] * self._factors(scores_AMN, shaping)
        gradients = combining.gradients(
            r_RAMN, lambda r: pooled_gradients(r, z_AND, mu_RD, rows, sigma, correction)
        )  # fmt: skip
        anchor_RM = torch.tensor(rows)[anchors.nearest_RM]
        other_RM = (anchor_RM != torch.arange(len(mu_RD))[:, None]) & self._used_RM
        guided = moved(mu_RCHW, sigma, gradients, move, *self._of_nearest(scores_AMN, anchors))
        return SharedStep(guided, Borrowed(anchor_RM, anchors.cosine_RM, n, bool(other_RM.any())))

    def _anchors(self, delta_RR: Tensor, rate: float | None) -> tuple[Anchors, Tensor]:
        """Return the anchors of a step and the share of each in each row, (R, A, M), 0 for rewards without weight."""
        threshold, reads_RM, used_RM = self._sharing.threshold, self._reads_RM, self._used_RM
        most = most_anchors(self._budget, used_RM.shape[1]) if self._budget else None
        anchors = choose_anchors(delta_RR, rate, threshold, self._soup.exemplars, reads_RM, used_RM, most)
        share_RAM = pooled(anchors, delta_RR, rate, threshold, reads_RM, self._distinct)
        return anchors, share_RAM.where(used_RM[:, None], 0.0)

    def _noises(self, i: int, n: int, rows: Sequence[int], shape: Sequence[int]) -> Tensor:
        """Return the noises around each anchor, (A, N, C, H, W)."""
        if not self._distinct:
            z_NCHW = step_noise(self._seed, i, n, shape, self._noise)
            return z_NCHW.expand(len(rows), *z_NCHW.shape)
        same = common_candidates(n)
        z_NCHW = step_noise(self._seed, i, same, shape)
        return torch.stack([torch.cat([z_NCHW, row_noise(self._seed, i, row, n - same, shape)]) for row in rows])

    async def _scores(
        self, mu_RCHW: Tensor, sigma: float, z_ANCHW: Tensor, anchors: Anchors, reads_AM: Tensor, query: Query, i: int
    ) -> Tensor:
        """Return the scores of each anchor's candidates, (A, M, N); 0 for a reward that nobody takes from it."""
        reads = [tuple(torch.nonzero(read_M).flatten().tolist()) for read_M in reads_AM]
        calls = [
            query(candidates(mu_RCHW[row], sigma, z_NCHW), i, read)
            for row, z_NCHW, read in zip(anchors.rows, z_ANCHW, reads, strict=True)
        ]
        scores_AMN = torch.zeros(*reads_AM.shape, z_ANCHW.shape[1], dtype=torch.float64)
        for position, scores_NS in enumerate(await asyncio.gather(*calls)):
            scores_AMN[position, list(reads[position])] = scores_NS.T.double()
        return scores_AMN

    def _factors(self, scores_AMN: Tensor, shaping: Shaping) -> Tensor:
        """Return r~ of each anchor's candidates for each row, (R, A, M, N); one-hot rows may have other options."""

        def shaped(exemplar: bool) -> Tensor:
            rows = [[shaping(r_N, m, exemplar=exemplar) for m, r_N in enumerate(r_MN)] for r_MN in scores_AMN]
            return torch.stack([torch.stack(row) for row in rows])

        one_hot_R = self._used_RM.sum(1) == 1
        return torch.where(one_hot_R[:, None, None, None], shaped(True)[None], shaped(False)[None])

    def _of_nearest(self, scores_AMN: Tensor, anchors: Anchors) -> tuple[Tensor, Tensor]:
        """Return the mean and the std of each reward over the candidates of the nearest anchor; NaN if not used."""
        rewards = torch.arange(self._used_RM.shape[1]).expand_as(anchors.nearest_RM)
        mean_RM, std_RM = (
            statistic[anchors.nearest_RM, rewards].where(self._used_RM, torch.nan)
            for statistic in (scores_AMN.mean(2), scores_AMN.std(2, correction=0))
        )
        return mean_RM, std_RM
