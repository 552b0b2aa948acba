"""The content of a prompt file: of a regular file, of limited size, and in UTF-8."""

import codecs
import errno
import gzip
import os
import stat
import zlib
from pathlib import Path
from typing import BinaryIO

from pipeline.planning.prompt_formats.rows import WrongFileError

MOST_BYTES = 500_000_000
"""The largest file of text that is read, and the largest content of a packed one. Parquet files have no limit."""

_WIDE = {
    codecs.BOM_UTF32_LE: "UTF-32", codecs.BOM_UTF32_BE: "UTF-32", codecs.BOM_UTF16_LE: "UTF-16",
    codecs.BOM_UTF16_BE: "UTF-16",
}  # fmt: skip
# The first bytes of a file that was not downloaded -> a description and what to do.
_NOT_DOWNLOADED = {
    b"version https://git-lfs.github.com/spec/": ("a pointer of Git LFS", "run `git lfs pull` to get the file itself"),
    b"<!doctype html": ("a web page", "download the file itself, not the page that shows it"),
    b"<html": ("a web page", "download the file itself, not the page that shows it"),
    b"404: not found": ("GitHub's answer for a missing file", "check the address, and download the file again"),
}


def open_regular(path: Path) -> BinaryIO:
    """Open a regular file to read it. A device has no end, and a pipe keeps its reader waiting.

    Raises:
        OSError: the file cannot be opened, or is not a regular file.
    """
    # Without O_NONBLOCK, opening a pipe waits for its other end.
    file = os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb")
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise OSError(errno.EINVAL, "it is a device, a pipe or a socket, and not a regular file")
    return file


def read_text(path: Path, packed: bool) -> str:
    """Return the text of a file.

    Args:
        path: a regular file in UTF-8, with or without a byte order mark.
        packed: whether the file is packed by gzip.

    Raises:
        OSError: the file cannot be read, or is not a regular file.
        WrongFileError: the file is larger than `MOST_BYTES`, damaged, in another encoding, or no prompt file at all.
    """
    with open_regular(path) as file:
        content = _unpacked(file) if packed else file.read(MOST_BYTES + 1)
    if len(content) > MOST_BYTES:
        raise WrongFileError(
            f"its content is larger than {MOST_BYTES:,} bytes", "split the file, or save the prompts as Parquet"
        )
    for start, (kind, fix) in _NOT_DOWNLOADED.items():
        if content[: len(start) + 8].lstrip().lower().startswith(start):
            raise WrongFileError(f"line 1 shows that the file is {kind}", fix)
    return _decoded(content)


def _unpacked(file: BinaryIO) -> bytes:
    try:
        return gzip.GzipFile(fileobj=file).read(MOST_BYTES + 1)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise WrongFileError(f"it is not a whole gzip file: {error}", "download or pack the file again") from error


def _decoded(content: bytes) -> str:
    for mark, encoding in _WIDE.items():
        if content.startswith(mark):
            raise _not_utf8(f"it is {encoding}, as its first bytes say", encoding)
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise _not_utf8(f"byte {error.start}, in line {line}", "WINDOWS-1252") from error
    if (place := text.find("\0")) >= 0:
        line = text[:place].count("\n") + 1
        # Plain text in UTF-16 without a mark is every other byte NUL.
        if content[:2000].count(0) * 3 > len(content[:2000]):
            raise _not_utf8(f"line {line} has NUL bytes, as UTF-16 has", "UTF-16LE" if content[1] == 0 else "UTF-16BE")
        raise WrongFileError(f"line {line} has a NUL character, so the file is damaged or not text", "save it as text")
    return text


def _not_utf8(problem: str, encoding: str) -> WrongFileError:
    return WrongFileError(
        f"it is not UTF-8: {problem}",
        f"save the file as UTF-8, for example with `iconv -f {encoding} -t UTF-8 FILE > NEW`",
    )
