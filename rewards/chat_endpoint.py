"""One OpenAI-compatible chat endpoint, asked within limits: rate, retries, time, number of requests, cost."""

import contextlib
import http.client
import json
import os
import socket
import threading
import time
import urllib.parse
from collections.abc import Callable
from typing import Any, Protocol

from rewards.errors import RewardError

LONGEST_ANSWER = 1 << 20
LONGEST_BACK_OFF = 30.0
# Worth another try: too many requests, and what a server or a gateway says of its own trouble.
TRY_AGAIN = frozenset({408, 429, 500, 502, 503, 504})


class EndpointError(RewardError):
    """The endpoint could not be asked, or not within its limits; the message never holds the key."""


class EndpointSettings(Protocol):
    """What `Endpoint` needs to know.

    Attributes:
        url: of the API, such as https://api.openai.com/v1 ("/chat/completions" is added).
        key_variable: environment variable that holds the key; where it is unset, none is sent.
        requests_per_minute: of one actor.
        timeout: seconds of one request, whatever the server does meanwhile.
        retries: further tries of a request after 408, 429, 5xx, a timeout, a lost connection or a useless answer.
        back_off: seconds before the first of them; doubled each time, at most 30, or what Retry-After says.
        max_requests: of one actor; None is no ceiling.
        max_cost: of one actor, in the currency of the prices; requests under way may pass it.
        input_price, output_price: of a million tokens.
    """

    @property
    def url(self) -> str: ...
    @property
    def key_variable(self) -> str: ...
    @property
    def requests_per_minute(self) -> float: ...
    @property
    def timeout(self) -> float: ...
    @property
    def retries(self) -> int: ...
    @property
    def back_off(self) -> float: ...
    @property
    def max_requests(self) -> int | None: ...
    @property
    def max_cost(self) -> float | None: ...
    @property
    def input_price(self) -> float: ...
    @property
    def output_price(self) -> float: ...


class _Trouble(Exception):
    """A try that failed and may be made again, after `wait` seconds if the server says so."""

    def __init__(self, reason: str, wait: float | None = None) -> None:
        super().__init__(reason)
        self.reason, self.wait = reason, wait


class Endpoint:
    """Thread-safe. Counts what it asks.

    Raises:
        EndpointError: the key is none that can be sent.
    """

    def __init__(self, settings: EndpointSettings) -> None:
        self._settings = settings
        self._key = os.environ.get(settings.key_variable, "").strip()
        if not (self._key.isascii() and self._key.isprintable()):
            # Not for the server to say: an error of the HTTP client would show it.
            raise self._error(f"{settings.key_variable} holds no key (not one line of ASCII)", "set it anew")
        self._lock = threading.Lock()
        self._free_at = 0.0
        self.requests, self.cost = 0, 0.0

    def ask(self, body: dict[str, Any], deadline: float, accept: Callable[[str], float]) -> float:
        """What `accept` makes of the text of the answer.

        Args:
            body: of the request.
            deadline: of `time.monotonic()`, by which all is over.
            accept: text -> value; raises ValueError where the answer is of no use.

        Raises:
            EndpointError: a ceiling or the deadline is reached, the request is refused, or every try failed.
        """
        reason, wait = "", None
        for attempt in range(self._settings.retries + 1):
            if attempt:
                self._sleep(self._pause(attempt, wait), deadline, reason)
            self._reserve(deadline, reason)
            try:
                return self._accepted(self._post(body, deadline), accept)
            except _Trouble as trouble:
                reason, wait = trouble.reason, trouble.wait
        raise self._error(f"{reason}, {self._settings.retries + 1} times", "look at the server, or allow more retries")

    def _pause(self, attempt: int, wait: float | None) -> float:
        return min(self._settings.back_off * 2 ** (attempt - 1), LONGEST_BACK_OFF) if wait is None else wait

    def _reserve(self, deadline: float, reason: str) -> None:
        """Count one request against the ceilings, and wait for its turn."""
        with self._lock:
            most, cost = self._settings.max_requests, self._settings.max_cost
            if most is not None and self.requests >= most:
                raise self._error(f"the ceiling of {most} requests is reached", "raise max_requests")
            if cost is not None and self.cost >= cost:
                raise self._error(f"the ceiling of cost, {cost:g}, is reached ({self.cost:.4g})", "raise max_cost")
            self.requests += 1
            turn = max(time.monotonic(), self._free_at)
            self._free_at = turn + 60 / self._settings.requests_per_minute
        self._sleep(turn - time.monotonic(), deadline, reason or "the rate limit")

    def _sleep(self, seconds: float, deadline: float, reason: str) -> None:
        if time.monotonic() + max(seconds, 0) > deadline:
            raise self._late(reason)
        if seconds > 0:
            time.sleep(seconds)

    def _post(self, body: dict[str, Any], deadline: float) -> dict[str, Any]:
        seconds = min(self._settings.timeout, deadline - time.monotonic())
        if seconds <= 0:
            raise self._late("the time of this chunk")
        try:
            status, retry_after, raw = _exchange(
                f"{self._settings.url.rstrip('/')}/chat/completions", body, self._key, seconds
            )
        except TimeoutError as error:
            raise _Trouble(f"no whole answer in {seconds:.3g} s") from error
        except (OSError, http.client.HTTPException) as error:
            raise _Trouble(f"the connection failed ({type(error).__name__}: {error})") from error
        if status in TRY_AGAIN:
            raise _Trouble(f"status {status} ({self._shown(raw)})", retry_after)
        if status != 200:
            raise self._error(
                f"status {status} ({self._shown(raw)})",
                f"check url, model and the key in {self._settings.key_variable}",
            )
        try:
            answer = json.loads(raw)
        except ValueError as error:
            raise _Trouble(f"an answer that is not JSON ({self._shown(raw)})") from error
        if not isinstance(answer, dict):
            raise _Trouble(f"an answer that is not an object ({self._shown(raw)})")
        self._count_cost(answer)
        return answer

    def _accepted(self, answer: dict[str, Any], accept: Callable[[str], float]) -> float:
        try:
            text = answer["choices"][0]["message"]["content"]
            return accept(text)
        except (KeyError, IndexError, TypeError) as error:
            raise _Trouble(f"an answer without a message ({self._shown(json.dumps(answer).encode())})") from error
        except ValueError as error:
            raise _Trouble(self._shown(str(error).encode())) from error

    def _count_cost(self, answer: dict[str, Any]) -> None:
        if self._settings.max_cost is None:
            return
        try:
            tokens = answer["usage"]["prompt_tokens"], answer["usage"]["completion_tokens"]
            cost = (tokens[0] * self._settings.input_price + tokens[1] * self._settings.output_price) / 1e6
        except (KeyError, TypeError) as error:
            raise self._error(
                "the answer says no usage, so max_cost cannot be held", "set max_requests instead"
            ) from error
        with self._lock:
            self.cost += cost

    def _shown(self, raw: bytes) -> str:
        """The beginning of what a server said; it may say the key back."""
        text = " ".join(raw.decode("utf-8", "replace").split())
        return (text.replace(self._key, "***") if self._key else text)[:200]

    def _late(self, reason: str) -> EndpointError:
        return self._error(f"out of time, after {reason}", "raise deadline, or lower the number of candidates")

    def _error(self, problem: str, fix: str) -> EndpointError:
        return EndpointError(f"{self._settings.url}: {problem}", fix)


def _exchange(url: str, body: dict[str, Any], key: str, seconds: float) -> tuple[int, float | None, bytes]:
    """POST, and the status, the seconds of Retry-After and the body, within `seconds` in all. Follows no redirect.

    A socket's timeout is of one read, which a server that drips a byte a second never reaches: so a timer shuts it.
    """
    parts = urllib.parse.urlsplit(url)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(str(parts.hostname), parts.port, timeout=seconds)
    headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {key}"} if key else {})
    over, start = threading.Event(), time.monotonic()
    connection.connect()
    # Kept here: the connection lets go of it once the answer has begun.
    sock = connection.sock

    def shut() -> None:
        over.set()
        # Closed already where the answer came at the same moment.
        with contextlib.suppress(OSError):
            sock.shutdown(socket.SHUT_RDWR)

    timer = threading.Timer(seconds - (time.monotonic() - start), shut)
    timer.daemon = True
    timer.start()
    try:
        connection.request("POST", parts.path, json.dumps(body), headers)
        response = connection.getresponse()
        raw = response.read(LONGEST_ANSWER)
    except (OSError, http.client.HTTPException) as error:
        if over.is_set():
            raise TimeoutError from error
        raise
    finally:
        timer.cancel()
        connection.close()
    if over.is_set():
        raise TimeoutError
    return response.status, _seconds(response.getheader("Retry-After")), raw


def _seconds(header: str | None) -> float | None:
    """Retry-After in whole seconds; the other form, a date, is left to the back-off."""
    return float(header) if header and header.strip().isdecimal() else None
