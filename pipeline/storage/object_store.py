"""The files of a run on an object store, or on any other file system that pyarrow reaches by a URI.

Each file is written by one put of a complete buffer, which the store accepts completely or not at all. No file is
renamed or changed in file. File systems that show a file while it is being written (HDFS, those of fsspec) work too:
there, as on a disk, a part counts once its footer can be read.
"""

import contextlib
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.fs as pafs

from configs.location import BUCKETED, RemotePath

# Requests spend their time waiting for the network, so many run at once. All runs of a sweep share these threads.
_READERS = ThreadPoolExecutor(32, "store-reader")
# Writers have their own threads, so that a put never waits for thousands of reads.
_WRITERS = ThreadPoolExecutor(4, "store-writer")
# Up to this size a part is fetched in one request; of a larger one only the requested ranges are fetched.
SMALL_BYTES = 8 * 2**20
# pyarrow's names of the stores on which a put is atomic.
_ATOMIC_PUTS = frozenset({"s3", "gcs", "abfs"})

T = TypeVar("T")
U = TypeVar("U")


class ObjectStore:
    """A `pipeline.storage.disk.Store` on a file system of pyarrow.

    Args:
        root: the path of the run's folder on that file system.
        has_buckets: whether the first name of the path is a bucket.
    """

    def __init__(self, filesystem: pafs.FileSystem, root: str, *, has_buckets: bool) -> None:
        self._filesystem, self._root, self._has_buckets = filesystem, root, has_buckets
        self.listed_files_are_complete = filesystem.type_name in _ATOMIC_PUTS

    @classmethod
    def of(cls, uri: str) -> "ObjectStore":
        """Return the store of a run's URI. Credentials are read from the environment.

        Raises:
            OSError: there is no such file system, or it cannot be reached.
        """
        scheme = uri.partition("://")[0]
        # With this option a small object takes one request instead of three.
        extra = ("&" if "?" in uri else "?") + "allow_delayed_open=true" if scheme == "s3" else ""
        try:
            filesystem, root = pafs.FileSystem.from_uri(uri + extra)
        except (OSError, ValueError, ImportError, NotImplementedError) as error:
            raise OSError(f"{uri}: {error}") from error
        return cls(filesystem, root.rstrip("/"), has_buckets=scheme in BUCKETED)

    def make_folder(self, run: RemotePath) -> None:
        """Make the folder or, on a store with buckets, the bucket, which the URI has to allow."""
        if not self._has_buckets:
            self._filesystem.create_dir(self._path(run), recursive=True)
        elif self._is_absent(self._bucket):
            self._filesystem.create_dir(self._bucket)

    def write_problem(self, run: RemotePath) -> str | None:
        try:
            absent = self._has_buckets and self._is_absent(self._bucket)
        except OSError as error:
            return str(error)
        if absent and "allow_bucket_creation=true" not in run.uri:
            return f"the bucket {self._bucket} does not exist"
        return None

    def write(self, file: RemotePath, content: bytes) -> None:
        # In another thread, because an interrupt reaches the main thread. Between the opening and the writing of a
        # stream it would leave an empty object: pyarrow publishes a stream even if it is dropped.
        _WRITERS.submit(self._put, self._path(file), content).result()

    def _put(self, path: str, content: bytes) -> None:
        if not self.listed_files_are_complete:
            self._filesystem.create_dir(path.rpartition("/")[0], recursive=True)
        stream = self._filesystem.open_output_stream(path, compression=None)
        stream.write(content)
        stream.close()

    def read(self, file: RemotePath) -> bytes:
        with self._filesystem.open_input_file(self._path(file)) as stream:
            content: bytes = stream.read()
        return content

    def is_file(self, file: RemotePath) -> bool:
        return bool(self._filesystem.get_file_info(self._path(file)).is_file)

    def remove(self, file: RemotePath) -> None:
        with contextlib.suppress(FileNotFoundError):
            self._filesystem.delete_file(self._path(file))

    def parts(self, folder: RemotePath) -> list[RemotePath]:
        names = (info.base_name for info in self._files_in(folder))
        return [folder / name for name in sorted(names) if name.endswith(".parquet")]

    def last_change(self, folder: RemotePath) -> float | None:
        return max((info.mtime.timestamp() for info in self._files_in(folder) if info.mtime), default=None)

    def names(self, run: RemotePath) -> list[str]:
        selector = pafs.FileSelector(self._path(run), allow_not_found=True)
        return sorted(info.base_name for info in self._filesystem.get_file_info(selector))

    def parquet_source(self, part: RemotePath) -> pa.NativeFile:
        stream = self._filesystem.open_input_file(self._path(part))
        return pa.BufferReader(stream.read()) if stream.size() <= SMALL_BYTES else stream

    def map(self, function: Callable[[T], U], items: Iterable[T]) -> Iterator[U]:
        return _READERS.map(function, items)

    def _files_in(self, folder: RemotePath) -> list[Any]:
        selector = pafs.FileSelector(self._path(folder), allow_not_found=True)
        return [info for info in self._filesystem.get_file_info(selector) if info.is_file and info.size]

    @property
    def _bucket(self) -> str:
        return self._root.partition("/")[0]

    def _is_absent(self, path: str) -> bool:
        return bool(self._filesystem.get_file_info(path).type == pafs.FileType.NotFound)

    def _path(self, file: RemotePath) -> str:
        return "/".join((self._root, *file.below))
