"""The cost of a prompt, counted as the calls are made and never computed from a formula."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from torch import Tensor

from pipeline.guidance.ports import Denoiser, Query, ReverseStep


@dataclass
class Ledger:
    """The counts of one prompt.

    Attributes:
        queries: the number of calls of each reward on decoded candidates, by index of the reward.
        decodes: the number of decoded images: one for each candidate (a look-ahead prediction and a VAE decode) and
            one for each final latent.
        denoises: the number of latents that went through a noise prediction for the mean of a reverse step.
    """

    queries: Counter[int] = field(default_factory=Counter)
    decodes: int = 0
    denoises: int = 0

    @property
    def total_queries(self) -> int:
        return sum(self.queries.values())


@dataclass(frozen=True)
class CountedDenoiser:
    """A denoiser that counts the rows of each call in the ledger."""

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
    """A query that counts the candidates and the reward calls of each call in the ledger."""

    query: Query
    ledger: Ledger

    async def __call__(self, x_NCHW: Tensor, step: int, rewards: Sequence[int]) -> Tensor:
        self.ledger.decodes += len(x_NCHW)
        for reward in rewards:
            self.ledger.queries[reward] += len(x_NCHW)
        return await self.query(x_NCHW, step, rewards)
