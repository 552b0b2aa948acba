"""Do the pool and the cell keep many GPUs busy? Their real code on a simulated clock, with simulated actors.

    python -m benchmarks.simulate --cells 32 --actors 32 --seconds 0.18 --prompts 10000

Real: `actors.pool`, `RayWorkers`, the cell's `run`, and two prompts in flight a diffusion actor as in
`actors.cluster.session`. Simulated: the clock, Ray, and the actors, which compute one call after the other for so many
seconds a row and then answer; a message takes half a millisecond. The method's arithmetic is left out: a prompt asks
what SRSoup asks (`prompt`). No GPU is measured here. "Busy" is the share of the simulated diffusion actors' time in
which they had something to compute, from when a fifth of the prompts is done until four fifths are.
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
from actors.pool.transport import Limits, Member
from actors.protocol import Encoded, ReverseStepResult, Workers
from actors.telemetry.cell_monitor import CellMonitor
from actors.workers import DecodeReport
from configs.compute import NodesConfig
from diffusion.base import Sampling
from tests.support.virtual_time import now, run

MESSAGE_SECONDS = 0.0005  # a call of nothing costs 0.77 ms there and back
REWARD_SHARE = 0.1  # of a candidate's look-ahead and decode, for a reward
ACTORS_PER_REWARD_ACTOR = 2
L, M, N = 6, 2, 30  # the paper's weights, rewards and candidates
REWARDS = tuple(f"reward {m}" for m in range(M))
REPORT = DecodeReport(0.0, 0.0, 0, 0)


@dataclass(frozen=True)
class Case:
    """What is simulated.

    Attributes:
        actors: diffusion actors a cell.
        seconds: of one for a candidate.
        steps: of a prompt; two fifths of them are shared.
    """

    cells: int
    actors: int
    seconds: float
    prompts: int
    steps: int


class SimulatedActor:
    """Computes its calls one after the other, on the simulated clock."""

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
        """Seconds that it has computed so far."""
        return self.given - max(self.free_at - now(), 0.0)


class Remote:
    """`actor.method.remote(...)`."""

    def __init__(self, remote: Callable[..., Any]) -> None:
        self.remote = remote


class SimulatedDiffusion(SimulatedActor):
    def __init__(self, seconds: float) -> None:
        super().__init__(seconds)
        self.encode = Remote(lambda *_: self.compute(0.1, Encoded(None, (1, 1, 1), ())))
        self.reverse_step = Remote(lambda x, *_: self.compute(len(x) / 2, ReverseStepResult(x, 0.1, 0.0)))
        self.decode_candidates = Remote(lambda x, *_: (None, self.compute(len(x), REPORT)))
        self.decode = Remote(lambda x, *_: (None, self.compute(0.0, ((), 0, 0)), self.compute(len(x), REPORT)))


class SimulatedReward(SimulatedActor):
    def __init__(self, seconds: float) -> None:
        super().__init__(seconds)
        self.score = Remote(lambda name, pixels, a, b, *_: self.compute(b - a, (np.zeros(b - a), 0.0)))


class SimulatedTransport:
    """Actors that are there at once, eight to a node."""

    def __init__(self, make: Callable[[], SimulatedActor]) -> None:
        self._make, self.made = make, list[SimulatedActor]()

    async def start(self) -> Member[Any]:
        self.made.append(self._make())
        return Member(self.made[-1], f"node{len(self.made) // 8}")

    async def probe(self, actor: Any) -> None: ...

    def stop(self, actor: Any) -> None: ...


class SimulatedCell(_Cell):
    """The cell, on simulated actors: the rewards are networks on GPUs of their own."""

    def __init__(self, case: Case) -> None:
        limits, none = Limits(call_seconds=600.0), Reservation(0, 0, NodesConfig())
        self.diffusion = SimulatedTransport(lambda: SimulatedDiffusion(case.seconds))
        self.rewards = SimulatedTransport(lambda: SimulatedReward(case.seconds * REWARD_SHARE))
        n_rewards = max(case.actors // ACTORS_PER_REWARD_ACTOR, 1)
        pools = Pool(self.diffusion, case.actors, limits), Pool(self.rewards, n_rewards, limits)
        sizes = Sizes(case.actors, n_rewards, 0)
        self._run_prompt: Callable[..., Awaitable[Any]] = prompt
        self._colocated = False
        force = Workforce(sizes, none, none, none, False, None, on_networks=REWARDS, on_plain=())
        self._take_pools(
            (*pools, Pool(SimulatedTransport(_nobody), 0, limits)), force, limits, CellMonitor(), lambda value: value
        )


def _nobody() -> SimulatedActor:
    raise AssertionError("no plain reward actor is wanted")


async def prompt(steps: int, workers: Workers, count: Callable[[int, int], None]) -> None:
    """What SRSoup asks for one prompt: a chunk for each exemplar while they are shared, then one for each weight; the
    one-hot weights ask one reward and the others all."""
    encoded = await workers.encode("", Sampling(steps, 1.0))
    x, chunk = np.zeros((L, 1), np.float32), np.zeros((N, 1), np.float32)
    for step in range(steps):
        await workers.reverse_step(encoded, x, step)
        asked = [[reward] for reward in REWARDS] + ([] if step < steps * 2 // 5 else [REWARDS] * (L - M))
        await asyncio.gather(*(workers.score_candidates(encoded, chunk, step, names, "", N) for names in asked))
        count(1, N * len(asked))
    await workers.finish(x, REWARDS, "", N)


async def simulate(case: Case) -> dict[str, Any]:
    """Run the prompts of a case and tell how busy its actors were."""
    cells = [SimulatedCell(case) for _ in range(case.cells)]
    await asyncio.gather(*(cell.open() for cell in cells))
    actors = [actor for cell in cells for actor in cell.diffusion.made]
    looks, memory, done, queue = [], [], 0, iter(range(case.prompts))

    async def feed(cell: SimulatedCell, prompts: Iterator[int]) -> None:
        nonlocal done
        for _ in prompts:
            await cell.run(case.steps)
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
    """Resident memory of this process."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return round(pages * 4096 / 2**20, 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", type=int, default=1)
    parser.add_argument("--actors", type=int, default=64, help="diffusion actors a cell")
    parser.add_argument("--seconds", type=float, default=0.18, help="of one for one candidate")
    parser.add_argument("--prompts", type=int, default=10_000)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--count-own", action="store_true", help="let our own CPU time pass on the simulated clock")
    options = vars(parser.parse_args())
    count_own = options.pop("count_own")
    print(json.dumps(options | {"count_own": count_own} | run(simulate(Case(**options)), count_own=count_own)))


if __name__ == "__main__":
    main()
