"""Which servers get a request, and which of them the key: over https or to this machine, and never by a redirect."""

import datetime
import socket
import ssl
from collections.abc import Iterator
from http.server import ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import torch
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from configs.addresses import Server, is_never_contacted
from rewards.http_post import ForbiddenAddressError, post
from rewards.vlm_judge import VlmJudge
from tests.support.servers.fake_judge import KEY, FakeJudge


@pytest.fixture
def server(tmp_path: Path) -> Iterator[FakeJudge]:
    with FakeJudge(tmp_path / "answers") as judge:
        yield judge


def names(monkeypatch: pytest.MonkeyPatch, **addresses: str) -> None:
    """Let names lead to these addresses, several with spaces between."""
    real = socket.getaddrinfo

    def look_up(host: str, port: Any, *arguments: Any, **options: Any) -> list[Any]:
        found = addresses.get(str(host).partition(".")[0], str(host)).split()
        return [entry for address in found for entry in real(address, port, *arguments, **options)]

    monkeypatch.setattr("socket.getaddrinfo", look_up)


def body(text: str = "{prompt}") -> dict[str, Any]:
    return {"messages": [{"content": [{"text": text}, {"image_url": {"url": ""}}]}]}


def test_the_key_is_sent_to_this_machine(server: FakeJudge) -> None:
    server.script = ["7"]
    assert post(f"{server.url}/chat/completions", body(), KEY, 5.0).key_was_sent
    assert server.headers[0]["Authorization"] == f"Bearer {KEY}"


def test_the_key_is_not_sent_over_http_to_another_machine(server: FakeJudge, monkeypatch: pytest.MonkeyPatch) -> None:
    """The address decides, and not the name that leads to it."""
    monkeypatch.setattr("rewards.http_post.is_loopback", lambda address: False)
    server.script = ["7", 401]
    assert not post(f"{server.url}/chat/completions", body(), KEY, 5.0).key_was_sent
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    judge = VlmJudge(server.settings())
    judge.setup("cpu")
    with pytest.raises(ValueError, match="none was sent: it goes over https or to this machine only"):
        judge.score(torch.zeros(1, 3, 4, 4, dtype=torch.uint8), ["an owl"])
    assert all("Authorization" not in headers for headers in server.headers) and len(server.headers) == 2


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed(server: FakeJudge, tmp_path: Path, status: int) -> None:
    with FakeJudge(tmp_path / "other") as other:
        server.script = [(status, {"Location": f"{other.url}/chat/completions"}, "go there")]
        assert post(f"{server.url}/chat/completions", body(), KEY, 5.0).status == status
    assert other.headers == [] and len(server.headers) == 1


@pytest.mark.parametrize(
    "addresses",
    ["169.254.169.254", "127.0.0.1 169.254.1.1", "fe80::1", "::ffff:169.254.169.254", "0.0.0.0", "2852039166"],
)
def test_a_name_that_leads_to_a_link_local_address_is_refused(
    server: FakeJudge, monkeypatch: pytest.MonkeyPatch, addresses: str
) -> None:
    port = Server.of(server.url).port
    judge = VlmJudge(server.settings(url=f"http://judge.example:{port}/v1"))
    names(monkeypatch, judge=addresses)
    for url in (f"http://judge.example:{port}/v1", f"https://judge.example:{port}/v1"):
        with pytest.raises(ForbiddenAddressError, match="never contacted"):
            post(url, body(), KEY, 5.0)
    judge.setup("cpu")
    with pytest.raises(ValueError, match="never contacted"):
        judge.score(torch.zeros(1, 3, 4, 4, dtype=torch.uint8), ["an owl"])
    assert server.bodies == []


def test_a_name_is_looked_up_once(server: FakeJudge, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name server that gives a harmless address first, and a link-local one afterwards, gains nothing."""
    real, asked = socket.getaddrinfo, list[str]()

    def look_up(host: str, *arguments: Any, **options: Any) -> list[Any]:
        if host == "judge.example":
            asked.append(host)
            host = "127.0.0.1" if len(asked) == 1 else "169.254.169.254"
        return real(host, *arguments, **options)

    monkeypatch.setattr("socket.getaddrinfo", look_up)
    server.script = ["7"]
    assert post(f"http://judge.example:{Server.of(server.url).port}/v1", body(), KEY, 5.0).status == 200
    assert asked == ["judge.example"]


def test_the_next_address_of_a_name_is_tried(server: FakeJudge, monkeypatch: pytest.MonkeyPatch) -> None:
    names(monkeypatch, judge="127.0.0.2 127.0.0.1")
    server.script = ["7"]
    assert post(f"http://judge.example:{Server.of(server.url).port}/v1", body(), KEY, 5.0).status == 200


@pytest.mark.parametrize(
    "address", ["10.0.0.1", "192.0.2.7", "2001:db8::1", "::1", "127.0.0.1", "100.64.0.1", "fd00::1"]
)
def test_other_addresses_may_be_contacted(address: str) -> None:
    assert not is_never_contacted(address)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate of judge.example with its key, signed by itself."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.datetime.now(datetime.UTC)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "judge.example")])
    made = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
        .serial_number(1).not_valid_before(now).not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("judge.example")]), critical=False)
        .sign(key, hashes.SHA256())
    )  # fmt: skip
    file = tmp_path_factory.mktemp("tls") / "both.pem"
    plain = serialization.NoEncryption()
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
    file.write_bytes(private + made.public_bytes(serialization.Encoding.PEM))
    return file


def test_over_https_the_key_is_sent_to_the_holder_of_the_certificate_only(
    server: FakeJudge, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rewards.http_post.is_loopback", lambda address: False)
    names(monkeypatch, judge="127.0.0.1", other="127.0.0.1")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    secure = ThreadingHTTPServer(("127.0.0.1", 0), server._server.RequestHandlerClass)
    secure.socket = context.wrap_socket(secure.socket, server_side=True)
    Thread(target=secure.serve_forever, daemon=True).start()
    server.script = ["7"]
    try:
        with pytest.raises(ssl.SSLCertVerificationError):
            post(f"https://judge.example:{secure.server_port}/v1", body(), KEY, 5.0)
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        with pytest.raises(ssl.SSLCertVerificationError):
            post(f"https://other.example:{secure.server_port}/v1", body(), KEY, 5.0)
        assert server.headers == []
        assert post(f"https://judge.example:{secure.server_port}/v1", body(), KEY, 5.0).key_was_sent
        assert server.headers[0]["Authorization"] == f"Bearer {KEY}"
        assert server.headers[0]["Host"] == f"judge.example:{secure.server_port}"
    finally:
        secure.shutdown()
        secure.server_close()
