"""Serves the folder of a report to browsers of this machine while a run goes on.

Other programs and pages on this machine must not read it: the server listens on 127.0.0.1 only, every address begins
with a random token, a request that names another host is refused, which defeats names that lead here by DNS, and only
files that lie in the folder are served.
"""

import base64
import hashlib
import json
import secrets
import threading
from collections.abc import Callable, Mapping
from functools import partial
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import unquote, urlsplit

HERE = Path(__file__).parent
HOST = "127.0.0.1"
TYPES = {
    ".html": "text/html; charset=utf-8",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".csv": "text/csv; charset=utf-8",
}
# Folders of the report, below its own, whose files are served.
FOLDERS = ("images",)
_CHUNK = 1 << 20

State = Callable[[], Mapping[str, Any]]


class PageServer:
    """Serves a folder and the state of its run until it is closed.

    Args:
        folder: the folder of the report.
        state: returns what the page around the report shows, as values of JSON.
        port: the port, or 0 for any that is free.

    Raises:
        OSError: the port is taken.
    """

    def __init__(self, folder: Path, state: State, port: int = 0) -> None:
        self._token = secrets.token_urlsafe(24)
        self._server = ThreadingHTTPServer((HOST, port), partial(_Handler, folder, state, self._token))
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.2,), daemon=True)

    @property
    def url(self) -> str:
        """The address of the page, with the token."""
        return f"http://{HOST}:{self._server.server_port}/{self._token}/"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Handler(BaseHTTPRequestHandler):
    timeout = 30
    server_version, sys_version = "srsoup", ""

    def __init__(self, folder: Path, state: State, token: str, *arguments: Any) -> None:
        self._folder, self._state, self._token = folder, state, token
        super().__init__(*arguments)

    def do_GET(self) -> None:
        if not self._is_meant_for_us():
            return
        first, _, name = unquote(urlsplit(self.path).path).lstrip("/").partition("/")
        if not secrets.compare_digest(first.encode(), self._token.encode()):
            self.send_error(HTTPStatus.NOT_FOUND)
        elif name == "":
            self._send(_SHELL, TYPES[".html"], _policy(_SHELL))
        elif name == "state":
            self._send(json.dumps(self._state()).encode(), "application/json", "default-src 'none'")
        elif (file := _file(self._folder, name)) is not None:
            self._send_file(file)
        else:
            self.send_error(HTTPStatus.NOT_FOUND)

    do_HEAD = do_GET

    def _is_meant_for_us(self) -> bool:
        port = self.connection.getsockname()[1]
        if self.headers.get_all("Host") in ([f"{HOST}:{port}"], [f"localhost:{port}"]):
            return True
        self.send_error(HTTPStatus.FORBIDDEN, "wrong host")
        return False

    def _send(self, content: bytes, kind: str, policy: str) -> None:
        self._send_headers(len(content), kind, policy)
        if self.command == "GET":
            self.wfile.write(content)

    def _send_file(self, file: Path) -> None:
        with file.open("rb") as opened:
            self._send_headers(file.stat().st_size, TYPES[file.suffix], "frame-ancestors 'self'")
            while self.command == "GET" and (chunk := opened.read(_CHUNK)):
                self.wfile.write(chunk)

    def _send_headers(self, length: int, kind: str, policy: str) -> None:
        self.send_response(HTTPStatus.OK)
        for name, value in {
            "Content-Type": kind, "Content-Length": str(length), "Content-Security-Policy": policy,
            "Cache-Control": "no-store", "Referrer-Policy": "no-referrer", "X-Content-Type-Options": "nosniff",
            "Cross-Origin-Resource-Policy": "same-origin",
        }.items():  # fmt: skip
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, format: str, *arguments: Any) -> None:
        """Writes nothing: a log of requests would hold the token."""


def _file(folder: Path, name: str) -> Path | None:
    """Returns the file of this name in the folder, or None if the folder has none that may be served."""
    above, _, last = name.rpartition("/")
    if above not in ("", *FOLDERS) or last.startswith(".") or "\\" in last:
        return None
    file = folder / above / last
    return file if file.suffix in TYPES and file.is_file() and not file.is_symlink() else None


def _policy(page: bytes) -> str:
    script = page.partition(b"<script>")[2].partition(b"</script>")[0]
    digest = base64.b64encode(hashlib.sha256(script).digest()).decode()
    return (
        f"default-src 'none'; script-src 'sha256-{digest}'; style-src 'unsafe-inline'; img-src data:; "
        "connect-src 'self'; frame-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
    )


_SHELL = (HERE / "templates" / "live.html").read_bytes()
