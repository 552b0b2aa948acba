"""Work in a thread of its own: a notebook's thread has an event loop already, and keeps its own torch settings."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue
from threading import Event
from typing import TypeVar

T = TypeVar("T")
# Reports denoising steps and candidates that have just been done.
Report = Callable[[int, int], None]


class _Stopped(BaseException):
    """The caller waits no more. No `Exception`, so that no prompt fails of it."""


def in_a_thread(work: Callable[[Report], T], on_report: Report) -> T:
    """Run `work` in a thread of its own, and return what it returns.

    Args:
        work: is given a function to report its progress with. If this thread is interrupted or `on_report` raises,
            the next report ends the work.
        on_report: is called in this thread with each report.

    Raises:
        BaseException: whatever `work` or `on_report` raises.
    """
    stop, reports = Event(), SimpleQueue[tuple[int, int] | None]()

    def report(steps: int, candidates: int) -> None:
        if stop.is_set():
            raise _Stopped
        reports.put((steps, candidates))

    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(work, report)
        future.add_done_callback(lambda _: reports.put(None))
        try:
            while (done := reports.get()) is not None:
                on_report(*done)
        except BaseException:
            stop.set()
            raise
    return future.result()
