"""Lists the nodes of the Ray cluster, for the log (`node_infos`) and for placement (`placement_nodes`)."""

from pathlib import Path

import ray

from actors.cluster.workforce import Node
from actors.telemetry.run_monitor import NodeInfo


def node_infos() -> list[NodeInfo]:
    """Describe the live nodes for people."""
    return [
        NodeInfo(
            node["NodeID"],
            node["NodeManagerHostname"],
            node["NodeManagerAddress"],
            node["Resources"].get("CPU", 0),
            node["Resources"].get("GPU", 0),
            # The socket is SESSION/sockets/raylet, and the logs are in SESSION/logs.
            str(Path(node["RayletSocketName"]).parents[1] / "logs"),
        )
        for node in ray.nodes()
        if node["Alive"]
    ]


def placement_nodes() -> list[Node]:
    """Describe the live nodes for placement."""
    # Ray has no public function that lists nodes about to be taken away, such as spot nodes that got their notice.
    draining = ray._private.state.state.get_draining_nodes()
    return [
        Node(node["NodeID"], node["Resources"], node["Labels"], node["NodeID"] in draining)
        for node in ray.nodes()
        if node["Alive"]
    ]
