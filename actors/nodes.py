"""The machines of the Ray cluster, for people."""

from pathlib import Path

import ray

from actors.overview import Node


def live_nodes() -> list[Node]:
    """Those that are there now."""
    return [
        Node(
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
