"""Repeats failed calls in this process, by the rules that `actors.pool.pool.Pool.call` has on a cluster."""

from collections.abc import Callable
from typing import TypeVar

from actors.pool.pool import call_failed
from actors.pool.transport import Limits
from actors.protocol import ChunkTooLarge

T = TypeVar("T")


def attempt(
    kind: str, rows: int, compute: Callable[[int, int], T], limits: Limits | None, *, divisible: bool = False
) -> tuple[list[T], int]:
    """Compute rows 0..`rows`, and again if it raises; if the call is `divisible`, halve the rows before.

    Args:
        kind: the name of the call in messages.
        compute: computes rows `start`..`stop`. It must give the same bits for the same rows.
        limits: the number of attempts; None for a single one, whose error is raised as it is.
        divisible: whether `compute` may be called for some of the rows.

    Returns:
        The results in the order of their rows, and the number of retries.

    Raises:
        CallFailed: after the number of attempts that `limits` allows; the last error is its cause.
        ChunkTooLarge: at once, because another attempt would run out of memory too.
    """
    if limits is None:
        return [compute(0, rows)], 0
    return _attempt(kind, 0, rows, compute, limits, divisible)


def _attempt(
    kind: str, start: int, stop: int, compute: Callable[[int, int], T], limits: Limits, divisible: bool
) -> tuple[list[T], int]:
    last: Exception
    for failures in range(limits.call_failures):
        try:
            return [compute(start, stop)], failures
        except ChunkTooLarge:
            raise
        except Exception as error:
            last = error
            if divisible and stop - start > 1:
                middle = (start + stop) // 2
                first, retries = _attempt(kind, start, middle, compute, limits, divisible)
                second, more = _attempt(kind, middle, stop, compute, limits, divisible)
                return first + second, failures + 2 + retries + more
    raise call_failed(last, kind, start, stop, limits.call_failures) from last
