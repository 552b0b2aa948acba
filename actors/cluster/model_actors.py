"""The Ray actors that hold models. Each wraps one plain worker of `actors.workers`; a cell's pools call them."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, TypeVar

import ray

from actors.protocol import Doubles, EncodeResult, Floats, GradientResult, ReverseStepResult
from actors.telemetry.warnings import collected_warnings
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
from configs.plain.texts import is_writable, with_writable_text
from configs.schema import RunConfig
from diffusion.base import Conditioning, Sampling
from rewards.plugin import Plugin

F = TypeVar("F", bound=Callable[..., Any])


def _method(**options: Any) -> Callable[[F], F]:
    """`ray.method`, typed: it sets options of an actor's method and leaves the method itself as it is."""
    decorate: Callable[[F], F] = ray.method(**options)
    return decorate


class _DiffusionActor:
    """Holds a `DiffusionWorker` in a process of its own.

    Args:
        gpus: the GPUs that Ray reserves for it, less than 1 for a share of one.
    """

    def __init__(self, config: RunConfig, gpus: float) -> None:
        self._threads = config.compute.threads
        self._load_error: RequestError | None = None
        try:
            self._loaded = DiffusionWorker.from_config(config, device_for(gpus))
        except RequestError as error:
            # Raised by `node`, because Ray reports an error of the constructor only as the actor's death.
            self._load_error = error

    @property
    def _worker(self) -> DiffusionWorker:
        """The worker. Ray computes calls on another thread than it loads on, and torch's settings are per thread."""
        set_threads(self._threads)
        return self._loaded

    def node(self) -> str:
        """Wait until the models are loaded. Returns Ray's name of the node.

        Raises:
            RequestError: the model is missing on this node, or cannot be loaded.
        """
        if self._load_error is not None:
            raise self._load_error
        return _node_id()

    @_method(concurrency_group="probe")
    def probe(self) -> None:
        """Answer, even while a call is being computed."""

    def encode(self, prompt: str, sampling: Sampling) -> EncodeResult:
        with collected_warnings("diffusion") as warnings:
            encoded = self._worker.encode(prompt, sampling)
        return replace(encoded, warnings=tuple(warnings))

    def reverse_step(self, x: Floats, step: int, conditioning: Conditioning) -> ReverseStepResult:
        return self._worker.reverse_step(x, step, conditioning)

    @_method(num_returns=2)
    def decode_candidates(
        self,
        x: Floats,
        step: int,
        conditioning: Conditioning,
        chunk: int,
        surrogate: bytes | None = None,
        keep: int = 0,
    ) -> tuple[Pixels, DecodeReport]:
        return self._worker.decode_candidates(x, step, conditioning, chunk, surrogate, keep)

    def surrogate_gradient(
        self, x: Floats, step: int, factors: Doubles, conditioning: Conditioning, surrogate: bytes, at_once: int
    ) -> GradientResult:
        return self._worker.surrogate_gradient(x, step, factors, conditioning, surrogate, at_once)

    @_method(num_returns=2)
    def decode_pixels(self, x: Floats, chunk: int) -> tuple[Pixels, DecodeReport]:
        return self._worker.decode(x, chunk)

    @_method(num_returns=3)
    def decode(self, x: Floats, chunk: int) -> tuple[Pixels, tuple[tuple[bytes, ...], int, int], DecodeReport]:
        pixels, report = self._worker.decode(x, chunk)
        height, width = pixels.shape[2:]
        return pixels, (png_files(pixels), width, height), report


class _RewardActor:
    """Holds a `RewardWorker` in a process of its own.

    Args:
        names: the names of its rewards.
        gpus: the GPUs that Ray reserves for it, less than 1 for a share of one.
        plugins: plugins with their source, because their files exist only on the machine that started the run.
    """

    def __init__(self, config: RunConfig, names: Sequence[str], gpus: float, plugins: Sequence[Plugin] = ()) -> None:
        self._threads = config.compute.threads
        self._load_error: RequestError | None = None
        try:
            self._loaded = RewardWorker.from_config(config, names, device_for(gpus), plugins)
        except RequestError as error:
            # Raised by `node`, because Ray reports an error of the constructor only as the actor's death.
            self._load_error = error

    @property
    def _worker(self) -> RewardWorker:
        """The worker, with torch's settings as in `_DiffusionActor._worker`."""
        set_threads(self._threads)
        return self._loaded

    def node(self) -> str:
        """Wait until the models are loaded. Returns Ray's name of the node.

        Raises:
            RequestError: a reward's weights or packages are missing on this node.
        """
        if self._load_error is not None:
            raise self._load_error
        return _node_id()

    @_method(concurrency_group="probe")
    def probe(self) -> None:
        """Answer, even while a call is being computed."""

    def score(self, name: str, pixels: Pixels, start: int, stop: int, prompt: str, chunk: int) -> tuple[Doubles, float]:
        try:
            return self._worker.score(name, pixels[start:stop], prompt, chunk)
        except Exception as error:
            if is_writable(error):
                raise
            # Ray cannot send the text, and would end this process, and every one that the call is repeated on.
            raise with_writable_text(error) from None


def _node_id() -> str:
    node_id: str = ray.get_runtime_context().get_node_id()
    return node_id


# Ray neither retries calls nor restarts actors, because `actors.pool` does.
_OPTIONS: dict[str, Any] = {"max_restarts": 0, "max_task_retries": 0, "concurrency_groups": {"probe": 1}}
# Not decorators, because a type checker would take the names for the plain classes, which have no `remote`.
DiffusionActor: Any = ray.remote(**_OPTIONS)(_DiffusionActor)
RewardActor: Any = ray.remote(**_OPTIONS)(_RewardActor)
