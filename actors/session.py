"""A run's stay on Ray: start or join a cluster, place the actors, feed the cell, take everything down."""

import logging
import os
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from itertools import islice
from types import TracebackType
from typing import Any, Self

import ray

from actors.shells import Cell, DiffusionActor, Progress, RewardActor
from configs.errors import RequestError
from configs.schema import RunConfig
from rewards.plugin import Plugin

# Loading a model of many GB from a cold disk takes minutes; a cluster that cannot place an actor waits
# for ever.
READY_SECONDS = 900.0
POLL_SECONDS = 0.5
PROMPTS_PER_DIFFUSION_ACTOR = 2


class RaySession:
    """Context manager. Joins the cluster of RAY_ADDRESS, or starts Ray on this machine and stops it at the end.

    Args:
        plugins: what the reward actors are to know besides our rewards; sent to them as source.
    """

    def __init__(
        self, config: RunConfig, run_prompt: Callable[..., Awaitable[Any]], plugins: Sequence[Plugin] = ()
    ) -> None:
        self._config, self._run_prompt, self._plugins = config, run_prompt, tuple(plugins)

    def __enter__(self) -> Self:
        _start_ray(self._config)
        try:
            self._place()
        except BaseException:
            ray.shutdown()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for actor in self._actors:
            ray.kill(actor)
        ray.shutdown()

    def _place(self) -> None:
        config, resources = self._config, ray.cluster_resources()
        gpus, cpus = int(resources.get("GPU", 0)), int(resources.get("CPU", 1))
        wanted = config.compute.diffusion_actors
        n_diffusion = (max(gpus, 1) if gpus else cpus) if wanted == "auto" else wanted
        _check_room(config, n_diffusion, gpus or cpus, "GPUs" if gpus else "CPUs")
        # A reward actor shares the machine's CPUs; it gets a GPU where one is left over.
        reward_gpus = 1 if gpus >= n_diffusion + config.compute.reward_actors else 0
        diffusion = [
            DiffusionActor.options(num_gpus=1 if gpus else 0, num_cpus=0 if gpus else 1).remote(config)
            for _ in range(n_diffusion)
        ]
        rewards = [
            RewardActor.options(num_gpus=reward_gpus, num_cpus=0).remote(config, self._plugins)
            for _ in range(config.compute.reward_actors)
        ]
        self._cell = Cell.remote(config, self._run_prompt, diffusion, rewards)
        self._actors = [self._cell, *diffusion, *rewards]
        for refusal in ray.get([actor.ready.remote() for actor in (*diffusion, *rewards)], timeout=READY_SECONDS):
            if refusal is not None:
                raise refusal
        in_flight = config.compute.prompts_in_flight
        self._in_flight = PROMPTS_PER_DIFFUSION_ACTOR * n_diffusion if in_flight == "auto" else in_flight

    def results(self, tasks: Iterable[Any], on_progress: Callable[[Progress], None]) -> Iterator[Any]:
        """Run the tasks, a bounded number at once; yield what each comes to, in the order of finishing."""
        queue, pending = iter(tasks), set[Any]()
        while True:
            pending |= {self._cell.run.remote(task) for task in islice(queue, self._in_flight - len(pending))}
            if not pending:
                return
            done, _ = ray.wait(list(pending), timeout=POLL_SECONDS)
            on_progress(ray.get(self._cell.progress.remote()))
            for ref in done:
                pending.remove(ref)
                yield ray.get(ref)


def _start_ray(config: RunConfig) -> None:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # Ray 2.60 warns of a coming change for actors without GPUs; 0 is the new behaviour.
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    options: dict[str, Any] = {"logging_level": logging.ERROR, "log_to_driver": False, "namespace": "srsoup"}
    if "RAY_ADDRESS" in os.environ:
        ray.init(**options)
        return
    wanted = config.compute.diffusion_actors
    cpus = max(os.cpu_count() or 1, 1 if wanted == "auto" else wanted)
    ray.init(address="local", num_cpus=cpus, include_dashboard=False, **options)


def _check_room(config: RunConfig, wanted: int, there: int, kind: str) -> None:
    if wanted > there:
        raise RequestError(
            file=config.name,
            key="compute.diffusion_actors",
            value=wanted,
            problem=f"the cluster has {there} {kind}, and each diffusion actor takes one",
            allowed=f"1..{there}, or auto",
            mend="ask for fewer, or join a larger cluster",
        )
