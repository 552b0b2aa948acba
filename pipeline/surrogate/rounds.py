"""Trains the surrogates of a run between its rounds, and keeps them in its folder.

surrogate/pairs/KEY.safetensors   the training pairs of a front
surrogate/round-K.safetensors     the surrogate of round K, trained on the fronts of the rounds before it
surrogate/round-K.json            the record of its training
"""

import json
import logging
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from threading import Event

from actors.protocol import RunStopped
from configs.errors import RequestError
from configs.location import Location
from diffusion.surrogate.network import SurrogateFileError, from_bytes, to_bytes
from pipeline.guidance.seeds import derive_seed
from pipeline.planning.plan import Plan
from pipeline.planning.surrogates.given import check_surrogate, given_size, sha256
from pipeline.planning.task import PromptTask
from pipeline.records import finished_keys, has_file, read_file, write_atomically
from pipeline.surrogate.pairs import pairs_from_bytes
from pipeline.surrogate.training import Fit, train
from rewards.registry import create

log = logging.getLogger(__name__)


def pairs_file(run: Location, key: str) -> Location:
    """Return the file of the training pairs of a front."""
    return run / "surrogate" / "pairs" / f"{key}.safetensors"


def rounds(plan: Plan, tasks: Sequence[PromptTask], stop_requested: Event) -> Iterator[list[PromptTask]]:
    """Yield the open tasks of a plan that are in the second round or later, round by round, with their surrogates.

    The next round may be taken only after the results of the last one are written. After `stop_requested` nothing is
    trained any more.

    Raises:
        RequestError: a file in the folder `surrogate` is damaged, or of another run.
        RunStopped: no front of the earlier rounds has finished, so there is nothing to train on.
    """
    by_round: dict[int, list[PromptTask]] = {}
    for task in tasks:
        by_round.setdefault(task.round or 0, []).append(task)
    for number, members in sorted(by_round.items()):
        if stop_requested.is_set():
            return
        content, seconds = _surrogate_of(plan, number)
        size = sum(task.round == number for task in plan.tasks)
        yield [replace(task, surrogate=content, training_seconds=seconds / size) for task in members]


def _surrogate_of(plan: Plan, number: int) -> tuple[bytes, float]:
    """Return the surrogate of a round and the seconds of its training, which is done if the folder does not hold it."""
    name = f"surrogate/round-{number}"
    if not has_file(plan.folder, f"{name}.json"):
        _train(plan, number, name)
    try:
        content = read_file(plan.folder, f"{name}.safetensors")
        record = json.loads(read_file(plan.folder, f"{name}.json"))
        check_surrogate(from_bytes(content), plan.config, plan.model_revision, plan.plugin_digests)
        if record["sha256"] != sha256(content):
            raise SurrogateFileError("it is not the one that its record names")
        return content, float(record["seconds"])
    except (FileNotFoundError, SurrogateFileError, ValueError, KeyError, TypeError) as error:
        raise _refused(plan, f"{name}.safetensors", f"the surrogate cannot be used: {error}") from error


def _train(plan: Plan, number: int, name: str) -> None:
    """Train the surrogate of a round on all finished fronts of the rounds before it. The record is written last."""
    finished = finished_keys(plan.folder)
    before = sorted(task.key for task in plan.tasks if task.round is not None and task.round < number)
    keys = [key for key in before if key in finished]
    if not keys:
        raise RunStopped(f"no front of the rounds before round {number} has finished, so no surrogate can be trained")
    start = time.perf_counter()
    pairs = []
    for key in keys:
        file = pairs_file(plan.folder, key)
        try:
            pairs.append(pairs_from_bytes(read_file(plan.folder, f"surrogate/pairs/{key}.safetensors")))
        except (FileNotFoundError, ValueError) as error:
            raise _refused(plan, str(file), f"the training pairs of a front cannot be read: {error}") from error
    guided = plan.config.rewards.guided
    about = {"model_revision": plan.model_revision, "plugins": plan.plugin_digests, "round": number, "keys": keys}
    about |= given_size(plan.config)
    reads_prompt = any(create(reward).info.reads_prompt for reward in guided)
    fit = train(pairs, guided, reads_prompt, derive_seed(plan.config.seed, "surrogate", number), about)
    seconds = time.perf_counter() - start
    content = to_bytes(fit.surrogate)
    write_atomically(plan.folder / f"{name}.safetensors", content)
    record = _record(fit, content, keys, sum(one.count for one in pairs), seconds)
    write_atomically(plan.folder / f"{name}.json", json.dumps(record, indent=1).encode())
    found = ", ".join(f"{reward} {value:.2f}" for reward, value in zip(guided, fit.correlation_M, strict=True))
    log.info(
        "surrogate of round %d: trained on %d pairs of %d fronts in %.1f s; correlation within a step: %s",
        number, record["pairs"], len(keys), seconds, found,
    )  # fmt: skip


def _record(fit: Fit, content: bytes, keys: Sequence[str], pairs: int, seconds: float) -> dict[str, object]:
    return {
        "sha256": sha256(content),
        "rewards": list(fit.surrogate.rewards),
        "fronts": len(keys),
        "pairs": pairs,
        "seconds": seconds,
        # On the training pairs, within one row and step; new prompts are predicted less well.
        "correlation": dict(zip(fit.surrogate.rewards, fit.correlation_M, strict=True)),
        "losses": list(fit.losses),
        "keys": list(keys),
    }


def _refused(plan: Plan, file: str, problem: str) -> RequestError:
    return RequestError(
        file=str(plan.folder / file), key="surrogate", value=str(plan.folder), problem=problem,
        allowed="the files as this run has written them",
        fix="put the content of the file back; or set output=... to a new folder",
    )  # fmt: skip
