"""The pool's transport on Ray, and the services of `Workers` on two pools."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

import ray
from ray.exceptions import ObjectLostError, RayActorError, RayTaskError

from actors.pool.pool import Pool
from actors.pool.transport import Limits, Member, PartialAnswer
from actors.protocol import (
    Encoded,
    Finished,
    Floats,
    InputLost,
    ReverseStepResult,
    Scored,
    StartFailed,
    WorkerDied,
    WorkError,
)
from actors.workers import join_scores, stack_scores
from diffusion.base import Sampling

T = TypeVar("T")
# A decode on an actor: references to the pixels (and to the files of final images), and the report.
Decode = Callable[[Any, int, int], Awaitable[tuple[Any, Any, Any]]]


async def answered(reference: Awaitable[Any]) -> Any:
    """Await a Ray call; its errors in the words of `Pool.call`."""
    try:
        return await reference
    except ObjectLostError as error:
        raise InputLost(str(error)) from error
    except RayActorError as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
        if error.actor_init_failed:
            # Ray gives the whole stack; its last line is the worker's own error.
            raise StartFailed(lines[-1]) from error
        raise WorkerDied(f"the worker died: {lines[0]}", error.preempted) from error
    except RayTaskError as error:
        cause = error.cause
        if isinstance(cause, ObjectLostError):
            raise InputLost(str(cause)) from error
        if not isinstance(cause, Exception):
            raise
        # The worker's own error, with its stack over there in the words of Ray.
        raise cause from error


class RayTransport:
    """Actors of one kind; `make` asks Ray for one."""

    def __init__(self, make: Callable[[], Any]) -> None:
        self._make = make

    async def start(self) -> Member[Any]:
        actor = self._make()
        try:
            return Member(actor, await answered(actor.node.remote()))
        except BaseException:
            ray.kill(actor)
            raise

    async def probe(self, actor: Any) -> None:
        await answered(actor.probe.remote())

    def stop(self, actor: Any) -> None:
        ray.kill(actor)


class RayWorkers:
    """The services of `Workers` on Ray actors. Pixels go from worker to worker, never through here.

    Args:
        rewards: reward -> the pool whose actors hold it.
        put: makes a reference of a value that many calls carry.
        on_decoded: is told the bytes of images as they are decoded.
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

    async def encode(self, prompt: str, sampling: Sampling) -> Encoded:
        answer = await self._diffusion.call(
            "encode", 1, lambda actor, *_: answered(actor.encode.remote(prompt, sampling))
        )
        encoded: Encoded = answer.parts[0].value
        # Put once, so that every later call of the prompt carries a reference.
        return replace(encoded, conditioning=self._put(encoded.conditioning), retries=answer.retries)

    async def reverse_step(self, encoded: Encoded, x: Floats, step: int) -> ReverseStepResult:
        answer = await self._diffusion.call(
            "reverse step", len(x), lambda actor, *_: answered(actor.reverse_step.remote(x, step, encoded.conditioning))
        )
        result: ReverseStepResult = answer.parts[0].value
        return replace(result, retries=answer.retries)

    async def score_candidates(
        self, encoded: Encoded, x: Floats, step: int, rewards: Sequence[str], prompt: str, chunk: int
    ) -> Scored:
        async def decode(actor: Any, *_: int) -> tuple[Any, Any, Any]:
            pixels, report = actor.decode_candidates.remote(x, step, encoded.conditioning, chunk)
            return pixels, None, await answered(report)

        scored, _ = await self._scored("look-ahead and decode", decode, len(x), rewards, prompt, chunk)
        return scored

    async def score_finals(self, x: Floats, rewards: Sequence[str], prompt: str, chunk: int) -> Scored:
        async def decode(actor: Any, *_: int) -> tuple[Any, Any, Any]:
            pixels, report = actor.decode_pixels.remote(x, chunk)
            return pixels, None, await answered(report)

        scored, _ = await self._scored("decode", decode, len(x), rewards, prompt, chunk)
        return scored

    async def finish(self, x: Floats, rewards: Sequence[str], prompt: str, chunk: int) -> Finished:
        async def decode(actor: Any, *_: int) -> tuple[Any, Any, Any]:
            pixels, files, report = actor.decode.remote(x, chunk)
            return pixels, await answered(files), await answered(report)

        scored, (images, width, height) = await self._scored("decode", decode, len(x), rewards, prompt, chunk)
        return Finished(images, width, height, scored)

    async def _scored(
        self, kind: str, decode: Decode, n: int, rewards: Sequence[str], prompt: str, chunk: int
    ) -> tuple[Scored, Any]:
        """Decode on a diffusion actor, then free it for the next chunk while the rewards score this one.

        Pixels that are lost before all rewards have seen them are decoded again: the same call, the same bits.
        """
        retries = 0
        for _ in range(self._limits.deaths):
            answer = await self._diffusion.call(kind, n, decode)
            (pixels, files, report), node = answer.parts[0]
            retries += answer.retries
            self._on_decoded(report.pixel_bytes)
            try:
                answers = await together(self._score(name, pixels, node, n, prompt, chunk) for name in rewards)
            except InputLost as error:
                retries, lost = retries + 1, error
                continue
            columns, seconds, again = zip(*answers, strict=True)
            return Scored(
                stack_scores(columns),
                report.seconds_lookahead,
                report.seconds_decode,
                dict(zip(rewards, seconds, strict=True)),
                report.peak_memory,
                retries + sum(again),
            ), files
        raise WorkError(f"the pixels were lost {self._limits.deaths} times: {lost}", self._limits.deaths) from lost

    async def _score(
        self, name: str, pixels: Any, node: str, n: int, prompt: str, chunk: int
    ) -> tuple[Any, float, int]:
        """One reward's scores of all rows, in as many parts as it takes; with seconds and retries."""

        async def score(actor: Any, start: int, stop: int) -> Any:
            return await answered(actor.score.remote(name, pixels, start, stop, prompt, chunk))

        parts: list[PartialAnswer[Any]]
        parts, retries = await self._rewards[name].call(f"reward {name}", n, score, near=node, divisible=True)
        return join_scores([part.value[0] for part in parts]), sum(part.value[1] for part in parts), retries


async def together(work: Iterable[Awaitable[T]]) -> list[T]:
    """All results in order; the first error cancels the rest."""
    tasks = [asyncio.ensure_future(one) for one in work]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
