"""One HTTP request with a limit of time. It decides which addresses are contacted, and which of them get the key."""

import contextlib
import http.client
import json
import socket
import ssl
import threading
import time
import urllib.parse
from collections.abc import Iterator
from typing import Any, NamedTuple

from configs.addresses import Server, is_loopback, is_never_contacted
from rewards.errors import RewardError

LONGEST_ANSWER = 1 << 20


class ForbiddenAddressError(RewardError):
    """The server's name leads to an address that is never contacted. Nothing was sent."""


class Answer(NamedTuple):
    """The answer of a server.

    Attributes:
        status: status of the answer; that of a redirect is returned too, and the redirect is not followed.
        retry_after: seconds of its header Retry-After, if it has one.
        content: its body, at most `LONGEST_ANSWER` bytes.
        key_was_sent: whether the request had the key.
    """

    status: int
    retry_after: float | None
    content: bytes
    key_was_sent: bool


def post(url: str, body: dict[str, Any], key: str, seconds: float) -> Answer:
    """Send a POST request. The key is sent over https, or to this machine; otherwise the request goes without it.

    The whole exchange ends after `seconds`. A socket's own timeout holds for one read only, so a server that sends a
    byte a second would never reach it. Therefore a timer shuts the socket.

    Raises:
        ForbiddenAddressError: the name of the server leads to an address that is never contacted.
        TimeoutError: there was no whole answer in time.
        OSError: the connection failed.
        http.client.HTTPException: the answer is not HTTP.
    """
    return _exchanged("POST", url, json.dumps(body), key, seconds)


def get(url: str, key: str, seconds: float) -> Answer:
    """Send a GET request. The key, the limit of time and the errors are those of `post`."""
    return _exchanged("GET", url, None, key, seconds)


def _exchanged(method: str, url: str, body: str | None, key: str, seconds: float) -> Answer:
    server, end = Server.of(url), time.monotonic() + seconds
    plain = _connected(server, seconds)
    key_is_sent = bool(key) and (server.scheme == "https" or is_loopback(plain.getpeername()[0]))
    headers = {} if body is None else {"Content-Type": "application/json"}
    if key_is_sent:
        headers["Authorization"] = f"Bearer {key}"
    with contextlib.closing(_connection(server, plain, seconds)) as connection, _shut_after(connection.sock, end):
        connection.request(method, urllib.parse.urlsplit(url).path, body, headers)
        response = connection.getresponse()
        raw = response.read(LONGEST_ANSWER)
    return Answer(response.status, _seconds(response.getheader("Retry-After")), raw, key_is_sent)


def _connected(server: Server, seconds: float) -> socket.socket:
    """A connection to one of the addresses that the server's name leads to, none of which may be forbidden.

    Each connection is made to an address that was checked: a second look-up of the name could give another one.
    """
    found = socket.getaddrinfo(server.host, server.port, type=socket.SOCK_STREAM)
    addresses = dict.fromkeys(str(entry[4][0]) for entry in found)
    for address in addresses:
        if is_never_contacted(address):
            raise ForbiddenAddressError(
                f"{server.host} leads to {address}, an address that is never contacted",
                "give the address of a server that runs a model",
            )
    failure: OSError = OSError("the name leads to no address")
    for address in addresses:
        try:
            return socket.create_connection((address, server.port), timeout=seconds)
        except OSError as error:
            failure = error
    raise failure


def _connection(server: Server, plain: socket.socket, seconds: float) -> http.client.HTTPConnection:
    """A connection to the server over a socket that is connected already."""
    if server.scheme == "http":
        connection = http.client.HTTPConnection(server.host, server.port, timeout=seconds)
        connection.sock = plain
        return connection
    context = ssl.create_default_context()
    secure = http.client.HTTPSConnection(server.host, server.port, timeout=seconds, context=context)
    try:
        secure.sock = context.wrap_socket(plain, server_hostname=server.host)
    except BaseException:
        plain.close()
        raise
    return secure


@contextlib.contextmanager
def _shut_after(sock: socket.socket, end: float) -> Iterator[None]:
    """Shut a socket at a time of `time.monotonic()`, which ends what waits for it with a TimeoutError."""
    over = threading.Event()

    def shut() -> None:
        over.set()
        # The socket is closed already if the answer arrived at the same moment.
        with contextlib.suppress(OSError):
            sock.shutdown(socket.SHUT_RDWR)

    timer = threading.Timer(max(end - time.monotonic(), 0), shut)
    timer.daemon = True
    timer.start()
    try:
        yield
    except (OSError, http.client.HTTPException) as error:
        if over.is_set():
            raise TimeoutError from error
        raise
    finally:
        timer.cancel()
    if over.is_set():
        raise TimeoutError


def _seconds(header: str | None) -> float | None:
    """The seconds of a Retry-After header; None for its other form, a date, so that the back-off applies."""
    return float(header) if header and header.strip().isdecimal() else None
