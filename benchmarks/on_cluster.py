"""The storm on a cluster that is there already, of one machine or many, with others' work on it or not.

Its nodes are left alone. What is killed are the workers of our own runs, by a task on the worker's node, and the
driver, which is a process of this machine. Imports Ray, so only once the environment says how to reach the cluster.
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
    """On the cluster of RAY_ADDRESS, which this process joins."""

    def __init__(self, *run: Any) -> None:
        address = os.environ["RAY_ADDRESS"]
        super().__init__(address, *run)
        if not ray.is_initialized():
            ray.init(address=address, logging_level="ERROR", log_to_driver=False)

        # Inside, so that it travels as code: a worker of the cluster may know no benchmarks.
        def kill(pid: int) -> None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

        self._kill = ray.remote(num_cpus=0, max_retries=0)(kill)

    def find(self, kind: str) -> list[Victim]:
        """Those that have loaded. What one is doing cannot be seen from elsewhere."""
        return [
            Victim(actor["ActorClassName"].removeprefix("_"), partial(self._end, actor))
            for actor in self.left()
            if matches(kind, actor["ActorClassName"])
        ]

    def left(self) -> list[dict[str, Any]]:
        """Live actors of all drivers of this run."""
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
