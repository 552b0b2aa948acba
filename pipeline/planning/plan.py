"""What a run will do, settled and checked before anything starts: prompts, tasks, keys, queries, decodes."""

import hashlib
import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from actors.from_config import sampling_of
from configs.compute import DECIDES_BITS, ComputeConfig
from configs.errors import COMMAND_LINE, RequestError
from configs.location import Location
from configs.schema import RunConfig
from pipeline.guidance.runner import Guidance
from pipeline.guidance.seeds import derive_seed
from pipeline.guidance.shaping import Shaping
from pipeline.planning.cost import queries_of
from pipeline.planning.model_check import Origin, checked_model
from pipeline.planning.plugins import plug_in
from pipeline.planning.prompts import Prompt, read_prompts
from pipeline.planning.resume import chunk_of_folder
from pipeline.planning.task import PromptTask
from pipeline.records import finished_keys
from rewards import registry
from rewards.errors import RewardError
from rewards.plugin import Plugin

# How the judge is asked, not what.
_ASKING = {
    "key_variable", "requests_per_minute", "concurrency", "timeout", "retries", "back_off", "deadline",
    "max_requests", "max_cost", "input_price", "output_price", "cache",
}  # fmt: skip
# What changes neither pixels nor scores, and may differ when a run is gone on with.
_FREE: dict[str, Any] = {
    "rewards": {"judge": _ASKING},
    "output": True,
    "report": True,
    "compute": set(ComputeConfig.model_fields) - DECIDES_BITS,
    "model": {"offload_text_encoders"},
}
# What is in a task's key by itself, or names the run.
_APART: dict[str, Any] = {"name": True, "method": True, "seed": True, "seeds": True, "prompts": True}


@dataclass(frozen=True)
class Plan:
    """A checked request.

    Attributes:
        config: the configuration it comes from.
        model_revision: names the weights: hash of a local model's files, commit of one on the hub.
        pipeline: the model's pipeline class; None where its files are not on this machine yet.
        tasks: one for each prompt and method, prompts outermost.
        plugins: files of rewards that were named on the command line.
    """

    config: RunConfig
    model_revision: str
    pipeline: str | None
    tasks: tuple[PromptTask, ...]
    plugins: tuple[Plugin, ...] = ()

    @property
    def plugin_digests(self) -> dict[str, str]:
        """File name -> SHA-256 of its source."""
        return _digests(self.plugins)

    @property
    def folder(self) -> Location:
        return self.config.output_folder

    @cached_property
    def finished(self) -> frozenset[str]:
        """Keys that are done already."""
        try:
            return frozenset(finished_keys(self.folder))
        except OSError as error:
            raise RequestError(
                file=COMMAND_LINE, key="output", value=str(self.folder), problem=str(error),
                allowed="a folder in which every file is of this run",
                fix=f"do what `srsoup verify {self.folder}` says",
            ) from error  # fmt: skip

    @property
    def open_tasks(self) -> tuple[PromptTask, ...]:
        return tuple(task for task in self.tasks if task.key not in self.finished)

    def with_chunk(self, chunk: int) -> "Plan":
        """The same with chunks of another size, which may change last bits; the keys stay those of the request."""
        return replace(self, tasks=tuple(replace(task, chunk=chunk) for task in self.tasks))

    def begun_again(self, keys: Collection[str]) -> "Plan":
        """The same, where these tasks have been begun in vain."""
        return replace(self, tasks=tuple(task.again() if task.key in keys else task for task in self.tasks))

    @property
    def chunk(self) -> int:
        """Candidates in one unit of work."""
        return self.tasks[0].chunk

    @property
    def n_prompts(self) -> int:
        return len({task.prompt.prompt_id for task in self.tasks})


def make_plan(config: RunConfig, origin: Origin, plugins: Sequence[Plugin] = (), *, fetch: bool = False) -> Plan:
    """Check all that can be checked without loading a model, and settle the tasks.

    Args:
        origin: names the file, or the command line, that the value of a key came from.
        plugins: whose rewards may be named, besides those that are always there.
        fetch: get the configuration files of a model on the hub, and its adapters, to check them.

    Raises:
        RequestError: no prompts, a reward or model that is not there, a folder that cannot be written, or
            one that holds another configuration; names file, key, value, what is allowed and the fix.
    """
    plug_in(plugins)
    _check_rewards(config, origin)
    _check_reference_point(config, origin)
    revision, pipeline = checked_model(config, origin, fetch)
    prompts = read_prompts(config.prompts)
    decisive = _decisive(config, plugins)
    tasks = tuple(
        prompt_task(config, prompt, index, method, revision, decisive)
        for prompt in prompts
        for index in range(config.seeds)
        for method in config.methods
    )
    plan = Plan(config, revision, pipeline, tasks, tuple(plugins))
    identity = comparable(config) | {"model_revision": revision, "plugins": plan.plugin_digests}
    return plan.with_chunk(chunk_of_folder(plan.folder, identity, origin) or plan.chunk)


def _decisive(config: RunConfig, plugins: Sequence[Plugin]) -> dict[str, Any]:
    """What decides pixels and scores and is the same for all tasks: a plugin's source does."""
    decisive = config.model_dump(mode="json", exclude=_FREE | _APART)
    decisive["compute"]["chunk"] = config.chunk_size
    if config.rewards.judge is None:
        # As it was before there was a judge, so that older runs are gone on with.
        del decisive["rewards"]["judge"]
    return decisive | ({"plugins": _digests(plugins)} if plugins else {})


def _digests(plugins: Sequence[Plugin]) -> dict[str, str]:
    return {plugin.name: plugin.sha256 for plugin in plugins}


def prompt_task(
    config: RunConfig, prompt: Prompt, index: int, method: str, model_revision: str, decisive: dict[str, Any]
) -> PromptTask:
    """The task of one prompt's seed number `index`, 0-based, and one method."""
    seed = derive_seed(config.seed, prompt.prompt_id, *((index,) if index else ()))
    identity = [prompt.prompt_id, prompt.text, seed, method, model_revision, decisive]
    return PromptTask(
        key=hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest(),
        prompt=prompt,
        method=method,
        seed=seed,
        weights=config.weights,
        guidance=Guidance(
            candidates=config.queries,
            soup_steps=config.soup.steps if method in ("srsoup", "unguided_first") else 0,
            step=config.guidance.step,
            correction=config.soup.correction,
            noise=config.guidance.noise,
            first="unguided" if method == "unguided_first" else "soup",
            shaping=Shaping(
                config.guidance.normalisation,
                config.guidance.elite_fraction,
                tuple(config.guidance.satisfied_above.get(name) for name in config.rewards.guided),
            ),
        ),
        guided=config.rewards.guided,
        held_out=config.rewards.held_out,
        sampling=sampling_of(config),
        chunk=config.chunk_size,
        samples=_samples(config) if method == "best_of" else len(config.weights),
    )


def _samples(config: RunConfig) -> int:
    """n of best-of-n: with `auto` every reward scores all, for no more queries than SRSoup asks."""
    if config.best_of.samples != "auto":
        return config.best_of.samples
    shared = min(config.soup.steps, config.steps)
    queries = queries_of(config.queries, config.weights, shared, config.steps - shared)
    return max(len(config.weights), queries // len(config.rewards.guided))


def _check_rewards(config: RunConfig, origin: Origin) -> None:
    known = registry.names()
    for role in ("guided", "held_out"):
        for index, name in enumerate(getattr(config.rewards, role)):
            if name not in known:
                raise RequestError(
                    file=origin(f"rewards.{role}"),
                    key=f"rewards.{role}.{index}",
                    value=name,
                    problem="there is no reward of this name",
                    allowed=", ".join(known),
                    fix=f"did you mean {registry.nearest(name)}? If it is in a file of yours, give --plugin FILE",
                )
            try:
                registry.create(name)
            except (ImportError, AttributeError, RewardError) as error:
                raise RequestError(
                    file=origin(f"rewards.{role}"),
                    key=f"rewards.{role}.{index}",
                    value=name,
                    problem=f"it cannot be made: {error}",
                    allowed="a reward that its package or plugin declares soundly",
                    fix="fix it where it is defined; `srsoup rewards --check` tells more",
                ) from error


def _check_reference_point(config: RunConfig, origin: Origin) -> None:
    point = config.report.reference_point
    if point is not None and set(point) != set(config.rewards.guided):
        raise RequestError(
            file=origin("report.reference_point"),
            key="report.reference_point",
            value=point,
            problem="it does not have one value for each guided reward",
            allowed="a value for each of " + ", ".join(config.rewards.guided),
            fix="set these, or report.reference_point=null to derive one",
        )


def comparable(config: RunConfig) -> dict[str, Any]:
    """The part of a configuration that a folder must keep to, as plain data."""
    return config.model_dump(mode="json", exclude=_FREE)
