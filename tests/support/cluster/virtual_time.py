"""An event loop whose clock jumps over every wait: hours of deadlines pass in no time, and always alike."""

import asyncio
import selectors
import time
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class _NoWaiting(selectors.SelectSelector):
    jumped = 0.0

    def select(self, timeout: float | None = None) -> list[Any]:
        if timeout is None:
            raise RuntimeError("everything waits, and nothing will ever happen")
        self.jumped += max(timeout, 0.0)
        return super().select(0)


class _Loop(asyncio.SelectorEventLoop):
    def __init__(self, count_own: bool = False) -> None:
        self.clock, self.count_own = _NoWaiting(), count_own
        super().__init__(self.clock)

    def time(self) -> float:
        return self.clock.jumped + (time.process_time() if self.count_own else 0.0)


def run(work: Coroutine[Any, Any, T], *, count_own: bool = False) -> T:
    """Run on the jumping clock; with `count_own` the CPU seconds of this process pass on it too."""
    with asyncio.Runner(loop_factory=lambda: _Loop(count_own)) as runner:
        return runner.run(work)


def now() -> float:
    return asyncio.get_running_loop().time()
