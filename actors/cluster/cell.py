"""The cell: the Ray actor that runs many prompts at once on its own model actors.

`cell_supervisor.CellSupervisor` starts it and passes it tasks. The cell's pools start and replace its model actors.
"""

from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import Any, NamedTuple

import ray

from actors.cluster.model_actors import DiffusionActor, RewardActor
from actors.cluster.ray_workers import RayTransport, RayWorkers, gather_or_cancel
from actors.cluster.sizing import BusySeconds
from actors.cluster.workforce import Sizes, Workforce
from actors.pool.pool import Pool
from actors.pool.transport import Limits
from actors.telemetry.cell_monitor import CellMonitor, CellReport
from actors.telemetry.prometheus import ExportingMonitor
from actors.workers import set_threads
from configs.errors import RequestError
from configs.schema import RunConfig
from rewards.plugin import Plugin

# The names of the kinds of `Sizes` in logs, summaries and metrics.
ROLES = ("diffusion", "network rewards", "rewards")


class Progress(NamedTuple):
    """Work that is done: denoising steps, summed over prompts, and candidates that were decoded and scored."""

    steps: int = 0
    candidates: int = 0

    def plus(self, other: "Progress") -> "Progress":
        return Progress(self.steps + other.steps, self.candidates + other.candidates)


class CellState(NamedTuple):
    """The state of a cell at one moment.

    Attributes:
        progress: the work done for its prompts, finished or not.
        live: the actors that have loaded.
        busy: the seconds that its actors have been busy.
        report: what the run's log and summary need.
    """

    progress: Progress
    live: Sizes
    busy: BusySeconds
    report: CellReport


class _Cell:
    """Runs each prompt as a coroutine, `run_prompt`, on the cell's model actors.

    The cell holds the state of its prompts; the model actors hold none. They are its children and end with it.
    """

    def __init__(
        self,
        config: RunConfig,
        run_prompt: Callable[..., Awaitable[Any]],
        workforce: Workforce,
        sizes: Sizes,
        plugins: Sequence[Plugin] = (),
        number: int = 0,
    ) -> None:
        set_threads(config.compute.threads)
        self._run_prompt, self._colocated = run_prompt, workforce.colocated
        limits = Limits(config.compute.call_seconds)
        reservations = (workforce.diffusion, workforce.gpu_rewards, workforce.cpu_rewards)
        diffusion = DiffusionActor.options(**workforce.diffusion.options)
        gpu_rewards = RewardActor.options(**workforce.gpu_rewards.options)
        cpu_rewards = RewardActor.options(**workforce.cpu_rewards.options)
        starts: list[Callable[[], Any]] = [
            lambda: diffusion.remote(config, workforce.diffusion.gpus),
            lambda: gpu_rewards.remote(config, workforce.gpu_reward_names, workforce.gpu_rewards.gpus, plugins),
            lambda: cpu_rewards.remote(config, workforce.cpu_reward_names, workforce.cpu_rewards.gpus, plugins),
        ]
        monitor = ExportingMonitor(config.name, number)
        observers = [
            monitor.new_observer(role, "GPU" if reservation.gpus else "CPU")
            for role, reservation in zip(ROLES, reservations, strict=True)
        ]
        pools = [
            Pool(RayTransport(start), size, limits, observer)
            for start, size, observer in zip(starts, sizes, observers, strict=True)
        ]
        self._set_pools(pools, workforce, limits, monitor)

    def _set_pools(
        self,
        pools: Sequence[Pool[Any]],
        workforce: Workforce,
        limits: Limits,
        monitor: CellMonitor,
        put: Callable[[Any], Any] | None = None,
    ) -> None:
        self._pools, self._monitor = pools, monitor
        diffusion, gpu_rewards, cpu_rewards = pools
        rewards = dict.fromkeys(workforce.gpu_reward_names, gpu_rewards)
        rewards |= dict.fromkeys(workforce.cpu_reward_names, cpu_rewards)
        self._workers = RayWorkers(diffusion, rewards, limits, put, monitor.add_pixel_bytes)
        self._progress = Progress()

    async def open(self) -> RequestError | None:
        """Start the model actors and wait until they have loaded. Returns the error if one cannot load its models."""
        diffusion, *rewards = self._pools
        try:
            if self._colocated:
                # Two reward actors that start first could share a GPU and leave no room for its diffusion actor.
                await diffusion.open()
                await gather_or_cancel(pool.open() for pool in rewards)
            else:
                await gather_or_cancel(pool.open() for pool in self._pools)
        except RequestError as error:
            return error
        return None

    async def close(self) -> None:
        """End the model actors."""
        for pool in self._pools:
            pool.close()

    async def resize(self, sizes: Sizes) -> None:
        """Keep these numbers of model actors from now on."""
        for pool, size in zip(self._pools, sizes, strict=True):
            pool.resize(size)

    async def drain(self, nodes: Collection[str]) -> None:
        """Leave these nodes, which will soon be taken away."""
        for pool in self._pools:
            pool.drain(nodes)

    async def run(self, task: Any) -> tuple[Any, Progress]:
        """Run a task. Returns its result and the work done for it."""
        done = Progress()

        def count(steps: int, candidates: int) -> None:
            nonlocal done
            more = Progress(steps, candidates)
            done, self._progress = done.plus(more), self._progress.plus(more)

        return await self._run_prompt(task, self._workers, count), done

    async def state(self) -> CellState:
        """Report the state of this moment."""
        live, busy = (pool.size for pool in self._pools), (pool.busy_seconds for pool in self._pools)
        return CellState(self._progress, Sizes(*live), BusySeconds(*busy), self._monitor.report())


# Not a decorator, because a type checker would take the name for the plain class, which has no `remote`.
Cell: Any = ray.remote(num_cpus=0, max_restarts=0, max_task_retries=0)(_Cell)
