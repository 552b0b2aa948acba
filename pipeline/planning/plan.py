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
from pipeline.guidance.choosing.best_of import Evolution
from pipeline.guidance.seeds import derive_seed
from pipeline.planning.accepted_weights import check_accepted
from pipeline.planning.method.options import guidance_of, samples_of
from pipeline.planning.method.weight_rounds import with_weight_rounds
from pipeline.planning.model_check import Origin, checked_model
from pipeline.planning.plugins import plug_in, served_rewards
from pipeline.planning.prompt_formats.hub_dataset import PromptsNotHereError
from pipeline.planning.prompts import Prompt, read_prompts
from pipeline.planning.request_checks import (
    check_record,
    check_reference_point,
    check_rewards,
    check_size,
    check_tracker,
)
from pipeline.planning.resume import chunk_of_folder
from pipeline.planning.surrogates.given import given_surrogate, named, surrogate_identity
from pipeline.planning.surrogates.rounds import fronts_digest, with_rounds
from pipeline.planning.task import PromptTask
from pipeline.records import finished_keys
from rewards.plugin import Plugin

# The keys of the judge that say how requests are sent, but not what they ask.
_JUDGE_REQUEST_KEYS = {
    "key_variable", "requests_per_minute", "concurrency", "timeout", "retries", "back_off", "deadline",
    "max_requests", "max_cost", "input_price", "output_price", "cache",
}  # fmt: skip
# The keys that change neither pixels nor scores, and may differ when a run is continued.
_CHANGEABLE_KEYS: dict[str, Any] = {
    # The version and the declaration that a server gives are in the identity as those of a plugin.
    "rewards": {"judge": _JUDGE_REQUEST_KEYS, "servers": True},
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
        image_size: height and width of the images in pixels; None if the model's files are not on this machine yet.
    """

    config: RunConfig
    model_revision: str
    pipeline: str | None
    tasks: tuple[PromptTask, ...]
    plugins: tuple[Plugin, ...] = ()
    image_size: tuple[int, int] | None = None

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
        """Return this plan with chunks of another size. This may change last bits, but the keys stay the same."""
        return replace(self, tasks=tuple(replace(task, chunk=chunk) for task in self.tasks))

    @property
    def surrogate_file(self) -> str | None:
        """The name by content of the surrogate that the configuration names, or None if it names none."""
        given = self.config.surrogate is not None and self.config.surrogate.file is not None
        return next((named(task.surrogate) for task in self.tasks if given and task.surrogate), None)

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
    plugins = (*plugins, *served_rewards(config, origin))
    plug_in(plugins)
    check_rewards(config, origin)
    check_accepted(config, origin)
    check_reference_point(config, origin)
    check_record(config, origin)
    check_tracker(config, origin)
    revision, pipeline, image_size = checked_model(config, origin, fetch)
    try:
        prompts = read_prompts(config.prompts, fetch=fetch)
    except PromptsNotHereError:
        prompts = []
    check_size(config, len(prompts), origin)
    surrogate = given_surrogate(config, revision, _digests(plugins), origin)
    shared = _shared_identity(config, plugins)
    if about := surrogate_identity(config, surrogate, fronts_digest(config, prompts)):
        shared["surrogate"] = about
    if config.adaptive:
        # The weights of later rounds depend on all fronts of the run.
        shared["adaptive"] = config.adaptive.model_dump(mode="json") | {"fronts": fronts_digest(config, prompts)}
    shared_identity = json.dumps(shared, sort_keys=True)
    tasks = tuple(
        prompt_task(config, prompt, index, method, revision, shared_identity)
        for prompt in prompts
        for index in range(config.seeds)
        for method in config.methods
    )
    tasks = with_weight_rounds(config, with_rounds(config, tasks, surrogate))
    plan = Plan(config, revision, pipeline, tasks, tuple(plugins), image_size)
    identity = unchangeable(config) | {"model_revision": revision, "plugins": plan.plugin_digests}
    identity["surrogate_file"] = surrogate and named(surrogate)
    return plan.with_chunk(chunk_of_folder(plan.folder, identity, origin) or plan.chunk)


def _shared_identity(config: RunConfig, plugins: Sequence[Plugin]) -> dict[str, Any]:
    """Return the values that decide pixels and scores and are the same for all tasks. They enter every key."""
    identity = config.model_dump(mode="json", exclude=_CHANGEABLE_KEYS | _PER_TASK_KEYS)
    identity["compute"]["chunk"] = config.chunk_size
    if config.rewards.judge is None:
        # Versions without a judge had no such key, and their runs can still be continued.
        del identity["rewards"]["judge"]
    if not config.rewards.accept_sha256:
        # The same holds for versions in which no weight file could be accepted.
        del identity["rewards"]["accept_sha256"]
    return identity | ({"plugins": _digests(plugins)} if plugins else {})


def _digests(plugins: Sequence[Plugin]) -> dict[str, str]:
    return {plugin.name: plugin.sha256 for plugin in plugins}


def prompt_task(
    config: RunConfig,
    prompt: Prompt,
    seed_index: int,
    method: str,
    model_revision: str,
    shared_identity: str,
) -> PromptTask:
    """Return the task of one prompt, one method and one of its seeds, given by its 0-based index.

    `shared_identity` is JSON, so that it is made once for all tasks. It may hold many rows of weights.
    """
    seed = derive_seed(config.seed, prompt.prompt_id, *((seed_index,) if seed_index else ()))
    identity = json.dumps([prompt.prompt_id, prompt.text, seed, method, model_revision])
    return PromptTask(
        key=hashlib.sha256(f"{identity[:-1]}, {shared_identity}]".encode()).hexdigest(),
        prompt=prompt,
        method=method,
        seed=seed,
        weights=config.weights,
        guidance=guidance_of(config, method),
        guided=config.rewards.guided,
        held_out=config.rewards.held_out,
        sampling=sampling_of(config, method),
        chunk=config.chunk_size,
        samples=samples_of(config) if method == "best_of" else len(config.weights),
        keep=config.best_of.keep if method == "best_of" else "weighted",
        evolution=Evolution(config.best_of.generations, config.best_of.mutation),
    )


def unchangeable(config: RunConfig) -> dict[str, Any]:
    """Return the part of a configuration that must not change in a folder, as plain data."""
    return config.model_dump(mode="json", exclude=_CHANGEABLE_KEYS)
