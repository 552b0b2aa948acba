"""Who alone writes to a run's folder. On a disk: a lock that the system frees when its holder ends, however it ends."""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from configs.location import Location, RemotePath
from pipeline.storage.lease import FolderInUse, Lease

# A look at the lock holds it for an instant, which must not turn a driver away.
PATIENCE_SECONDS = 0.5

__all__ = ["FolderInUse", "Hold", "is_held", "lock_of"]


class Hold(Protocol):
    """A folder that is ours."""

    def check(self) -> None:
        """Raise `pipeline.storage.lease.FolderLost`, an OSError, if it is not ours any more."""


class _Flock:
    def check(self) -> None:
        """A lock of the system's is not lost while we live."""


@contextmanager
def lock_of(folder: Location) -> Iterator[Hold]:
    """Keep other writers out.

    Raises:
        FolderInUse: another process holds the lock.
        OSError: the folder cannot be written.
    """
    if isinstance(folder, RemotePath):
        with Lease(folder) as lease:
            yield lease
        return
    lock = os.open(folder / ".lock", os.O_CREAT | os.O_RDWR, 0o644)
    try:
        _take(lock)
        yield _Flock()
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


def is_held(folder: Location) -> bool:
    """Whether somebody writes to the folder now."""
    if isinstance(folder, RemotePath):
        return Lease(folder).holder() is not None
    return _is_locked(folder)


def _is_locked(folder: Path) -> bool:
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
