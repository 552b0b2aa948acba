"""The coroutine that runs one task on any workers."""

import asyncio
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor

from actors.protocol import CallFailed, ChunkTooLarge, EncodeResult, ScoreResult, Workers, WorkersLost
from configs.plain.texts import message_of, writable
from diffusion.surrogate.network import Surrogate, from_bytes
from pipeline.guidance.choosing.best_front import run_best_front
from pipeline.guidance.choosing.best_of import run_best_of
from pipeline.guidance.ledger import Ledger
from pipeline.guidance.ports import Answers, ReverseStep
from pipeline.guidance.rivals.particles import run_particles
from pipeline.guidance.runner import run_guided, run_unguided, unguided_seeds
from pipeline.guidance.simplex import as_weights
from pipeline.job.result import Meter, PromptFailure, PromptResult
from pipeline.job.rows import cost_row, sample_rows, score_rows, step_rows
from pipeline.planning.task import PromptTask
from pipeline.redaction import redacted
from pipeline.surrogate.pairs import PairCollector

# Called with the denoising steps and the candidates (decoded and scored) that were just done.
OnProgress = Callable[[int, int], None]


@dataclass(frozen=True)
class BoundPorts:
    """The method's two ports (`Denoiser`, `Query`), bound to one task on some workers.

    Attributes:
        pending: the calls that have not returned yet.
        pairs: collects the training pairs of a surrogate; None if none are kept.
    """

    workers: Workers
    encoded: EncodeResult
    task: PromptTask
    meter: Meter
    on_progress: OnProgress
    pending: set[asyncio.Task[ScoreResult]] = field(default_factory=set)
    pairs: PairCollector | None = None

    @property
    def timesteps(self) -> Sequence[int]:
        return self.encoded.timesteps

    async def reverse_step(self, x_LCHW: Tensor, step: int) -> ReverseStep:
        result = await self.workers.reverse_step(self.encoded, x_LCHW.numpy(), step)
        self.meter.seconds["denoise"] += result.seconds
        self.meter.retries += result.retries
        return ReverseStep(torch.from_numpy(result.mean.copy()), result.sigma)

    async def __call__(self, x_NCHW: Tensor, step: int, rewards: Sequence[int]) -> Tensor:
        """Split the candidates by position into chunks, and score all chunks concurrently."""
        return torch.from_numpy(np.concatenate([one.scores for one in await self.scored(x_NCHW, step, rewards)]))

    async def scored(self, x_NCHW: Tensor, step: int, rewards: Sequence[int]) -> list[ScoreResult]:
        """Score the chunks of the candidates concurrently, and keep the first candidates as training pairs."""
        names, size = [self.task.guided[reward] for reward in rewards], self.task.chunk
        chunks = [x_NCHW[start : start + size] for start in range(0, len(x_NCHW), size)]
        calls = [asyncio.create_task(self._score_chunk(x_nCHW, step, names)) for x_nCHW in chunks]
        for call in calls:
            self.pending.add(call)
            call.add_done_callback(self.pending.discard)
        results = await asyncio.gather(*calls)
        if self.pairs and results:
            latents = [one.looks.latents for one in results if one.looks]
            self.pairs.add(
                step, np.concatenate(latents), tuple(rewards), np.concatenate([one.scores for one in results])
            )
        return results

    def cancel_pending(self) -> None:
        """Cancel the pending calls: after the first error the task has failed, and their results are not needed."""
        for call in self.pending:
            call.cancel()

    async def score_finals(self, x_BCHW: Tensor) -> Tensor:
        """Score final latents with every guiding reward, chunk by chunk: float64 (B, M)."""
        task, scores = self.task, list[Tensor]()
        for x_bCHW in torch.split(x_BCHW, task.chunk):
            scored = await self.workers.score_finals(x_bCHW.numpy(), task.guided, task.prompt.text, task.chunk)
            self.meter.add(scored)
            self.on_progress(0, len(x_bCHW))
            scores.append(torch.from_numpy(scored.scores.copy()))
        return torch.cat(scores)

    async def _score_chunk(self, x_nCHW: Tensor, step: int, names: Sequence[str]) -> ScoreResult:
        scored = await self.workers.score_candidates(
            self.encoded, x_nCHW.numpy(), step, names, self.task.prompt.text, self.task.chunk
        )
        self.meter.add(scored)
        self.on_progress(0, len(x_nCHW))
        return scored


class BoundSurrogate:
    """The method's port `Surrogate`, bound to one task whose surrogate the workers have."""

    def __init__(self, ports: BoundPorts, surrogate: Surrogate) -> None:
        self._ports, self._surrogate = ports, surrogate
        self._columns = list(surrogate.columns(ports.task.guided))

    def deviation(self, step: int) -> Tensor:
        return self._surrogate.deviation_at(step, len(self._ports.timesteps))[self._columns]

    async def query(self, x_NCHW: Tensor, step: int, rewards: Sequence[int]) -> Answers:
        results = await self._ports.scored(x_NCHW, step, rewards)
        if not results:
            nothing = torch.zeros(0, len(rewards), dtype=torch.float64)
            return Answers(nothing, nothing)
        predicted = [one.looks.predicted for one in results if one.looks and one.looks.predicted is not None]
        columns = [self._columns[reward] for reward in rewards]
        scores = np.concatenate([one.scores for one in results])
        return Answers(torch.from_numpy(scores), torch.from_numpy(np.concatenate(predicted)[:, columns]))

    async def gradient(self, x_RCHW: Tensor, step: int, factor_RM: Tensor) -> Tensor:
        factors = np.zeros((len(x_RCHW), len(self._surrogate.rewards)))
        factors[:, self._columns] = factor_RM.numpy()
        ports = self._ports
        result = await ports.workers.surrogate_gradient(ports.encoded, x_RCHW.numpy(), step, factors)
        ports.meter.seconds["surrogate"] += result.seconds
        ports.meter.peak_memory = max(ports.meter.peak_memory, result.peak_memory)
        ports.meter.retries += result.retries
        return torch.from_numpy(result.gradient.copy())


async def attempt_prompt(task: PromptTask, workers: Workers, on_progress: OnProgress) -> PromptResult | PromptFailure:
    """Call `run_prompt`, and return an error as the failure of this task, so that other tasks are not affected.

    Raises:
        WorkersLost: no worker is left; this is not the task's fault.
        ChunkTooLarge: a chunk does not fit into memory; this is not the task's fault.
    """
    scored = 0

    def count(steps: int, candidates: int) -> None:
        nonlocal scored
        scored += candidates
        on_progress(steps, candidates)

    try:
        return await run_prompt(task, workers, count)
    except (WorkersLost, ChunkTooLarge):
        raise
    except Exception as error:
        cause = error.__cause__ if isinstance(error, CallFailed) and error.__cause__ else error
        row = {
            "key": task.key,
            "prompt_id": task.prompt.prompt_id,
            "prompt": task.prompt.text,
            "error_class": writable(type(cause).__name__),
            # The errors of other code may quote a header or a URL with a password, and hold what no file takes.
            "message": redacted(message_of(error)),
            "traceback": redacted(writable("".join(traceback.format_exception(error)))),
            "attempts": error.attempts if isinstance(error, CallFailed) else 1,
        }
        return PromptFailure(task.key, row, scored)


async def run_prompt(task: PromptTask, workers: Workers, on_progress: OnProgress) -> PromptResult:
    """Run one task: encode the prompt, guide for T steps, decode, score, and return the rows.

    Raises:
        Exception: the last error of a worker, after its retries; the task then has no rows.
    """
    start, meter, ledger = time.perf_counter(), Meter(), Ledger()
    encoded = await workers.encode(task.prompt.text, task.sampling)
    meter.retries += encoded.retries
    encoded = replace(encoded, keep=task.pairs, gradients_at_once=task.gradients_at_once)
    if task.surrogate:
        encoded = workers.with_surrogate(encoded, task.surrogate)
    pairs = PairCollector(task.pairs, len(task.guided), task.sampling.steps) if task.pairs else None
    ports = BoundPorts(workers, encoded, task, meter, on_progress, pairs=pairs)
    seeds: tuple[int, ...] = (task.seed,) * len(task.weights)
    weights, shape = as_weights(task.weights), encoded.latent_shape

    def on_step(step: int) -> None:
        on_progress(1, 0)

    try:
        if task.method == "unguided":
            seeds = unguided_seeds(task.seed, len(task.weights))
            trajectory = await run_unguided(seeds, shape, ports, ledger, on_step)
        elif soup := task.sampling.soup:
            passes = [sum(w > 0 for w in row) if soup.output else 1 for row in soup.weights]
            trajectory = await run_unguided(seeds, shape, ports, ledger, on_step, passes=sum(passes))
        elif task.method == "best_of":
            trajectory, seeds = await run_best_of(
                weights,
                task.samples,
                task.chunk,
                shape,
                task.seed,
                ports,
                ports.score_finals,
                ledger,
                on_step,
                task.keep,
                task.evolution,
            )
        elif task.guidance.particle_temperature is not None:
            trajectory = await run_particles(
                weights, task.guidance.candidates, task.chunk, task.guidance.particle_temperature, shape, task.seed,
                ports, ports, ledger, on_step,
            )  # fmt: skip
        else:
            surrogate = BoundSurrogate(ports, from_bytes(task.surrogate)) if task.surrogate else None
            guided = (task.guidance, ports, ports)
            if task.fronts > 1:
                trajectory, seeds = await run_best_front(
                    weights, task.fronts, shape, task.seed, *guided, ports.score_finals, ledger, on_step, surrogate,
                    task.keep,
                )  # fmt: skip
            else:
                trajectory = await run_guided(weights, shape, task.seed, *guided, ledger, on_step, surrogate)
    finally:
        ports.cancel_pending()
    ledger.decodes += len(trajectory.x_LCHW)
    rewards = (*task.guided, *task.held_out)
    finished = await workers.finish(trajectory.x_LCHW.numpy(), rewards, task.prompt.text, task.chunk)
    meter.add(finished.scored)
    tables = {
        "samples": sample_rows(task, seeds, finished),
        "scores": score_rows(task, finished),
        "steps": step_rows(task, trajectory),
        "costs": [cost_row(task, ledger, meter, time.perf_counter() - start)],
    }
    kept = pairs.to_bytes(encoded.text) if pairs and encoded.text is not None else None
    return PromptResult(task.key, tables, dict(meter.seconds_by_reward), encoded.warnings, kept)
