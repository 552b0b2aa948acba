"""The Ray actors that hold models: thin shells on the plain workers."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import ray

from actors.protocol import Doubles, Encoded, Floats, ReverseStepResult
from actors.telemetry.warnings import warnings_of
from actors.workers import (
    DecodeReport,
    DiffusionWorker,
    Pixels,
    RewardWorker,
    device_for,
    png_files,
    set_threads,
)
from configs.errors import RequestError
from configs.schema import RunConfig
from diffusion.base import Conditioning, Sampling
from rewards.plugin import Plugin


class _DiffusionActor:
    """A `DiffusionWorker` in a process of its own."""

    def __init__(self, config: RunConfig, gpus: float) -> None:
        self._threads, self._loaded = config.compute.threads, DiffusionWorker.from_config(config, device_for(gpus))

    @property
    def _worker(self) -> DiffusionWorker:
        """Ray computes calls on a thread that has not loaded the worker: what decides bits is set for each thread."""
        set_threads(self._threads)
        return self._loaded

    def node(self) -> str:
        """Answers when the models are loaded."""
        return ray.get_runtime_context().get_node_id()

    @ray.method(concurrency_group="probe")
    def probe(self) -> None:
        """Answers beside a call that is computed."""

    def encode(self, prompt: str, sampling: Sampling) -> Encoded:
        with warnings_of("diffusion") as warnings:
            encoded = self._worker.encode(prompt, sampling)
        return replace(encoded, warnings=tuple(warnings))

    def reverse_step(self, x: Floats, step: int, conditioning: Conditioning) -> ReverseStepResult:
        return self._worker.reverse_step(x, step, conditioning)

    @ray.method(num_returns=2)
    def decode_candidates(
        self, x: Floats, step: int, conditioning: Conditioning, chunk: int
    ) -> tuple[Pixels, DecodeReport]:
        return self._worker.decode_candidates(x, step, conditioning, chunk)

    @ray.method(num_returns=2)
    def decode_pixels(self, x: Floats, chunk: int) -> tuple[Pixels, DecodeReport]:
        return self._worker.decode(x, chunk)

    @ray.method(num_returns=3)
    def decode(self, x: Floats, chunk: int) -> tuple[Pixels, tuple[tuple[bytes, ...], int, int], DecodeReport]:
        pixels, report = self._worker.decode(x, chunk)
        height, width = pixels.shape[2:]
        return pixels, (png_files(pixels), width, height), report


class _RewardActor:
    """A `RewardWorker` in a process of its own.

    Args:
        names: of its rewards.
        gpus: how much of one Ray keeps for it.
        plugins: the sources of the plugin files, because the files are only where the run was started.
    """

    def __init__(self, config: RunConfig, names: Sequence[str], gpus: float, plugins: Sequence[Plugin] = ()) -> None:
        self._threads = config.compute.threads
        self._refusal: RequestError | None = None
        try:
            self._loaded = RewardWorker.from_config(config, names, device_for(gpus), plugins)
        except RequestError as error:
            # Kept until asked: of a constructor's error Ray says only that the actor died.
            self._refusal = error

    @property
    def _worker(self) -> RewardWorker:
        """As of a diffusion actor."""
        set_threads(self._threads)
        return self._loaded

    def node(self) -> str:
        """Answers when the models are loaded.

        Raises:
            RequestError: a reward's weights or packages are missing here.
        """
        if self._refusal is not None:
            raise self._refusal
        return ray.get_runtime_context().get_node_id()

    @ray.method(concurrency_group="probe")
    def probe(self) -> None:
        """Answers beside a call that is computed."""

    def score(self, name: str, pixels: Pixels, start: int, stop: int, prompt: str, chunk: int) -> tuple[Doubles, float]:
        return self._worker.score(name, pixels[start:stop], prompt, chunk)


# Not as decorators: a type checker would go on to see the plain classes. Retries and restarts are ours, in `pool`.
_OURS: dict[str, Any] = {"max_restarts": 0, "max_task_retries": 0, "concurrency_groups": {"probe": 1}}
DiffusionActor: Any = ray.remote(**_OURS)(_DiffusionActor)
RewardActor: Any = ray.remote(**_OURS)(_RewardActor)
