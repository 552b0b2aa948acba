"""The lock of a run's folder: one process at a time may write to it.

On a disk the operating system frees the lock when its holder ends, in whatever way. On an object store the lock is a
lease (`pipeline.storage.lease`).
"""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from configs.location import Location, RemotePath
from pipeline.storage.lease import FolderInUse, Lease

# `is_locked` holds the lock for an instant, so a driver waits this long before it gives up.
WAIT_SECONDS = 0.5

__all__ = ["FolderInUse", "FolderLock", "is_locked", "lock_folder"]


class FolderLock(Protocol):
    """The lock of a folder, held by this process."""

    def check(self) -> None:
        """Raise `pipeline.storage.lease.FolderLost`, an OSError, if this process has lost the lock."""


class _Flock:
    def check(self) -> None:
        """Do nothing: a lock of the operating system cannot be lost while this process lives."""


@contextmanager
def lock_folder(folder: Location) -> Iterator[FolderLock]:
    """Keep other processes from writing to a folder.

    Raises:
        FolderInUse: another process holds the lock.
        OSError: the folder cannot be written.
    """
    if isinstance(folder, RemotePath):
        with Lease(folder) as lease:
            yield lease
        return
    handle = os.open(folder / ".lock", os.O_CREAT | os.O_RDWR, 0o644)
    try:
        _acquire(handle)
        yield _Flock()
    finally:
        os.close(handle)


def _acquire(handle: int) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while True:
        try:
            return fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            if time.monotonic() > deadline:
                raise FolderInUse("another run is using this folder") from error
            time.sleep(0.01)


def is_locked(folder: Location) -> bool:
    """Whether a process holds the lock of the folder now."""
    if isinstance(folder, RemotePath):
        return Lease(folder).holder() is not None
    return _is_flocked(folder)


def _is_flocked(folder: Path) -> bool:
    try:
        handle = os.open(folder / ".lock", os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(handle)
    return False
