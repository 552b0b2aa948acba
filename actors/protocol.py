"""The interface between a prompt and its workers: `Workers`, the results of its calls, and its errors.

`pipeline.job.run_prompt` calls it. `actors.cluster.ray_workers` and `pipeline.job.local_workers` implement it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from diffusion.base import Sampling
from diffusion.errors import NotFiniteError as NotFiniteError  # for `actors.pool`, which does not import `diffusion`

Floats = NDArray[np.float32]
Halves = NDArray[np.float16]
Doubles = NDArray[np.float64]


@dataclass(frozen=True)
class EncodeResult:
    """A prompt's text conditioning and the facts about the model that sampling needs.

    Attributes:
        conditioning: a `diffusion.base.Conditioning`, or a Ray reference to it.
        latent_shape: (C, H, W) of one sample's latents.
        timesteps: the T timesteps, largest first.
        retries: calls that failed and were repeated.
        warnings: the messages that the model logged about the prompt, if it runs in another process.
        text: the mean of the prompt's token embeddings, shape (E,), which a surrogate may read.
        surrogate: the content of the file of the prompt's surrogate, or a Ray reference to it; None without one.
        keep: the number of look-ahead estimates of each chunk, the first ones, that are returned with its scores.
        gradients_at_once: the number of rows whose surrogate gradients one pass computes.
    """

    conditioning: Any
    latent_shape: tuple[int, int, int]
    timesteps: tuple[int, ...]
    retries: int = 0
    warnings: tuple[str, ...] = ()
    text: Floats | None = None
    surrogate: Any = None
    keep: int = 0
    gradients_at_once: int = 1


@dataclass(frozen=True)
class ReverseStepResult:
    """The distribution of x_{t-1} for n latents.

    Attributes:
        mean: the means, shape (n, C, H, W).
        sigma: their common standard deviation.
        seconds: the time of the computation.
        retries: calls that failed and were repeated.
    """

    mean: Floats
    sigma: float
    seconds: float
    retries: int = 0


@dataclass(frozen=True)
class GradientResult:
    """The gradient of the surrogate for n candidates.

    Attributes:
        gradient: shape (n, C, H, W).
        seconds: the time of the computation.
        peak_memory: bytes, as in `ScoreResult`.
        retries: calls that failed and were repeated.
    """

    gradient: Floats
    seconds: float
    peak_memory: int
    retries: int = 0


@dataclass(frozen=True)
class Looks:
    """What the look-ahead estimates x0 of one chunk of n candidates are needed for besides their images.

    Attributes:
        predicted: the predictions of the surrogate, one column for each reward that it knows, shape (n, M); None
            without a surrogate.
        latents: the estimates of the first rows, float16, as many as the call wants.
    """

    predicted: Doubles | None
    latents: Halves


@dataclass(frozen=True)
class ScoreResult:
    """The scores of n images, and the time that each part of the computation took.

    Attributes:
        scores: one column per reward, shape (n, R).
        peak_memory: bytes. The most memory that the diffusion worker has used since it was started: GPU memory, or
            resident memory if it has no GPU.
        retries: calls that failed and were repeated.
        looks: what else was computed from the look-ahead estimates; None if the images are final ones.
    """

    scores: Doubles
    seconds_lookahead: float
    seconds_decode: float
    seconds_by_reward: Mapping[str, float]
    peak_memory: int
    retries: int = 0
    looks: Looks | None = None


@dataclass(frozen=True)
class FinishResult:
    """The final images of a prompt as PNG files, their size in pixels, and their scores."""

    images: tuple[bytes, ...]
    width: int
    height: int
    scored: ScoreResult


class CallFailed(Exception):
    """A call failed and so did its retries. The worker's own error is the cause.

    Attributes:
        attempts: how often the call was made.
    """

    def __init__(self, message: str, attempts: int) -> None:
        super().__init__(message, attempts)
        self.attempts = attempts

    def __str__(self) -> str:
        return str(self.args[0])


class WorkerDied(Exception):
    """The worker of a call has died.

    Attributes:
        preempted: its node was taken away, as happens to spot nodes.
    """

    def __init__(self, message: str, preempted: bool = False) -> None:
        super().__init__(message)
        self.preempted = preempted


class StartFailed(Exception):
    """A worker raised while it loaded its models, or was not ready in time."""


class WorkerOverdue(Exception):
    """A worker gave no answer before the deadline of a call."""


class InputLost(Exception):
    """The pixels that were passed to a call are gone, because the node that held them is gone."""


class WorkersLost(Exception):
    """All workers are gone and none can be started, so the run cannot continue. It is no prompt's failure."""


class ChunkTooLarge(Exception):
    """A worker ran out of memory with a chunk of `chunk` candidates, so the run needs a smaller chunk."""

    def __init__(self, chunk: int) -> None:
        super().__init__(chunk)
        self.chunk = chunk

    def __str__(self) -> str:
        return f"out of memory with {self.chunk} candidates at once"


class RunStopped(Exception):
    """The run cannot continue, and it is no prompt's failure. Finished prompts are kept."""


class Workers(Protocol):
    """The calls that a prompt makes to the diffusion and reward workers.

    Every array has at most one chunk of rows, except in `reverse_step` and `finish`, which take all rows of a prompt.
    `chunk` is the number of candidates that a network gets at once. Fewer rows are padded to that number if the last
    bits of the network's output depend on the batch size.
    """

    async def encode(self, prompt: str, sampling: Sampling) -> EncodeResult:
        """Compute the text conditioning of a prompt. The other calls take it and sample as `sampling` says."""
        ...

    def with_surrogate(self, encoded: EncodeResult, surrogate: bytes) -> EncodeResult:
        """Return the same with a surrogate, given by the content of its file, which the other calls then use."""
        ...

    async def reverse_step(self, encoded: EncodeResult, x: Floats, step: int) -> ReverseStepResult:
        """Compute mean and sigma of x_{t-1} for all latents of a prompt at once."""
        ...

    async def score_candidates(
        self, encoded: EncodeResult, x: Floats, step: int, rewards: Sequence[str], prompt: str, chunk: int
    ) -> ScoreResult:
        """Look ahead from one chunk of candidates x_{t-1} of a step, decode the estimates and score the images.

        `looks` of the result has the predictions of the surrogate of `encoded`, and the first `encoded.keep` estimates.
        """
        ...

    async def surrogate_gradient(self, encoded: EncodeResult, x: Floats, step: int, factors: Doubles) -> GradientResult:
        """Compute, for each row of the candidates x_{t-1}, the gradient of sum_m factors_m r^_m(x0(x)).

        Args:
            x: one candidate of each of the prompt's rows.
            factors: shape (rows, M), with a column for each reward that the surrogate of `encoded` knows.
        """
        ...

    async def score_finals(self, x: Floats, rewards: Sequence[str], prompt: str, chunk: int) -> ScoreResult:
        """Decode one chunk of final latents and score the images. The images are not kept."""
        ...

    async def finish(self, x: Floats, rewards: Sequence[str], prompt: str, chunk: int) -> FinishResult:
        """Decode the final latents of a prompt and score the images."""
        ...
