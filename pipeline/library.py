"""The library's door: the front of one prompt from a diffusers pipeline, in this process and without Ray."""

import asyncio
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Event
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from actors.from_config import loading_of
from actors.workers import DiffusionWorker, RewardWorker, set_threads
from configs.errors import RequestError
from configs.load import checked_config
from configs.schema import RunConfig
from diffusion.base import pipeline_family, take_pipeline
from diffusion.families import DDIM_KEYS, FLOW_KEYS, Family
from pipeline.job.local_workers import LocalWorkers
from pipeline.job.result import PromptResult
from pipeline.job.run_prompt import run_prompt
from pipeline.planning.plan import prompt_task
from pipeline.planning.prompts import read_prompts
from pipeline.planning.task import PromptTask
from rewards import registry
from rewards.base import Reward
from rewards.plugin import as_reward

# A reward's name, or a function (images, prompts) -> scores, or a class; see docs/own_reward.md.
RewardLike = str | Callable[..., Any]
# Keys of a configuration that make sense of one prompt and of a pipeline that is loaded.
_OPTIONS = ("best_of", "compute", "guidance", "model", "soup")
_SAMPLING = {"guidance_scale", "negative_prompt"}
_CALL = "sample_front"
_GRID: Mapping[str, int] = MappingProxyType({"grid": 6})
_NONE: Mapping[str, Mapping[str, Any]] = MappingProxyType({})


@dataclass(frozen=True)
class Front:
    """The images of one prompt, one for each weighting.

    Attributes:
        rewards: names of the M guiding rewards, then of the H held-out ones.
        weights: float64 (L, M).
        images: L images, RGB.
        scores: float64 (L, M + H), higher is better.
        queries: calls of a guiding reward on a candidate.
        decodes: images decoded.
    """

    prompt: str
    rewards: tuple[str, ...]
    weights: NDArray[np.float64]
    images: tuple[Image.Image, ...]
    scores: NDArray[np.float64]
    queries: int
    decodes: int


class _Stopped(Exception):
    """The caller wants no more of it."""


def sample_front(
    pipe: Any,
    prompt: str,
    rewards: Sequence[RewardLike],
    *,
    held_out: Sequence[RewardLike] = (),
    weights: Mapping[str, int] | Sequence[Sequence[float]] = _GRID,
    method: str = "srsoup",
    steps: int = 50,
    queries: int = 30,
    soup_steps: int = 20,
    seed: int = 0,
    options: Mapping[str, Mapping[str, Any]] = _NONE,
) -> Front:
    """Guide one prompt by several rewards at once: an image for each weighting of them.

    The bits are those of `srsoup run` with the same values on the same model, dtype and device; a run has all parts of
    a model in one dtype, which `from_pretrained(..., dtype=...)` gives too. The pipeline is left as it was. Works in a
    notebook, whose event loop is running.

    Args:
        pipe: a diffusers pipeline of a supported family, on its device (Stable Diffusion 1.x, 2.x, XL, 3, 3.5).
        rewards: the M that guide: names of `srsoup rewards`, or your own functions `(images, prompts) -> scores`, of
            images uint8 RGB (n, 3, height, width) and n texts, or classes; docs/own_reward.md.
        held_out: rewards that only score the final images.
        weights: L rows of M entries on the simplex, or a rule such as {"grid": 6}, as in a configuration.
        method: `srsoup`, `weighted_sum`, `unguided_first`, `best_of` or `unguided`.
        steps: T, denoising steps.
        queries: N, candidates around each mean in each step.
        soup_steps: K, soup steps.
        seed: of the run; the prompt's own comes from it.
        options: further keys of a configuration: guidance, soup, best_of, compute (chunk, threads), and of model what
            sampling has: guidance_scale, negative_prompt, eta or noise_level.

    Raises:
        RequestError: a value is not allowed; names the key and the fix.
        ModelError: the pipeline is not of a supported family, or its scheduler is not of its process.
        LookupError: there is no reward of a name.
        RewardError: a reward cannot be loaded, or answered wrongly.
    """
    family = pipeline_family(pipe)
    _check_options(pipe, family, options)
    dtype = str(getattr(pipe, family.denoiser).dtype).removeprefix("torch.")
    created = {_name(reward): _created(reward) for reward in (*rewards, *held_out)}
    given = {
        "name": "library", "method": method, "steps": steps, "queries": queries, "seed": seed,
        "weights": dict(weights) if isinstance(weights, Mapping) else [list(map(float, row)) for row in weights],
        "prompts": {"list": [prompt]},
        "rewards": {"guided": [_name(reward) for reward in rewards], "held_out": [_name(r) for r in held_out]},
    }  # fmt: skip
    soup = {"steps": soup_steps} | dict(options.get("soup", {}))
    model = dict(options.get("model", {})) | {"dtype": dtype}
    config = checked_config({**given, **options, "soup": soup, "model": model}, _CALL)
    (told,) = read_prompts(config.prompts)
    task = prompt_task(config, told, 0, method, "", {})
    return _front(task, _in_a_thread(pipe, config, created, task))


def _in_a_thread(pipe: Any, config: RunConfig, rewards: Mapping[str, Reward], task: PromptTask) -> PromptResult:
    """Run the task in a thread of its own: a notebook's has an event loop already, and keeps its denormals."""
    stop = Event()

    def on_progress(steps: int, candidates: int) -> None:
        if stop.is_set():
            raise _Stopped

    def work() -> PromptResult:
        with _workers(pipe, config, rewards) as workers:
            return asyncio.run(run_prompt(task, workers, on_progress))

    with ThreadPoolExecutor(1) as pool:
        result = pool.submit(work)
        try:
            return result.result()
        except KeyboardInterrupt:
            stop.set()
            raise


@contextmanager
def _workers(pipe: Any, config: RunConfig, rewards: Mapping[str, Reward]) -> Iterator[LocalWorkers]:
    """Workers on the pipeline; it and the process are left as they were."""
    threads, dtype = torch.get_num_threads(), pipe.vae.dtype
    device = str(pipe.device)
    try:
        set_threads(config.compute.threads)
        model = take_pipeline(pipe, loading_of(config.model), config.steps)
        for reward in rewards.values():
            reward.setup(device)
        yield LocalWorkers(DiffusionWorker(model), RewardWorker(dict(rewards)))
    finally:
        for reward in rewards.values():
            reward.close()
        pipe.vae.to(dtype)
        torch.set_num_threads(threads)


def _front(task: PromptTask, result: PromptResult) -> Front:
    rewards = (*task.guided, *task.held_out)
    scores = [row["value"] for row in result.tables["scores"]]
    images = [Image.open(io.BytesIO(row["image"]["bytes"])) for row in result.tables["samples"]]
    for image in images:
        image.load()
    (costs,) = result.tables["costs"]
    return Front(
        prompt=task.prompt.text,
        rewards=rewards,
        weights=np.array(task.weights, dtype=np.float64),
        images=tuple(images),
        scores=np.array(scores, dtype=np.float64).reshape(len(images), len(rewards)),
        queries=costs["queries"],
        decodes=costs["decodes"],
    )


def _name(reward: RewardLike) -> str:
    return reward if isinstance(reward, str) else str(getattr(reward, "__name__", type(reward).__name__))


def _created(reward: RewardLike) -> Reward:
    if isinstance(reward, str):
        return registry.create(reward)
    return as_reward(_name(reward), reward, str(getattr(reward, "__module__", "")))


def _check_options(pipe: Any, family: Family, options: Mapping[str, Mapping[str, Any]]) -> None:
    """Refuse keys that say nothing of one prompt and of a pipeline that is loaded."""
    sampling = sorted(_SAMPLING | ((DDIM_KEYS | FLOW_KEYS) & family.keys))
    given: list[tuple[str, Any, Sequence[str]]] = [(key, value, _OPTIONS) for key, value in options.items()]
    given += [(f"model.{key}", value, sampling) for key, value in options.get("model", {}).items()]
    for key, value, allowed in given:
        if key.removeprefix("model.") not in allowed:
            raise RequestError(
                file=_CALL, key=f"options.{key}", value=value, allowed=", ".join(allowed),
                problem=f"it says nothing of one prompt and a {type(pipe).__name__} that is loaded",
                fix="leave it out, or give it as an argument or to from_pretrained",
            )  # fmt: skip
