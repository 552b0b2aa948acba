"""Checks that a run gives the same bits when its processes are killed: `python -m benchmarks.chaos --runs 20 --seed 0`

Each seed gets its own Ray cluster on this machine, with a token: a head without CPUs, and three nodes with one CPU
each. The benchmark starts the command of a run on it. Meanwhile it kills, with SIGKILL and at moments drawn from the
seed:

- a diffusion or reward actor about every three seconds, eight in total: half of them at any moment, even while they
  load, and the others only after they have loaded;
- a node, which another one replaces some seconds later;
- in about half of the runs a cell, of which there are one or two;
- the driver, after which the same command is started again, until it ends by itself.

A run passes if its last driver exited with status 0, all fronts are finished, images, scores and steps have the bits of
an undisturbed `--local` run, none of its processes is left, and the object stores hold what they held before. Prints
one line of JSON per run and one for all runs. If a run fails, its files are kept and the exit status is 1.

    python -m benchmarks.chaos --runs 3 --config configs/animals_mini.yaml steps=10 'prompts.list=[snail, crab]'

Overrides replace the default ones, which make a run small. A run that ends before its driver and a node have been
killed fails, so make it longer.

    RAY_ADDRESS=HEAD:6379 python -m benchmarks.chaos --on-cluster --seconds 3600 --config configs/demo.yaml steps=50

This does the same on an existing cluster, from one of its machines. It kills actors, cells and the driver of its own
runs, and leaves the cluster's nodes and other jobs alone. The undisturbed run takes place on the cluster too. The
contents of the object stores are not checked.
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
# Two of the three nodes have room for them.
WORKERS = ["compute.diffusion_actors=2", "compute.reward_actors=2"]
CELLS = (1, 2)
# The agents that Ray starts on a node end within a minute of the node's death.
GONE_SECONDS = 90.0

Figures = dict[str, Any]


class OnThreeNodes(Storm):
    """The storm on a cluster that the benchmark has started. It kills nodes too."""

    def __init__(self, cluster: Any, family: Family, *run: Any) -> None:
        super().__init__(cluster.address, *run)
        self._cluster, self._family = cluster, family

    def find(self, kind: str) -> list[Victim]:
        return [Victim(_doing(process), process.kill) for process in actors(self._family.mark, kind)]

    def stories(self) -> list[Story]:
        return [*super().stories(), self._track_processes, self._kill_node]

    async def _track_processes(self, _: Random) -> None:
        """Look for our processes every second, to recognise those that lose their parent when a node is killed."""
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
    """Disturb a run on its own cluster. Returns the figures of `verdict` and the bytes left in the object stores."""
    family = Family(new_mark())
    os.environ |= family.mark  # the nodes inherit it, and so do their workers
    with three_nodes(folder / "ray") as cluster:
        n_fronts = len(finished_keys(undisturbed))
        storm = OnThreeNodes(cluster, family, seed, folder / "run", n_fronts, seconds)
        before = stored_bytes(cluster)
        status = storm.rage(whole)
        wait_for(lambda: not family.orphans() and stored_bytes(cluster) <= before, GONE_SECONDS, 0.5)
        orphans, leaked = family.orphans(), stored_bytes(cluster) - before
    wait_for(lambda: not family.living(), GONE_SECONDS, 0.5)
    orphans += map(title, family.living())
    more = {"objects are left": leaked > 0, "it ended before a node was killed": not storm.kills["node"]}
    return verdict(storm, status, undisturbed, orphans, more) | {"leaked_bytes": leaked}


def on_their_cluster(seed: int, whole: Sequence[str], undisturbed: Path, folder: Path, seconds: float) -> Figures:
    """Disturb a run on the cluster of RAY_ADDRESS. Others use its nodes and object stores, so these are left alone."""
    # Imported here, because Ray reads its authentication settings when it is imported.
    from benchmarks.on_cluster import OnTheirCluster

    storm = OnTheirCluster(seed, folder / "run", len(finished_keys(undisturbed)), seconds)
    status = storm.rage(whole)
    wait_for(lambda: not storm.left(), GONE_SECONDS, 0.5)
    return verdict(storm, status, undisturbed, [actor["ActorClassName"] for actor in storm.left()], {})


def verdict(
    storm: Storm, status: int | None, undisturbed: Path, orphans: Sequence[str], more: dict[str, bool]
) -> Figures:
    """Return what was killed in a run, how the run ended, and the problems that this shows."""
    fronts = len(finished_keys(storm.output))
    complete = fronts == storm.n_fronts
    problems = {
        "the last driver did not end with status 0": status != 0,
        "fronts are missing": fronts < storm.n_fronts,
        "the bits differ from those of the undisturbed run": complete and not same_bits(storm.output, undisturbed),
        "processes are left": bool(orphans),
        "it ended before its driver was killed": not storm.kills["driver"],
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
    parser.add_argument("--seed", type=int, default=0, help="the seed of the first run; the next run has the next one")
    parser.add_argument("--config", type=Path, default=DEMO)
    parser.add_argument("--seconds", type=float, default=600, help="the most seconds that a run may take")
    parser.add_argument(
        "--on-cluster", action="store_true", help="run on the cluster of RAY_ADDRESS instead of a new one"
    )
    parser.add_argument("overrides", nargs="*", default=SMALL, metavar="KEY=VALUE")
    options = parser.parse_args()
    if options.on_cluster and "RAY_ADDRESS" not in os.environ:
        parser.error("--on-cluster needs RAY_ADDRESS, and RAY_AUTH_TOKEN if the cluster requires a token")
    if not options.on_cluster:
        os.environ |= closed_to_others()
    disturbed = on_their_cluster if options.on_cluster else on_our_cluster
    # Not in the user's TMPDIR, because Ray's sockets need a short path.
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
