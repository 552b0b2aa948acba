"""A denoiser and rewards that are plain arithmetic, for runs of the method without a model.

The denoiser works entry by entry and the rewards candidate by candidate, so that a row's bits do not depend on
how many others are in its batch. What a run asked is counted here, where it is really answered.
"""

import asyncio
from collections.abc import Coroutine, Sequence
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from actors.protocol import (
    Doubles,
    EncodeResult,
    FinishResult,
    Floats,
    GradientResult,
    ReverseStepResult,
    ScoreResult,
)
from actors.workers import png_files
from diffusion.base import Sampling
from pipeline.guidance.ledger import Ledger
from pipeline.guidance.ports import ReverseStep
from pipeline.guidance.runner import Guidance, Trajectory, run_guided

SHAPE = (2, 3, 4)
D = 24
T = TypeVar("T")


def wait(work: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(work)


class FakeDenoiser:
    """mu = a x + b sin(x), with sigmas given; remembers the latents of each step and how often it was asked."""

    def __init__(self, sigmas: Sequence[float], mu_is_zero: bool = False) -> None:
        self.sigmas = list(sigmas)
        self.a = 0.0 if mu_is_zero else 0.9
        self.b = 0.0 if mu_is_zero else 0.05
        self.seen: list[Tensor] = []

    @property
    def timesteps(self) -> Sequence[int]:
        return [len(self.sigmas) - 1 - i for i in range(len(self.sigmas))]

    def mean(self, x: Tensor) -> Tensor:
        return self.a * x + self.b * torch.sin(x)

    async def reverse_step(self, x_LCHW: Tensor, step: int) -> ReverseStep:
        assert x_LCHW.dtype == torch.float32
        assert len(self.seen) == step, "steps out of order"
        self.seen.append(x_LCHW.clone())
        return ReverseStep(self.mean(x_LCHW), self.sigmas[step])


class FakeReward:
    """One number for one candidate, neither linear nor even; higher is better. Counts its calls."""

    def __init__(self, index: int, d: int = D) -> None:
        rng = np.random.default_rng(100 + index)
        self.a, self.b = rng.normal(size=(2, d))
        self.scale = 10.0**index
        self.calls = 0

    def values(self, x_ND: np.ndarray) -> np.ndarray:
        """The same of many, uncounted: for the reference."""
        return np.array([self._value(x) for x in x_ND])

    def __call__(self, x_D: np.ndarray) -> float:
        self.calls += 1
        return self._value(x_D)

    def _value(self, x_D: np.ndarray) -> float:
        x_D = x_D.astype(np.float64)
        return float(self.scale * (np.sum(self.a * x_D) - 0.3 * np.sum((x_D - self.b) ** 2)))


class FakeQuery:
    """Rewards of candidates; counts the images as they are decoded and remembers who was asked for what."""

    def __init__(self, rewards: Sequence[Any]) -> None:
        self.rewards = list(rewards)
        self.images = 0
        self.asked: list[tuple[int, tuple[int, ...], Tensor]] = []

    async def __call__(self, x_NCHW: Tensor, step: int, rewards: Sequence[int]) -> Tensor:
        assert x_NCHW.dtype == torch.float32
        self.asked.append((step, tuple(rewards), x_NCHW.clone()))
        await asyncio.sleep(0)
        images = []
        for x in x_NCHW.flatten(1).numpy():
            self.images += 1
            images.append(x)
        return torch.tensor([[self.rewards[m](x) for m in rewards] for x in images], dtype=torch.float64)


def fake_query(m: int, d: int = D) -> FakeQuery:
    return FakeQuery([FakeReward(i, d) for i in range(m)])


def weights_of(rng: np.random.Generator, m: int, n: int, one_hots: bool = True) -> np.ndarray:
    """n points of the simplex in any order; all M one-hots among them, or none of them (M > 1)."""
    if m == 1:
        return np.ones((n, 1))
    w = rng.dirichlet(np.ones(m), size=n)
    if one_hots:
        w[:m] = np.eye(m)
    return w[rng.permutation(n)]


class Run:
    """A guided run and all that was asked in it."""

    def __init__(
        self,
        w: np.ndarray,
        guidance: Guidance,
        sigmas: Sequence[float],
        query: FakeQuery | None = None,
        seed: int = 7,
        shape: Sequence[int] = SHAPE,
    ) -> None:
        self.ledger = Ledger()
        self.denoiser = FakeDenoiser(sigmas)
        self.query = query or fake_query(len(w[0]))
        self.steps_done: list[int] = []
        self.trajectory: Trajectory = wait(
            run_guided(
                torch.as_tensor(np.asarray(w), dtype=torch.float64), shape, seed, guidance, self.denoiser, self.query,
                self.ledger, self.steps_done.append,
            )
        )  # fmt: skip

    @property
    def x(self) -> Tensor:
        return self.trajectory.x_LCHW


class FakeWorkers:
    """The services of `actors.protocol.Workers` by arithmetic: latents of 3 x 4 x 4 are their own images."""

    def __init__(self, steps: int, wrong_for: str | None = None) -> None:
        self.steps, self.wrong_for = steps, wrong_for

    async def encode(self, prompt: str, sampling: Sampling) -> EncodeResult:
        if prompt == self.wrong_for:
            raise ValueError(f"no words for {prompt}")
        return EncodeResult(np.float32(len(prompt)), (3, 4, 4), tuple(range(self.steps))[::-1])

    async def reverse_step(self, encoded: EncodeResult, x: Floats, step: int) -> ReverseStepResult:
        return ReverseStepResult((0.9 * x + 0.01 * encoded.conditioning).astype(np.float32), 0.5, 0.0)

    async def score_candidates(
        self, encoded: EncodeResult, x: Floats, step: int, rewards: Sequence[str], prompt: str, chunk: int
    ) -> ScoreResult:
        await asyncio.sleep(0)
        return self._scored(x, len(rewards))

    def with_surrogate(self, encoded: EncodeResult, surrogate: bytes) -> EncodeResult:
        return replace(encoded, surrogate=surrogate)

    async def surrogate_gradient(self, encoded: EncodeResult, x: Floats, step: int, factors: Doubles) -> GradientResult:
        raise NotImplementedError

    async def score_finals(self, x: Floats, rewards: Sequence[str], prompt: str, chunk: int) -> ScoreResult:
        return self._scored(x, len(rewards))

    async def finish(self, x: Floats, rewards: Sequence[str], prompt: str, chunk: int) -> FinishResult:
        pixels = (x * 40 + 128).clip(0, 255).astype(np.uint8)
        return FinishResult(png_files(pixels), 4, 4, self._scored(x, len(rewards)))

    def _scored(self, x: Floats, n_rewards: int) -> ScoreResult:
        scores = np.stack([x.mean((1, 2, 3), np.float64) * (i + 1) for i in range(n_rewards)], 1)
        return ScoreResult(scores, 0, 0, {}, 1)
