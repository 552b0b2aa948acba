"""Where the files of a run are stored: on a disk, or on an object store (`pipeline.storage.object_store`)."""

import errno
import os
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any, Protocol, TypeVar

from configs.file_digest import read_regular_file
from configs.location import Location, RemotePath

# The names of the folders in which merged parts are made begin with this.
STAGING_PREFIX = ".compact-"
# Names that a driver may leave in a folder before it has written the run's record there.
BEFORE_THE_RECORD = (".lock", ".lease", ".part-", STAGING_PREFIX, "driver.log", "plugins")
# The system returns the mask of new files only when it is set.
_UMASK = os.umask(0o077)
os.umask(_UMASK)
# The record, the log and the index of a run; a larger file is none of them.
MOST_BYTES = 2**30
T = TypeVar("T")
U = TypeVar("U")


class Store(Protocol):
    """The file operations of a run. Every location that is passed to a store is of the store's own kind.

    Attributes:
        listed_files_are_complete: whether every file that is listed was written completely. If not, a part counts only
            if its footer can be read.
    """

    listed_files_are_complete: bool

    def make_folder(self, run: Any) -> None:
        """Make the folder of a run, if it does not exist."""

    def write_problem(self, run: Any) -> str | None:
        """Return the reason why a run cannot be written here, or None. Checks only what needs no write."""

    def write(self, file: Any, content: bytes) -> None:
        """Replace a file's content in one step. A reader, or a crash, finds either the old or the new content."""

    def read(self, file: Any) -> bytes:
        """Return the content of a file. Raises FileNotFoundError if there is none."""

    def is_file(self, file: Any) -> bool:
        """Whether the file exists."""

    def remove(self, file: Any) -> None:
        """Remove a file, if it exists. It stays removed after a crash."""

    def parts(self, folder: Any) -> list[Any]:
        """Return the Parquet files of a folder, ordered by name."""

    def last_change(self, folder: Any) -> float | None:
        """Return when a part of the folder was last written, in seconds since 1970, or None if it has no parts."""

    def names(self, run: Any) -> list[str]:
        """Return the names of all files and folders directly in the folder of a run, or none if it does not exist."""

    def parquet_source(self, part: Any) -> Any:
        """Return a source of the part that pyarrow's Parquet readers accept."""

    def map(self, function: Callable[[T], U], items: Iterable[T]) -> Iterator[U]:
        """Apply a function to each item and yield the results in order. An object store does this in parallel."""


class Disk:
    """A disk of this machine, or a file system that is mounted on it."""

    listed_files_are_complete = False

    def make_folder(self, run: Path) -> None:
        run.mkdir(parents=True, exist_ok=True)

    def write_problem(self, run: Path) -> str | None:
        existing = run
        while not existing.exists() and existing != existing.parent:
            existing = existing.parent
        if existing.resolve().parts[1:2] in (("proc",), ("sys",)):
            return f"{existing} is a folder of the system, which takes no files"
        if existing.is_dir() and os.access(existing, os.W_OK | os.X_OK):
            return None
        return f"{existing} " + ("cannot be written" if existing.is_dir() else "is not a folder")

    def write(self, file: Path, content: bytes) -> None:
        """Write a temporary file, flush it, rename it to its final name, and flush the folder."""
        file.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=file.parent, prefix=".part-")
        try:
            with os.fdopen(handle, "wb") as stream:
                stream.write(content)
                stream.flush()
                os.fsync(stream.fileno())
            # The mode of any new file here, so that the files of a user who keeps files private are private too.
            os.chmod(temporary, 0o666 & ~_UMASK)
            os.replace(temporary, file)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
        flush(file.parent)

    def read(self, file: Path) -> bytes:
        return read_regular_file(file, MOST_BYTES)

    def is_file(self, file: Path) -> bool:
        return file.is_file()

    def remove(self, file: Path) -> None:
        if file.is_file():
            file.unlink(missing_ok=True)
            flush(file.parent)

    def parts(self, folder: Path) -> list[Path]:
        return sorted(folder.glob("*.parquet"))

    def last_change(self, folder: Path) -> float | None:
        return max((part.stat().st_mtime for part in folder.glob("*.parquet")), default=None)

    def names(self, run: Path) -> list[str]:
        return sorted(entry.name for entry in run.iterdir()) if run.is_dir() else []

    def parquet_source(self, part: Path) -> Path:
        """Return the path. A pipe of this name is refused, because pyarrow would wait for its other end for ever."""
        if not stat.S_ISREG(part.stat().st_mode):
            raise OSError(errno.EINVAL, "it is not a regular file", str(part))
        return part

    def map(self, function: Callable[[T], U], items: Iterable[T]) -> Iterator[U]:
        return map(function, items)


def flush(path: Path) -> None:
    """Force the content of a file, or the entries of a folder, onto the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def remove_leftovers(run: Location) -> None:
    """Remove the temporary files of a driver that was killed. Call this only while you hold the run's lock.

    An object store has no such files, because a put that is interrupted leaves no object.
    """
    if isinstance(run, RemotePath):
        return
    for leftover in (*run.glob(".part-*"), *run.glob("*/.part-*")):
        leftover.unlink(missing_ok=True)
    for folder in run.glob(f"{STAGING_PREFIX}*"):
        shutil.rmtree(folder)


def store_of(location: Location) -> Store:
    """Return the store that holds the files at a location.

    Raises:
        OSError: there is no such file system, or it cannot be reached.
    """
    return _object_store(location.uri) if isinstance(location, RemotePath) else Disk()


@cache
def _object_store(uri: str) -> Store:
    # Imported here, because a run on a disk needs no client of an object store.
    from pipeline.storage.object_store import ObjectStore

    return ObjectStore.of(uri)
