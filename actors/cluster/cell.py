"""A cell: the actor that runs many prompts at once on workers of its own, and starts and replaces those."""

from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import Any, NamedTuple

import ray

from actors.cluster.model_actors import DiffusionActor, RewardActor
from actors.cluster.ray_workers import RayTransport, RayWorkers, together
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

# The kinds of `sizing.Sizes`, for people.
ROLES = ("diffusion", "network rewards", "rewards")


class Progress(NamedTuple):
    """What has been done: denoising steps of prompts, and candidates decoded and scored."""

    steps: int = 0
    candidates: int = 0

    def plus(self, other: "Progress") -> "Progress":
        return Progress(self.steps + other.steps, self.candidates + other.candidates)


class CellState(NamedTuple):
    """A cell of this moment: what its prompts have done, finished or not, its actors that are up, and their work.

    `report` tells people more of the actors.
    """

    progress: Progress
    up: Sizes
    work: BusySeconds
    report: CellReport


class _Cell:
    """Runs prompts, each by the coroutine that it is given.

    It holds the state of its prompts; the workers hold none. The workers are its children: they end with it.
    """

    def __init__(
        self,
        config: RunConfig,
        run_prompt: Callable[..., Awaitable[Any]],
        force: Workforce,
        sizes: Sizes,
        plugins: Sequence[Plugin] = (),
        number: int = 0,
    ) -> None:
        set_threads(config.compute.threads)
        self._run_prompt, self._colocated, limits = run_prompt, force.colocated, Limits(config.compute.call_seconds)
        diffusion = DiffusionActor.options(**force.diffusion.options)
        networks, plain = (RewardActor.options(**post.options) for post in (force.networks, force.plain))
        starts: list[Callable[[], Any]] = [
            lambda: diffusion.remote(config, force.diffusion.gpus),
            lambda: networks.remote(config, force.on_networks, force.networks.gpus, plugins),
            lambda: plain.remote(config, force.on_plain, force.plain.gpus, plugins),
        ]
        monitor = ExportingMonitor(config.name, number)
        watches = [
            monitor.watch(role, "GPU" if post.gpus else "CPU")
            for role, post in zip(ROLES, (force.diffusion, force.networks, force.plain), strict=True)
        ]
        pools = [
            Pool(RayTransport(start), size, limits, watch)
            for start, size, watch in zip(starts, sizes, watches, strict=True)
        ]
        self._take_pools(pools, force, limits, monitor)

    def _take_pools(
        self,
        pools: Sequence[Pool[Any]],
        force: Workforce,
        limits: Limits,
        monitor: CellMonitor,
        put: Callable[[Any], Any] | None = None,
    ) -> None:
        self._pools, self._monitor = pools, monitor
        diffusion, networks, plain = pools
        rewards = dict.fromkeys(force.on_networks, networks) | dict.fromkeys(force.on_plain, plain)
        self._workers = RayWorkers(diffusion, rewards, limits, put, monitor.decoded)
        self._progress = Progress()

    async def open(self) -> RequestError | None:
        """Start the workers; answers when their models are loaded, or with the reason why they refuse."""
        diffusion, *rewards = self._pools
        try:
            if self._colocated:
                # Reward actors that come first could share a GPU, and leave no room on it for a diffusion actor.
                await diffusion.open()
                await together(pool.open() for pool in rewards)
            else:
                await together(pool.open() for pool in self._pools)
        except RequestError as refusal:
            return refusal
        return None

    async def close(self) -> None:
        for pool in self._pools:
            pool.close()

    async def resize(self, sizes: Sizes) -> None:
        """Have so many workers from now on."""
        for pool, size in zip(self._pools, sizes, strict=True):
            pool.resize(size)

    async def drain(self, nodes: Collection[str]) -> None:
        """Leave these nodes, which are about to be taken away."""
        for pool in self._pools:
            pool.drain(nodes)

    async def run(self, task: Any) -> tuple[Any, Progress]:
        """What the task comes to, and what was done for it."""
        done = Progress()

        def count(steps: int, candidates: int) -> None:
            nonlocal done
            more = Progress(steps, candidates)
            done, self._progress = done.plus(more), self._progress.plus(more)

        return await self._run_prompt(task, self._workers, count), done

    async def state(self) -> CellState:
        up, work = (pool.size for pool in self._pools), (pool.busy_seconds for pool in self._pools)
        return CellState(self._progress, Sizes(*up), BusySeconds(*work), self._monitor.report())


# Not as a decorator: a type checker would go on to see the plain class.
Cell: Any = ray.remote(num_cpus=0, max_restarts=0, max_task_retries=0)(_Cell)
