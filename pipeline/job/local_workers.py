"""All workers in this process, without Ray: for debuggers, for notebooks, and to check the runs on Ray."""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypeVar

from actors.pool.transport import Limits
from actors.protocol import Doubles, EncodeResult, FinishResult, Floats, GradientResult, ReverseStepResult, ScoreResult
from actors.workers import (
    DecodeReport,
    DiffusionWorker,
    Pixels,
    RewardWorker,
    default_device,
    join_scores,
    png_files,
    stack_scores,
)
from configs.schema import RunConfig
from diffusion.base import Sampling
from pipeline.job.attempts import attempt
from rewards.plugin import Plugin

T = TypeVar("T")
Decoded = tuple[Pixels, DecodeReport]
# Nothing can interrupt a call in this process, so its time has no limit.
_LIMITS = Limits(call_seconds=math.inf)


class LocalWorkers:
    """Both workers in this process, one call at a time. The results are bit for bit those of a run on Ray.

    Args:
        retry: whether a call that raises is repeated, as on a cluster. If not, its error is raised as it is.
    """

    def __init__(self, diffusion: DiffusionWorker, rewards: RewardWorker, *, retry: bool = True) -> None:
        self._diffusion, self._rewards = diffusion, rewards
        self._limits = _LIMITS if retry else None

    @classmethod
    def from_config(cls, config: RunConfig, plugins: Sequence[Plugin] = ()) -> "LocalWorkers":
        device = default_device()
        names = (*config.rewards.guided, *config.rewards.held_out)
        rewards = RewardWorker.from_config(config, names, device, plugins)
        return cls(DiffusionWorker.from_config(config, device), rewards)

    async def encode(self, prompt: str, sampling: Sampling) -> EncodeResult:
        result, retries = self._once("encode", 1, lambda: self._diffusion.encode(prompt, sampling))
        return replace(result, retries=retries)

    def with_surrogate(self, encoded: EncodeResult, surrogate: bytes) -> EncodeResult:
        return replace(encoded, surrogate=surrogate)

    async def reverse_step(self, encoded: EncodeResult, x: Floats, step: int) -> ReverseStepResult:
        result, retries = self._once(
            "reverse step", len(x), lambda: self._diffusion.reverse_step(x, step, encoded.conditioning)
        )
        return replace(result, retries=retries)

    async def score_candidates(
        self,
        encoded: EncodeResult,
        x: Floats,
        step: int,
        rewards: Sequence[str],
        prompt: str,
        chunk: int,
        keep: int = 0,
    ) -> ScoreResult:
        looks = (encoded.surrogate, encoded.keep)

        def decode() -> Decoded:
            return self._diffusion.decode_candidates(x, step, encoded.conditioning, chunk, *looks)

        return self._scored("look-ahead and decode", decode, len(x), rewards, prompt, chunk)[0]

    async def surrogate_gradient(self, encoded: EncodeResult, x: Floats, step: int, factors: Doubles) -> GradientResult:
        result, retries = self._once(
            "surrogate gradient",
            len(x),
            lambda: self._diffusion.surrogate_gradient(
                x, step, factors, encoded.conditioning, encoded.surrogate, encoded.gradients_at_once
            ),
        )
        return replace(result, retries=retries)

    async def score_finals(self, x: Floats, rewards: Sequence[str], prompt: str, chunk: int) -> ScoreResult:
        return self._scored("decode", lambda: self._diffusion.decode(x, chunk), len(x), rewards, prompt, chunk)[0]

    async def finish(self, x: Floats, rewards: Sequence[str], prompt: str, chunk: int) -> FinishResult:
        scored, pixels = self._scored(
            "decode", lambda: self._diffusion.decode(x, chunk), len(x), rewards, prompt, chunk
        )
        height, width = pixels.shape[2:]
        return FinishResult(png_files(pixels), width, height, scored)

    def _once(self, kind: str, rows: int, compute: Callable[[], T]) -> tuple[T, int]:
        """Compute what cannot be divided. Returns the result and the number of retries."""
        (result,), retries = attempt(kind, rows, lambda start, stop: compute(), self._limits)
        return result, retries

    def _scored(
        self, kind: str, decode: Callable[[], Decoded], rows: int, rewards: Sequence[str], prompt: str, chunk: int
    ) -> tuple[ScoreResult, Pixels]:
        """Decode a chunk and score it with each reward. Returns the scores, and the images."""
        (pixels, report), retries = self._once(kind, rows, decode)
        columns, seconds = list[Doubles](), dict[str, float]()
        for name in rewards:

            def score(start: int, stop: int, name: str = name) -> tuple[Doubles, float]:
                return self._rewards.score(name, pixels[start:stop], prompt, chunk)

            parts, more = attempt(f"reward {name}", len(pixels), score, self._limits, divisible=True)
            columns.append(join_scores([scores for scores, _ in parts]))
            seconds[name], retries = sum(spent for _, spent in parts), retries + more
        scored = ScoreResult(
            stack_scores(columns),
            report.seconds_lookahead,
            report.seconds_decode,
            seconds,
            report.peak_memory,
            retries,
            report.looks,
        )
        return scored, pixels

    def close(self) -> None:
        self._rewards.close()
