"""The content of a file: its SHA-256, which identifies it whatever its name and place, and its bytes."""

import errno
import hashlib
import os
import stat
from pathlib import Path


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file's content as 64 hexadecimal digits. The file is read in blocks."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_regular_file(path: Path, most_bytes: int) -> bytes:
    """Return the content of a file that somebody else may have named.

    A device would have no end, and a pipe would keep the reader waiting.

    Raises:
        OSError: the file cannot be read, is not a regular file, or has more than `most_bytes` bytes.
    """
    # Without O_NONBLOCK, opening a pipe waits for its other end.
    with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb") as file:
        found = os.fstat(file.fileno())
        if stat.S_ISDIR(found.st_mode):
            raise OSError(errno.EISDIR, os.strerror(errno.EISDIR))
        if not stat.S_ISREG(found.st_mode):
            raise OSError(errno.EINVAL, "it is a device, a pipe or a socket, and not a regular file")
        if found.st_size > most_bytes:
            raise OSError(errno.EFBIG, f"it has {found.st_size:,} bytes, and at most {most_bytes:,} are read")
        return file.read(most_bytes)
