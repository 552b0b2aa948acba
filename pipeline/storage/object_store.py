"""The files of a run on an object store, or on any other file system that pyarrow reaches by a URI.

A file is one put of a finished buffer, which the store takes whole or not at all. Nothing is ever renamed or
changed in place. File systems that show a file while it is written (HDFS, those of fsspec) are served too: there,
as on a disk, a part counts once its footer reads.
"""

import contextlib
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.fs as pafs

from configs.location import BUCKETED, RemotePath

# A request waits for the network and not for us, so many are made at once, of all runs of a sweep together.
_READERS = ThreadPoolExecutor(32, "store-reader")
# Apart from the readers, so that a put never stands behind thousands of reads.
_WRITERS = ThreadPoolExecutor(4, "store-writer")
# A smaller part is fetched in one request; of a larger one, what is asked for.
SMALL_BYTES = 8 * 2**20
# What pyarrow calls the stores on which a put is whole.
_WHOLE = frozenset({"s3", "gcs", "abfs"})

T = TypeVar("T")
U = TypeVar("U")


class ObjectStore:
    """A `pipeline.storage.disk.Store` on a file system of pyarrow's; `root` is the run's folder in its own terms."""

    def __init__(self, filesystem: pafs.FileSystem, root: str, *, has_buckets: bool) -> None:
        self._filesystem, self._root, self._has_buckets = filesystem, root, has_buckets
        self.whole = filesystem.type_name in _WHOLE

    @classmethod
    def of(cls, uri: str) -> "ObjectStore":
        """The store of a run's URI. Credentials come from the environment.

        Raises:
            OSError: there is no such file system, or it cannot be reached.
        """
        scheme = uri.partition("://")[0]
        # A small object then is one request, not three.
        extra = ("&" if "?" in uri else "?") + "allow_delayed_open=true" if scheme == "s3" else ""
        try:
            filesystem, root = pafs.FileSystem.from_uri(uri + extra)
        except (OSError, ValueError, ImportError, NotImplementedError) as error:
            raise OSError(f"{uri}: {error}") from error
        return cls(filesystem, root.rstrip("/"), has_buckets=scheme in BUCKETED)

    def make(self, run: RemotePath) -> None:
        """Objects need no folder, but a bucket, which pyarrow makes where the URI allows it."""
        if not self._has_buckets:
            self._filesystem.create_dir(self._path(run), recursive=True)
        elif self._is_absent(self._bucket):
            self._filesystem.create_dir(self._bucket)

    def trouble(self, run: RemotePath) -> str | None:
        try:
            absent = self._has_buckets and self._is_absent(self._bucket)
        except OSError as error:
            return str(error)
        if absent and "allow_bucket_creation=true" not in run.uri:
            return f"there is no bucket {self._bucket}"
        return None

    def write(self, place: RemotePath, content: bytes) -> None:
        # In a thread of its own: an interrupt, which hits the main one, between the opening and the writing of a
        # stream would leave an empty object, for pyarrow publishes a stream that it drops.
        _WRITERS.submit(self._put, self._path(place), content).result()

    def _put(self, path: str, content: bytes) -> None:
        if not self.whole:
            self._filesystem.create_dir(path.rpartition("/")[0], recursive=True)
        stream = self._filesystem.open_output_stream(path, compression=None)
        stream.write(content)
        stream.close()

    def read(self, place: RemotePath) -> bytes:
        with self._filesystem.open_input_file(self._path(place)) as file:
            return file.read()

    def holds(self, place: RemotePath) -> bool:
        return bool(self._filesystem.get_file_info(self._path(place)).is_file)

    def remove(self, place: RemotePath) -> None:
        with contextlib.suppress(FileNotFoundError):
            self._filesystem.delete_file(self._path(place))

    def parts(self, folder: RemotePath) -> list[RemotePath]:
        names = (info.base_name for info in self._listed(folder))
        return [folder / name for name in sorted(names) if name.endswith(".parquet")]

    def last_change(self, folder: RemotePath) -> float | None:
        return max((info.mtime.timestamp() for info in self._listed(folder) if info.mtime), default=None)

    def names(self, run: RemotePath) -> list[str]:
        selector = pafs.FileSelector(self._path(run), allow_not_found=True)
        return sorted(info.base_name for info in self._filesystem.get_file_info(selector))

    def source(self, part: RemotePath) -> pa.NativeFile:
        file = self._filesystem.open_input_file(self._path(part))
        return pa.BufferReader(file.read()) if file.size() <= SMALL_BYTES else file

    def each(self, work: Callable[[T], U], things: Iterable[T]) -> Iterator[U]:
        return _READERS.map(work, things)

    def _listed(self, folder: RemotePath) -> list[Any]:
        selector = pafs.FileSelector(self._path(folder), allow_not_found=True)
        return [info for info in self._filesystem.get_file_info(selector) if info.is_file and info.size]

    @property
    def _bucket(self) -> str:
        return self._root.partition("/")[0]

    def _is_absent(self, path: str) -> bool:
        return self._filesystem.get_file_info(path).type == pafs.FileType.NotFound

    def _path(self, place: RemotePath) -> str:
        return "/".join((self._root, *place.below))
