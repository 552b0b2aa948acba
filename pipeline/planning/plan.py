"""Makes the plan of a run, checked before anything starts: its prompts, its tasks and their keys."""

import hashlib
import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from actors.from_config import sampling_of
from configs.errors import COMMAND_LINE, RequestError
from configs.location import Location
from configs.schema import RunConfig
from configs.sections.compute import DECIDES_BITS, ComputeConfig
from pipeline.guidance.runner import Guidance
from pipeline.guidance.seeds import derive_seed
from pipeline.guidance.shaping import Shaping
from pipeline.planning.cost import hidden_exemplars, queries_of
from pipeline.planning.model_check import Origin, checked_model
from pipeline.planning.plugins import plug_in
from pipeline.planning.prompt_formats.hub_dataset import PromptsNotHereError
from pipeline.planning.prompts import Prompt, read_prompts
from pipeline.planning.resume import chunk_of_folder, finished
from pipeline.planning.task import PromptTask
from pipeline.records import has_file
from rewards import registry
from rewards.errors import RewardError
from rewards.plugin import Plugin

# The keys of the judge that say how requests are sent, but not what they ask.
_JUDGE_REQUEST_KEYS = {
    "key_variable", "requests_per_minute", "concurrency", "timeout", "retries", "back_off", "deadline",
    "max_requests", "max_cost", "input_price", "output_price", "cache",
}  # fmt: skip
# The keys that change neither pixels nor scores, and may differ when a run is continued.
_CHANGEABLE_KEYS: dict[str, Any] = {
    "rewards": {"judge": _JUDGE_REQUEST_KEYS},
    "output": True,
    "report": True,
    "compute": set(ComputeConfig.model_fields) - DECIDES_BITS,
    "model": {"offload_text_encoders"},
}
# The keys that name the run, or whose values enter the key of each task separately.
_PER_TASK_KEYS: dict[str, Any] = {"name": True, "method": True, "seed": True, "seeds": True, "prompts": True}


@dataclass(frozen=True)
class Plan:
    """A checked request.

    Attributes:
        config: the configuration of the run.
        model_revision: the name of the weights: the hash of a local model's files, or the commit of a model on the hub.
        pipeline: the model's pipeline class, or None if its files are not on this machine yet.
        tasks: one task for each prompt, seed and method, in this order of nesting; none if the prompts are those of a
            data set that is not on this machine yet.
        plugins: the plugin files that were given on the command line.
    """

    config: RunConfig
    model_revision: str
    pipeline: str | None
    tasks: tuple[PromptTask, ...]
    plugins: tuple[Plugin, ...] = ()

    @property
    def plugin_digests(self) -> dict[str, str]:
        """The SHA-256 of each plugin's source, by file name."""
        return _digests(self.plugins)

    @property
    def folder(self) -> Location:
        return self.config.output_folder

    @cached_property
    def finished(self) -> frozenset[str]:
        """The keys that were finished when this was first read."""
        return finished(self.folder, lambda _: COMMAND_LINE)

    @property
    def lacks_driver_record(self) -> bool:
        """Whether fronts are finished in the folder, but `driver.yaml` has been lost."""
        return bool(self.finished) and not has_file(self.folder, "driver.yaml")

    @property
    def open_tasks(self) -> tuple[PromptTask, ...]:
        return tuple(task for task in self.tasks if task.key not in self.finished)

    def with_chunk(self, chunk: int) -> "Plan":
        """Return this plan with chunks of another size. This may change last bits, but the keys stay the same."""
        return replace(self, tasks=tuple(replace(task, chunk=chunk) for task in self.tasks))

    def with_restarts(self, keys: Collection[str]) -> "Plan":
        """Return this plan with one more restart of these tasks."""
        return replace(self, tasks=tuple(task.restarted() if task.key in keys else task for task in self.tasks))

    @property
    def chunk(self) -> int:
        """The largest number of candidates in one unit of work."""
        return self.tasks[0].chunk if self.tasks else self.config.chunk_size

    @property
    def prompts(self) -> list[Prompt]:
        """The prompts of all tasks, each of them once."""
        return list({task.prompt.prompt_id: task.prompt for task in self.tasks}.values())

    @property
    def n_prompts(self) -> int:
        return len(self.prompts)


def make_plan(config: RunConfig, origin: Origin, plugins: Sequence[Plugin] = (), *, fetch: bool = False) -> Plan:
    """Check everything that can be checked without loading a model, and return the plan.

    Args:
        config: the configuration of the run.
        origin: returns the file, or "command line", that set a key.
        plugins: plugin files, whose rewards the configuration may name besides the built-in ones.
        fetch: whether to download the configuration files and adapters of a model on the hub, to check them, and the
            prompts of a data set on the hub. Without it a plan may have no tasks.

    Raises:
        RequestError: there are no prompts, a reward or the model does not exist, or the folder cannot be written or
            holds another configuration. Names file, key, value, the allowed values and the fix.
    """
    plug_in(plugins)
    _check_rewards(config, origin)
    _check_reference_point(config, origin)
    revision, pipeline = checked_model(config, origin, fetch)
    try:
        prompts = read_prompts(config.prompts, fetch=fetch)
    except PromptsNotHereError:
        prompts = []
    shared_identity = _shared_identity(config, plugins)
    tasks = tuple(
        prompt_task(config, prompt, index, method, revision, shared_identity)
        for prompt in prompts
        for index in range(config.seeds)
        for method in config.methods
    )
    plan = Plan(config, revision, pipeline, tasks, tuple(plugins))
    identity = unchangeable(config) | {"model_revision": revision, "plugins": plan.plugin_digests}
    return plan.with_chunk(chunk_of_folder(plan.folder, identity, origin) or plan.chunk)


def _shared_identity(config: RunConfig, plugins: Sequence[Plugin]) -> dict[str, Any]:
    """Return the values that decide pixels and scores and are the same for all tasks. They enter every key."""
    identity = config.model_dump(mode="json", exclude=_CHANGEABLE_KEYS | _PER_TASK_KEYS)
    identity["compute"]["chunk"] = config.chunk_size
    if config.rewards.judge is None:
        # Versions without a judge had no such key, and their runs can still be continued.
        del identity["rewards"]["judge"]
    return identity | ({"plugins": _digests(plugins)} if plugins else {})


def _digests(plugins: Sequence[Plugin]) -> dict[str, str]:
    return {plugin.name: plugin.sha256 for plugin in plugins}


def prompt_task(
    config: RunConfig,
    prompt: Prompt,
    seed_index: int,
    method: str,
    model_revision: str,
    shared_identity: dict[str, Any],
) -> PromptTask:
    """Return the task of one prompt, one method and one of its seeds, given by its 0-based index."""
    seed = derive_seed(config.seed, prompt.prompt_id, *((seed_index,) if seed_index else ()))
    identity = [prompt.prompt_id, prompt.text, seed, method, model_revision, shared_identity]
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
            shaping=_shaping(config),
            soup_first=config.soup.first if method == "srsoup" and config.soup.steps else 0,
        ),
        guided=config.rewards.guided,
        held_out=config.rewards.held_out,
        sampling=sampling_of(config),
        chunk=config.chunk_size,
        samples=_samples(config) if method == "best_of" else len(config.weights),
    )


def _shaping(config: RunConfig) -> Shaping:
    guidance, guided = config.guidance, config.rewards.guided
    return Shaping(
        guidance.normalisation,
        tuple(guidance.elite_fraction.get(name, 1.0) for name in guided),
        tuple(guidance.satisfied_above.get(name) for name in guided),
        guidance.elite_in,
        guidance.satisfied_in,
    )


def _samples(config: RunConfig) -> int:
    """Return n of best-of-n. With `auto` it is the largest n that costs no more queries than SRSoup, but at least L."""
    if config.best_of.samples != "auto":
        return config.best_of.samples
    soup_steps = min(config.soup.steps, config.steps)
    queries = queries_of(config.queries, config.weights, soup_steps, config.steps - soup_steps)
    queries += config.queries * hidden_exemplars(config.weights) * config.soup.first
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
                    problem="there is no reward with this name",
                    allowed=", ".join(known),
                    fix=f"did you mean {registry.nearest(name)}? If it is in a file of your own, pass --plugin FILE",
                )
            try:
                registry.create(name)
            except (ImportError, AttributeError, RewardError) as error:
                raise RequestError(
                    file=origin(f"rewards.{role}"),
                    key=f"rewards.{role}.{index}",
                    value=name,
                    problem=f"the reward cannot be created: {error}",
                    allowed="a reward that its package or plugin declares correctly",
                    fix="correct its definition; `srsoup rewards --check` shows more",
                ) from error


def _check_reference_point(config: RunConfig, origin: Origin) -> None:
    point = config.report.reference_point
    if point is not None and set(point) != set(config.rewards.guided):
        raise RequestError(
            file=origin("report.reference_point"),
            key="report.reference_point",
            value=point,
            problem="the reference point does not have exactly one value for each guiding reward",
            allowed="one value for each of " + ", ".join(config.rewards.guided),
            fix="set these values, or set report.reference_point=null to derive them",
        )


def unchangeable(config: RunConfig) -> dict[str, Any]:
    """Return the part of a configuration that must not change in a folder, as plain data."""
    return config.model_dump(mode="json", exclude=_CHANGEABLE_KEYS)
