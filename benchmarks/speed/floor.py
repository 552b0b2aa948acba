"""The floor of a front: its passes through the networks, counted, each at its best time, and nothing else."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.gpu.candidates import bare_passes, median_seconds
from diffusion.base import Sampling


@dataclass(frozen=True)
class Work:
    """How often a weighted-sum front runs the networks, in rows: look-aheads and reverse steps, and decoded images."""

    forwards: int
    decodes: int

    @classmethod
    def of(cls, steps: int, n: int, rows: int) -> "Work":
        """Count T reverse steps of L rows and a look-ahead for each of their N candidates, as DDIM makes them."""
        return cls(steps * rows * (1 + n), steps * n * rows + rows)


@dataclass(frozen=True)
class Rates:
    """The seconds of one row at the best size of a batch: of the denoiser, with guidance, and of the decoder."""

    forward: float
    decode: float
    batches: tuple[int, int]


def rates(model: Any, prompt: str, sampling: Sampling, batches: Sequence[int]) -> Rates:
    """Time the bare passes at each size of a batch, and keep the fastest of each network."""
    conditioning = model.encode(prompt, sampling)
    found = []
    for batch in batches:
        passes = bare_passes(model, conditioning, batch)
        found.append([median_seconds(work, model.device, 3, 1) / batch for work in (passes.look_ahead, passes.decode)])
    (forward, at), (decode, then) = (min(zip(seconds, batches, strict=True)) for seconds in zip(*found, strict=True))
    return Rates(forward, decode, (at, then))


def floor_seconds(work: Work, rate: Rates) -> float:
    """Return the seconds of the counted passes at these rates."""
    return work.forwards * rate.forward + work.decodes * rate.decode
