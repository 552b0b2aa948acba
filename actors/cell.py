"""A cell: the actor that runs many prompts at once on workers of its own, and starts and replaces those."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, NamedTuple

import ray

from actors.metrics import ExportingMonitor
from actors.monitor import CellReport
from actors.pool import Pool
from actors.ray_workers import RayTransport, RayWorkers
from actors.shells import DiffusionActor, RewardActor
from actors.transport import Limits
from actors.workers import set_threads
from configs.errors import RequestError
from configs.schema import RunConfig
from rewards.plugin import Plugin


class Progress(NamedTuple):
    """What has been done: denoising steps of prompts, and candidates decoded and scored."""

    steps: int = 0
    candidates: int = 0

    def plus(self, steps: int, candidates: int) -> "Progress":
        return Progress(self.steps + steps, self.candidates + candidates)


class Workforce(NamedTuple):
    """How many workers a cell starts, and the resources that Ray keeps for each."""

    diffusion_actors: int
    diffusion_gpus: int
    diffusion_cpus: int
    reward_actors: int
    reward_gpus: int


class _Cell:
    """Runs prompts, each by the coroutine that it is given.

    It holds the state of its prompts; the workers hold none. The workers are its children: they end with it.
    """

    def __init__(
        self,
        config: RunConfig,
        run_prompt: Callable[..., Awaitable[Any]],
        force: Workforce,
        plugins: Sequence[Plugin] = (),
        number: int = 0,
    ) -> None:
        set_threads(config.compute.threads)
        limits = Limits(config.compute.call_seconds)
        diffusion = DiffusionActor.options(num_gpus=force.diffusion_gpus, num_cpus=force.diffusion_cpus)
        # A reward actor shares the machine's CPUs.
        rewards = RewardActor.options(num_gpus=force.reward_gpus, num_cpus=0)
        self._run_prompt = run_prompt
        self._monitor = ExportingMonitor(config.name, number)
        watches = (
            self._monitor.watch("diffusion", "GPU" if force.diffusion_gpus else "CPU"),
            self._monitor.watch("rewards", "GPU" if force.reward_gpus else "CPU"),
        )
        self._workers = RayWorkers(
            Pool(RayTransport(lambda: diffusion.remote(config)), force.diffusion_actors, limits, watches[0]),
            Pool(RayTransport(lambda: rewards.remote(config, plugins)), force.reward_actors, limits, watches[1]),
            limits,
            on_decoded=self._monitor.decoded,
        )
        self._progress = Progress()

    async def open(self) -> RequestError | None:
        """Start the workers; answers when their models are loaded, or with the reason why they refuse."""
        try:
            await self._workers.open()
        except RequestError as refusal:
            return refusal
        return None

    async def close(self) -> None:
        self._workers.close()

    async def run(self, task: Any) -> tuple[Any, Progress]:
        """What the task comes to, and what was done for it."""
        done = Progress()

        def count(steps: int, candidates: int) -> None:
            nonlocal done
            done, self._progress = done.plus(steps, candidates), self._progress.plus(steps, candidates)

        return await self._run_prompt(task, self._workers, count), done

    async def progress(self) -> Progress:
        """Of all its prompts, finished or not."""
        return self._progress

    async def tally(self) -> CellReport:
        """What its workers have done, and what has happened to them since it was asked last."""
        return self._monitor.report()


# Not as a decorator: a type checker would go on to see the plain class.
Cell: Any = ray.remote(num_cpus=0, max_restarts=0, max_task_retries=0)(_Cell)
