"""The machines of the Ray cluster: for people, and for who places actors on them."""

from pathlib import Path

import ray

from actors.cluster import placement
from actors.telemetry.run_monitor import NodeInfo


def live_nodes() -> list[NodeInfo]:
    """Those that are there now."""
    return [
        NodeInfo(
            node["NodeID"],
            node["NodeManagerHostname"],
            node["NodeManagerAddress"],
            node["Resources"].get("CPU", 0),
            node["Resources"].get("GPU", 0),
            # <folder of the session>/sockets/raylet
            str(Path(node["RayletSocketName"]).parents[1] / "logs"),
        )
        for node in ray.nodes()
        if node["Alive"]
    ]


def cluster_nodes() -> list[placement.Node]:
    """The live nodes of the cluster."""
    # Ray has no public word for the nodes that were told to go, as spot nodes are before they are taken away.
    draining = ray._private.state.state.get_draining_nodes()
    return [
        placement.Node(node["NodeID"], node["Resources"], node["Labels"], node["NodeID"] in draining)
        for node in ray.nodes()
        if node["Alive"]
    ]
