"""Measures whether the pool and the cell keep many GPUs busy: their real code, on a simulated clock and actors.

    python -m benchmarks.simulate --cells 1 --actors 32 --seconds 0.01 --prompts 200 --latents 4x64x64 --count-own

Real are `actors.pool`, `RayWorkers`, the cell's `run`, the two prompts in flight per diffusion actor as in
`actors.cluster.session`, and the whole method (`run_guided`) with its arithmetic on latents of the given size.
Simulated are the clock, Ray, and the actors, which compute one call after the other, each for a fixed number of seconds
per row, and then answer. A message takes half a millisecond. With `--count-own` each CPU second of this process, which
holds the cell, also passes on the simulated clock. Left out are the CPU time of Ray's messages (`benchmarks.ray_calls`
measures it) and the writing of results (`benchmarks.scale`). This measures no GPU. "Busy" is the share of time in which
the simulated diffusion actors had something to compute, from the moment when a fifth of the prompts is done until four
fifths are done. With several cells, the one process computes the arithmetic of all of them, so `--count-own` would
count it against each: use it with one cell.
"""

import argparse
import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from actors.cluster.cell import _Cell
from actors.cluster.session import PROMPTS_PER_DIFFUSION_ACTOR
from actors.cluster.workforce import Reservation, Sizes, Workforce
from actors.pool.pool import Pool
from actors.pool.transport import Limits, StartedActor
from actors.protocol import EncodeResult, ReverseStepResult, Workers
from actors.telemetry.cell_monitor import CellMonitor
from actors.workers import DecodeReport, set_threads
from configs.sections.compute import NodesConfig
from diffusion.base import Sampling
from pipeline.guidance.ledger import Ledger
from pipeline.guidance.runner import Guidance, run_guided
from pipeline.guidance.simplex import as_weights
from pipeline.job.result import Meter
from pipeline.job.run_prompt import BoundPorts
from pipeline.planning.prompts import Prompt
from pipeline.planning.task import PromptTask
from tests.support.cluster.virtual_time import now, run

MESSAGE_SECONDS = 0.0005  # one way; a call without data takes 0.77 ms in both directions
REWARD_SHARE = 0.1  # the time of one reward, as a share of the time of a candidate's look-ahead and decode
ACTORS_PER_REWARD_ACTOR = 2
L, M, N = 6, 2, 30  # weightings, rewards and candidates, as in the paper
REWARDS = tuple(f"reward {m}" for m in range(M))
REPORT = DecodeReport(0.0, 0.0, 0, 0)


@dataclass(frozen=True)
class Case:
    """The run that is simulated.

    Attributes:
        actors: diffusion actors per cell.
        seconds: the time that a diffusion actor takes for one candidate.
        steps: denoising steps per prompt; two fifths of them are soup steps, in which the candidates are shared.
        latents: the shape (C, H, W) of one latent.
    """

    cells: int
    actors: int
    seconds: float
    prompts: int
    steps: int
    latents: tuple[int, int, int] = (1, 1, 1)


class SimulatedActor:
    """An actor that computes its calls one after the other, on the simulated clock."""

    def __init__(self, seconds: float) -> None:
        self.seconds, self.free_at, self.given, self.calls = seconds, 0.0, 0.0, 0

    async def compute(self, rows: float, value: Any) -> Any:
        service = rows * self.seconds
        self.free_at = max(self.free_at, now() + MESSAGE_SECONDS) + service
        self.given += service
        self.calls += 1
        await asyncio.sleep(self.free_at + MESSAGE_SECONDS - now())
        return value

    def busy(self) -> float:
        """The seconds that it has computed so far."""
        return self.given - max(self.free_at - now(), 0.0)


class Remote:
    """A fake of `actor.method`, which has `remote(...)`."""

    def __init__(self, remote: Callable[..., Any]) -> None:
        self.remote = remote


class SimulatedDiffusion(SimulatedActor):
    def __init__(self, case: Case) -> None:
        super().__init__(case.seconds)
        encoded = EncodeResult(None, case.latents, tuple(range(case.steps, 0, -1)))
        self.encode = Remote(lambda *_: self.compute(0.1, encoded))
        self.reverse_step = Remote(lambda x, *_: self.compute(len(x) / 2, ReverseStepResult(x, 0.1, 0.0)))
        self.decode_candidates = Remote(lambda x, *_: (None, self.compute(len(x), REPORT)))
        self.decode = Remote(lambda x, *_: (None, self.compute(0.0, ((), 0, 0)), self.compute(len(x), REPORT)))


class SimulatedReward(SimulatedActor):
    def __init__(self, seconds: float) -> None:
        super().__init__(seconds)
        self.score = Remote(lambda name, pixels, a, b, *_: self.compute(b - a, (np.arange(a, b) % 7.0, 0.0)))


class SimulatedTransport:
    """Starts simulated actors without delay, eight per node."""

    def __init__(self, make: Callable[[], SimulatedActor]) -> None:
        self._make, self.made = make, list[SimulatedActor]()

    async def start(self) -> StartedActor[Any]:
        self.made.append(self._make())
        return StartedActor(self.made[-1], f"node{len(self.made) // 8}")

    async def probe(self, actor: Any) -> None: ...

    def stop(self, actor: Any) -> None: ...


class SimulatedCell(_Cell):
    """The cell on simulated actors. The rewards are networks with their own GPUs."""

    def __init__(self, case: Case) -> None:
        limits, none = Limits(call_seconds=600.0), Reservation(0, 0, NodesConfig())
        self.diffusion = SimulatedTransport(lambda: SimulatedDiffusion(case))
        self.rewards = SimulatedTransport(lambda: SimulatedReward(case.seconds * REWARD_SHARE))
        n_rewards = max(case.actors // ACTORS_PER_REWARD_ACTOR, 1)
        pools = Pool(self.diffusion, case.actors, limits), Pool(self.rewards, n_rewards, limits)
        sizes = Sizes(case.actors, n_rewards, 0)
        self._run_prompt: Callable[..., Awaitable[Any]] = prompt
        self._colocated = False
        workforce = Workforce(sizes, none, none, none, False, None, gpu_reward_names=REWARDS, cpu_reward_names=())
        self._set_pools(
            (*pools, Pool(SimulatedTransport(_nobody), 0, limits)),
            workforce,
            limits,
            CellMonitor(),
            lambda value: value,
        )


def _nobody() -> SimulatedActor:
    raise AssertionError("no reward actor on CPUs is needed")


async def prompt(case: Case, workers: Workers, count: Callable[[int, int], None]) -> None:
    """Run SRSoup for one prompt, as `pipeline.job.run_prompt` does, without the rows of its tables."""
    rows = tuple((index / (L - 1), 1 - index / (L - 1)) for index in range(L))
    guidance = Guidance(N, case.steps * 2 // 5)
    text, sampling = Prompt("", "", "", None), Sampling(case.steps, 1.0)
    task = PromptTask("", text, "srsoup", 0, rows, guidance, REWARDS, (), sampling, N, L)
    encoded = await workers.encode("", sampling)
    ports = BoundPorts(workers, encoded, task, Meter(), count)
    weights = as_weights(rows)
    done = await run_guided(weights, case.latents, 0, guidance, ports, ports, Ledger(), lambda step: count(1, 0))
    await workers.finish(done.x_LCHW.numpy(), REWARDS, "", N)


async def simulate(case: Case) -> dict[str, Any]:
    """Run the prompts of a case, and return how busy its actors were and what the simulation cost."""
    set_threads(1)
    cells = [SimulatedCell(case) for _ in range(case.cells)]
    await asyncio.gather(*(cell.open() for cell in cells))
    actors = [actor for cell in cells for actor in cell.diffusion.made]
    looks, memory, done, queue = [], [], 0, iter(range(case.prompts))

    async def feed(cell: SimulatedCell, prompts: Iterator[int]) -> None:
        nonlocal done
        for _ in prompts:
            await cell.run(case)
            done += 1
            if done * 5 in (case.prompts, case.prompts * 4):
                looks.append((now(), sum(actor.busy() for actor in actors)))
            if done * 10 % case.prompts < 10:
                memory.append(megabytes())

    cpu = time.process_time()
    in_flight = PROMPTS_PER_DIFFUSION_ACTOR * case.actors
    await asyncio.gather(*(feed(cell, queue) for _ in range(in_flight) for cell in cells))
    cpu = time.process_time() - cpu
    for cell in cells:
        await cell.close()
    (start, before), (end, after) = looks
    calls = sum(actor.calls for cell in cells for actor in (*cell.diffusion.made, *cell.rewards.made))
    return {
        "simulated_actors": len(actors),
        "busy_share": (after - before) / (end - start) / len(actors),
        "simulated_hours": now() / 3600,
        "calls": calls,
        "calls_a_cpu_second": calls / cpu,
        "calls_a_simulated_second_and_cell": calls / now() / case.cells,
        "memory_MB_at_each_tenth": memory,
    }


def megabytes() -> float:
    """The resident memory of this process."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return round(pages * 4096 / 2**20, 1)


def _shape(text: str) -> tuple[int, ...]:
    return tuple(int(size) for size in text.split("x"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", type=int, default=1)
    parser.add_argument("--actors", type=int, default=64, help="diffusion actors per cell")
    parser.add_argument("--seconds", type=float, default=0.18, help="the time of a diffusion actor for one candidate")
    parser.add_argument("--prompts", type=int, default=10_000)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--latents", type=_shape, default=(1, 1, 1), help="CxHxW, such as 4x64x64 of SD1.5")
    parser.add_argument("--count-own", action="store_true", help="add the CPU time of this process to the clock")
    options = vars(parser.parse_args())
    count_own = options.pop("count_own")
    print(json.dumps(options | {"count_own": count_own} | run(simulate(Case(**options)), count_own=count_own)))


if __name__ == "__main__":
    main()
