"""Image files that are not 8-bit RGB, or no images at all, for `srsoup score`."""

import os
import struct
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from tests.support.hostile.case import Case

KIND = "images"
SCORE = ("score", "a.png", "--rewards", "colorfulness")
# The two outcomes of an image that can be converted: its score, or a refusal that says why.
EITHER = (0, 2)


def _saved(image: Image.Image, **options: object) -> Callable[[Path], object]:
    return lambda folder: image.save(folder / "a.png", "PNG", **options)


def _bytes(content: bytes) -> Callable[[Path], object]:
    return lambda folder: (folder / "a.png").write_bytes(content)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _png(width: int, height: int) -> bytes:
    """A PNG that declares this size, whatever it holds."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + _chunk(b"IHDR", header)
        + _chunk(b"IDAT", zlib.compress(bytes(1000)))
        + _chunk(b"IEND", b"")
    )


def _grey_16() -> Image.Image:
    return Image.fromarray(np.full((8, 8), 30_000, np.uint16))


def cases() -> Iterator[Case]:
    rgb = Image.new("RGB", (8, 8), "red")
    wrong = {
        "empty": _bytes(b""),
        "text": _bytes(b"hello"),
        "cut": _bytes(_png(8, 8)[:40]),
        "too few bytes": _bytes(_png(64, 64)),
        "14,000 x 14,000": _bytes(_png(14_000, 14_000)),
        "100,000 x 100,000": _bytes(_png(100_000, 100_000)),
        "2^31 - 1 x 2^31 - 1": _bytes(_png(2**31 - 1, 2**31 - 1)),
        "0 x 0": _bytes(_png(0, 0)),
        "a folder": lambda folder: (folder / "a.png").mkdir(),
        "a FIFO": lambda folder: os.mkfifo(folder / "a.png"),
        "a link to itself": lambda folder: (folder / "a.png").symlink_to("a.png"),
        "nothing": lambda folder: None,
    }
    for name, prepare in wrong.items():
        yield Case(KIND, name, SCORE, "IMAGE|a.png", prepare=prepare)
    converted = {
        "16-bit grey": _saved(_grey_16()),
        "RGBA": _saved(Image.new("RGBA", (8, 8), (255, 0, 0, 128))),
        "a palette": _saved(rgb.convert("P")),
        "1 bit": _saved(rgb.convert("1")),
        "CMYK": lambda folder: rgb.convert("CMYK").save(folder / "a.png", "JPEG"),
    }
    for name, prepare in converted.items():
        yield Case(KIND, f"right or refused: {name}", SCORE, "", EITHER, prepare=prepare)
    yield Case(KIND, "/dev/zero", ("score", "/dev/zero", "--rewards", "colorfulness"), "")
    yield Case(KIND, "no reward", ("score", "a.png", "--rewards", ""), "no reward of this name", prepare=_saved(rgb))
    yield Case(KIND, "an unknown reward", ("score", "a.png", "--rewards", "none"), "no reward", prepare=_saved(rgb))
    yield Case(KIND, "no prompt", ("score", "a.png", "--rewards", "mini_clip"), "--prompt", prepare=_saved(rgb))
    yield Case(KIND, "a prompt of bytes", ("score", "a.png", "--rewards", "mini_clip", "--prompt", "\udcff"), "",
               prepare=_saved(rgb))  # fmt: skip
    yield Case(KIND, "right: a red image", SCORE, "a.png\t", (0,), prepare=_saved(rgb))
