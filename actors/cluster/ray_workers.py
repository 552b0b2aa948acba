"""Connects pools to Ray: `RayTransport` starts and stops model actors, `RayWorkers` makes a prompt's calls to them.

`cell.Cell` creates both.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

import ray
from ray.exceptions import ObjectLostError, RayActorError, RayTaskError

from actors.pool.pool import Pool
from actors.pool.transport import Limits, PartialAnswer, StartedActor
from actors.protocol import (
    CallFailed,
    Doubles,
    EncodeResult,
    FinishResult,
    Floats,
    GradientResult,
    InputLost,
    ReverseStepResult,
    ScoreResult,
    StartFailed,
    WorkerDied,
)
from actors.workers import join_scores, stack_scores
from diffusion.base import Sampling

T = TypeVar("T")
# Decodes on an actor: a reference to the pixels, the files of final images if they are requested, and the report.
Decode = Callable[[Any, int, int], Awaitable[tuple[Any, Any, Any]]]


async def result_of(reference: Awaitable[Any]) -> Any:
    """Await a Ray call, and turn Ray's errors into those that `Pool.call` expects."""
    try:
        return await reference
    except ObjectLostError as error:
        raise InputLost(str(error)) from error
    except RayActorError as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
        if error.actor_init_failed:
            # The message is a whole stack, and its last line is the worker's own error.
            raise StartFailed(lines[-1]) from error
        raise WorkerDied(f"the worker died: {lines[0]}", error.preempted) from error
    except RayTaskError as error:
        cause = error.cause
        if isinstance(cause, ObjectLostError):
            raise InputLost(str(cause)) from error
        if not isinstance(cause, Exception):
            raise
        # The worker's own error. Ray's error, its cause, has the stack of the worker's process.
        raise cause from error


class RayTransport:
    """The transport on Ray for actors of one kind.

    Args:
        create: creates a Ray actor and returns its handle.
    """

    def __init__(self, create: Callable[[], Any]) -> None:
        self._create = create

    async def start(self) -> StartedActor[Any]:
        handle = self._create()
        try:
            return StartedActor(handle, await result_of(handle.node.remote()))
        except BaseException:
            ray.kill(handle)
            raise

    async def probe(self, handle: Any) -> None:
        await result_of(handle.probe.remote())

    def stop(self, handle: Any) -> None:
        ray.kill(handle)


class RayWorkers:
    """Implements `actors.protocol.Workers` on Ray actors. Pixels go from actor to actor and never through this process.

    Args:
        diffusion: the pool of diffusion actors.
        rewards: for each reward, the pool whose actors hold it.
        put: stores a value that many calls take, and returns a reference to it; `ray.put` by default.
        on_decoded: called with the bytes of each decoded chunk of images.
    """

    def __init__(
        self,
        diffusion: Pool[Any],
        rewards: Mapping[str, Pool[Any]],
        limits: Limits,
        put: Callable[[Any], Any] | None = None,
        on_decoded: Callable[[int], None] = lambda _: None,
    ) -> None:
        self._diffusion, self._rewards, self._limits, self._put = diffusion, rewards, limits, put or ray.put
        self._on_decoded = on_decoded

    async def encode(self, prompt: str, sampling: Sampling) -> EncodeResult:
        async def compute(handle: Any, *_: int) -> Any:
            return await result_of(handle.encode.remote(prompt, sampling))

        answer = await self._diffusion.call("encode", 1, compute)
        encoded: EncodeResult = answer.partials[0].value
        # Stored once, so that every later call of the prompt takes a reference.
        return replace(encoded, conditioning=self._put(encoded.conditioning), retries=answer.retries)

    def with_surrogate(self, encoded: EncodeResult, surrogate: bytes) -> EncodeResult:
        return replace(encoded, surrogate=self._put(surrogate))

    async def reverse_step(self, encoded: EncodeResult, x: Floats, step: int) -> ReverseStepResult:
        async def compute(handle: Any, *_: int) -> Any:
            return await result_of(handle.reverse_step.remote(x, step, encoded.conditioning))

        answer = await self._diffusion.call("reverse step", len(x), compute)
        result: ReverseStepResult = answer.partials[0].value
        return replace(result, retries=answer.retries)

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
        async def decode(handle: Any, *_: int) -> tuple[Any, Any, Any]:
            pixels, report = handle.decode_candidates.remote(
                x, step, encoded.conditioning, chunk, encoded.surrogate, encoded.keep
            )
            return pixels, None, await result_of(report)

        scored, _ = await self._decode_and_score("look-ahead and decode", decode, len(x), rewards, prompt, chunk)
        return scored

    async def surrogate_gradient(self, encoded: EncodeResult, x: Floats, step: int, factors: Doubles) -> GradientResult:
        async def compute(handle: Any, *_: int) -> Any:
            return await result_of(
                handle.surrogate_gradient.remote(
                    x, step, factors, encoded.conditioning, encoded.surrogate, encoded.gradients_at_once
                )
            )

        answer = await self._diffusion.call("surrogate gradient", len(x), compute)
        result: GradientResult = answer.partials[0].value
        return replace(result, retries=answer.retries)

    async def score_finals(self, x: Floats, rewards: Sequence[str], prompt: str, chunk: int) -> ScoreResult:
        async def decode(handle: Any, *_: int) -> tuple[Any, Any, Any]:
            pixels, report = handle.decode_pixels.remote(x, chunk)
            return pixels, None, await result_of(report)

        scored, _ = await self._decode_and_score("decode", decode, len(x), rewards, prompt, chunk)
        return scored

    async def finish(self, x: Floats, rewards: Sequence[str], prompt: str, chunk: int) -> FinishResult:
        async def decode(handle: Any, *_: int) -> tuple[Any, Any, Any]:
            pixels, files, report = handle.decode.remote(x, chunk)
            return pixels, await result_of(files), await result_of(report)

        scored, (images, width, height) = await self._decode_and_score("decode", decode, len(x), rewards, prompt, chunk)
        return FinishResult(images, width, height, scored)

    async def _decode_and_score(
        self, kind: str, decode: Decode, n: int, rewards: Sequence[str], prompt: str, chunk: int
    ) -> tuple[ScoreResult, Any]:
        """Decode a chunk on a diffusion actor, then score it on reward actors while the diffusion actor is free.

        If the pixels are lost before every reward has scored them, they are decoded again, to the same bits.
        """
        retries = 0
        for _ in range(self._limits.call_deaths):
            answer = await self._diffusion.call(kind, n, decode)
            (pixels, files, report), node = answer.partials[0]
            retries += answer.retries
            self._on_decoded(report.pixel_bytes)
            try:
                answers = await gather_or_cancel(self._score(name, pixels, node, n, prompt, chunk) for name in rewards)
            except InputLost as error:
                retries, lost = retries + 1, error
                continue
            columns, seconds, reward_retries = zip(*answers, strict=True)
            return ScoreResult(
                stack_scores(columns),
                report.seconds_lookahead,
                report.seconds_decode,
                dict(zip(rewards, seconds, strict=True)),
                report.peak_memory,
                retries + sum(reward_retries),
                report.looks,
            ), files
        attempts = self._limits.call_deaths
        raise CallFailed(f"the pixels were lost {attempts} times: {lost}", attempts) from lost

    async def _score(
        self, name: str, pixels: Any, node: str, n: int, prompt: str, chunk: int
    ) -> tuple[Any, float, int]:
        """Return one reward's scores of all rows, the seconds that they took, and the number of retries."""

        async def score(handle: Any, start: int, stop: int) -> Any:
            return await result_of(handle.score.remote(name, pixels, start, stop, prompt, chunk))

        partials: list[PartialAnswer[Any]]
        partials, retries = await self._rewards[name].call(f"reward {name}", n, score, input_node=node, divisible=True)
        return join_scores([one.value[0] for one in partials]), sum(one.value[1] for one in partials), retries


async def gather_or_cancel(awaitables: Iterable[Awaitable[T]]) -> list[T]:
    """Await all at once and return the results in order. The first error cancels the rest and is raised."""
    tasks = [asyncio.ensure_future(one) for one in awaitables]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
