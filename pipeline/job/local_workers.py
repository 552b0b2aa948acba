"""All workers in this process, without Ray: for debuggers, for notebooks, and to check the runs on Ray."""

from collections.abc import Sequence

from actors.protocol import EncodeResult, FinishResult, Floats, ReverseStepResult, ScoreResult
from actors.workers import (
    DecodeReport,
    DiffusionWorker,
    Pixels,
    RewardWorker,
    default_device,
    png_files,
    stack_scores,
)
from configs.schema import RunConfig
from diffusion.base import Sampling
from rewards.plugin import Plugin


class LocalWorkers:
    """Both workers in this process, one call at a time. The results are bit for bit those of a run on Ray."""

    def __init__(self, diffusion: DiffusionWorker, rewards: RewardWorker) -> None:
        self._diffusion, self._rewards = diffusion, rewards

    @classmethod
    def from_config(cls, config: RunConfig, plugins: Sequence[Plugin] = ()) -> "LocalWorkers":
        device = default_device()
        names = (*config.rewards.guided, *config.rewards.held_out)
        rewards = RewardWorker.from_config(config, names, device, plugins)
        return cls(DiffusionWorker.from_config(config, device), rewards)

    async def encode(self, prompt: str, sampling: Sampling) -> EncodeResult:
        return self._diffusion.encode(prompt, sampling)

    async def reverse_step(self, encoded: EncodeResult, x: Floats, step: int) -> ReverseStepResult:
        return self._diffusion.reverse_step(x, step, encoded.conditioning)

    async def score_candidates(
        self, encoded: EncodeResult, x: Floats, step: int, rewards: Sequence[str], prompt: str, chunk: int
    ) -> ScoreResult:
        pixels, report = self._diffusion.decode_candidates(x, step, encoded.conditioning, chunk)
        return self._score(pixels, report, rewards, prompt, chunk)

    async def score_finals(self, x: Floats, rewards: Sequence[str], prompt: str, chunk: int) -> ScoreResult:
        return self._score(*self._diffusion.decode(x, chunk), rewards, prompt, chunk)

    async def finish(self, x: Floats, rewards: Sequence[str], prompt: str, chunk: int) -> FinishResult:
        pixels, report = self._diffusion.decode(x, chunk)
        height, width = pixels.shape[2:]
        return FinishResult(png_files(pixels), width, height, self._score(pixels, report, rewards, prompt, chunk))

    def _score(
        self, pixels: Pixels, report: DecodeReport, rewards: Sequence[str], prompt: str, chunk: int
    ) -> ScoreResult:
        results = [self._rewards.score(name, pixels, prompt, chunk) for name in rewards]
        return ScoreResult(
            stack_scores([scores for scores, _ in results]),
            report.seconds_lookahead,
            report.seconds_decode,
            {name: seconds for name, (_, seconds) in zip(rewards, results, strict=True)},
            report.peak_memory,
        )

    def close(self) -> None:
        self._rewards.close()
