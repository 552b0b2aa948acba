"""The cost of a prompt, counted as the calls are made and never computed from a formula."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from torch import Tensor

from pipeline.guidance.ports import Answers, Denoiser, Query, ReverseStep, Surrogate


@dataclass
class Ledger:
    """The counts of one prompt.

    Attributes:
        queries: the number of calls of each reward on decoded candidates, by index of the reward.
        decodes: the number of decoded images: one for each candidate (a look-ahead prediction and a VAE decode) and
            one for each final latent.
        denoises: the number of latents that went through a noise prediction for the mean of a reverse step.
        forwards: the number of latents that went through any noise prediction: those of `denoises`, the look-aheads of
            candidates, and those of the surrogate's gradient.
        backwards: the number of latents whose noise prediction was differentiated, for the surrogate's gradient.
    """

    queries: Counter[int] = field(default_factory=Counter)
    decodes: int = 0
    denoises: int = 0
    forwards: int = 0
    backwards: int = 0

    @property
    def total_queries(self) -> int:
        return sum(self.queries.values())


@dataclass(frozen=True)
class CountedDenoiser:
    """A denoiser that counts the rows of each call in the ledger.

    Attributes:
        passes: the number of noise predictions of a call; None for one a row.
    """

    denoiser: Denoiser
    ledger: Ledger
    passes: int | None = None

    @property
    def timesteps(self) -> Sequence[int]:
        return self.denoiser.timesteps

    async def reverse_step(self, x_LCHW: Tensor, step: int) -> ReverseStep:
        passes = len(x_LCHW) if self.passes is None else self.passes
        self.ledger.denoises += passes
        self.ledger.forwards += passes
        return await self.denoiser.reverse_step(x_LCHW, step)


@dataclass(frozen=True)
class CountedQuery:
    """A query that counts the candidates and the reward calls of each call in the ledger."""

    query: Query
    ledger: Ledger

    async def __call__(self, x_NCHW: Tensor, step: int, rewards: Sequence[int]) -> Tensor:
        count_candidates(self.ledger, len(x_NCHW), rewards)
        return await self.query(x_NCHW, step, rewards)


@dataclass(frozen=True)
class CountedSurrogate:
    """A surrogate that counts candidates, reward calls and passes through the denoiser in the ledger."""

    surrogate: Surrogate
    ledger: Ledger

    def deviation(self, step: int) -> Tensor:
        return self.surrogate.deviation(step)

    async def query(self, x_NCHW: Tensor, step: int, rewards: Sequence[int]) -> Answers:
        count_candidates(self.ledger, len(x_NCHW), rewards)
        return await self.surrogate.query(x_NCHW, step, rewards)

    async def gradient(self, x_RCHW: Tensor, step: int, factor_RM: Tensor) -> Tensor:
        self.ledger.forwards += len(x_RCHW)
        self.ledger.backwards += len(x_RCHW)
        return await self.surrogate.gradient(x_RCHW, step, factor_RM)


def count_candidates(ledger: Ledger, n: int, rewards: Sequence[int]) -> None:
    """Count n candidates that are looked ahead from, decoded, and scored by each of these rewards."""
    ledger.decodes += n
    ledger.forwards += n
    for reward in rewards:
        ledger.queries[reward] += n
