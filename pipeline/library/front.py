"""`sample_front`: the front of one prompt from a diffusers pipeline, in this process and without Ray."""

import asyncio
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from tqdm.auto import tqdm

from actors.from_config import loading_of, sampling_of
from actors.workers import DiffusionWorker, RewardWorker, set_threads
from configs.load import checked_config
from configs.schema import RunConfig
from diffusion.base import pipeline_family, take_pipeline
from pipeline.job.local_workers import LocalWorkers
from pipeline.job.result import PromptResult
from pipeline.job.run_prompt import run_prompt
from pipeline.library.front_checks import check_one_front, check_options, check_prompt
from pipeline.library.own_rewards import CALL, Rewards, named_rewards
from pipeline.library.thread import Report, in_a_thread
from pipeline.planning.cost import expected_cost
from pipeline.planning.model_check import check_noise
from pipeline.planning.plan import prompt_task
from pipeline.planning.prompts import read_prompts
from pipeline.planning.surrogates.given import surrogate_of_call
from pipeline.planning.surrogates.rounds import with_rounds
from pipeline.planning.task import PromptTask
from rewards.base import Reward

# Receives the number of the step that is done, 1..steps, and the number of all steps.
OnStep = Callable[[int, int], None]
# The paper's share of soup steps: 20 of 50.
_SOUP_SHARE = 0.4
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
        queries: number of calls of one guiding reward on one candidate.
        decodes: number of decoded images.
    """

    prompt: str
    rewards: tuple[str, ...]
    weights: NDArray[np.float64]
    images: tuple[Image.Image, ...]
    scores: NDArray[np.float64]
    queries: int
    decodes: int


def sample_front(
    pipe: Any,
    prompt: str,
    rewards: Rewards,
    *,
    held_out: Rewards = (),
    weights: Mapping[str, int] | Sequence[Sequence[float]] = _GRID,
    method: str = "srsoup",
    steps: int = 50,
    queries: int = 30,
    soup_steps: int | None = None,
    height: int | None = None,
    width: int | None = None,
    seed: int = 0,
    options: Mapping[str, Mapping[str, Any]] = _NONE,
    progress: bool = True,
    on_step: OnStep | None = None,
) -> Front:
    """Guide one prompt by several rewards at once: one image for each weighting of the rewards.

    The results are those of `srsoup run` bit for bit, given the same values, model, dtype and device. (A run has all
    parts of a model in one dtype; `from_pretrained(..., dtype=...)` gives that too.) The pipeline is left as it was.
    The function works in a notebook, and interrupting it ends the computation.

    Args:
        pipe: a diffusers pipeline of a supported family, on its device (docs/models.md has the list).
        prompt: one text.
        rewards: the M rewards that guide: a list, or a mapping {"name": reward}. A reward is a name that
            `srsoup rewards` lists, a function `(images, prompts) -> scores` of images uint8 RGB (n, 3, height, width)
            and n texts, or a class; docs/own_reward.md.
        held_out: rewards that only score the final images.
        weights: L rows of M entries on the simplex, or a rule such as {"grid": 6}, as in a configuration.
        method: `srsoup`, `weighted_sum`, `unguided_first`, `best_candidate`, `demon`,
            `fk_steering`, `best_of` or `unguided`; soups of adapters are for runs from files alone.
        steps: T, the number of denoising steps.
        queries: N, the number of candidates around each mean in each step.
        soup_steps: K, the number of soup steps; None is the paper's share, round(0.4 steps): 20 of 50.
        height: the height of the images in pixels; None is the model's own side.
        width: the same for the width.
        seed: the seed of the run; the seed of the prompt is derived from it.
        options: further keys of a configuration: guidance, lookahead, soup, best_of, surrogate (with the file of one
            that was trained with the same model, which cannot be checked), compute (chunk, threads), and of model those
            that concern sampling: guidance_scale, negative_prompt, eta or noise_level.
        progress: whether to show a progress bar.
        on_step: a function that is called after each denoising step with two integers: the number of the step, from 1,
            and the number of all steps. An exception that it raises ends the call.

    Raises:
        RequestError: a value is not allowed; names the key and the fix.
        ModelError: the pipeline is not of a supported family, its scheduler does not fit its family, or it makes no
            images of this size.
        LookupError: there is no reward of a given name.
        RewardError: a reward cannot be loaded, raises an error, or returns wrong scores; names the reward.

    Example:
        >>> import torch
        >>> from diffusers import DiffusionPipeline
        >>> from diffusion.source import local_folder
        >>> from srsoup import sample_front
        >>> def warmth(images, prompts):
        ...     return images[:, 0].float().mean((1, 2)) - images[:, 2].float().mean((1, 2))
        >>> pipe = DiffusionPipeline.from_pretrained(local_folder("mini"), dtype=torch.float32)  # the embedded model
        >>> front = sample_front(pipe, "a snail", [warmth, "compressibility"], steps=5, queries=4, progress=False)
        >>> front.rewards, front.scores.shape, front.images[0].size
        (('warmth', 'compressibility'), (6, 2), (64, 64))
    """
    family = pipeline_family(pipe)
    check_prompt(prompt)
    check_options(pipe, family, options)
    guiding, scoring = named_rewards(rewards, held_out)
    given = {
        "name": "library", "method": method, "steps": steps, "queries": queries, "seed": seed,
        "weights": dict(weights) if isinstance(weights, Mapping) else [list(map(float, row)) for row in weights],
        "prompts": {"list": [prompt]}, "rewards": {"guided": list(guiding), "held_out": list(scoring)},
    }  # fmt: skip
    dtype = str(getattr(pipe, family.denoiser).dtype).removeprefix("torch.")
    if soup_steps is None and isinstance(steps, int):
        soup_steps = round(_SOUP_SHARE * steps)
    soup = {"steps": soup_steps} | dict(options.get("soup", {}))
    model = dict(options.get("model", {})) | {"dtype": dtype, "height": height, "width": width}
    config = checked_config({**given, **options, "soup": soup, "model": model}, CALL)
    check_one_front(config)
    (read,) = read_prompts(config.prompts)
    surrogate = surrogate_of_call(
        config, getattr(pipe, family.denoiser).config.in_channels // family.packed**2, lambda key: CALL
    )
    (task,) = with_rounds(config, [prompt_task(config, read, 0, method, "", "{}")], surrogate)

    def work(report: Report) -> PromptResult:
        with _workers(pipe, config, guiding | scoring) as workers:
            return asyncio.run(run_prompt(task, workers, report))

    with _Display(expected_cost(task, steps).steps, progress, on_step) as display:
        return _front(task, in_a_thread(work, display.update))


class _Display:
    """The progress bar of one call, and the calls of `on_step`."""

    def __init__(self, steps: int, progress: bool, on_step: OnStep | None) -> None:
        self._steps, self._on_step, self._done, self._candidates = steps, on_step, 0, 0
        self._bar = tqdm(total=steps, unit="step", disable=not progress)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()

    def update(self, steps: int, candidates: int) -> None:
        """Show steps and candidates that have just been done."""
        self._candidates += candidates
        self._bar.set_postfix(candidates=self._candidates, refresh=False)
        self._bar.update(steps)
        for _ in range(steps):
            self._done += 1
            if self._on_step:
                self._on_step(self._done, self._steps)


@contextmanager
def _workers(pipe: Any, config: RunConfig, rewards: Mapping[str, Reward]) -> Iterator[LocalWorkers]:
    """Workers around the pipeline. Afterwards the pipeline and the number of torch's threads are what they were."""
    threads, dtype = torch.get_num_threads(), pipe.vae.dtype
    device = str(pipe.device)
    try:
        set_threads(config.compute.threads)
        sampling = sampling_of(config)
        model = take_pipeline(pipe, loading_of(config.model), sampling)
        if not model.has_noise(sampling):
            check_noise(config, CALL)
        for reward in rewards.values():
            reward.setup(device)
        yield LocalWorkers(DiffusionWorker(model), RewardWorker(dict(rewards)), retry=False)
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
