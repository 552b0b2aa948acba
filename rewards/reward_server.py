"""A server that computes one reward for runs elsewhere: the other side of `rewards.reward_client`."""

import hmac
import json
import logging
import threading
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from configs.plain.texts import described
from rewards.base import Reward, checked_score
from rewards.errors import RewardError
from rewards.reward_protocol import MOST_BYTES, PROTOCOL, declaration_of, images_and_prompts

log = logging.getLogger(__name__)
# Seconds without a byte after which a connection is closed.
IDLE_SECONDS = 60.0


class RewardServer(ThreadingHTTPServer):
    """Answers `/health` and `/score`. Requests arrive at once; the reward computes one after the other.

    Args:
        reward: a reward that is set up.
        version: what identifies the reward's code and weights. A run refuses scores of another version.
        key: the key that a request must have.
        address: host and port; port 0 takes a free one.

    Raises:
        OSError: the address is in use, or not this machine's.
    """

    daemon_threads = True

    def __init__(self, reward: Reward, version: str, key: str, address: tuple[str, int]) -> None:
        super().__init__(address, _Handler)
        self._reward, self._version, self._key = reward, version, key
        self._lock = threading.Lock()

    def is_allowed(self, header: str) -> bool:
        """Whether an Authorization header has the key. The comparison takes the same time for every wrong key."""
        return hmac.compare_digest(header.encode("utf-8", "replace"), f"Bearer {self._key}".encode())

    def health(self) -> dict[str, Any]:
        return {"protocol": PROTOCOL, "version": self._version, "reward": declaration_of(self._reward.info)}

    def scores(self, content: bytes) -> dict[str, Any]:
        """Answer a request for scores.

        Raises:
            ValueError: the request is wrong, or the reward refuses it.
        """
        try:
            body = json.loads(content)
        except RecursionError as error:
            raise ValueError("the request is nested too deep") from error
        images, prompts = images_and_prompts(body)
        with self._lock:
            scores = checked_score(self._reward, images, prompts)
        return {"version": self._version, "scores": scores.tolist()}


class _Handler(BaseHTTPRequestHandler):
    server: RewardServer
    timeout = IDLE_SECONDS

    def do_GET(self) -> None:
        if self._is_refused():
            return
        if self.path.rstrip("/").endswith("/health") or self.path == "/health":
            self._answer(HTTPStatus.OK, self.server.health())
        else:
            self._error(HTTPStatus.NOT_FOUND, "there are /health and /score")

    def do_POST(self) -> None:
        if self._is_refused():
            return
        length = self.headers.get("Content-Length", "")
        if not length.isdecimal():
            self._error(HTTPStatus.LENGTH_REQUIRED, "the request has no Content-Length")
        elif int(length) > MOST_BYTES:
            self._error(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"at most {MOST_BYTES:,} bytes are taken")
        elif not self.path.endswith("/score"):
            self._error(HTTPStatus.NOT_FOUND, "there are /health and /score")
        else:
            self._score(self.rfile.read(int(length)))

    def log_message(self, format: str, *arguments: Any) -> None:
        log.debug(format, *arguments)

    def _score(self, content: bytes) -> None:
        try:
            answer = self.server.scores(content)
        except RewardError as error:
            # A reward that refuses a prompt, or returns a wrong result, does so again.
            self._error(HTTPStatus.UNPROCESSABLE_ENTITY, str(error))
        except ValueError as error:
            self._error(HTTPStatus.BAD_REQUEST, str(error))
        except Exception as error:
            log.warning("a request failed: %s", described(error))
            self._error(HTTPStatus.INTERNAL_SERVER_ERROR, described(error))
        else:
            self._answer(HTTPStatus.OK, answer)

    def _is_refused(self) -> bool:
        if self.server.is_allowed(self.headers.get("Authorization", "")):
            return False
        self._error(HTTPStatus.UNAUTHORIZED, "the key is wrong, or there is none")
        return True

    def _error(self, status: HTTPStatus, text: str) -> None:
        # What is left of the request is not read, so the connection cannot be used again.
        self.close_connection = True
        self._answer(status, {"error": text[:500]})

    def _answer(self, status: HTTPStatus, answer: dict[str, Any]) -> None:
        content = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)
