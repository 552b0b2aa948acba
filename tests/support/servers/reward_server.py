"""A reward server in a thread of this process."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import ThreadingHTTPServer
from typing import Any

from rewards.reward_server import RewardServer


@contextmanager
def running(server: ThreadingHTTPServer) -> Iterator[str]:
    """The address of a server, which answers until the end of the context."""
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def reward_server(reward: Any, key: str, version: str = "1", port: int = 0) -> Iterator[str]:
    """The address of a server of a reward."""
    reward.setup("cpu")
    with running(RewardServer(reward, version, key, ("127.0.0.1", port))) as url:
        yield url
