"""A driver on a cluster of three nodes, one of which dies and another joins: `python dying_node.py OUTPUT COMMAND...`

A script of its own, because what decides Ray's authentication is read once in a process.
"""

import os
import subprocess
import sys
import time
import uuid
from pathlib import Path


def main(output: Path, command: list[str]) -> int:
    os.environ |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": uuid.uuid4().hex, "RAY_USAGE_STATS_ENABLED": "0"}
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    try:
        dying, _ = cluster.add_node(num_cpus=1), cluster.add_node(num_cpus=1)
        driver = subprocess.Popen(command, env={**os.environ, "RAY_ADDRESS": cluster.address})
        while not list(output.glob("samples/*.parquet")) and driver.poll() is None:
            time.sleep(0.05)
        cluster.remove_node(dying, allow_graceful=False)
        assert driver.poll() is None, "the run was over before the node died"
        cluster.add_node(num_cpus=1)
        return driver.wait()
    finally:
        cluster.shutdown()


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2:]))
