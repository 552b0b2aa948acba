"""Which clusters a run accepts, and how the cluster that we start is closed. Tested without starting Ray."""

import os
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from ray.core.generated import gcs_service_pb2 as messages
from typer.testing import CliRunner

from actors.cluster import connect, own_cluster
from actors.cluster.connect import ClusterExposure, inspect_cluster, prepare, refusal_of
from configs.addresses import is_loopback
from configs.errors import RequestError
from pipeline.cli.commands import app

ROOT = Path(__file__).parents[3]
VARIABLES = ("RAY_ADDRESS", "RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH", "RAY_USE_TLS",
             "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER")  # fmt: skip


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, str]]:
    """Replace the environment by a copy without the variables that matter here."""
    clean = {name: value for name, value in os.environ.items() if name not in VARIABLES}
    monkeypatch.setattr("os.environ", clean)
    yield clean


@pytest.mark.parametrize(
    ("address", "answer"),
    [("127.0.0.1", True), ("127.8.0.1", True), ("::1", True), ("::ffff:127.0.0.1", True), ("0.0.0.0", False),
     ("::", False), ("192.0.2.2", False), ("::ffff:192.0.2.2", False), ("localhost", False), ("", False)],
)  # fmt: skip
def test_loopback(address: str, answer: bool) -> None:
    assert is_loopback(address) is answer


@pytest.mark.parametrize(
    ("exposure", "refused"),
    [
        (ClusterExposure(needs_no_token=False), False),
        (ClusterExposure(True, ("127.0.0.1",), ("127.0.0.1", "::ffff:127.0.0.1")), False),
        # What `ray start --head` does by default, and with --node-ip-address=127.0.0.2.
        (ClusterExposure(True, ("192.0.2.2",), ("::", "127.0.0.1")), True),
        (ClusterExposure(True, ("127.0.0.2",), ("::",)), True),
        # A head on loopback with an open dashboard; a second node; a tunnel to another machine; another machine.
        (ClusterExposure(True, ("127.0.0.1",), ("127.0.0.1", "0.0.0.0")), True),
        (ClusterExposure(True, ("127.0.0.1", "192.0.2.3"), ("127.0.0.1",)), True),
        (ClusterExposure(True, ("10.0.0.7",), ("127.0.0.1",)), True),
        (ClusterExposure(True, ("10.0.0.7",), ()), True),
    ],
)
def test_a_cluster_without_a_token_is_refused_if_other_machines_can_reach_it(
    exposure: ClusterExposure, refused: bool
) -> None:
    error = refusal_of("192.0.2.2:6379", exposure)
    assert (error is not None) is refused
    if error:
        assert (error.key, error.value) == ("RAY_ADDRESS", "192.0.2.2:6379")
        assert "RAY_AUTH_MODE=token" in error.fix and "--allow-open-cluster" in error.fix


def test_prepare_inspects_the_cluster_of_the_environment(
    environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    inspected = []

    def inspect(address: str) -> ClusterExposure:
        inspected.append(address)
        return ClusterExposure(True, ("192.0.2.2",), ("::",))

    monkeypatch.setattr(connect, "inspect_cluster", inspect)
    monkeypatch.setattr(connect, "answers", lambda address: True)
    environment["RAY_ADDRESS"] = "192.0.2.2:6379"
    with pytest.raises(RequestError, match="requires no token"):
        prepare()
    # Having a token proves nothing: with one, Ray joins an open cluster without a warning.
    environment |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "mine"}
    with pytest.raises(RequestError, match="requires no token"):
        prepare()
    assert inspected == ["192.0.2.2:6379"] * 2
    prepare(allow_open=True)
    environment["RAY_USE_TLS"] = "1"
    prepare()
    assert len(inspected) == 2


@pytest.mark.parametrize(("flags", "allowed"), [([], False), (["--allow-open-cluster"], True)])
def test_a_refused_cluster_is_reported_as_a_wrong_request_and_nothing_is_started(
    flags: list[str], allowed: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    passed = []

    def refuse(allow_open: bool) -> None:
        passed.append(allow_open)
        raise refusal_of("192.0.2.2:6379", ClusterExposure(True)) or AssertionError

    monkeypatch.setattr("pipeline.job.driver.prepare_cluster", refuse)
    output = tmp_path / "run"
    done = CliRunner().invoke(app, ["run", str(ROOT / "configs" / "demo.yaml"), f"output={output}", *flags])
    assert (done.exit_code, passed, output.exists()) == (2, [allowed], False)
    assert "key:     RAY_ADDRESS" in done.output


@pytest.mark.parametrize("address", ["http://127.0.0.1:8265", "ray://127.0.0.1:10001", "head"])
def test_an_address_of_another_form_is_refused(environment: dict[str, str], address: str) -> None:
    environment["RAY_ADDRESS"] = address
    with pytest.raises(RequestError, match="no cluster has this address") as caught:
        prepare()
    assert "6379" in caught.value.allowed


@pytest.mark.parametrize("named", [{}, {"RAY_ADDRESS": "local"}, {"RAY_ADDRESS": "", "RAY_AUTH_MODE": "disabled"}])
def test_a_cluster_of_our_own_has_a_new_token_and_stays_on_loopback(
    environment: dict[str, str], named: dict[str, str]
) -> None:
    environment |= named
    prepare()
    token = environment["RAY_AUTH_TOKEN"]
    # Ray turns authentication on if the mode is unset.
    assert len(token) == 64 and environment.get("RAY_AUTH_MODE") is None
    assert environment["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] == "0"
    prepare()
    assert environment["RAY_AUTH_TOKEN"] == token, (
        "Ray reads the token once per process, so a second start must keep it"
    )


@pytest.mark.parametrize("own", [{"RAY_AUTH_TOKEN": "mine"}, {"RAY_AUTH_TOKEN_PATH": "/a/file"}])
def test_a_token_that_the_user_has_set_is_kept(environment: dict[str, str], own: dict[str, str]) -> None:
    environment |= {"RAY_AUTH_MODE": "token", **own}
    prepare()
    assert {name: environment.get(name) for name in VARIABLES[2:4] if name in environment} == own


Answer = Callable[[bytes, grpc.ServicerContext], bytes]


@contextmanager
def head(host: str, answer: Answer) -> Iterator[str]:
    """Run a server that answers every call to a head with `answer`. Yields its address."""

    class Handler(grpc.GenericRpcHandler):
        def service(self, call: grpc.HandlerCallDetails) -> "grpc.RpcMethodHandler[Any, Any]":
            assert "authorization" not in dict(call.invocation_metadata), (
                "a head that is not trusted yet must not get the token"
            )
            return grpc.unary_unary_rpc_method_handler(lambda request, context: answer(call.method.encode(), context))

    server = grpc.server(ThreadPoolExecutor(1), handlers=[Handler()])
    port = server.add_insecure_port(f"{host}:0")
    server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        server.stop(None).wait()


def open_head(method: bytes, context: grpc.ServicerContext) -> bytes:
    if method.endswith(b"GetAllNodeInfo"):
        reply = messages.GetAllNodeInfoReply()
        reply.node_info_list.add().node_manager_address = "127.0.0.1"
        return bytes(reply.SerializeToString())
    return bytes(messages.InternalKVGetReply(value=b"127.0.0.1:1").SerializeToString())


@pytest.mark.parametrize(("host", "local_only"), [("127.0.0.1", True), ("0.0.0.0", False)])
def test_an_open_head_is_recognised_with_the_addresses_at_which_it_listens(host: str, local_only: bool) -> None:
    with head(host, open_head) as address:
        exposure = inspect_cluster(address)
    assert exposure.needs_no_token and exposure.node_addresses == ("127.0.0.1",)
    assert len(exposure.listen_addresses) == 1
    assert exposure.is_local_only is local_only, exposure.listen_addresses


def test_a_head_that_requires_a_token_is_recognised() -> None:
    def refuse(_: bytes, context: grpc.ServicerContext) -> bytes:
        return context.abort(grpc.StatusCode.UNAUTHENTICATED, "InvalidAuthToken")

    with head("127.0.0.1", refuse) as address:
        assert inspect_cluster(address) == ClusterExposure(needs_no_token=False)


def test_a_server_that_is_no_head_or_does_not_answer_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(_: bytes, context: grpc.ServicerContext) -> bytes:
        return context.abort(grpc.StatusCode.UNIMPLEMENTED, "")

    with head("127.0.0.1", unknown) as address, pytest.raises(RequestError, match=r"no head answers.*unimplemented"):
        inspect_cluster(address)
    monkeypatch.setattr(connect, "ANSWER_SECONDS", 0.2)
    with pytest.raises(RequestError, match="no head answers at this address") as caught:
        inspect_cluster(address)
    assert caught.value.value == address


@pytest.mark.parametrize("allow_open", [False, True])
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "no-such-host.invalid"])
def test_an_address_where_nothing_listens_is_refused_in_seconds_by_the_name_that_was_given(
    environment: dict[str, str], monkeypatch: pytest.MonkeyPatch, host: str, allow_open: bool
) -> None:
    """A head that has gone, whose address is still in the environment."""
    monkeypatch.setattr(connect, "ANSWER_SECONDS", 1.0)
    environment["RAY_ADDRESS"] = f"{host}:{free_port()}"
    began = time.monotonic()
    with pytest.raises(RequestError, match=r"no (head answers at|cluster has) this address") as caught:
        prepare(allow_open)
    assert caught.value.value == environment["RAY_ADDRESS"] and time.monotonic() - began < 10


@pytest.mark.parametrize("name", ["TMPDIR", "RAY_TMPDIR"])
def test_a_folder_too_long_for_a_socket_is_replaced_by_a_short_one_of_the_user(
    environment: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    environment.pop("RAY_TMPDIR", None)
    environment[name] = "/tmp"
    assert own_cluster.short_folder() is None
    environment[name] = "/scratch/slurm/" + "job-1234567" * 4
    monkeypatch.setattr(own_cluster, "SHORT_FOLDERS", ("/proc/none", str(tmp_path)))
    assert own_cluster.short_folder() == str(tmp_path / f"ray-{os.getuid()}")
    monkeypatch.setattr(own_cluster, "SHORT_FOLDERS", ("/proc/none",))
    with pytest.raises(RequestError, match="too long for Ray's sockets"):
        own_cluster.short_folder()


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])
