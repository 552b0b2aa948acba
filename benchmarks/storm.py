"""Kills actors, cells and the driver of one run at moments drawn from a seed. `benchmarks.chaos` uses it."""

import asyncio
import os
import subprocess
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

from pipeline.records import finished_keys
from tests.support.runs import ROOT

ACTOR_KILLS = 8
# The end of a pattern for an actor: it matches only after the actor has loaded.
LOADED = r"(?!\.__init__)"
LOOK_SECONDS = 0.2

Story = Callable[[Random], Coroutine[Any, Any, None]]


class Victim(NamedTuple):
    """An actor that may be killed.

    Attributes:
        doing: its class, followed by the method that it computes if that is known.
        kill: kills it.
    """

    doing: str
    kill: Callable[[], None]


class Storm(ABC):
    """One run on a cluster, and everything that is killed in it.

    Args:
        address: the cluster's address.
        output: the run's folder.
        n_fronts: the number of fronts of the run.
        seconds: the time that the run may take, restarts included.

    Attributes:
        driver: the driver that runs, or the last one that ran.
        kills: the number of kills by victim, such as `DiffusionActor.decode`, `node` or `driver`.
        drivers: the process ids of all drivers that were started.
    """

    def __init__(self, address: str, seed: int, output: Path, n_fronts: int, seconds: float) -> None:
        self._address, self._seed, self.output, self.n_fronts = address, seed, output, n_fronts
        self._seconds = seconds
        self.driver: subprocess.Popen[bytes] | None = None
        self.kills: Counter[str] = Counter()
        self.drivers: set[int] = set()

    @abstractmethod
    def find(self, kind: str) -> list[Victim]:
        """Find the run's live actors that match a pattern of `processes.matches`."""

    def stories(self) -> list[Story]:
        """The coroutines that disturb the run. Each gets its own random numbers."""
        return [self._kill_actors, self._kill_cell, self._kill_driver]

    def rage(self, arguments: Sequence[str]) -> int | None:
        """Disturb a command until it ends by itself. Returns its exit status, or None if it took too long."""
        try:
            return asyncio.run(self._rage(arguments))
        except TimeoutError:
            return None

    async def _rage(self, arguments: Sequence[str]) -> int:
        async with asyncio.timeout(self._seconds), asyncio.TaskGroup() as group:
            tasks = [group.create_task(story(Random(f"{self._seed} {story.__name__}"))) for story in self.stories()]
            status = await self._live(arguments)
            for task in tasks:
                task.cancel()
        return status

    async def _live(self, arguments: Sequence[str]) -> int:
        """Start the command, and start it again whenever we have killed its driver. Returns its exit status."""
        environment = {**os.environ, "RAY_ADDRESS": self._address}
        with self.output.with_suffix(".log").open("ab") as log:
            while True:
                killed = self.kills["driver"]
                self.driver = subprocess.Popen(arguments, cwd=ROOT, env=environment, stdout=log, stderr=log)
                self.drivers.add(self.driver.pid)
                try:
                    while self.driver.poll() is None:
                        await asyncio.sleep(LOOK_SECONDS)
                finally:
                    self.driver.kill()
                    status = self.driver.wait()
                if self.kills["driver"] == killed:
                    return status

    async def _kill_actors(self, random: Random) -> None:
        for _ in range(ACTOR_KILLS):
            await asyncio.sleep(random.uniform(2, 4))
            await self._kill_one(random.choice(("Diffusion", "Reward")) + "Actor" + random.choice(("", LOADED)), random)

    async def _kill_cell(self, random: Random) -> None:
        if random.random() < 0.5:
            await self.moment(random)
            await self._kill_one("Cell", random)

    async def _kill_driver(self, random: Random) -> None:
        await self.moment(random)
        if self.driver and self.driver.poll() is None:
            self.driver.kill()
            self.kills["driver"] += 1

    async def moment(self, random: Random) -> None:
        """Wait until workers are there and up to a third of the fronts are finished, and then some seconds more."""
        fronts, seconds = random.randint(0, self.n_fronts // 3), random.uniform(0, 5)
        while len(finished_keys(self.output)) < fronts or not self.find("DiffusionActor"):
            await asyncio.sleep(LOOK_SECONDS)
        await asyncio.sleep(seconds)

    async def _kill_one(self, kind: str, random: Random) -> None:
        """Kill a random actor of a kind, as soon as there is one."""
        while not (victims := self.find(kind)):
            await asyncio.sleep(LOOK_SECONDS)
        victim = random.choice(victims)
        victim.kill()
        self.kills[victim.doing] += 1
