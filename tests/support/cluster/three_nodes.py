"""A Ray cluster of several nodes on this machine, and what its object stores hold."""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


def closed_to_others() -> dict[str, str]:
    """For the environment of a process before it imports Ray, which reads its authentication once."""
    return {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": uuid.uuid4().hex, "RAY_USAGE_STATS_ENABLED": "0"}


@contextmanager
def three_nodes(folder: Path) -> Iterator[Any]:
    """A `Cluster` of three nodes with one CPU each, and a head with none.

    Args:
        folder: for logs and sockets; these have short paths.
    """
    from ray.cluster_utils import Cluster

    head = {"num_cpus": 0, "include_dashboard": False, "temp_dir": str(folder)}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    try:
        for _ in range(3):
            cluster.add_node(num_cpus=1)
        yield cluster
    finally:
        cluster.shutdown()


def stored_bytes(cluster: Any) -> int:
    """What the object stores of the living nodes hold. The nodes are asked: a driver of ours would hold some itself."""
    from ray._private.internal_api import node_stats

    sockets = {node.plasma_store_socket_name for node in cluster.list_all_nodes()}
    nodes = [node for node in cluster.global_state.node_table() if node["ObjectStoreSocketName"] in sockets]
    assert len(nodes) == len(sockets), "a node does not know its cluster"
    stores = [node_stats(node["NodeManagerAddress"], node["NodeManagerPort"], False).store_stats for node in nodes]
    return sum(store.object_store_bytes_used + store.object_store_bytes_fallback for store in stores)
