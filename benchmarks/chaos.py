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

    RAY_ADDRESS=HEAD:6379 python -m benchmarks.chaos --on-cluster --seconds 3600 --config configs/demo.yaml steps=50

The same on a cluster of yours, from one of its machines: actors, cells and the driver of these runs are killed, the
cluster's nodes and others' work are left alone, and the undisturbed run is made there too. What the object stores
hold is not looked at.
"""

import argparse
import asyncio
import json
import os
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any

import psutil

from benchmarks.storm import Storm, Story, Victim
from pipeline.records import finished_keys
from tests.support.cluster.processes import Family, actors, new_mark, title, wait_for
from tests.support.cluster.three_nodes import closed_to_others, stored_bytes, three_nodes
from tests.support.runs import DEMO, command, run, same_bits

SMALL = ["steps=5", "queries=6", "soup.steps=2", "method=srsoup", "compute.prompts_in_flight=3",
         "prompts.list=[snail, crab, owl, lobster, ant, bee]"]  # fmt: skip
# Two of the three nodes are enough for them.
WORKERS = ["compute.diffusion_actors=2", "compute.reward_actors=2"]
CELLS = (1, 2)
# Ray's agents of a node end themselves within a minute of its death.
GONE_SECONDS = 90.0

Figures = dict[str, Any]


class OnThreeNodes(Storm):
    """On a cluster of ours, whose nodes are killed too."""

    def __init__(self, cluster: Any, family: Family, *run: Any) -> None:
        super().__init__(cluster.address, *run)
        self._cluster, self._family = cluster, family

    def find(self, kind: str) -> list[Victim]:
        return [Victim(_doing(process), process.kill) for process in actors(self._family.mark, kind)]

    def stories(self) -> list[Story]:
        return [*super().stories(), self._observer, self._kill_node]

    async def _observer(self, _: Random) -> None:
        """Know our own, also those whose node will die."""
        while True:
            self._family.living()
            await asyncio.sleep(1)

    async def _kill_node(self, random: Random) -> None:
        await self.moment(random)
        self._family.living()
        self._cluster.remove_node(random.choice(list(self._cluster.worker_nodes)), allow_graceful=False)
        self.kills["node"] += 1
        await asyncio.sleep(random.uniform(2, 8))
        self._cluster.add_node(num_cpus=1)


def _doing(process: psutil.Process) -> str:
    return title(process).removeprefix("ray::").removeprefix("_")


def on_our_cluster(seed: int, whole: Sequence[str], undisturbed: Path, folder: Path, seconds: float) -> Figures:
    """A disturbed run on a cluster of its own: what was done to it, and what came of it."""
    family = Family(new_mark())
    os.environ |= family.mark  # for the nodes, and so for their workers
    with three_nodes(folder / "ray") as cluster:
        n_fronts = len(finished_keys(undisturbed))
        storm = OnThreeNodes(cluster, family, seed, folder / "run", n_fronts, seconds)
        before = stored_bytes(cluster)
        status = storm.rage(whole)
        wait_for(lambda: not family.orphans() and stored_bytes(cluster) <= before, GONE_SECONDS, 0.5)
        orphans, leaked = family.orphans(), stored_bytes(cluster) - before
    wait_for(lambda: not family.living(), GONE_SECONDS, 0.5)
    orphans += map(title, family.living())
    more = {"objects are left": leaked > 0, "over before a node was killed": not storm.kills["node"]}
    return verdict(storm, status, undisturbed, orphans, more) | {"leaked_bytes": leaked}


def on_their_cluster(seed: int, whole: Sequence[str], undisturbed: Path, folder: Path, seconds: float) -> Figures:
    """The same on the cluster of RAY_ADDRESS, whose nodes and object stores are others' too, and so are left out."""
    # Here, because Ray reads its authentication as it is imported.
    from benchmarks.on_cluster import OnTheirCluster

    storm = OnTheirCluster(seed, folder / "run", len(finished_keys(undisturbed)), seconds)
    status = storm.rage(whole)
    wait_for(lambda: not storm.left(), GONE_SECONDS, 0.5)
    return verdict(storm, status, undisturbed, [actor["ActorClassName"] for actor in storm.left()], {})


def verdict(
    storm: Storm, status: int | None, undisturbed: Path, orphans: Sequence[str], more: dict[str, bool]
) -> Figures:
    """What was done to a run, what came of it, and what of that is wrong."""
    fronts = len(finished_keys(storm.output))
    complete = fronts == storm.n_fronts
    problems = {
        "the last driver did not end with status 0": status != 0,
        "fronts are missing": fronts < storm.n_fronts,
        "other bits than those of the undisturbed run": complete and not same_bits(storm.output, undisturbed),
        "processes are left": bool(orphans),
        "over before its driver was killed": not storm.kills["driver"],
        **more,
    }
    return {
        "kills": dict(sorted(storm.kills.items())), "lives_of_the_driver": len(storm.drivers), "exit_status": status,
        "fronts": fronts, "orphans": list(orphans),
        "problems": [problem for problem, found in problems.items() if found],
    }  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0, help="of the first run; each next one has the next")
    parser.add_argument("--config", type=Path, default=DEMO)
    parser.add_argument("--seconds", type=float, default=600, help="that a run may take")
    parser.add_argument(
        "--on-cluster", action="store_true", help="on the cluster of RAY_ADDRESS, and not on one of its own"
    )
    parser.add_argument("overrides", nargs="*", default=SMALL, metavar="KEY=VALUE")
    options = parser.parse_args()
    if options.on_cluster and "RAY_ADDRESS" not in os.environ:
        parser.error("--on-cluster needs RAY_ADDRESS, and RAY_AUTH_TOKEN where the cluster asks for one")
    if not options.on_cluster:
        os.environ |= closed_to_others()
    disturbed = on_their_cluster if options.on_cluster else on_our_cluster
    # Not where the user keeps such things: its path must be short.
    base, arguments = Path(tempfile.mkdtemp(prefix="chaos-", dir="/tmp")), [*WORKERS, *options.overrides]
    alone = () if options.on_cluster else ("--local",)
    undisturbed = run(base / "undisturbed", *arguments, *alone, config=options.config, seconds=options.seconds)
    kills, bad = Counter[str](), 0
    for seed in range(options.seed, options.seed + options.runs):
        (folder := base / str(seed)).mkdir()
        cells, start = Random(f"{seed} cells").choice(CELLS), time.monotonic()
        whole = command(folder / "run", *arguments, f"compute.cells={cells}", config=options.config)
        figures: Figures = {"seed": seed, "cells": cells} | disturbed(seed, whole, undisturbed, folder, options.seconds)
        figures["seconds"] = round(time.monotonic() - start, 1)
        print(json.dumps(figures | ({"files": str(folder)} if figures["problems"] else {})), flush=True)
        kills.update(figures["kills"])
        if figures["problems"]:
            bad += 1
        else:
            shutil.rmtree(folder)
    if not bad:
        shutil.rmtree(base)
    print(json.dumps({"runs": options.runs, "good": options.runs - bad, "kills": dict(sorted(kills.items()))}))
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
