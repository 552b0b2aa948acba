"""Runs a driver on a cluster that grows and then drains a node: `python changing_nodes.py OUTPUT COMMAND...`

Prints as JSON how many diffusion actors each node had at each stage. `test_elastic` starts it as a separate process,
because Ray reads its authentication settings once per process.
"""

import json
import os
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil


def main(output: Path, command: list[str]) -> int:
    os.environ |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": uuid.uuid4().hex, "RAY_USAGE_STATS_ENABLED": "0"}
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    stages: dict[str, Any] = {}
    driver = None
    try:
        leaving = cluster.add_node(num_cpus=1)
        driver = subprocess.Popen(command, env={**os.environ, "RAY_ADDRESS": cluster.address})
        await_(lambda: diffusion_actors(leaving) == 1 and finished(output) > 0, driver)
        stages["begun"] = [diffusion_actors(leaving)]
        joining = cluster.add_node(num_cpus=1)
        await_(lambda: diffusion_actors(joining) == 1, driver)
        stages["grown"] = [diffusion_actors(leaving), diffusion_actors(joining)]
        drain(cluster.address, leaving.node_id)
        await_(lambda: diffusion_actors(leaving) == 0, driver)
        stages["drained"] = [diffusion_actors(leaving), diffusion_actors(joining)]
        cluster.remove_node(leaving, allow_graceful=False)
        stages["left"] = finished(output)
        status = driver.wait()
        print(json.dumps(stages))
        return status
    finally:
        if driver is not None:
            driver.kill()
        cluster.shutdown()


def await_(condition: Callable[[], bool], driver: subprocess.Popen[bytes]) -> None:
    while not condition():
        assert driver.poll() is None, "the run ended too early"
        time.sleep(0.1)


def finished(output: Path) -> int:
    return len(list(output.glob("costs/*.parquet")))


def diffusion_actors(node: Any) -> int:
    """Count the diffusion actors of a node: the children of its raylet that have loaded."""
    [raylet] = node.all_processes["raylet"]
    return sum("DiffusionActor" in title(child) for child in psutil.Process(raylet.process.pid).children())


def title(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:  # it is ending
        return ""


def drain(address: str, node: str) -> None:
    """Give a node the notice of a spot node: it will be taken away in an hour."""
    ray = Path(sys.executable).parent / "ray"
    reason = [
        "--reason",
        "DRAIN_NODE_REASON_PREEMPTION",
        "--reason-message",
        "spot",
        "--deadline-remaining-seconds",
        "3600",
    ]
    subprocess.run([ray, "drain-node", "--address", address, "--node-id", node, *reason], check=True)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2:]))
