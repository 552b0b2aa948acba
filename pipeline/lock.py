"""Who alone writes to a run's folder: a lock that the system frees when its holder ends, however it ends."""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# A look at the lock holds it for an instant, which must not turn a driver away.
PATIENCE_SECONDS = 0.5


class FolderInUse(Exception):
    """Somebody else writes to the folder."""


@contextmanager
def lock_of(folder: Path) -> Iterator[None]:
    """Keep other writers out.

    Raises:
        FolderInUse: another process holds the lock.
        OSError: the folder cannot be written.
    """
    lock = os.open(folder / ".lock", os.O_CREAT | os.O_RDWR, 0o644)
    try:
        _take(lock)
        yield
    finally:
        os.close(lock)


def _take(lock: int) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            return fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            if time.monotonic() > deadline:
                raise FolderInUse("another run is at work in it") from error
            time.sleep(0.01)


def is_held(folder: Path) -> bool:
    """Whether somebody writes to the folder now."""
    try:
        lock = os.open(folder / ".lock", os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(lock)
    return False
