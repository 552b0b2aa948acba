"""Does a run come to the same bits when everything about it is killed? `python -m benchmarks.chaos --runs 20 --seed 0`

Each seed has a Ray cluster of its own on this machine, with a token: a head without CPUs, and three nodes with one CPU
each. On it the command line of a run; and while that is at work, by SIGKILL and at moments drawn from the seed:

- about every three seconds a diffusion or a reward actor is killed, eight in all: half of them whatever they do, also
  while they load, the others once they have loaded;
- a node is killed, and some seconds later another one joins;
- in about every other run the cell is killed;
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
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import Any

import psutil

from benchmarks.processes import actors, marked, new_mark, title, variable, wait_for
from benchmarks.runs import DEMO, ROOT, command, run, same_bits
from pipeline.records import finished_keys

SMALL = ["steps=5", "queries=6", "soup.steps=2", "method=srsoup", "compute.prompts_in_flight=3",
         "prompts.list=[snail, crab, owl, lobster, ant, bee]"]  # fmt: skip
# Two of the three nodes are enough for them.
WORKERS = ["compute.diffusion_actors=2", "compute.reward_actors=2"]
ACTOR_KILLS = 8
# In a pattern for what actors do.
LOADED = r"(?!\.__init__)"
LOOK_SECONDS = 0.2
RUN_SECONDS = 600.0
# Ray's agents of a node end themselves within a minute of its death.
GONE_SECONDS = 90.0


class Storm:
    """One run on a cluster, and all that is done to it."""

    def __init__(self, cluster: Any, mark: dict[str, str], seed: int, folder: Path) -> None:
        self._cluster, self._mark, self._random, self._folder = cluster, mark, Random(seed), folder
        self.output = folder / "run"
        self.kills: Counter[str] = Counter()
        self.lives = 0
        self._driver: subprocess.Popen[bytes] | None = None
        # Found as ours at some time: of a process whose parent is dead nothing else may tell it.
        self.seen: set[psutil.Process] = set()

    async def rage(self, arguments: Sequence[str], n_fronts: int) -> int:
        """Disturb the command until it ends by itself; its exit status.

        Raises:
            TimeoutError: it did not within `RUN_SECONDS`.
        """
        stories = [self._watch(), self._kill_actors(), self._kill_node(n_fronts), self._kill_driver(n_fronts)]
        if self._random.random() < 0.5:
            stories.append(self._kill_cell(n_fronts))
        tasks = [asyncio.create_task(story) for story in stories]
        try:
            async with asyncio.timeout(RUN_SECONDS):
                return await self._live(arguments)
        finally:
            for task in tasks:
                task.cancel()
            for outcome in await asyncio.gather(*tasks, return_exceptions=True):
                if isinstance(outcome, Exception):
                    raise outcome

    async def _live(self, arguments: Sequence[str]) -> int:
        with (self._folder / "driver.log").open("ab") as log:
            while True:
                self.lives += 1
                environment = {**os.environ, "RAY_ADDRESS": self._cluster.address}
                self._driver = subprocess.Popen(arguments, cwd=ROOT, env=environment, stdout=log, stderr=log)
                try:
                    while self._driver.poll() is None:
                        await asyncio.sleep(LOOK_SECONDS)
                finally:
                    self._driver.kill()
                    status = self._driver.wait()
                if status != -signal.SIGKILL or self.kills["driver"] < self.lives:
                    return status

    async def _watch(self) -> None:
        while True:
            self.look()
            await asyncio.sleep(1)

    def look(self) -> set[psutil.Process]:
        """All that was started here and lives: it has the mark or is our descendant, or was once seen as such."""
        self.seen |= {*marked(self._mark), *psutil.Process().children(recursive=True)}
        self.seen = {process for process in self.seen if title(process)}
        return self.seen

    async def _kill_actors(self) -> None:
        for _ in range(ACTOR_KILLS):
            await asyncio.sleep(self._random.uniform(2, 4))
            kind, state = self._random.choice(("Diffusion", "Reward")), self._random.choice(("", LOADED))
            await self._kill_one(f"{kind}Actor{state}")

    async def _kill_cell(self, n_fronts: int) -> None:
        await self._moment(n_fronts)
        await self._kill_one("Cell")

    async def _kill_one(self, kind: str) -> None:
        """SIGKILL one of the actors of a kind, as soon as there is one."""
        while not (victims := actors(self._mark, kind)):
            await asyncio.sleep(LOOK_SECONDS)
        victim = self._random.choice(sorted(victims, key=lambda process: process.pid))
        doing = title(victim).removeprefix("ray::").removeprefix("_")
        victim.kill()
        self.kills[doing] += 1

    async def _kill_node(self, n_fronts: int) -> None:
        await self._moment(n_fronts)
        self.look()
        node = self._random.choice(sorted(self._cluster.worker_nodes, key=lambda node: node.plasma_store_socket_name))
        self._cluster.remove_node(node, allow_graceful=False)
        self.kills["node"] += 1
        await asyncio.sleep(self._random.uniform(2, 8))
        self._cluster.add_node(num_cpus=1)

    async def _kill_driver(self, n_fronts: int) -> None:
        await self._moment(n_fronts)
        assert self._driver is not None
        if self._driver.poll() is None:
            self.kills["driver"] += 1
            self._driver.kill()

    async def _moment(self, n_fronts: int) -> None:
        """Some time after workers have been started and up to half of the fronts are done."""
        fronts, seconds = self._random.randint(0, n_fronts // 2), self._random.uniform(0, 5)
        while len(finished_keys(self.output)) < fronts or not actors(self._mark, "DiffusionActor"):
            await asyncio.sleep(LOOK_SECONDS)
        await asyncio.sleep(seconds)

    def orphans(self) -> list[str]:
        """What is left of the run beside the services of the living nodes, which are our descendants and of no job."""
        return [
            title(process)
            for process in self.look()
            if variable(process, "RAY_JOB_ID") or psutil.Process() not in process.parents()
        ]


def stored_bytes(cluster: Any) -> int:
    """What the object stores of the living nodes hold. The nodes are asked: a driver of ours would hold some itself."""
    from ray._private.internal_api import node_stats

    sockets = {node.plasma_store_socket_name for node in cluster.list_all_nodes()}
    nodes = [node for node in cluster.global_state.node_table() if node["ObjectStoreSocketName"] in sockets]
    assert len(nodes) == len(sockets), "a node does not know its cluster"
    stores = [node_stats(node["NodeManagerAddress"], node["NodeManagerPort"], False).store_stats for node in nodes]
    return sum(store.object_store_bytes_used + store.object_store_bytes_fallback for store in stores)


@contextmanager
def three_nodes(folder: Path) -> Iterator[Any]:
    from ray.cluster_utils import Cluster

    head = {"num_cpus": 0, "include_dashboard": False, "temp_dir": str(folder)}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    try:
        for _ in range(3):
            cluster.add_node(num_cpus=1)
        yield cluster
    finally:
        cluster.shutdown()


def one_run(seed: int, arguments: Sequence[str], config: Path, undisturbed: Path, folder: Path) -> dict[str, Any]:
    """A disturbed run; what was done to it and what came of it."""
    start, mark, n_fronts = time.monotonic(), new_mark(), len(finished_keys(undisturbed))
    folder.mkdir()
    os.environ |= mark  # for the nodes, and so for the workers
    with three_nodes(folder / "ray") as cluster:
        storm, before = Storm(cluster, mark, seed, folder), stored_bytes(cluster)
        try:
            status = asyncio.run(storm.rage(command(storm.output, *arguments, config=config), n_fronts))
        except TimeoutError:
            status = None
        wait_for(lambda: not storm.orphans() and stored_bytes(cluster) <= before, GONE_SECONDS, 0.5)
        orphans, leaked = storm.orphans(), stored_bytes(cluster) - before
    wait_for(lambda: not storm.look(), GONE_SECONDS, 0.5)
    fronts = len(finished_keys(storm.output))
    figures = {
        "seed": seed,
        "seconds": round(time.monotonic() - start, 1),
        "kills": dict(sorted(storm.kills.items())),
        "lives_of_the_driver": storm.lives,
        "exit_status": status,
        "fronts": fronts,
        "same_bits": fronts == n_fronts and same_bits(storm.output, undisturbed),
        "orphans": orphans + [title(process) for process in storm.look()],
        "leaked_bytes": leaked,
    }
    good = status == 0 and figures["same_bits"] and not figures["orphans"] and leaked == 0
    return figures | {"good": good and storm.kills["driver"] == storm.kills["node"] == 1}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0, help="of the first run; each next one has the next")
    parser.add_argument("--config", type=Path, default=DEMO)
    parser.add_argument("overrides", nargs="*", default=SMALL, metavar="KEY=VALUE")
    told = parser.parse_args()
    # Before Ray is imported, which reads its authentication once.
    os.environ |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": uuid.uuid4().hex, "RAY_USAGE_STATS_ENABLED": "0"}
    # Sockets of Ray have short paths.
    whole, arguments, results = Path(tempfile.mkdtemp(prefix="chaos-", dir="/tmp")), [*WORKERS, *told.overrides], []
    undisturbed = run(whole / "undisturbed", *arguments, "--local", config=told.config, seconds=RUN_SECONDS)
    for seed in range(told.seed, told.seed + told.runs):
        results.append(one_run(seed, arguments, told.config, undisturbed, folder := whole / str(seed)))
        print(json.dumps(results[-1] | ({} if results[-1]["good"] else {"files": str(folder)})), flush=True)
        if results[-1]["good"]:
            shutil.rmtree(folder)
    good = sum(result["good"] for result in results)
    if good == len(results):
        shutil.rmtree(whole)
    kills = sum((Counter(result["kills"]) for result in results), Counter[str]())
    print(json.dumps({"runs": len(results), "good": good, "kills": dict(sorted(kills.items()))}))
    return 0 if good == len(results) else 1


if __name__ == "__main__":
    sys.exit(main())
