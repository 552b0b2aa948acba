"""The images of the page: WebP at display size, kept in a temporary file, so that memory stays flat."""

import base64
import hashlib
import io
import math
import os
import tempfile
from collections import deque
from collections.abc import Collection, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from PIL import Image

from evaluation.errors import ReportError
from evaluation.reading.images import FrontImages, read_images
from pipeline.records import Location

# The longest side of an image on the page. A run of many images gets smaller ones, so that a browser can open its page:
# the images of 1,000 prompts, 2 methods and 6 weightings have 256 pixels, and no page has more pixels than these.
LARGEST, SMALLEST = 320, 64
MOST_PIXELS = 800_000_000
# Images up to this side are shown with visible pixels, and are kept exactly as they are.
CRISP = 128
QUALITY = 78
FORMATS = ("PNG", "JPEG", "WEBP")
# The folder of a run, and the key of a front.
Front = tuple[str, str]
# Fronts that wait for their images to be encoded.
_AHEAD = 8


def display_side(images: int) -> int:
    """Returns the longest side, in pixels, of each of so many images of a page."""
    fits = math.isqrt(MOST_PIXELS // max(images, 1)) // 16 * 16
    return min(LARGEST, max(SMALLEST, fits))


def as_webp(image: bytes, side: int) -> bytes:
    """Returns an image as WebP, shrunk if a side is longer than `side` pixels; small images lose nothing.

    Raises:
        ReportError: the image cannot be read.
    """
    try:
        with Image.open(io.BytesIO(image), formats=FORMATS) as opened:
            shown = opened.convert("RGB")
        exact = max(shown.size) <= min(CRISP, side)
        if max(shown.size) > side:
            shown.thumbnail((side, side), Image.Resampling.LANCZOS, reducing_gap=2.0)
        buffer = io.BytesIO()
        shown.save(buffer, format="WEBP", lossless=exact, quality=QUALITY, method=3)
        return buffer.getvalue()
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise ReportError(
            f"an image in samples/ cannot be read ({error}). `srsoup verify RUN` names every damaged file and its fix."
        ) from error


class PictureStore:
    """The images of many fronts as texts for the page, in a temporary file of the folder `out`.

    A front is named by the folder of its run and its key. Its text is the WebP images of the front in base64, by
    weight_index, with a space between. A store may be filled again while a run goes on; only new fronts are read.

    Args:
        out: the folder of the page.
        full: whether to write the saved images, unchanged, into the folder `images` beside the page.
    """

    def __init__(self, out: Path, full: bool = False) -> None:
        self.side, self.full = LARGEST, full
        self._full = out / "images" if full else None
        if self._full:
            self._full.mkdir(exist_ok=True)
        self._file: IO[bytes] = tempfile.TemporaryFile(dir=out)  # noqa: SIM115 (closed by `__exit__`)
        self._places: dict[Front, tuple[int, int]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def use(self, side: int) -> None:
        """Sets the longest side of an image on the page; if it was another one, the store begins anew."""
        if side != self.side:
            self.side = side
            self._places.clear()
            self._file.truncate(0)

    def add(self, run: Location, keys: Collection[str]) -> None:
        """Adds those of these fronts of a run that the store lacks.

        Raises:
            ReportError: `read_images` or `as_webp` raised it.
        """
        lacking = [key for key in keys if not self.has(front_of(run, key))]
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            for key, encoded in self._encoded(pool, run, read_images(run, lacking)):
                text = b" ".join(base64.b64encode(webp.result()) for webp in encoded)
                start = self._file.seek(0, os.SEEK_END)
                self._file.write(text)
                self._places[front_of(run, key)] = (start, len(text))

    def _encoded(
        self, pool: ThreadPoolExecutor, run: Location, fronts: Iterator[FrontImages]
    ) -> Iterator[tuple[str, list[Future[bytes]]]]:
        waiting = deque[tuple[str, list[Future[bytes]]]]()
        for key, images in fronts:
            if self._full:
                for index, image in enumerate(images):
                    (self._full / full_name(front_of(run, key), index)).write_bytes(image)
            waiting.append((key, [pool.submit(as_webp, image, self.side) for image in images]))
            if len(waiting) > _AHEAD:
                yield waiting.popleft()
        yield from waiting

    def has(self, front: Front) -> bool:
        """Whether the images of a front are in the store."""
        return front in self._places

    def text(self, front: Front) -> bytes:
        """Returns the text of one front."""
        start, length = self._places[front]
        self._file.seek(start)
        return self._file.read(length)


def front_of(run: Location, key: str) -> Front:
    """Returns what names a front of a run in the store: two runs may have the same key."""
    return str(run), key


def front_name(front: Front) -> str:
    """Returns the name of a front in the names of files, without any character of its key, which may be any text."""
    return hashlib.sha256("\n".join(front).encode("utf-8", "replace")).hexdigest()[:24]


def full_name(front: Front, index: int) -> str:
    """Returns the name of the file of one saved image."""
    return f"{front_name(front)}-{index}.png"
