"""What the files of a run are kept by: a disk of this machine, or an object store (`pipeline.storage.object_store`)."""

import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any, Protocol, TypeVar

from configs.location import Location, RemotePath

# Folders in which merged parts are made.
STAGING = ".compact-"
# The names of what a driver may leave in a folder before it has written the run's record there.
BEFORE_THE_RECORD = (".lock", ".lease", ".part-", STAGING, "driver.log")
# The system names the mask of new files only when it is set.
_UMASK = os.umask(0o077)
os.umask(_UMASK)
T = TypeVar("T")
U = TypeVar("U")


class Store(Protocol):
    """The file work of a run; the places that it is given are those of its own kind.

    Attributes:
        whole: whatever is listed was written whole. Where it is not so, a part's footer has to be looked at.
    """

    whole: bool

    def make(self, run: Any) -> None:
        """Make the folder of a run, if need be."""

    def trouble(self, run: Any) -> str | None:
        """What keeps a run from being written here, as far as that can be seen without writing; None if nothing."""

    def write(self, place: Any, content: bytes) -> None:
        """Give a place this content in one step: a reader or a crash finds all of it, or what was there before."""

    def read(self, place: Any) -> bytes:
        """What is at a place; FileNotFoundError if nothing is."""

    def holds(self, place: Any) -> bool:
        """Whether there is a file at a place."""

    def remove(self, place: Any) -> None:
        """Remove what is at a place, if anything is; it stays removed after a crash."""

    def parts(self, folder: Any) -> list[Any]:
        """The Parquet files of a folder, in the order of their names."""

    def last_change(self, folder: Any) -> float | None:
        """When a part of the folder was last written, in seconds since 1970; None if there is none."""

    def names(self, run: Any) -> list[str]:
        """The names of all files and folders that are directly in the folder of a run; none if it is not there."""

    def source(self, part: Any) -> Any:
        """A part, for pyarrow's Parquet readers."""

    def each(self, work: Callable[[T], U], things: Iterable[T]) -> Iterator[U]:
        """`map`, at the pace that suits the store."""


class Disk:
    """A disk of this machine, or one that is mounted here as if it were."""

    whole = False

    def make(self, run: Path) -> None:
        run.mkdir(parents=True, exist_ok=True)

    def trouble(self, run: Path) -> str | None:
        there = run
        while not there.exists() and there != there.parent:
            there = there.parent
        if there.is_dir() and os.access(there, os.W_OK | os.X_OK):
            return None
        return f"{there} " + ("cannot be written" if there.is_dir() else "is no folder")

    def write(self, place: Path, content: bytes) -> None:
        """Temporary file, fsync, rename, fsync of the folder."""
        place.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=place.parent, prefix=".part-")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            # The mode that a new file gets here: a user who keeps files private keeps these private too.
            os.chmod(temporary, 0o666 & ~_UMASK)
            os.replace(temporary, place)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
        flush(place.parent)

    def read(self, place: Path) -> bytes:
        return place.read_bytes()

    def holds(self, place: Path) -> bool:
        return place.is_file()

    def remove(self, place: Path) -> None:
        if place.is_file():
            place.unlink(missing_ok=True)
            flush(place.parent)

    def parts(self, folder: Path) -> list[Path]:
        return sorted(folder.glob("*.parquet"))

    def last_change(self, folder: Path) -> float | None:
        return max((part.stat().st_mtime for part in folder.glob("*.parquet")), default=None)

    def names(self, run: Path) -> list[str]:
        return sorted(entry.name for entry in run.iterdir()) if run.is_dir() else []

    def source(self, part: Path) -> Path:
        return part

    def each(self, work: Callable[[T], U], things: Iterable[T]) -> Iterator[U]:
        return map(work, things)


def flush(path: Path) -> None:
    """Have a file's content, or the names in a folder, on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def remove_leftovers(run: Location) -> None:
    """Remove the temporary files of a writer that was killed. Only for who alone writes to the run.

    An object store has none: a put that was cut off is nothing.
    """
    if isinstance(run, RemotePath):
        return
    for leftover in (*run.glob(".part-*"), *run.glob("*/.part-*")):
        leftover.unlink(missing_ok=True)
    for folder in run.glob(f"{STAGING}*"):
        shutil.rmtree(folder)


def store_of(place: Location) -> Store:
    """What keeps the files at this place.

    Raises:
        OSError: there is no such file system, or it cannot be reached.
    """
    return _remote(place.uri) if isinstance(place, RemotePath) else Disk()


@cache
def _remote(uri: str) -> Store:
    # Here, because a run on a disk needs no client of an object store.
    from pipeline.storage.object_store import ObjectStore

    return ObjectStore.of(uri)
