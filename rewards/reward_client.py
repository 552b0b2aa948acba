"""A reward that servers compute: the client of the protocol in `rewards.reward_protocol`."""

import http.client
import itertools
import json
import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from rewards.base import RewardInfo
from rewards.errors import RewardError
from rewards.http_post import Answer, ForbiddenAddressError, get, post
from rewards.plugin import Plugin
from rewards.reward_protocol import PROTOCOL, info_of, request_body, scores_of

FIRST_PAUSE, LONGEST_PAUSE = 0.25, 8.0
HEALTH_SECONDS = 10.0


class ServerError(RewardError):
    """A server of a reward that did not give scores. The message names its address and what came, never the key."""


@dataclass(frozen=True)
class Servers:
    """Where a reward is computed, and for how long it is waited for.

    Attributes:
        urls: the addresses, which share the images.
        key_variable: the environment variable that holds the servers' key; no key is sent if it is unset.
        timeout: seconds that one request may take.
        patience: seconds for which one batch is sent again.
    """

    urls: tuple[str, ...]
    key_variable: str
    timeout: float
    patience: float


class ServedReward(Plugin):
    """What the servers of a reward declared when the run was planned. It goes the way of a plugin.

    Its source is the declaration with the version, so a run is continued with the same version only, and the record of
    the run has it.
    """

    servers: Servers

    def __init__(self, name: str, servers: Servers) -> None:
        """Ask all servers what they compute.

        Raises:
            ServerError: one does not answer, or they do not agree.
        """
        found = {url: _health(url, servers) for url in servers.urls}
        first = next(iter(found.values()))
        for url, said in found.items():
            if said != first:
                raise ServerError(
                    f"{url} has another version or declaration of {name} than {servers.urls[0]}",
                    "run the same version on all servers",
                )
        super().__init__(f"{name}.json", json.dumps(first, indent=1, sort_keys=True))
        object.__setattr__(self, "servers", servers)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ServedReward) and (self.source, self.servers) == (other.source, other.servers)

    def __hash__(self) -> int:
        return hash((self.source, self.servers))

    def load(self) -> Mapping[str, Callable[..., Any]]:
        """Return the reward by its name in the run."""
        name, said, servers = self.name.removesuffix(".json"), json.loads(self.source), self.servers

        class Served(HttpReward):
            def __init__(self) -> None:
                super().__init__(info_of(said["reward"], name), said["version"], servers)

        return {name: Served}


class HttpReward:
    """Sends images to the servers. A server that fails is left for the next one, until the patience is over.

    Scores that depend on the batch are asked of one server for the whole batch. All others are divided equally among
    the servers.
    """

    def __init__(self, info: RewardInfo, version: str, servers: Servers) -> None:
        self.info, self._version, self._servers = info, version, servers
        self._key: str | None = None
        self._turns = itertools.count(os.getpid())
        self._lock = threading.Lock()

    def setup(self, device: str) -> None:
        """Read the key.

        Raises:
            ServerError: the key cannot be sent.
        """
        self._key = _key_of(self._servers)

    def score(self, images: Tensor, prompts: Sequence[str]) -> Tensor:
        """Return the scores, float32 (n,).

        Raises:
            ServerError: no server gave scores in time, or one refused the request or has another version.
        """
        if self._key is None:
            raise RewardError(f"{self.info.name} is not set up, or it is closed", "call setup() first")
        parts = 1 if self.info.batch_sensitive else min(len(self._servers.urls), len(images))
        bounds = [len(images) * part // parts for part in range(parts + 1)]
        with ThreadPoolExecutor(parts) as pool:
            calls = [
                pool.submit(self._part, images[start:end], prompts[start:end])
                for start, end in itertools.pairwise(bounds)
            ]
            return torch.cat([call.result() for call in calls])

    def close(self) -> None:
        self._key = None

    def _part(self, images: Tensor, prompts: Sequence[str]) -> Tensor:
        body, end, pause, urls = request_body(images, prompts), time.monotonic() + self._servers.patience, 0.0, 0
        while True:
            url, reason = self._next_url(), ""
            try:
                return self._scores(url, body, len(images), end)
            except _TryAgain as failure:
                reason = str(failure)
            urls += 1
            if urls % len(self._servers.urls) == 0:
                # All servers have failed once more.
                pause = min(max(2 * pause, FIRST_PAUSE), LONGEST_PAUSE)
                if time.monotonic() + pause >= end:
                    raise ServerError(
                        f"{self.info.name}: {urls} attempts failed in {self._servers.patience:g} s, the last one at "
                        f"{url}: {reason}",
                        "check the server, or raise patience",
                    )
                time.sleep(pause)

    def _next_url(self) -> str:
        with self._lock:
            return self._servers.urls[next(self._turns) % len(self._servers.urls)]

    def _scores(self, url: str, body: dict[str, Any], n: int, end: float) -> Tensor:
        assert self._key is not None
        seconds = max(min(self._servers.timeout, end - time.monotonic()), 0.001)
        answer = _exchanged(lambda: post(f"{url.rstrip('/')}/score", body, str(self._key), seconds), url, seconds)
        if answer.status >= 500 or answer.status in (408, 429):
            raise _TryAgain(f"status {answer.status} ({_shown(answer, self._key)})")
        if answer.status != 200:
            raise _refusal(url, answer, self._servers, self._key)
        try:
            said = json.loads(answer.content)
        except (ValueError, RecursionError) as error:
            # Half an answer, or the page of a proxy.
            raise _TryAgain(f"an answer that is not JSON ({_shown(answer, self._key)})") from error
        try:
            scores, version = scores_of(said, n)
        except ValueError as error:
            raise ServerError(f"{self.info.name}: {url} gave {error}", "correct the server") from error
        if version != self._version:
            raise ServerError(
                f"{self.info.name}: {url} has the version {_hidden(version, self._key)!r} now, and the run was planned "
                f"with {self._version!r}",
                "start that version again, or start a new run",
            )
        return scores


class _TryAgain(Exception):
    """A request that failed and may be sent again."""


def _exchanged(send: Callable[[], Answer], url: str, seconds: float) -> Answer:
    try:
        return send()
    except TimeoutError as error:
        raise _TryAgain(f"no whole answer in {seconds:.3g} s") from error
    except ForbiddenAddressError as error:
        raise ServerError(f"{url}: {error.problem}", error.fix) from error
    except (OSError, http.client.HTTPException) as error:
        raise _TryAgain(f"the connection failed ({type(error).__name__}: {error})") from error


def _health(url: str, servers: Servers) -> dict[str, Any]:
    """Return version and declaration of a server's reward."""
    key, fix = _key_of(servers), "start the server (docs/reward_server.md), or correct rewards.servers"
    try:
        answer = _exchanged(lambda: get(f"{url.rstrip('/')}/health", key, HEALTH_SECONDS), url, HEALTH_SECONDS)
    except _TryAgain as failure:
        raise ServerError(f"{url} does not answer: {failure}", fix) from failure
    if answer.status != 200:
        raise _refusal(url, answer, servers, key)
    try:
        said = json.loads(answer.content)
    except (ValueError, RecursionError) as error:
        raise ServerError(f"{url} does not speak the protocol of reward servers: no JSON came", fix) from error
    if not isinstance(said, dict) or said.get("protocol") != PROTOCOL or not isinstance(said.get("version"), str):
        raise ServerError(
            f"{url} does not speak version {PROTOCOL} of the protocol of reward servers ({_shown(answer, key)})", fix
        )
    try:
        info_of(said.get("reward"), "reward")
    except ValueError as error:
        raise ServerError(f"{url}: {error}", "correct the server") from error
    return {"version": said["version"], "reward": said["reward"]}


def _key_of(servers: Servers) -> str:
    key = os.environ.get(servers.key_variable, "").strip()
    if not (key.isascii() and key.isprintable()):
        # Checked here, because the error of the HTTP client would show the key.
        raise ServerError(
            f"{servers.key_variable} does not hold a key: its value is not one line of ASCII", "set it to the key"
        )
    return key


def _refusal(url: str, answer: Answer, servers: Servers, key: str) -> ServerError:
    unsent = "" if answer.key_was_sent or not key else " (none was sent: it goes over https or to this machine only)"
    fix = f"check the key in {servers.key_variable}{unsent}" if answer.status in (401, 403) else "correct the request"
    return ServerError(f"{url} refused the request with status {answer.status} ({_shown(answer, key)})", fix)


def _shown(answer: Answer, key: str) -> str:
    """The beginning of a server's answer, without the key, which the answer may repeat."""
    return _hidden(" ".join(answer.content.decode("utf-8", "replace").split()), key)


def _hidden(text: str, key: str) -> str:
    return (text.replace(key, "***") if key else text)[:200]
