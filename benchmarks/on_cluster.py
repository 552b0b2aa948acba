"""The storm on an existing cluster, which other jobs may use too. Used by `benchmarks.chaos --on-cluster`.

It kills the workers of its own runs, through a task on the worker's node, and the driver, which runs on this machine.
The cluster's nodes are left alone. This module imports Ray, so import it only when the environment says how to reach
the cluster.
"""

import contextlib
import os
import signal
from functools import partial
from typing import Any

import ray
from ray._private.state import state
from ray.util import get_node_ip_address
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from benchmarks.storm import Storm, Victim
from tests.support.cluster.processes import matches

KILL_SECONDS = 30.0


class OnTheirCluster(Storm):
    """The storm on the cluster of RAY_ADDRESS, which this process joins."""

    def __init__(self, *run: Any) -> None:
        address = os.environ["RAY_ADDRESS"]
        super().__init__(address, *run)
        if not ray.is_initialized():
            ray.init(address=address, logging_level="ERROR", log_to_driver=False)

        # Defined inside the method, so that Ray sends its code: the cluster's machines may not have this module.
        def kill(pid: int) -> None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

        self._kill = ray.remote(num_cpus=0, max_retries=0)(kill)

    def find(self, kind: str) -> list[Victim]:
        """The actors of a kind that have loaded. The method that one computes cannot be seen from another machine."""
        return [
            Victim(actor["ActorClassName"].removeprefix("_"), partial(self._end, actor))
            for actor in self.left()
            if matches(kind, actor["ActorClassName"])
        ]

    def left(self) -> list[dict[str, Any]]:
        """The live actors of all drivers of this run."""
        here = get_node_ip_address()
        ours = {
            job["JobID"]
            for job in state.job_table()
            if job["DriverIPAddress"] == here and job["DriverPid"] in self.drivers
        }
        return [actor for actor in state.actor_table(None, None, "ALIVE").values() if actor["JobID"] in ours]

    def _end(self, actor: dict[str, Any]) -> None:
        there = NodeAffinitySchedulingStrategy(actor["Address"]["NodeID"], soft=False)
        ray.get(self._kill.options(scheduling_strategy=there).remote(actor["Pid"]), timeout=KILL_SECONDS)
