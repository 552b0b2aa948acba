"""What one prompt may ask of the workers, and what comes back. Ray and the one-process run both offer it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from diffusion.base import Sampling

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]


@dataclass(frozen=True)
class Encoded:
    """A prompt's text conditioning (or a handle to it) and what a run needs to know of its model.

    `warnings`: what the model had to say of the prompt, where that was in another process.
    """

    conditioning: Any
    latent_shape: tuple[int, int, int]
    timesteps: tuple[int, ...]
    retries: int = 0
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class ReverseStepResult:
    """Means of a reverse step, shape (n, C, H, W), their sigma, and the seconds it took.

    `retries`, here and below: calls that failed and were made again.
    """

    mean: Floats
    sigma: float
    seconds: float
    retries: int = 0


@dataclass(frozen=True)
class Scored:
    """Scores of one chunk, shape (n, R), and the busy seconds of each part.

    Attributes:
        peak_memory: bytes, of the worker that held the model, since it was started: its GPU memory, or its resident
            memory.
    """

    scores: Doubles
    seconds_lookahead: float
    seconds_decode: float
    seconds_by_reward: Mapping[str, float]
    peak_memory: int
    retries: int = 0


@dataclass(frozen=True)
class Finished:
    """The final images of a prompt as PNG files, and their scores."""

    images: tuple[bytes, ...]
    width: int
    height: int
    scored: Scored


class WorkError(Exception):
    """A call that still failed after its retries; the worker's own error is its cause."""

    def __init__(self, message: str, attempts: int) -> None:
        super().__init__(message, attempts)
        self.attempts = attempts

    def __str__(self) -> str:
        return str(self.args[0])


class WorkerDied(Exception):
    """The worker of a call is gone. `preempted`: its node was taken away, as spot nodes are."""

    def __init__(self, message: str, preempted: bool = False) -> None:
        super().__init__(message)
        self.preempted = preempted


class StartFailed(Exception):
    """A worker raised while it was loading."""


class WorkerOverdue(Exception):
    """A worker gave no answer before the deadline of a call."""


class InputLost(Exception):
    """The pixels that a call was given are gone with the node that held them."""


class WorkersLost(Exception):
    """There is no worker any more, and none can be started: no prompt is to blame, and the run cannot go on."""


class ChunkTooLarge(Exception):
    """A worker ran out of memory with a chunk of so many candidates: the run needs a smaller one."""

    def __init__(self, chunk: int) -> None:
        super().__init__(chunk)
        self.chunk = chunk

    def __str__(self) -> str:
        return f"out of memory with {self.chunk} candidates at once"


class RunStopped(Exception):
    """The run cannot go on for a reason that lies in no prompt; what is finished is kept."""


class Workers(Protocol):
    """The services of the diffusion and reward workers. Every array has at most one chunk of rows, but for
    `reverse_step` and `finish`, which take all rows of a prompt.

    `chunk`, below: candidates that a network is given at once; fewer are padded where its last bits depend on how
    many they are.
    """

    async def encode(self, prompt: str, sampling: Sampling) -> Encoded:
        """Text conditioning of a prompt; the calls below sample it in the same way."""
        ...

    async def reverse_step(self, encoded: Encoded, x: Floats, step: int) -> ReverseStepResult:
        """Mean and sigma of x_{t-1}, for all latents of a prompt at once."""
        ...

    async def score_candidates(
        self, encoded: Encoded, x: Floats, step: int, rewards: Sequence[str], prompt: str, chunk: int
    ) -> Scored:
        """Look ahead, decode and score one chunk of candidates x_{t-1} of a step."""
        ...

    async def score_finals(self, x: Floats, rewards: Sequence[str], prompt: str, chunk: int) -> Scored:
        """Decode one chunk of final latents and score the images, which nobody keeps."""
        ...

    async def finish(self, x: Floats, rewards: Sequence[str], prompt: str, chunk: int) -> Finished:
        """Decode final latents and score the images."""
        ...
