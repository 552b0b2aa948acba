"""What the method needs from outside: a denoiser and a query. Whoever runs the method provides both.

Legend of the shape suffixes: L weights (rows of latents), N candidates, M rewards, R asked rewards,
C channels, H height, W width.
"""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from torch import Tensor


class ReverseStep(NamedTuple):
    """Mean and standard deviation of one reverse step, x_{t-1} ~ N(mu, sigma^2 I)."""

    mu_LCHW: Tensor
    sigma: float


class Denoiser(Protocol):
    """The reverse process of the pretrained model, for one prompt that is bound beforehand."""

    @property
    def timesteps(self) -> Sequence[int]:
        """The T timesteps in the order of denoising, largest first."""
        ...

    async def reverse_step(self, x_LCHW: Tensor, step: int) -> ReverseStep:
        """Mean and sigma of x_{t-1} given the latents at the `step`-th timestep (0-based); float32."""
        ...


class Query(Protocol):
    """Scores of look-ahead candidates, for one prompt and a list of M rewards that are bound beforehand."""

    async def __call__(self, x_NCHW: Tensor, step: int, rewards: Sequence[int]) -> Tensor:
        """Decode each candidate once and ask each of the R named rewards once for it.

        Args:
            x_NCHW: candidates x_{t-1}, as they stand after the `step`-th timestep (0-based); float32.
            step: which step they are candidates of.
            rewards: indices into the M rewards, in the order wanted.

        Returns:
            Scores, float64, shape (N, R); higher is better; finite.
        """
        ...
