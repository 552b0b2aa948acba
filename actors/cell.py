"""A cell: the actor that runs many prompts at once on workers of its own, and starts and replaces those."""

from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import Any, NamedTuple

import ray

from actors.placement import Workforce
from actors.pool import Pool
from actors.ray_workers import RayTransport, RayWorkers, together
from actors.shells import DiffusionActor, RewardActor
from actors.sizing import Sizes, Work
from actors.transport import Limits
from actors.workers import set_threads
from configs.errors import RequestError
from configs.schema import RunConfig
from rewards.plugin import Plugin


class Progress(NamedTuple):
    """What has been done: denoising steps of prompts, and candidates decoded and scored."""

    steps: int = 0
    candidates: int = 0

    def plus(self, other: "Progress") -> "Progress":
        return Progress(self.steps + other.steps, self.candidates + other.candidates)


class CellReport(NamedTuple):
    """A cell of this moment: what its prompts have done, finished or not, its actors that are up, and their work."""

    progress: Progress
    up: Sizes
    work: Work


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
        self._take_pools(
            [Pool(RayTransport(start), size, limits) for start, size in zip(starts, sizes, strict=True)], force, limits
        )

    def _take_pools(
        self, pools: Sequence[Pool[Any]], force: Workforce, limits: Limits, put: Callable[[Any], Any] | None = None
    ) -> None:
        self._pools = pools
        diffusion, networks, plain = pools
        rewards = dict.fromkeys(force.on_networks, networks) | dict.fromkeys(force.on_plain, plain)
        self._workers = RayWorkers(diffusion, rewards, limits, put)
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

    async def report(self) -> CellReport:
        up, work = (pool.size for pool in self._pools), (pool.busy_seconds for pool in self._pools)
        return CellReport(self._progress, Sizes(*up), Work(*work))


# Not as a decorator: a type checker would go on to see the plain class.
Cell: Any = ray.remote(num_cpus=0, max_restarts=0, max_task_retries=0)(_Cell)
