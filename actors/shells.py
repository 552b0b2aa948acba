"""The Ray actors: thin shells on the plain workers, and the cell that runs prompts on them."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, NamedTuple

import ray

from actors.pool import RayWorkers
from actors.protocol import Doubles, Encoded, Floats, Reversed
from actors.workers import (
    DecodeReport,
    DiffusionWorker,
    Pixels,
    RewardWorker,
    default_device,
    png_files,
    set_threads,
)
from configs.errors import RequestError
from configs.schema import RunConfig
from diffusion.base import Conditioning
from rewards.plugin import Plugin


class Progress(NamedTuple):
    """What a cell has done so far: denoising steps of prompts, and candidates decoded and scored."""

    steps: int
    candidates: int


class _DiffusionActor:
    """A `DiffusionWorker` in a process of its own."""

    def __init__(self, config: RunConfig) -> None:
        self._worker = DiffusionWorker.from_config(config, default_device())

    def ready(self) -> None: ...

    def encode(self, prompt: str) -> Encoded:
        return self._worker.encode(prompt)

    def reverse_step(self, x: Floats, step: int, conditioning: Conditioning) -> Reversed:
        return self._worker.reverse_step(x, step, conditioning)

    @ray.method(num_returns=2)
    def decode_candidates(self, x: Floats, step: int, conditioning: Conditioning) -> tuple[Pixels, DecodeReport]:
        return self._worker.decode_candidates(x, step, conditioning)

    @ray.method(num_returns=2)
    def decode_pixels(self, x: Floats) -> tuple[Pixels, DecodeReport]:
        return self._worker.decode(x)

    @ray.method(num_returns=3)
    def decode(self, x: Floats) -> tuple[Pixels, tuple[tuple[bytes, ...], int, int], DecodeReport]:
        pixels, report = self._worker.decode(x)
        height, width = pixels.shape[2:]
        return pixels, (png_files(pixels), width, height), report


class _RewardActor:
    """A `RewardWorker` in a process of its own.

    Args:
        plugins: the sources of the plugin files, because the files are only where the run was started.
    """

    def __init__(self, config: RunConfig, plugins: Sequence[Plugin] = ()) -> None:
        self._refusal: RequestError | None = None
        try:
            self._worker = RewardWorker.from_config(config, default_device(), plugins)
        except RequestError as error:
            # Kept until asked: of a constructor's error Ray says that the actor died, and starts it again.
            self._refusal = error

    def ready(self) -> RequestError | None:
        """Why it cannot work, or nothing."""
        return self._refusal

    def score(self, name: str, pixels: Pixels, prompt: str) -> tuple[Doubles, float]:
        if self._refusal is not None:
            raise self._refusal
        return self._worker.score(name, pixels, prompt)


class _Cell:
    """Runs many prompts at once, each by the coroutine that it is given, on its own actors.

    It holds the state of its prompts; the actors hold none.
    """

    def __init__(
        self,
        config: RunConfig,
        run_prompt: Callable[..., Awaitable[Any]],
        diffusion: Sequence[Any],
        rewards: Sequence[Any],
    ) -> None:
        set_threads(config.compute.threads)
        self._run_prompt, self._workers = run_prompt, RayWorkers(diffusion, rewards)
        self._progress = Progress(0, 0)

    async def run(self, task: Any) -> Any:
        return await self._run_prompt(task, self._workers, self._count)

    async def progress(self) -> Progress:
        return self._progress

    def _count(self, steps: int, candidates: int) -> None:
        self._progress = Progress(self._progress.steps + steps, self._progress.candidates + candidates)


# Not as decorators: a type checker would go on to see the plain classes. Retries are ours, in `pool`.
_RESTARTED: dict[str, Any] = {"max_restarts": -1, "max_task_retries": 0}
DiffusionActor: Any = ray.remote(**_RESTARTED)(_DiffusionActor)
RewardActor: Any = ray.remote(**_RESTARTED)(_RewardActor)
Cell: Any = ray.remote(num_cpus=0, max_restarts=0)(_Cell)
