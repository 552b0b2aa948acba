"""What a SIGTERM does to a driver."""

import logging
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event, current_thread, main_thread

from pipeline.job.progress import Reporter

log = logging.getLogger(__name__)


@contextmanager
def stop_on_sigterm(reporter: Reporter) -> Iterator[Event]:
    """Yield an event that the first SIGTERM sets.

    The driver then starts no new prompt and finishes the running ones, unless the process is killed first. A second
    SIGTERM ends the process at once. Python handles signals in the main thread only; in another thread the event is
    never set.
    """
    requested = Event()
    if current_thread() is not main_thread():
        yield requested
        return

    def stop(*_: object) -> None:
        signal.signal(signal.SIGTERM, before)
        requested.set()
        text = "SIGTERM: the driver finishes the running prompts and starts no others"
        log.warning("%s", text)
        reporter.show_message(text)

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield requested
    finally:
        signal.signal(signal.SIGTERM, before)
