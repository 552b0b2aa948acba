"""A run's stay on Ray: start or join a cluster, place the cell, feed it, replace it if it dies, take all down."""

import logging
import os
import signal
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import chain, islice
from threading import current_thread, main_thread
from types import TracebackType
from typing import Any, Self

import ray
from ray.exceptions import GetTimeoutError, RayActorError

from actors.cell import Cell, Progress, Workforce
from actors.metrics import RunMetrics
from actors.nodes import live_nodes
from actors.overview import Overview
from actors.protocol import ChunkTooLarge, RunStopped, WorkersLost
from configs.errors import RequestError
from configs.schema import RunConfig
from rewards.plugin import Plugin

# Loading a model of many GB from a cold disk takes minutes; a cluster that cannot place an actor waits
# for ever.
READY_SECONDS = 900.0
POLL_SECONDS = 0.5
# A cell only passes messages and takes small steps: one that says nothing for so long hangs.
CELL_SECONDS = 120.0
# Cells that may die one after the other without a prompt finished between.
CELL_DEATHS = 3
CLOSE_SECONDS = 10.0
PROMPTS_PER_DIFFUSION_ACTOR = 2


class RaySession:
    """Context manager. Joins the cluster of RAY_ADDRESS, or starts Ray on this machine and stops it at the end.

    Args:
        plugins: what the reward actors are to know besides our rewards; sent to them as source.
        overview: is told what happens.
    """

    def __init__(
        self,
        config: RunConfig,
        run_prompt: Callable[..., Awaitable[Any]],
        plugins: Sequence[Plugin] = (),
        overview: Overview | None = None,
    ) -> None:
        self._config, self._run_prompt, self._plugins = config, run_prompt, tuple(plugins)
        self._deaths, self._finished = 0, Progress()
        self._overview, self._metrics = overview or Overview(), RunMetrics(config.name)

    def __enter__(self) -> Self:
        _start_ray(self._config)
        try:
            self._overview.joined_cluster(live_nodes)
            self._force = _workforce(self._config)
            self._open_cell()
        except BaseException:
            ray.shutdown()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._listen(CLOSE_SECONDS)
            ray.get(self._cell.close.remote(), timeout=CLOSE_SECONDS)
        except (RayActorError, GetTimeoutError):
            # It is dead or hangs; what is left of it ends with it.
            ray.kill(self._cell)
        finally:
            ray.shutdown()

    def _open_cell(self) -> None:
        """A cell with its workers; it may die at this too.

        Raises:
            RunStopped: it cannot be brought up, or too many have died.
            RequestError: a worker refuses what it is asked for.
        """
        while True:
            self._before = self._finished
            self._number = self._overview.opened()
            self._cell = Cell.remote(self._config, self._run_prompt, self._force, self._plugins, self._number)
            try:
                refusal = ray.get(self._cell.open.remote(), timeout=READY_SECONDS)
            except WorkersLost as error:
                with suppress(RayActorError, GetTimeoutError):
                    self._listen(CLOSE_SECONDS)  # which of them did not start, and why
                raise _stopped(error) from error
            except GetTimeoutError as error:
                raise RunStopped(f"the workers were not ready within {READY_SECONDS:g} s") from error
            except RayActorError as error:
                self._bury(error)
                continue
            if refusal is not None:
                raise refusal
            return

    def _listen(self, timeout: float) -> None:
        """Ask the cell what has happened in it.

        Raises:
            RayActorError, GetTimeoutError: it is dead or hangs.
        """
        self._overview.heard(self._number, ray.get(self._cell.tally.remote(), timeout=timeout))

    def _bury(self, error: Exception) -> None:
        ray.kill(self._cell)
        self._overview.lost(self._number, str(error))
        self._deaths += 1
        if self._deaths >= CELL_DEATHS:
            raise RunStopped(f"{CELL_DEATHS} cells in a row died or hung with no prompt finished: {error}") from error

    def results(self, tasks: Iterable[Any], on_progress: Callable[[Progress], None]) -> Iterator[Any]:
        """Run the tasks, a bounded number at once; yield what each comes to, in the order of finishing.

        The tasks of a cell that died, or that gives no sign of life, begin anew in another: the same bits.

        Raises:
            RunStopped: there are no workers, or no cells, and none can be started.
            ChunkTooLarge: a worker ran out of memory.
        """
        queue, pending = iter(tasks), dict[Any, Any]()
        while True:
            for task in islice(queue, self._in_flight - len(pending)):
                pending[self._cell.run.remote(task)] = task
            if not pending:
                return
            ready, _ = ray.wait(list(pending), timeout=POLL_SECONDS)
            try:
                progress = self._before.plus(*ray.get(self._cell.progress.remote(), timeout=CELL_SECONDS))
                on_progress(progress)
                self._listen(CELL_SECONDS)
                self._metrics.export(self._overview, *progress)
                done = [(reference, *ray.get(reference, timeout=CELL_SECONDS)) for reference in ready]
            except (RayActorError, GetTimeoutError) as error:
                self._bury(error)
                self._open_cell()
                queue, pending = chain(list(pending.values()), queue), {}
                continue
            except WorkersLost as error:
                raise _stopped(error) from error
            except ChunkTooLarge as error:
                raise ChunkTooLarge(error.chunk) from error
            for reference, result, progress in done:
                del pending[reference]
                self._deaths, self._finished = 0, self._finished.plus(*progress)
                yield result

    @property
    def _in_flight(self) -> int:
        wanted = self._config.compute.prompts_in_flight
        return PROMPTS_PER_DIFFUSION_ACTOR * self._force.diffusion_actors if wanted == "auto" else wanted


def _stopped(error: WorkersLost) -> RunStopped:
    # Ray's copy of an error carries the stack of the other process in its text.
    return RunStopped(str(getattr(error, "cause", error)))


def _start_ray(config: RunConfig) -> None:
    handler = signal.getsignal(signal.SIGTERM)
    _init_ray(config)
    if current_thread() is main_thread():
        # Ray has put its own in its place, which ends the process.
        signal.signal(signal.SIGTERM, handler)


def _init_ray(config: RunConfig) -> None:
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


def _workforce(config: RunConfig) -> Workforce:
    """Settle the workers by the resources of the cluster.

    Raises:
        RequestError: more diffusion actors are asked for than there is room for.
    """
    resources = ray.cluster_resources()
    gpus, cpus = int(resources.get("GPU", 0)), int(resources.get("CPU", 1))
    wanted, reward_actors = config.compute.diffusion_actors, config.compute.reward_actors
    n_diffusion = (gpus or cpus) if wanted == "auto" else wanted
    _check_room(config, n_diffusion, gpus or cpus, "GPUs" if gpus else "CPUs")
    # A reward actor gets a GPU where one is left over.
    reward_gpus = 1 if gpus >= n_diffusion + reward_actors else 0
    return Workforce(n_diffusion, 1 if gpus else 0, 0 if gpus else 1, reward_actors, reward_gpus)


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
