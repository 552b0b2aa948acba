"""What a prompt cost, counted where the calls are made and nowhere computed from a formula."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from torch import Tensor

from pipeline.guidance.ports import Denoiser, Query, ReverseStep


@dataclass
class Ledger:
    """Counts of one prompt.

    Attributes:
        queries: calls of one reward on one decoded candidate, by index of the reward.
        decodes: images decoded: each candidate (one look-ahead prediction and one VAE decode), each final.
        denoises: latents put through a noise prediction for the mean of a reverse step.
    """

    queries: Counter[int] = field(default_factory=Counter)
    decodes: int = 0
    denoises: int = 0

    @property
    def total_queries(self) -> int:
        return sum(self.queries.values())


@dataclass(frozen=True)
class CountedDenoiser:
    """A denoiser whose rows are entered in the ledger as they are asked for."""

    denoiser: Denoiser
    ledger: Ledger

    @property
    def timesteps(self) -> Sequence[int]:
        return self.denoiser.timesteps

    async def reverse_step(self, x_LCHW: Tensor, step: int) -> ReverseStep:
        self.ledger.denoises += len(x_LCHW)
        return await self.denoiser.reverse_step(x_LCHW, step)


@dataclass(frozen=True)
class CountedQuery:
    """A query whose candidates and reward calls are entered in the ledger as they are asked for."""

    query: Query
    ledger: Ledger

    async def __call__(self, x_NCHW: Tensor, step: int, rewards: Sequence[int]) -> Tensor:
        self.ledger.decodes += len(x_NCHW)
        for reward in rewards:
            self.ledger.queries[reward] += len(x_NCHW)
        return await self.query(x_NCHW, step, rewards)
