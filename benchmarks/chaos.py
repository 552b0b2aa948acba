"""Does a run come to the same bits when everything about it is killed? `python -m benchmarks.chaos --runs 20 --seed 0`

Each seed has a Ray cluster of its own on this machine, with a token: a head without CPUs, and three nodes with one CPU
each. On it the command line of a run; and while that is at work, by SIGKILL and at moments drawn from the seed:

- about every three seconds a diffusion or a reward actor is killed, eight in all: half of them whatever they do, also
  while they load, the others once they have loaded;
- a node is killed, and some seconds later another one joins;
- in about every other run a cell is killed; there are one or two;
- the driver is killed, and the same command is given again, until it ends by itself.

A run is good if its last driver ended with status 0, all fronts are there, images, scores and steps are the bits of an
undisturbed `--local` run, every process of it is gone, and the object stores hold what they held before. Prints a line
of JSON a run and one for all. Exit status 1 if one was not good; its files are kept.

    python -m benchmarks.chaos --runs 3 --config configs/animals_mini.yaml steps=10 'prompts.list=[snail, crab]'

Overrides take the place of the small size that is the default. A run that is over before its driver and a node could be
killed is not good: make it longer.
"""

import argparse
import asyncio
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any

from benchmarks.processes import Family, actors, new_mark, title, wait_for
from benchmarks.runs import DEMO, ROOT, command, run, same_bits
from benchmarks.three_nodes import closed_to_others, stored_bytes, three_nodes
from pipeline.records import finished_keys

SMALL = ["steps=5", "queries=6", "soup.steps=2", "method=srsoup", "compute.prompts_in_flight=3",
         "prompts.list=[snail, crab, owl, lobster, ant, bee]"]  # fmt: skip
# Two of the three nodes are enough for them.
WORKERS = ["compute.diffusion_actors=2", "compute.reward_actors=2"]
CELLS = (1, 2)
ACTOR_KILLS = 8
# In a pattern for what an actor does.
LOADED = r"(?!\.__init__)"
LOOK_SECONDS = 0.2
RUN_SECONDS = 600.0
# Ray's agents of a node end themselves within a minute of its death.
GONE_SECONDS = 90.0


class Storm:
    """One run on a cluster, and all that is done to it.

    Attributes:
        kills: by what was killed; of an actor, with what it was doing.
        lives: drivers that were started.
    """

    def __init__(self, cluster: Any, family: Family, seed: int, output: Path, n_fronts: int) -> None:
        self._cluster, self._family, self._seed, self._output = cluster, family, seed, output
        self._n_fronts = n_fronts
        self._driver: subprocess.Popen[bytes] | None = None
        self.kills: Counter[str] = Counter()
        self.lives = 0

    async def rage(self, arguments: Sequence[str]) -> int:
        """Disturb a command until it ends by itself; its exit status.

        Raises:
            TimeoutError: it did not within `RUN_SECONDS`.
        """
        stories = [self._watch, self._kill_actors, self._kill_cell, self._kill_node, self._kill_driver]
        async with asyncio.timeout(RUN_SECONDS), asyncio.TaskGroup() as group:
            tasks = [group.create_task(story(Random(f"{self._seed} {story.__name__}"))) for story in stories]
            status = await self._live(arguments)
            for task in tasks:
                task.cancel()
        return status

    async def _live(self, arguments: Sequence[str]) -> int:
        """Give the command, and again whenever we have killed its driver."""
        environment = {**os.environ, "RAY_ADDRESS": self._cluster.address}
        with self._output.with_suffix(".log").open("ab") as log:
            while True:
                self.lives, killed = self.lives + 1, self.kills["driver"]
                self._driver = subprocess.Popen(arguments, cwd=ROOT, env=environment, stdout=log, stderr=log)
                try:
                    while self._driver.poll() is None:
                        await asyncio.sleep(LOOK_SECONDS)
                finally:
                    self._driver.kill()
                    status = self._driver.wait()
                if self.kills["driver"] == killed:
                    return status

    async def _watch(self, _: Random) -> None:
        """Know our own, also those whose node will die."""
        while True:
            self._family.living()
            await asyncio.sleep(1)

    async def _kill_actors(self, random: Random) -> None:
        for _ in range(ACTOR_KILLS):
            await asyncio.sleep(random.uniform(2, 4))
            await self._kill_one(random.choice(("Diffusion", "Reward")) + "Actor" + random.choice(("", LOADED)), random)

    async def _kill_cell(self, random: Random) -> None:
        if random.random() < 0.5:
            await self._moment(random)
            await self._kill_one("Cell", random)

    async def _kill_node(self, random: Random) -> None:
        await self._moment(random)
        self._family.living()
        self._cluster.remove_node(random.choice(list(self._cluster.worker_nodes)), allow_graceful=False)
        self.kills["node"] += 1
        await asyncio.sleep(random.uniform(2, 8))
        self._cluster.add_node(num_cpus=1)

    async def _kill_driver(self, random: Random) -> None:
        await self._moment(random)
        if self._driver and self._driver.poll() is None:
            self._driver.kill()
            self.kills["driver"] += 1

    async def _moment(self, random: Random) -> None:
        """Some seconds after there are workers, and up to a third of the fronts."""
        fronts, seconds = random.randint(0, self._n_fronts // 3), random.uniform(0, 5)
        while len(finished_keys(self._output)) < fronts or not actors(self._family.mark, "DiffusionActor"):
            await asyncio.sleep(LOOK_SECONDS)
        await asyncio.sleep(seconds)

    async def _kill_one(self, kind: str, random: Random) -> None:
        """Kill one of the actors of a kind, as soon as there is one."""
        while not (victims := actors(self._family.mark, kind)):
            await asyncio.sleep(LOOK_SECONDS)
        victim = random.choice(victims)
        doing = title(victim).removeprefix("ray::").removeprefix("_")
        victim.kill()
        self.kills[doing] += 1


def one_run(seed: int, arguments: Sequence[str], config: Path, undisturbed: Path, folder: Path) -> dict[str, Any]:
    """A disturbed run: what was done to it, and what came of it."""
    start, family, n_fronts = time.monotonic(), Family(new_mark()), len(finished_keys(undisturbed))
    output, cells = folder / "run", Random(f"{seed} cells").choice(CELLS)
    whole = command(output, *arguments, f"compute.cells={cells}", config=config)
    folder.mkdir()
    os.environ |= family.mark  # for the nodes, and so for their workers
    with three_nodes(folder / "ray") as cluster:
        storm, before = Storm(cluster, family, seed, output, n_fronts), stored_bytes(cluster)
        try:
            status = asyncio.run(storm.rage(whole))
        except TimeoutError:
            status = None
        wait_for(lambda: not family.orphans() and stored_bytes(cluster) <= before, GONE_SECONDS, 0.5)
        orphans, leaked = family.orphans(), stored_bytes(cluster) - before
    wait_for(lambda: not family.living(), GONE_SECONDS, 0.5)
    orphans += map(title, family.living())
    fronts = len(finished_keys(output))
    problems = {
        "the last driver did not end with status 0": status != 0,
        "fronts are missing": fronts < n_fronts,
        "other bits than those of the undisturbed run": fronts == n_fronts and not same_bits(output, undisturbed),
        "processes are left": bool(orphans),
        "objects are left": leaked > 0,
        "over before its driver and a node were killed": not (storm.kills["driver"] and storm.kills["node"]),
    }
    return {
        "seed": seed, "cells": cells, "seconds": round(time.monotonic() - start, 1),
        "kills": dict(sorted(storm.kills.items())), "lives_of_the_driver": storm.lives, "exit_status": status,
        "fronts": fronts, "orphans": orphans, "leaked_bytes": leaked,
        "problems": [problem for problem, found in problems.items() if found],
    }  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0, help="of the first run; each next one has the next")
    parser.add_argument("--config", type=Path, default=DEMO)
    parser.add_argument("overrides", nargs="*", default=SMALL, metavar="KEY=VALUE")
    told = parser.parse_args()
    os.environ |= closed_to_others()
    # Not where the user keeps such things: its path must be short.
    base, arguments = Path(tempfile.mkdtemp(prefix="chaos-", dir="/tmp")), [*WORKERS, *told.overrides]
    undisturbed = run(base / "undisturbed", *arguments, "--local", config=told.config, seconds=RUN_SECONDS)
    kills, bad = Counter[str](), 0
    for seed in range(told.seed, told.seed + told.runs):
        figures = one_run(seed, arguments, told.config, undisturbed, folder := base / str(seed))
        print(json.dumps(figures | ({"files": str(folder)} if figures["problems"] else {})), flush=True)
        kills.update(figures["kills"])
        if figures["problems"]:
            bad += 1
        else:
            shutil.rmtree(folder)
    if not bad:
        shutil.rmtree(base)
    print(json.dumps({"runs": told.runs, "good": told.runs - bad, "kills": dict(sorted(kills.items()))}))
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
