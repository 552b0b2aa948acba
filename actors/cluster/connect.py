"""Joins the Ray cluster of RAY_ADDRESS if it is closed to strangers, or starts a closed one on this machine.

Everybody who reaches a Ray cluster that requires no token can run code on it. `ray start` requires none by default, and
a client cannot see from its own connection whether one is required. So `inspect_cluster` sends the head a request
without a token, and sees whether the head answers.

The driver calls `prepare` before anything starts, and `session` calls `start_or_join`. Ray is imported inside the
functions, because it reads some of the variables that `prepare` sets only once, when it is imported.
"""

import logging
import os
import signal
import socket
import time
from contextlib import suppress
from dataclasses import dataclass
from threading import Event, Thread, current_thread, main_thread
from typing import Any

from actors.cluster.own_cluster import close_own_cluster, start_own_cluster
from configs.addresses import is_loopback
from configs.errors import RequestError
from configs.schema import RunConfig

# A head that has just been started takes some seconds to answer.
ANSWER_SECONDS = 8.0
OVERRIDE_FLAG = "--allow-open-cluster"
ALLOWED_ADDRESSES = "HOST:PORT of `ray start --head` (port 6379 by default), or auto for the head on this machine"


@dataclass(frozen=True)
class ClusterExposure:
    """How far a cluster is open to a client without a token.

    Attributes:
        needs_no_token: the cluster's head answered without a token, so it would also run code without one.
        node_addresses: the addresses of the cluster's nodes.
        listen_addresses: the addresses at which this machine listens on the ports of the cluster's head.
    """

    needs_no_token: bool
    node_addresses: tuple[str, ...] = ()
    listen_addresses: tuple[str, ...] = ()

    @property
    def is_local_only(self) -> bool:
        """Whether only this machine can reach the cluster.

        Node addresses of 127.0.0.1 do not suffice, because such nodes may still listen on every interface.
        """
        addresses = (*self.node_addresses, *self.listen_addresses)
        return bool(self.listen_addresses) and all(map(is_loopback, addresses))


def joins_a_cluster() -> bool:
    """Whether the environment names a cluster to join."""
    return os.environ.get("RAY_ADDRESS", "") not in ("", "local")


def prepare(allow_open: bool = False) -> None:
    """Refuse the cluster of RAY_ADDRESS if it is open to others, or make sure that our own cluster will be closed.

    Call it before anything starts.

    Args:
        allow_open: accept an open cluster, because its network is closed to others.

    Raises:
        RequestError: no cluster answers, or the cluster requires no token and other machines can reach it.
    """
    if not joins_a_cluster():
        close_own_cluster()
        return
    address = _address()
    if not answers(address):
        raise _no_head(address, "nothing listens there")
    if not allow_open and not _uses_tls() and (refusal := refusal_of(address, inspect_cluster(address))):
        raise refusal


def refusal_of(address: str, exposure: ClusterExposure) -> RequestError | None:
    """Return the error that refuses a cluster, or None if a run may use it."""
    if not exposure.needs_no_token or exposure.is_local_only:
        return None
    return _address_error(
        address,
        "this cluster requires no token: everybody who reaches it can run code on it and on this run's machines",
        "a cluster started with RAY_AUTH_MODE=token, or one that listens on 127.0.0.1 only",
        "start it with RAY_AUTH_MODE=token and the same RAY_AUTH_TOKEN on all machines (docs/cluster.md); "
        f"or pass {OVERRIDE_FLAG}, if its network is closed to others",
    )


def start_or_join(config: RunConfig) -> None:
    """Join the cluster of RAY_ADDRESS, or start one on this machine. Call `prepare` first.

    Raises:
        RequestError: the cluster rejects the connection, or is gone.
    """
    handler = signal.getsignal(signal.SIGTERM)
    try:
        _init_ray(config)
    finally:
        if current_thread() is main_thread():
            # Ray has installed a handler of its own, which ends the process.
            signal.signal(signal.SIGTERM, handler)


def _init_ray(config: RunConfig) -> None:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # Without this, Ray 2.60 warns that its behaviour for actors without GPUs will change; 0 is the new behaviour.
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    import ray
    from ray.exceptions import AuthenticationError

    options: dict[str, Any] = {"logging_level": logging.ERROR, "log_to_driver": False, "namespace": "srsoup"}
    if joins_a_cluster():
        try:
            ray.init(**options)
        except (AuthenticationError, ConnectionError) as error:
            raise _address_error(
                os.environ["RAY_ADDRESS"],
                "the cluster rejected the connection, or is gone: " + str(error).partition("\n")[0].partition(". ")[0],
                "a cluster whose token is in RAY_AUTH_TOKEN (or in the file RAY_AUTH_TOKEN_PATH)",
                "set RAY_AUTH_MODE=token and the RAY_AUTH_TOKEN that the head was started with",
            ) from error
        return
    start_own_cluster(config.compute.diffusion_actors, options)


def _uses_tls() -> bool:
    # With TLS, Ray's servers require a certificate of the cluster's authority, so they would not answer our inspection.
    return os.environ.get("RAY_USE_TLS", "").lower() in ("1", "true")


def _address() -> str:
    """Return the HOST:PORT that Ray will join. RAY_ADDRESS may name it in another form, such as `auto`."""
    from ray._private.services import canonicalize_bootstrap_address

    named = os.environ["RAY_ADDRESS"]
    with suppress(ConnectionError, ValueError):
        if "://" not in named and (address := canonicalize_bootstrap_address(named)):
            if not 0 < int(str(address).rpartition(":")[2]) < 65_536:
                raise ValueError("no port has this number")
            return str(address)
    problem = "no cluster has this address"
    raise _address_error(named, problem, ALLOWED_ADDRESSES, "set RAY_ADDRESS to the head's address, or unset it")


def answers(address: str) -> bool:
    """Whether something listens at an address, within `ANSWER_SECONDS`."""
    host, _, port = address.rpartition(":")
    deadline, found = time.monotonic() + ANSWER_SECONDS, Event()

    def knock() -> None:
        while not found.is_set() and time.monotonic() < deadline:
            with suppress(OSError, ValueError), socket.create_connection((host.strip("[]"), int(port)), timeout=2.0):
                found.set()
                return
            time.sleep(0.2)

    # In a thread, because looking up the address of a name has no time limit.
    Thread(target=knock, daemon=True).start()
    return found.wait(ANSWER_SECONDS)


def _no_head(address: str, reason: str) -> RequestError:
    """The error that no head answers. It names the address that was given, and the one that it leads to."""
    named = os.environ.get("RAY_ADDRESS") or address
    leads = "" if named == address else f", which leads to {address}"
    return _address_error(
        named,
        f"no head answers at this address{leads} ({reason})",
        ALLOWED_ADDRESSES,
        "check that the head runs and that this machine reaches it, or unset RAY_ADDRESS to start Ray here",
    )


def inspect_cluster(address: str) -> ClusterExposure:
    """Ask the head at this address for its nodes, without a token, and see where it listens.

    Raises:
        RequestError: no head answers at this address.
    """
    import grpc
    from ray.core.generated import gcs_service_pb2 as messages
    from ray.core.generated import gcs_service_pb2_grpc as services

    options: dict[str, Any] = {"timeout": ANSWER_SECONDS / 2, "wait_for_ready": True}
    with grpc.insecure_channel(address, options=[("grpc.enable_http_proxy", 0)]) as channel:
        try:
            nodes = services.NodeInfoGcsServiceStub(channel).GetAllNodeInfo(messages.GetAllNodeInfoRequest(), **options)
            dashboard = services.InternalKVGcsServiceStub(channel).InternalKVGet(
                messages.InternalKVGetRequest(namespace=b"dashboard", key=b"dashboard"), **options
            )
        except grpc.RpcError as error:
            if error.code() is grpc.StatusCode.UNAUTHENTICATED:
                return ClusterExposure(needs_no_token=False)
            raise _no_head(address, error.code().name.lower()) from error
    addresses = [address, dashboard.value.decode()]
    ports = {int(one.rpartition(":")[2]) for one in addresses if one}
    node_addresses = tuple(node.node_manager_address for node in nodes.node_info_list)
    return ClusterExposure(True, node_addresses, listen_addresses(ports))


def listen_addresses(ports: set[int]) -> tuple[str, ...]:
    """Return the addresses at which processes of this machine listen on these ports."""
    import psutil

    connections = psutil.net_connections("tcp")
    listening = (one.laddr for one in connections if one.status == psutil.CONN_LISTEN)
    return tuple(address.ip for address in listening if address and address.port in ports)


def _address_error(value: str, problem: str, allowed: str, fix: str) -> RequestError:
    return RequestError(file="environment", key="RAY_ADDRESS", value=value, problem=problem, allowed=allowed, fix=fix)
