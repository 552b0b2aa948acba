"""An S3 server on this machine, in this process: localbucket's, which tests can watch and break."""

import contextlib
import threading
from collections.abc import Callable, Iterator
from http import HTTPStatus
from http.server import ThreadingHTTPServer
from pathlib import Path

from localbucket import S3Error, S3Handler

ACCESS_KEY, SECRET_KEY = "tester", "the-secret-of-tests"
# Which request is to be cut off, by its method and the path of its URL.
Fault = Callable[[str, str], bool]


class Handler(S3Handler):
    """Knows one access key (but checks no signature), and takes the empty objects that stand for folders."""

    server: "S3Server"

    def log_message(self, format: str, *args: object) -> None:
        pass

    def _dispatch(self, action: Callable[[str, str], None]) -> None:
        path = self.path.partition("?")[0]
        self.server.requests.append((self.command, self.path))
        if f"Credential={ACCESS_KEY}/" not in self.headers.get("Authorization", ""):
            self._send_error(S3Error(HTTPStatus.FORBIDDEN, "AccessDenied", "Access Denied"))
        elif self.server.fault(self.command, path):
            self.rfile.read(int(self.headers.get("Content-Length") or 0) // 2)
            self.close_connection = True
        elif self.command == "PUT" and path.endswith("/"):
            self._read_body()
            self._send(HTTPStatus.OK)
        else:
            super()._dispatch(action)


class S3Server(ThreadingHTTPServer):
    """Serves the folders of `root` as buckets."""

    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that went away is what some tests are about."""

    def __init__(self, root: Path) -> None:
        self.root, self.requests = root, list[tuple[str, str]]()
        self.fault: Fault = lambda method, path: False
        super().__init__(("127.0.0.1", 0), type("OfOneRoot", (Handler,), {"data_root": root}))

    def uri(self, path: str) -> str:
        """`s3://PATH` on this server; its bucket is made when it is needed."""
        options = f"endpoint_override=127.0.0.1:{self.server_port}&scheme=http&region=us-east-1"
        return f"s3://{path}?{options}&allow_bucket_creation=true"


@contextlib.contextmanager
def serving(root: Path) -> Iterator[S3Server]:
    root.mkdir(parents=True, exist_ok=True)
    server = S3Server(root)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
