"""The Ray actors that hold models: thin shells on the plain workers."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import ray

from actors.forwarding import warnings_of
from actors.protocol import Doubles, Encoded, Floats, Reversed
from actors.workers import (
    DecodeReport,
    DiffusionWorker,
    Pixels,
    RewardWorker,
    default_device,
    png_files,
)
from configs.errors import RequestError
from configs.schema import RunConfig
from diffusion.base import Conditioning
from rewards.plugin import Plugin


class _DiffusionActor:
    """A `DiffusionWorker` in a process of its own."""

    def __init__(self, config: RunConfig) -> None:
        self._worker = DiffusionWorker.from_config(config, default_device())

    def node(self) -> str:
        """Answers when the models are loaded."""
        return ray.get_runtime_context().get_node_id()

    def encode(self, prompt: str) -> Encoded:
        with warnings_of("diffusion") as warnings:
            encoded = self._worker.encode(prompt)
        return replace(encoded, warnings=tuple(warnings))

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
            # Kept until asked: of a constructor's error Ray says only that the actor died.
            self._refusal = error

    def node(self) -> str:
        """Answers when the models are loaded.

        Raises:
            RequestError: a reward's weights or packages are missing here.
        """
        if self._refusal is not None:
            raise self._refusal
        return ray.get_runtime_context().get_node_id()

    def score(self, name: str, pixels: Pixels, start: int, stop: int, prompt: str) -> tuple[Doubles, float]:
        return self._worker.score(name, pixels[start:stop], prompt)


# Not as decorators: a type checker would go on to see the plain classes. Retries and restarts are ours, in `pool`.
_OURS: dict[str, Any] = {"max_restarts": 0, "max_task_retries": 0}
DiffusionActor: Any = ray.remote(**_OURS)(_DiffusionActor)
RewardActor: Any = ray.remote(**_OURS)(_RewardActor)
