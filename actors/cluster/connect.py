"""Ray's cluster: the one of RAY_ADDRESS, if strangers are kept out of it, or one of our own on this machine.

Whoever reaches a Ray cluster that asks for no token can run code on it. `ray start` by itself asks for none, and
nothing tells who joins, with or without a token: so we ask the head something without one, and see whether it answers.

Ray is imported in the functions, because some of what `prepare` settles it reads once, when it is imported.
"""

import ipaddress
import logging
import os
import secrets
import signal
from contextlib import suppress
from dataclasses import dataclass
from threading import current_thread, main_thread
from typing import Any

from configs.errors import RequestError
from configs.schema import RunConfig

# A head that is only just starting takes some seconds to answer.
ANSWER_SECONDS = 20.0
FLAG = "--allow-open-cluster"
A_HEAD = "HOST:PORT of `ray start --head`, whose port is 6379 by default, or auto for the one on this machine"


@dataclass(frozen=True)
class Openness:
    """What a cluster shows to somebody without a token.

    Attributes:
        answers: it told what follows, so it would obey as well.
        nodes: addresses of its nodes.
        listens: addresses at which this machine listens on the ports of the cluster's head.
    """

    answers: bool
    nodes: tuple[str, ...] = ()
    listens: tuple[str, ...] = ()

    @property
    def within_this_machine(self) -> bool:
        """Nobody else can reach it. That its nodes say 127.0.0.1 is not enough: they may listen everywhere."""
        return bool(self.listens) and all(map(is_loopback, (*self.nodes, *self.listens)))


def joins() -> bool:
    """Whether the environment names a cluster to join."""
    return os.environ.get("RAY_ADDRESS", "") not in ("", "local")


def prepare(allow_open: bool = False) -> None:
    """Before anything starts: refuse a cluster of RAY_ADDRESS that is open to others, or have our own be closed.

    Raises:
        RequestError: no cluster answers, or it asks nobody for a token and is not within this machine.
    """
    if not joins():
        _close_our_own()
    elif not allow_open and not _uses_tls():
        address = _address()
        if refused := why_refused(address, look_at(address)):
            raise refused


def why_refused(address: str, seen: Openness) -> RequestError | None:
    """The reason not to run on a cluster, if there is one."""
    if not seen.answers or seen.within_this_machine:
        return None
    return _wrong_address(
        address,
        "this cluster asks nobody for a token: whoever reaches it can run code on it, this run's machines included",
        "a cluster started with RAY_AUTH_MODE=token, or one that listens on 127.0.0.1 alone",
        "start it with RAY_AUTH_MODE=token and one RAY_AUTH_TOKEN on all machines (docs/cluster.md); "
        f"or say {FLAG}, if its network keeps all others out",
    )


def start_or_join(config: RunConfig) -> None:
    """Join the cluster of RAY_ADDRESS, or start one on this machine; after `prepare`.

    Raises:
        RequestError: the cluster does not let us in.
    """
    handler = signal.getsignal(signal.SIGTERM)
    _init_ray(config)
    if current_thread() is main_thread():
        # Ray has put its own in its place, which ends the process.
        signal.signal(signal.SIGTERM, handler)


def _init_ray(config: RunConfig) -> None:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # Ray 2.60 warns of a coming change for actors without GPUs; 0 is the new behaviour.
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    import ray
    from ray.exceptions import AuthenticationError

    options: dict[str, Any] = {"logging_level": logging.ERROR, "log_to_driver": False, "namespace": "srsoup"}
    if joins():
        try:
            ray.init(**options)
        except (AuthenticationError, ConnectionError) as error:
            raise _wrong_address(
                os.environ["RAY_ADDRESS"],
                "the cluster does not let us in, or is gone: " + str(error).partition("\n")[0].partition(". ")[0],
                "a cluster with the token of RAY_AUTH_TOKEN (or of the file RAY_AUTH_TOKEN_PATH)",
                "set RAY_AUTH_MODE=token and the RAY_AUTH_TOKEN that the head was started with",
            ) from error
        return
    wanted = config.compute.diffusion_actors
    cpus = max(os.cpu_count() or 1, 1 if wanted == "auto" else wanted)
    ray.init(address="local", num_cpus=cpus, include_dashboard=False, **options)


def _close_our_own() -> None:
    """Have the cluster that we start listen on loopback alone, and ask for a token that nobody else knows.

    Left to itself Ray writes the token into a file that every user of the machine can read, and listens everywhere.
    """
    os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
    if os.environ.get("RAY_AUTH_MODE", "").lower() != "token":
        # Unset is what makes Ray turn it on, also where it has been imported before.
        os.environ.pop("RAY_AUTH_MODE", None)
    if not (os.environ.get("RAY_AUTH_TOKEN") or os.environ.get("RAY_AUTH_TOKEN_PATH")):
        os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)


def _uses_tls() -> bool:
    # Ray's servers then ask everybody for a certificate of the cluster's authority, and so would not answer us here.
    return os.environ.get("RAY_USE_TLS", "").lower() in ("1", "true")


def _address() -> str:
    """HOST:PORT that Ray will join, which is not always what RAY_ADDRESS says."""
    from ray._private.services import canonicalize_bootstrap_address

    named = os.environ["RAY_ADDRESS"]
    with suppress(ConnectionError, ValueError):
        if "://" not in named and (address := canonicalize_bootstrap_address(named)):
            return str(address)
    raise _wrong_address(named, "no cluster has such an address", A_HEAD, "set RAY_ADDRESS to the head's, or unset it")


def look_at(address: str) -> Openness:
    """What the head at this address shows to somebody without a token.

    Raises:
        RequestError: no head answers there.
    """
    import grpc
    from ray.core.generated import gcs_service_pb2 as messages
    from ray.core.generated import gcs_service_pb2_grpc as services

    patience = {"timeout": ANSWER_SECONDS, "wait_for_ready": True}
    with grpc.insecure_channel(address, options=[("grpc.enable_http_proxy", 0)]) as channel:
        try:
            nodes = services.NodeInfoGcsServiceStub(channel).GetAllNodeInfo(
                messages.GetAllNodeInfoRequest(), **patience
            )
            dashboard = services.InternalKVGcsServiceStub(channel).InternalKVGet(
                messages.InternalKVGetRequest(namespace=b"dashboard", key=b"dashboard"), **patience
            )
        except grpc.RpcError as error:
            if error.code() is grpc.StatusCode.UNAUTHENTICATED:
                return Openness(answers=False)
            raise _wrong_address(
                address,
                f"no head answers there ({error.code().name.lower()})",
                A_HEAD,
                "see that it runs and that this machine reaches it, or unset RAY_ADDRESS to start Ray here",
            ) from error
    addresses = [address, dashboard.value.decode()]
    ports = {int(one.rpartition(":")[2]) for one in addresses if one}
    return Openness(True, tuple(node.node_manager_address for node in nodes.node_info_list), listening(ports))


def listening(ports: set[int]) -> tuple[str, ...]:
    """Addresses at which processes of this machine listen on some ports."""
    import psutil

    connections = psutil.net_connections("tcp")
    return tuple(one.laddr.ip for one in connections if one.status == psutil.CONN_LISTEN and one.laddr.port in ports)


def is_loopback(address: str) -> bool:
    """Of an IP address, in IPv6's clothes too; a name is none."""
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return False
    return (getattr(ip, "ipv4_mapped", None) or ip).is_loopback


def _wrong_address(value: str, problem: str, allowed: str, fix: str) -> RequestError:
    return RequestError(file="environment", key="RAY_ADDRESS", value=value, problem=problem, allowed=allowed, fix=fix)
