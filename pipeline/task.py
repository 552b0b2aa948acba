"""One prompt of one method: what it is asked to do, and the coroutine that does it on any workers."""

import asyncio
import time
import traceback
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from actors.protocol import ChunkTooLarge, Encoded, Finished, Scored, WorkError, Workers, WorkersLost
from configs.schema import UNGUIDED
from diffusion.base import Sampling
from pipeline.guidance.best_of import run_best_of
from pipeline.guidance.ledger import Ledger
from pipeline.guidance.ports import ReverseStep
from pipeline.guidance.runner import Guidance, Trajectory, run_guided, run_unguided, unguided_seeds
from pipeline.guidance.simplex import as_weights
from pipeline.prompts import Prompt
from pipeline.records import Row
from pipeline.redaction import redacted


@dataclass(frozen=True)
class PromptTask:
    """One prompt of one method, whole: a worker needs nothing else to run it.

    Attributes:
        key: name of its parts on disk; see `pipeline.plan`.
        method: `srsoup`, `weighted_sum`, `unguided_first`, `best_of` or `unguided`.
        seed: the prompt's own.
        weights: L rows on the simplex; `unguided` draws one sample for each row instead.
        guided, held_out: names of the M guiding rewards, in the order of the weights, and of the others.
        sampling: how the model is sampled.
        chunk: candidates in one unit of work.
        samples: that `unguided` draws, one for each weight, or that `best_of` chooses from.
    """

    key: str
    prompt: Prompt
    method: str
    seed: int
    weights: tuple[tuple[float, ...], ...]
    guidance: Guidance
    guided: tuple[str, ...]
    held_out: tuple[str, ...]
    sampling: Sampling
    chunk: int
    samples: int


@dataclass
class Meter:
    """What the workers spent on a prompt, added up as their answers come in."""

    seconds: dict[str, float] = field(
        default_factory=lambda: dict.fromkeys(("denoise", "lookahead", "decode", "reward"), 0.0)
    )
    seconds_by_reward: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))
    peak_memory: int = 0
    retries: int = 0

    def add(self, scored: Scored) -> None:
        self.seconds["lookahead"] += scored.seconds_lookahead
        self.seconds["decode"] += scored.seconds_decode
        for name, seconds in scored.seconds_by_reward.items():
            self.seconds["reward"] += seconds
            self.seconds_by_reward[name] += seconds
        self.peak_memory = max(self.peak_memory, scored.peak_memory)
        self.retries += scored.retries


# Called with what has just been done: denoising steps, and candidates decoded and scored.
OnProgress = Callable[[int, int], None]


@dataclass(frozen=True)
class PromptResult:
    """The rows of a finished prompt, by table; the seconds of each reward, which make up one column of its costs; and
    what the model warned of."""

    key: str
    tables: dict[str, list[Row]]
    seconds_by_reward: Mapping[str, float] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class PromptFailure:
    """A prompt that raised: its row in `failures`."""

    key: str
    row: Row


@dataclass(frozen=True)
class BoundPorts:
    """The method's two ports (`Denoiser`, `Query`), bound to one prompt on some workers."""

    workers: Workers
    encoded: Encoded
    task: PromptTask
    meter: Meter
    on_progress: OnProgress
    under_way: set[asyncio.Task[Tensor]] = field(default_factory=set)

    @property
    def timesteps(self) -> Sequence[int]:
        return self.encoded.timesteps

    async def reverse_step(self, x_LCHW: Tensor, step: int) -> ReverseStep:
        answer = await self.workers.reverse_step(self.encoded, x_LCHW.numpy(), step)
        self.meter.seconds["denoise"] += answer.seconds
        self.meter.retries += answer.retries
        return ReverseStep(torch.from_numpy(answer.mean.copy()), answer.sigma)

    async def __call__(self, x_NCHW: Tensor, step: int, rewards: Sequence[int]) -> Tensor:
        """Cut the candidates by position into chunks, and ask for all of them at once."""
        names = [self.task.guided[reward] for reward in rewards]
        chunks = [asyncio.create_task(self._chunk(x_nCHW, step, names)) for x_nCHW in x_NCHW.split(self.task.chunk)]
        for chunk in chunks:
            self.under_way.add(chunk)
            chunk.add_done_callback(self.under_way.discard)
        return torch.cat(await asyncio.gather(*chunks))

    def give_up(self) -> None:
        """Drop what is still under way: the first error loses the prompt, and the rest of it is not wanted."""
        for chunk in self.under_way:
            chunk.cancel()

    async def score_finals(self, x_BCHW: Tensor) -> Tensor:
        """Every guiding reward of one chunk of final latents: float64 (B, M)."""
        task = self.task
        scored = await self.workers.score_finals(x_BCHW.numpy(), task.guided, task.prompt.text, task.chunk)
        self.meter.add(scored)
        self.on_progress(0, len(x_BCHW))
        return torch.from_numpy(scored.scores.copy())

    async def _chunk(self, x_nCHW: Tensor, step: int, names: Sequence[str]) -> Tensor:
        scored = await self.workers.score_candidates(
            self.encoded, x_nCHW.numpy(), step, names, self.task.prompt.text, self.task.chunk
        )
        self.meter.add(scored)
        self.on_progress(0, len(x_nCHW))
        return torch.from_numpy(scored.scores.copy())


async def attempt_prompt(task: PromptTask, workers: Workers, on_progress: OnProgress) -> PromptResult | PromptFailure:
    """`run_prompt`, with an error turned into the prompt's own failure: it loses itself and no other.

    Raises:
        WorkersLost, ChunkTooLarge: which are no prompt's failure.
    """
    try:
        return await run_prompt(task, workers, on_progress)
    except (WorkersLost, ChunkTooLarge):
        raise
    except Exception as error:
        cause = error.__cause__ if isinstance(error, WorkError) and error.__cause__ else error
        row = {
            "key": task.key,
            "prompt_id": task.prompt.prompt_id,
            "prompt": task.prompt.text,
            "error_class": type(cause).__name__,
            # What other people's code says may hold a header or an address with a password.
            "message": redacted(str(error)),
            "traceback": redacted("".join(traceback.format_exception(error))),
            "attempts": error.attempts if isinstance(error, WorkError) else 1,
        }
        return PromptFailure(task.key, row)


async def run_prompt(task: PromptTask, workers: Workers, on_progress: OnProgress) -> PromptResult:
    """Run one prompt of one method: encode, guide for T steps, decode, score, and write down the rows.

    Raises:
        Exception: whatever a worker still raises after its retries; the prompt then leaves no rows.
    """
    start, meter, ledger = time.perf_counter(), Meter(), Ledger()
    encoded = await workers.encode(task.prompt.text, task.sampling)
    meter.retries += encoded.retries
    ports = BoundPorts(workers, encoded, task, meter, on_progress)
    seeds: tuple[int, ...] = (task.seed,) * len(task.weights)
    weights, shape = as_weights(task.weights), encoded.latent_shape

    def on_step(step: int) -> None:
        on_progress(1, 0)

    try:
        if task.method == "unguided":
            seeds = unguided_seeds(task.seed, len(task.weights))
            trajectory = await run_unguided(seeds, shape, ports, ledger, on_step)
        elif task.method == "best_of":
            trajectory, seeds = await run_best_of(
                weights, task.samples, task.chunk, shape, task.seed, ports, ports.score_finals, ledger, on_step
            )
        else:
            trajectory = await run_guided(weights, shape, task.seed, task.guidance, ports, ports, ledger, on_step)
    finally:
        ports.give_up()
    ledger.decodes += len(trajectory.x_LCHW)
    rewards = (*task.guided, *task.held_out)
    finished = await workers.finish(trajectory.x_LCHW.numpy(), rewards, task.prompt.text, task.chunk)
    meter.add(finished.scored)
    tables = {
        "samples": _sample_rows(task, seeds, finished),
        "scores": _score_rows(task, finished),
        "steps": _step_rows(task, trajectory),
        "costs": [_cost_row(task, ledger, meter, time.perf_counter() - start)],
    }
    return PromptResult(task.key, tables, dict(meter.seconds_by_reward), encoded.warnings)


def _sample_rows(task: PromptTask, seeds: Sequence[int], finished: Finished) -> list[Row]:
    return [
        {
            "key": task.key,
            "prompt_id": task.prompt.prompt_id,
            "prompt": task.prompt.text,
            "source": task.prompt.source,
            "style": task.prompt.style,
            "method": task.method,
            "seed": seeds[index],
            "weight_index": index,
            "weights": None if task.method == "unguided" else list(weights),
            "image": {"bytes": finished.images[index], "path": None},
            "width": finished.width,
            "height": finished.height,
        }
        for index, weights in enumerate(task.weights)
    ]


def _score_rows(task: PromptTask, finished: Finished) -> list[Row]:
    roles = [*((name, "guided") for name in task.guided), *((name, "held_out") for name in task.held_out)]
    return [
        {"key": task.key, "weight_index": index, "reward": reward, "role": role, "value": float(value)}
        for index, values in enumerate(finished.scored.scores)
        for (reward, role), value in zip(roles, values, strict=True)
    ]


def _step_rows(task: PromptTask, trajectory: Trajectory) -> list[Row]:
    """A row for each step, weight and guiding reward; without a reward where nothing is guided."""
    rewards = (None,) if task.method in UNGUIDED else task.guided
    return [
        {
            "key": task.key,
            "step": record.step,
            "timestep": record.timestep,
            "phase": record.phase,
            "sigma": record.sigma,
            "weight_index": index,
            "reward": reward,
            "gradient_norm": record.guided and _number(record.guided.norm_R[index]),
            "reward_mean": record.guided and _number(record.guided.reward_mean_RM[index, m]),
            "reward_std": record.guided and _number(record.guided.reward_std_RM[index, m]),
            **_overlap(record.overlap_LM3, index, m),
        }
        for record in trajectory.steps
        for index in range(len(task.weights))
        for m, reward in enumerate(rewards)
    ]


def _overlap(overlap_LM3: Tensor | None, index: int, m: int) -> Row:
    names = ("overlap_q25", "overlap_q50", "overlap_q75")
    if overlap_LM3 is None:
        return dict.fromkeys(names)
    return dict(zip(names, overlap_LM3[index, m].tolist(), strict=True))


def _number(value: Tensor) -> float | None:
    """Null, not NaN, where there was nothing to measure."""
    return None if value.isnan() else value.item()


def _cost_row(task: PromptTask, ledger: Ledger, meter: Meter, seconds: float) -> dict[str, Any]:
    busy = sum(meter.seconds.values())
    return {
        "key": task.key,
        "prompt_id": task.prompt.prompt_id,
        "prompt": task.prompt.text,
        "method": task.method,
        "seed": task.seed,
        "queries": ledger.total_queries,
        "queries_by_reward": [(name, ledger.queries[m]) for m, name in enumerate(task.guided)],
        "decodes": ledger.decodes,
        "denoises": ledger.denoises,
        "seconds_total": seconds,
        **{f"seconds_{part}": value for part, value in meter.seconds.items()},
        # Several workers may be busy for one prompt at once, so this is a lower bound of the waiting.
        "seconds_wait": max(seconds - busy, 0.0),
        "peak_memory_bytes": meter.peak_memory,
        "attempts": 1 + meter.retries,
    }
