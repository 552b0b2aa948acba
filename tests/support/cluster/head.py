"""A Ray head on this machine, with a token, for runs that join a cluster."""

import os
import shutil
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from pathlib import Path

BIN = Path(sys.executable).parent
Head = Callable[..., dict[str, str]]


class RayHead:
    def __init__(self, folder: Path, options: tuple[str, ...], variables: dict[str, str]) -> None:
        self.port, self.dashboard = free_port(), free_port()
        # Sockets of Ray have short paths, and pytest's folders have not.
        self.folder, self.log = Path("/tmp") / f"srsoup-{uuid.uuid4().hex[:8]}", folder / "head.log"
        self.options = options
        self.environment = os.environ | variables | {
            "PATH": f"{BIN}:{os.environ['PATH']}", "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": uuid.uuid4().hex,
            "RAY_USAGE_STATS_ENABLED": "0",
        }  # fmt: skip
        # The packed working directory is all that a job may need.
        self.environment.pop("PYTHONPATH", None)

    def __enter__(self) -> dict[str, str]:
        arguments = ["start", "--head", "--block", f"--port={self.port}", f"--dashboard-port={self.dashboard}",
                     # Its own: the agent of another head here may hold the usual one, and then takes no job.
                     f"--dashboard-agent-listen-port={free_port()}",
                     f"--temp-dir={self.folder}", "--node-ip-address=127.0.0.1", *self.options]  # fmt: skip
        with self.log.open("w") as log:
            self.ray = subprocess.Popen([BIN / "ray", *arguments], env=self.environment, stdout=log, stderr=log,
                                        cwd=self.log.parent)  # fmt: skip
        self._wait()
        return self.environment | {"RAY_ADDRESS": f"127.0.0.1:{self.port}",
                                   "DASHBOARD": f"http://127.0.0.1:{self.dashboard}"}  # fmt: skip

    def _wait(self) -> None:
        deadline = time.monotonic() + 120
        while self.ray.poll() is None and time.monotonic() < deadline:
            with socket.socket() as one:
                if not one.connect_ex(("127.0.0.1", self.dashboard)):
                    return
            time.sleep(0.2)
        raise AssertionError(f"the head did not come up: {self.log.read_text()}")

    def __exit__(self, *_: object) -> None:
        self.ray.terminate()
        self.ray.wait(60)
        shutil.rmtree(self.folder, ignore_errors=True)


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])
