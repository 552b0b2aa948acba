"""On which clusters a run is allowed, and how closed the one is that we start: the rules, without Ray."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import grpc
import pytest
from ray.core.generated import gcs_service_pb2 as messages
from typer.testing import CliRunner

from actors.cluster import connect
from actors.cluster.connect import Openness, is_loopback, look_at, prepare, why_refused
from configs.errors import RequestError
from pipeline.cli.commands import app

ROOT = Path(__file__).parents[3]
VARIABLES = ("RAY_ADDRESS", "RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH", "RAY_USE_TLS",
             "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER")  # fmt: skip


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, str]]:
    """An environment of the test's own, without the variables that decide."""
    clean = {name: value for name, value in connect.os.environ.items() if name not in VARIABLES}
    monkeypatch.setattr(connect.os, "environ", clean)
    yield clean


@pytest.mark.parametrize(
    ("address", "answer"),
    [("127.0.0.1", True), ("127.8.0.1", True), ("::1", True), ("::ffff:127.0.0.1", True), ("0.0.0.0", False),
     ("::", False), ("192.0.2.2", False), ("::ffff:192.0.2.2", False), ("localhost", False), ("", False)],
)  # fmt: skip
def test_loopback(address: str, answer: bool) -> None:
    assert is_loopback(address) is answer


@pytest.mark.parametrize(
    ("seen", "refused"),
    [
        (Openness(answers=False), False),
        (Openness(True, ("127.0.0.1",), ("127.0.0.1", "::ffff:127.0.0.1")), False),
        # What `ray start --head` does, by itself and with --node-ip-address=127.0.0.2.
        (Openness(True, ("192.0.2.2",), ("::", "127.0.0.1")), True),
        (Openness(True, ("127.0.0.2",), ("::",)), True),
        # An open dashboard beside a head on loopback; another node; a tunnel to another machine; another machine.
        (Openness(True, ("127.0.0.1",), ("127.0.0.1", "0.0.0.0")), True),
        (Openness(True, ("127.0.0.1", "192.0.2.3"), ("127.0.0.1",)), True),
        (Openness(True, ("10.0.0.7",), ("127.0.0.1",)), True),
        (Openness(True, ("10.0.0.7",), ()), True),
    ],
)
def test_a_cluster_is_refused_that_answers_strangers_and_can_be_reached_by_them(seen: Openness, refused: bool) -> None:
    error = why_refused("192.0.2.2:6379", seen)
    assert (error is not None) is refused
    if error:
        assert (error.key, error.value) == ("RAY_ADDRESS", "192.0.2.2:6379")
        assert "RAY_AUTH_MODE=token" in error.fix and "--allow-open-cluster" in error.fix


def test_the_cluster_of_the_environment_is_looked_at_before_anything_starts(
    environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    looked = []

    def look(address: str) -> Openness:
        looked.append(address)
        return Openness(True, ("192.0.2.2",), ("::",))

    monkeypatch.setattr(connect, "look_at", look)
    environment["RAY_ADDRESS"] = "192.0.2.2:6379"
    with pytest.raises(RequestError, match="asks nobody for a token"):
        prepare()
    # A token of ours says nothing: Ray joins an open cluster with it in silence.
    environment |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "mine"}
    with pytest.raises(RequestError, match="asks nobody for a token"):
        prepare()
    assert looked == ["192.0.2.2:6379"] * 2
    prepare(allow_open=True)
    environment["RAY_USE_TLS"] = "1"
    prepare()
    assert len(looked) == 2


@pytest.mark.parametrize(("flags", "allowed"), [([], False), (["--allow-open-cluster"], True)])
def test_a_refused_cluster_is_a_wrong_request_that_starts_nothing(
    flags: list[str], allowed: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def refuse(allow_open: bool) -> None:
        asked.append(allow_open)
        raise why_refused("192.0.2.2:6379", Openness(True)) or AssertionError

    monkeypatch.setattr("pipeline.job.driver.prepare_cluster", refuse)
    output = tmp_path / "run"
    done = CliRunner().invoke(app, ["run", str(ROOT / "configs" / "demo.yaml"), f"output={output}", *flags])
    assert (done.exit_code, asked, output.exists()) == (2, [allowed], False)
    assert "key:     RAY_ADDRESS" in done.output


@pytest.mark.parametrize("address", ["http://127.0.0.1:8265", "ray://127.0.0.1:10001", "head"])
def test_an_address_that_is_no_heads_is_refused(environment: dict[str, str], address: str) -> None:
    environment["RAY_ADDRESS"] = address
    with pytest.raises(RequestError, match="no cluster has such an address") as caught:
        prepare()
    assert "6379" in caught.value.allowed


@pytest.mark.parametrize("named", [{}, {"RAY_ADDRESS": "local"}, {"RAY_ADDRESS": "", "RAY_AUTH_MODE": "disabled"}])
def test_a_cluster_of_our_own_has_a_new_token_and_stays_on_loopback(
    environment: dict[str, str], named: dict[str, str]
) -> None:
    environment |= named
    prepare()
    token = environment["RAY_AUTH_TOKEN"]
    # Ray turns authentication on where the mode is unset.
    assert len(token) == 64 and environment.get("RAY_AUTH_MODE") is None
    assert environment["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] == "0"
    prepare()
    assert environment["RAY_AUTH_TOKEN"] == token, "a second start in the process has the token that Ray read first"


@pytest.mark.parametrize("own", [{"RAY_AUTH_TOKEN": "mine"}, {"RAY_AUTH_TOKEN_PATH": "/a/file"}])
def test_a_token_of_the_users_own_is_kept(environment: dict[str, str], own: dict[str, str]) -> None:
    environment |= {"RAY_AUTH_MODE": "token", **own}
    prepare()
    assert {name: environment.get(name) for name in VARIABLES[2:4] if name in environment} == own


Answer = Callable[[bytes, grpc.ServicerContext], bytes]


@contextmanager
def head(host: str, answer: Answer) -> Iterator[str]:
    """A server that answers every call of a head so; its address."""

    class Handler(grpc.GenericRpcHandler):
        def service(self, call: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler:
            assert "authorization" not in dict(call.invocation_metadata), "no token for a head that is not known yet"
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
        return reply.SerializeToString()
    return messages.InternalKVGetReply(value=b"127.0.0.1:1").SerializeToString()


@pytest.mark.parametrize(("host", "within"), [("127.0.0.1", True), ("0.0.0.0", False)])
def test_an_open_head_is_seen_with_where_it_really_listens(host: str, within: bool) -> None:
    with head(host, open_head) as address:
        seen = look_at(address)
    assert seen.answers and seen.nodes == ("127.0.0.1",) and len(seen.listens) == 1
    assert seen.within_this_machine is within, seen.listens


def test_a_head_that_asks_for_a_token_is_seen() -> None:
    def refuse(_: bytes, context: grpc.ServicerContext) -> bytes:
        return context.abort(grpc.StatusCode.UNAUTHENTICATED, "InvalidAuthToken")

    with head("127.0.0.1", refuse) as address:
        assert look_at(address) == Openness(answers=False)


def test_what_is_no_head_or_does_not_answer_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(_: bytes, context: grpc.ServicerContext) -> bytes:
        return context.abort(grpc.StatusCode.UNIMPLEMENTED, "")

    with head("127.0.0.1", unknown) as address, pytest.raises(RequestError, match=r"no head answers.*unimplemented"):
        look_at(address)
    monkeypatch.setattr(connect, "ANSWER_SECONDS", 0.2)
    with pytest.raises(RequestError, match="no head answers there") as caught:
        look_at(address)
    assert caught.value.value == address
