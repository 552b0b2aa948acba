"""How `RayWorkers` handles Ray's errors: it counts retries for every kind of call and decodes lost pixels again."""

import asyncio
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from ray.exceptions import ActorDiedError, ObjectLostError, RayTaskError

from actors.cluster.ray_workers import RayWorkers, gather_or_cancel, result_of
from actors.pool.pool import Pool
from actors.pool.transport import Limits, StartedActor
from actors.protocol import CallFailed, EncodeResult, ReverseStepResult
from actors.workers import DecodeReport
from diffusion.base import Sampling
from tests.support.cluster.virtual_time import run

X = np.arange(8, dtype=np.float32).reshape(2, 1, 2, 2)
REPORT = DecodeReport(1.0, 2.0, 3, 4)
SAMPLING = Sampling(steps=2, guidance_scale=5.0)


def raised(cause: Exception) -> RayTaskError:
    """The error that Ray raises for a task that raised `cause`."""
    return RayTaskError("task", "the stack in the worker's process", cause)


class Method:
    """A fake of `actor.method.remote(...)`, which calls a function.

    Args:
        returns: the number of references that `remote` returns, for a function that returns as many values.
    """

    def __init__(self, answer: Callable[..., Any], returns: int = 1) -> None:
        self.answer, self.returns, self.calls = answer, returns, 0

    def remote(self, *arguments: Any) -> Any:
        self.calls += 1

        async def reference(index: int | None) -> Any:
            await asyncio.sleep(1.0)
            value = self.answer(*arguments)
            return value if index is None else value[index]

        if self.returns == 1:
            return asyncio.ensure_future(reference(None))
        return [asyncio.ensure_future(reference(index)) for index in range(self.returns)]


def fails_first(times: int, error: Exception, value: Any) -> Callable[..., Any]:
    """Return a function that raises at its first calls and then returns `value`."""
    errors = [error] * times

    def answer(*_: Any) -> Any:
        if errors:
            raise errors.pop()
        return value

    return answer


class Actor:
    """A fake that is both a diffusion actor and a reward actor."""

    def __init__(self, **methods: Method) -> None:
        self.encode = methods.get("encode") or Method(lambda *_: EncodeResult("text", (1, 2, 2), (1, 0)))
        self.reverse_step = methods.get("reverse_step") or Method(lambda x, *_: ReverseStepResult(x, 0.5, 1.0))
        self.decode_candidates = Method(lambda *_: ("pixels", REPORT), returns=2)
        self.score = methods.get("score") or Method(
            lambda name, pixels, start, stop, *_: (np.arange(start, stop, dtype=np.float64), 1.0)
        )


class OneActor:
    """A transport that returns the same actor from every start."""

    def __init__(self, actor: Actor) -> None:
        self.actor = actor

    async def start(self) -> StartedActor[Actor]:
        return StartedActor(self.actor, "node")

    async def probe(self, handle: Actor) -> None: ...

    def stop(self, handle: Actor) -> None: ...


async def workers_of(actor: Actor) -> RayWorkers:
    limits = Limits(call_seconds=60.0)
    diffusion, rewards = Pool(OneActor(actor), 1, limits), Pool(OneActor(actor), 1, limits)
    await gather_or_cancel([diffusion.open(), rewards.open()])
    return RayWorkers(diffusion, dict.fromkeys("rs", rewards), limits)


@pytest.fixture(autouse=True)
def no_object_store(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ray.put", lambda value: value)


def test_retries_of_encode_and_reverse_step_are_counted() -> None:
    died, wrong = ActorDiedError(), raised(ValueError("no"))
    encode = Method(fails_first(1, died, EncodeResult("text", (1, 2, 2), (1, 0))))
    reverse_step = Method(fails_first(2, wrong, ReverseStepResult(X, 0.5, 1.0)))

    async def main() -> tuple[EncodeResult, ReverseStepResult]:
        workers = await workers_of(Actor(encode=encode, reverse_step=reverse_step))
        encoded = await workers.encode("snail", SAMPLING)
        return encoded, await workers.reverse_step(encoded, X, 0)

    encoded, step = run(main())
    assert (encoded.retries, encode.calls) == (1, 2)
    assert (step.retries, reverse_step.calls) == (2, 3)


def test_lost_pixels_are_decoded_again() -> None:
    lost = raised(ObjectLostError("ref", "owner", "stack"))
    score = Method(fails_first(2, lost, (np.array([3.0, 4.0]), 1.0)))
    actor = Actor(score=score)

    async def main() -> Any:
        workers = await workers_of(actor)
        return await workers.score_candidates(await workers.encode("snail", SAMPLING), X, 0, ["r"], "snail", 2)

    scored = run(main())
    assert scored.scores.tolist() == [[3.0], [4.0]] and scored.retries == 2
    assert actor.decode_candidates.calls == 3


def test_pixels_that_are_lost_again_and_again_fail_the_prompt() -> None:
    actor = Actor(score=Method(fails_first(99, raised(ObjectLostError("ref", "owner", "stack")), None)))

    async def main() -> Any:
        workers = await workers_of(actor)
        return await workers.score_candidates(await workers.encode("snail", SAMPLING), X, 0, ["r"], "snail", 2)

    with pytest.raises(CallFailed, match="lost 5 times"):
        run(main())


def test_scores_of_halves_are_joined_in_the_order_of_their_rows() -> None:
    def only_one(name: str, pixels: str, start: int, stop: int, prompt: str, chunk: int) -> Any:
        if stop - start > 1:
            raise raised(MemoryError())
        return np.array([10.0 + start]), 1.0

    async def main() -> Any:
        workers = await workers_of(Actor(score=Method(only_one)))
        return await workers.score_candidates(await workers.encode("snail", SAMPLING), X, 0, ["r", "s"], "snail", 2)

    scored = run(main())
    assert scored.scores.tolist() == [[10.0, 10.0], [11.0, 11.0]]
    assert scored.retries == 4 and scored.seconds_by_reward == {"r": 2.0, "s": 2.0}


def test_a_workers_own_error_is_raised_with_its_stack() -> None:
    async def main() -> Any:
        return await result_of(Method(fails_first(1, raised(ValueError("no")), None)).remote())

    with pytest.raises(ValueError, match="no") as caught:
        run(main())
    assert "the stack in the worker's process" in str(caught.value.__cause__)
