"""A client of one OpenAI-compatible chat endpoint, with limits of rate, retries, time, number of requests and cost."""

import http.client
import json
import os
import threading
import time
from collections.abc import Callable
from typing import Any, Protocol

from rewards.errors import RewardError
from rewards.http_post import Answer, ForbiddenAddressError, post

LONGEST_BACK_OFF = 30.0
# Statuses after which a request is sent again: too many requests, or a server or gateway that is in trouble.
TRY_AGAIN = frozenset({408, 429, 500, 502, 503, 504})


class EndpointError(RewardError):
    """A request that failed, or that the limits do not allow. The message never holds the key."""


class EndpointSettings(Protocol):
    """The settings of an `Endpoint`. All limits hold for one actor.

    Attributes:
        url: address of the API, such as https://api.openai.com/v1; "/chat/completions" is added to it.
        key_variable: environment variable that holds the key; no key is sent if it is unset. Whoever makes the settings
            needs the user's word for it; `configs.load` sees to that for a configuration.
        requests_per_minute: highest rate at which requests are sent.
        timeout: seconds that one request may take, whatever the server does in that time.
        retries: how often a request is sent again after 408, 429, 5xx, a timeout, a lost connection or an answer that
            is not accepted.
        back_off: seconds before the first retry; doubled for each further one, up to 30. A Retry-After header wins.
        max_requests: highest number of requests; None for no limit.
        max_cost: highest cost, in the currency of the prices; None for no limit. Requests that are already sent when
            the limit is reached may exceed it.
        input_price: price of a million input tokens.
        output_price: price of a million output tokens.
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


class _Retryable(Exception):
    """A request that failed and may be sent again, after `wait` seconds if the server gave a number."""

    def __init__(self, reason: str, wait: float | None = None) -> None:
        super().__init__(reason)
        self.reason, self.wait = reason, wait


class Endpoint:
    """Sends requests and counts them and their cost. Safe to use from several threads.

    Raises:
        EndpointError: the key has characters that cannot be sent.
    """

    def __init__(self, settings: EndpointSettings) -> None:
        self._settings = settings
        self._key = os.environ.get(settings.key_variable, "").strip()
        if not (self._key.isascii() and self._key.isprintable()):
            # Checked here, because the error of the HTTP client would show the key.
            raise self._error(
                f"{settings.key_variable} does not hold a key: its value is not one line of ASCII", "set it to the key"
            )
        self._lock = threading.Lock()
        self._free_at = 0.0
        self.requests, self.cost = 0, 0.0

    def request(self, body: dict[str, Any], deadline: float, parse: Callable[[str], float]) -> float:
        """Send a request until its answer is accepted, and return the parsed answer.

        Args:
            body: the request, as OpenAI's API describes it.
            deadline: time of `time.monotonic()` by which the answer must be there.
            parse: a function from the text of the answer to its value; raises ValueError to refuse the answer.

        Raises:
            EndpointError: a limit or the deadline is reached, the server refuses the request, or every attempt failed.
        """
        reason, wait = "", None
        for attempt in range(self._settings.retries + 1):
            if attempt:
                self._sleep(self._pause(attempt, wait), deadline, reason)
            self._reserve(deadline, reason)
            try:
                return self._parsed(self._post(body, deadline), parse)
            except _Retryable as failure:
                reason, wait = failure.reason, failure.wait
        problem = f"all {self._settings.retries + 1} attempts failed, the last one: {reason}"
        raise self._error(problem, "check the server, or allow more retries")

    def _pause(self, attempt: int, wait: float | None) -> float:
        return min(self._settings.back_off * 2 ** (attempt - 1), LONGEST_BACK_OFF) if wait is None else wait

    def _reserve(self, deadline: float, reason: str) -> None:
        """Count one request against the limits, and wait until the rate allows it."""
        with self._lock:
            most, cost = self._settings.max_requests, self._settings.max_cost
            if most is not None and self.requests >= most:
                raise self._error(f"the limit of {most} requests is reached", "raise max_requests")
            if cost is not None and self.cost >= cost:
                raise self._error(f"the limit of the cost, {cost:g}, is reached ({self.cost:.4g})", "raise max_cost")
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
            raise self._late("the time for this chunk")
        answer = self._exchanged(body, seconds)
        if answer.status in TRY_AGAIN:
            raise _Retryable(f"status {answer.status} ({self._shown(answer.content)})", answer.retry_after)
        if answer.status != 200:
            unsent = "" if answer.key_was_sent else " (none was sent: it goes over https or to this machine only)"
            raise self._error(
                f"the server refused the request with status {answer.status} ({self._shown(answer.content)})",
                f"check url, model and the key in {self._settings.key_variable}{unsent if self._key else ''}",
            )
        return self._object(answer.content)

    def _exchanged(self, body: dict[str, Any], seconds: float) -> Answer:
        try:
            return post(f"{self._settings.url.rstrip('/')}/chat/completions", body, self._key, seconds)
        except TimeoutError as error:
            raise _Retryable(f"no whole answer in {seconds:.3g} s") from error
        except ForbiddenAddressError as error:
            raise self._error(error.problem, error.fix) from error
        except (OSError, http.client.HTTPException) as error:
            raise _Retryable(f"the connection failed ({type(error).__name__}: {error})") from error

    def _object(self, raw: bytes) -> dict[str, Any]:
        """The JSON object of an answer, whose cost is counted."""
        try:
            answer = json.loads(raw)
        except (ValueError, RecursionError) as error:
            raise _Retryable(f"an answer that is not JSON ({self._shown(raw)})") from error
        if not isinstance(answer, dict):
            raise _Retryable(f"an answer that is not an object ({self._shown(raw)})")
        self._count_cost(answer)
        return answer

    def _parsed(self, answer: dict[str, Any], parse: Callable[[str], float]) -> float:
        try:
            text = answer["choices"][0]["message"]["content"]
            return parse(text)
        except (KeyError, IndexError, TypeError) as error:
            raise _Retryable(f"an answer without a message ({self._shown(json.dumps(answer).encode())})") from error
        except ValueError as error:
            raise _Retryable(self._shown(str(error).encode())) from error

    def _count_cost(self, answer: dict[str, Any]) -> None:
        if self._settings.max_cost is None:
            return
        try:
            tokens = answer["usage"]["prompt_tokens"], answer["usage"]["completion_tokens"]
            cost = (tokens[0] * self._settings.input_price + tokens[1] * self._settings.output_price) / 1e6
        except (KeyError, TypeError) as error:
            raise self._error(
                "the answer does not give its usage, so max_cost cannot be kept", "set max_requests instead"
            ) from error
        with self._lock:
            self.cost += cost

    def _shown(self, raw: bytes) -> str:
        """The beginning of a server's answer, without the key, which the answer may repeat."""
        text = " ".join(raw.decode("utf-8", "replace").split())
        return (text.replace(self._key, "***") if self._key else text)[:200]

    def _late(self, reason: str) -> EndpointError:
        return self._error(
            f"the deadline has passed, after {reason}", "raise deadline, or lower the number of candidates"
        )

    def _error(self, problem: str, fix: str) -> EndpointError:
        return EndpointError(f"{self._settings.url}: {problem}", fix)
