"""Makes the rows of a finished task, table by table. Their columns are in `pipeline.storage.schemas`."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from actors.protocol import FinishResult
from configs.schema import METHODS_WITHOUT_GUIDANCE
from pipeline.guidance.ledger import Ledger
from pipeline.guidance.runner import Trajectory
from pipeline.guidance.sharing.auto_step import Borrowed
from pipeline.job.result import Meter
from pipeline.planning.surrogates.given import sha256
from pipeline.planning.task import PromptTask
from pipeline.records import Row


def sample_rows(task: PromptTask, seeds: Sequence[int], finished: FinishResult) -> list[Row]:
    return [
        {
            "key": task.key,
            "prompt_id": task.prompt.prompt_id,
            "prompt": task.prompt.text,
            "source": task.prompt.source,
            "style": task.prompt.style,
            "tags": list(task.prompt.tags),
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


def score_rows(task: PromptTask, finished: FinishResult) -> list[Row]:
    roles = [*((name, "guided") for name in task.guided), *((name, "held_out") for name in task.held_out)]
    return [
        {"key": task.key, "weight_index": index, "reward": reward, "role": role, "value": float(value)}
        for index, values in enumerate(finished.scored.scores)
        for (reward, role), value in zip(roles, values, strict=True)
    ]


def step_rows(task: PromptTask, trajectory: Trajectory) -> list[Row]:
    """Return a row for each step, weighting and guiding reward; without guidance, the reward of a row is null."""
    rewards = (None,) if task.method in METHODS_WITHOUT_GUIDANCE else task.guided
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
            "gradient_cosines": record.guided and [_number(cosine) for cosine in record.guided.cosine_RMM[index, m]],
            **_overlap(record.overlap_LM3, index, m),
            **_borrowed(record.borrowed, index, m),
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


def _borrowed(borrowed: Borrowed | None, index: int, m: int) -> Row:
    if borrowed is None:
        return dict.fromkeys(("anchor", "anchor_cosine", "candidates"))
    return {
        "anchor": int(borrowed.anchor_RM[index, m]),
        "anchor_cosine": borrowed.cosine_RM[index, m].item(),
        "candidates": borrowed.candidates,
    }


def _number(value: Tensor) -> float | None:
    """Return None, which becomes null, for a value that was not measured and is NaN."""
    return None if value.isnan() else value.item()


def cost_row(task: PromptTask, ledger: Ledger, meter: Meter, seconds: float) -> dict[str, Any]:
    busy = sum(meter.seconds.values())
    return {
        "key": task.key,
        "prompt_id": task.prompt.prompt_id,
        "prompt": task.prompt.text,
        "tags": list(task.prompt.tags),
        "method": task.method,
        "seed": task.seed,
        "queries": ledger.total_queries,
        "queries_by_reward": [(name, ledger.queries[m]) for m, name in enumerate(task.guided)],
        "decodes": ledger.decodes,
        "denoises": ledger.denoises,
        "forwards": ledger.forwards,
        "backwards": ledger.backwards,
        "surrogate_round": task.round,
        "weights_round": task.weights_round,
        "surrogate": sha256(task.surrogate) if task.surrogate else None,
        "seconds_total": seconds,
        **{f"seconds_{stage}": value for stage, value in meter.seconds.items()},
        # Several workers may be busy for one task at once, so this is a lower bound of the waiting time.
        "seconds_training": task.training_seconds,
        "seconds_wait": max(seconds - busy, 0.0),
        "peak_memory_bytes": meter.peak_memory,
        "attempts": 1 + task.restarts + meter.retries,
    }
