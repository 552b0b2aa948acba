"""Calls to a set of equal actors: to the least loaded, two queued an actor, with bounded retries on others."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, TypeVar

import ray
from ray.exceptions import RayActorError, RayTaskError

from actors.protocol import Encoded, Finished, Floats, Reversed, Scored, WorkError
from actors.workers import stack_scores

# One call being computed and one waiting behind it keep an actor busy; more would only hold memory.
SLOTS = 2
ATTEMPTS = 3
# A dead actor is started again by Ray and loads its models before it answers.
RESTART_SECONDS = 300.0

T = TypeVar("T")


class ActorPool:
    """Equal, stateless actors behind one queue. First come, first served."""

    def __init__(self, actors: Sequence[Any]) -> None:
        self._load = dict.fromkeys(actors, 0)
        self._free = asyncio.Semaphore(SLOTS * len(actors))

    @asynccontextmanager
    async def lease(self, avoid: set[Any]) -> AsyncIterator[Any]:
        """A slot of the least loaded actor, of one not to be avoided where there is one."""
        async with self._free:
            actors = [actor for actor in self._load if actor not in avoid] or list(self._load)
            actor = min(actors, key=self._load.__getitem__)
            self._load[actor] += 1
            try:
                yield actor
            finally:
                self._load[actor] -= 1

    async def call(self, use: Callable[[Any], Awaitable[T]]) -> tuple[T, int]:
        """Await `use(actor)`; after an error try twice more, on other actors where there are any.

        Calls may be computed twice, so they must be idempotent. Returns the answer and the retries.

        Raises:
            WorkError: from the last error, after three attempts.
        """
        failed: set[Any] = set()
        for attempt in range(1, ATTEMPTS + 1):
            async with self.lease(failed) as actor:
                try:
                    return await use(actor), attempt - 1
                except (RayTaskError, RayActorError) as error:
                    failed.add(actor)
                    last: Exception = error
                if isinstance(last, RayActorError) and attempt < ATTEMPTS:
                    await _restarted(actor)
        cause = last.cause if isinstance(last, RayTaskError) and last.cause else last
        raise WorkError(f"failed {ATTEMPTS} times: {cause}", ATTEMPTS) from cause


async def _restarted(actor: Any) -> None:
    """Wait until an actor that died answers again; give up quietly, for the next call to fail."""
    deadline = asyncio.get_running_loop().time() + RESTART_SECONDS
    while asyncio.get_running_loop().time() < deadline:
        try:
            await actor.ready.remote()
            return
        except RayActorError:
            await asyncio.sleep(0.5)


async def _ask(actor: Any, name: str, pixels: Any, prompt: str) -> Any:
    return await actor.score.remote(name, pixels, prompt)


class RayWorkers:
    """The services of `Workers` on Ray actors. Pixels go from worker to worker, never through here."""

    def __init__(self, diffusion: Sequence[Any], rewards: Sequence[Any]) -> None:
        self._diffusion, self._rewards = ActorPool(diffusion), ActorPool(rewards)

    async def encode(self, prompt: str) -> Encoded:
        encoded, _ = await self._diffusion.call(lambda actor: actor.encode.remote(prompt))
        # Put once, so that every later call of the prompt carries a reference.
        return Encoded(ray.put(encoded.conditioning), encoded.latent_shape, encoded.timesteps)

    async def reverse_step(self, encoded: Encoded, x: Floats, step: int) -> Reversed:
        answer, _ = await self._diffusion.call(lambda actor: actor.reverse_step.remote(x, step, encoded.conditioning))
        return answer

    async def score_candidates(
        self, encoded: Encoded, x: Floats, step: int, rewards: Sequence[str], prompt: str
    ) -> Scored:
        async def decode(actor: Any) -> tuple[Any, Any]:
            pixels, report = actor.decode_candidates.remote(x, step, encoded.conditioning)
            return pixels, await report

        return await self._scored(decode, rewards, prompt)

    async def score_finals(self, x: Floats, rewards: Sequence[str], prompt: str) -> Scored:
        async def decode(actor: Any) -> tuple[Any, Any]:
            pixels, report = actor.decode_pixels.remote(x)
            return pixels, await report

        return await self._scored(decode, rewards, prompt)

    async def finish(self, x: Floats, rewards: Sequence[str], prompt: str) -> Finished:
        files: list[tuple[tuple[bytes, ...], int, int]] = []

        async def decode(actor: Any) -> tuple[Any, Any]:
            pixels, images, report = actor.decode.remote(x)
            files[:] = [await images]
            return pixels, await report

        scored = await self._scored(decode, rewards, prompt)
        images, width, height = files[0]
        return Finished(images, width, height, scored)

    async def _scored(
        self, decode: Callable[[Any], Awaitable[tuple[Any, Any]]], rewards: Sequence[str], prompt: str
    ) -> Scored:
        """Decode on a diffusion actor, then free it for the next chunk while the rewards score this one."""
        (pixels, report), retries = await self._diffusion.call(decode)
        answers = await asyncio.gather(
            *(self._rewards.call(partial(_ask, name=name, pixels=pixels, prompt=prompt)) for name in rewards)
        )
        return Scored(
            stack_scores([scores for (scores, _), _ in answers]),
            report.seconds_lookahead,
            report.seconds_decode,
            sum(seconds for (_, seconds), _ in answers),
            report.peak_memory,
            retries + sum(tries for _, tries in answers),
        )
