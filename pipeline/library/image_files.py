"""Reads image files for `srsoup score`: as 8-bit RGB where that is exact, and otherwise with a clear refusal."""

import io
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from configs.errors import COMMAND_LINE, RequestError
from configs.file_digest import read_regular_file

MOST_BYTES = 200_000_000
MOST_PIXELS = 8192 * 8192
# Formats whose pixels are stored, and not drawn by a program. Pillow would run Ghostscript for EPS.
FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "PPM")
ALLOWED = (
    f"a regular file with one image, 8-bit RGB or grey, or 16-bit grey, without alpha, in the format "
    f"{', '.join(FORMATS)}, of at most {MOST_PIXELS:,} pixels and {MOST_BYTES:,} bytes"
)
# The modes in which Pillow gives a byte for each colour, or a palette of them.
_BYTES = frozenset({"1", "L", "P", "RGB", "LA", "La", "PA", "RGBA", "RGBa", "RGBX"})
_ORIENTATION = 0x0112
_BITS_PER_SAMPLE = 258


class ImagePixels(NamedTuple):
    """An image that was read from a file.

    Attributes:
        pixels: uint8 (1, 3, height, width).
        notes: what was done to the file's values, one clause each.
    """

    pixels: Tensor
    notes: tuple[str, ...]


class _Unfit(Exception):
    """An image that cannot be converted exactly: what is wrong, and the fix."""


def read_image(path: Path) -> ImagePixels:
    """Read a file as 8-bit RGB. Each conversion is exact, and is noted if it is not that of 8-bit grey or a palette.

    - 16-bit grey: v becomes round(v * 255 / 65535), as in the PNG specification.
    - An alpha channel that is opaque everywhere is left out.
    - The image is turned and mirrored as its EXIF orientation says.

    Raises:
        RequestError: the file cannot be read, or its values cannot be brought to 8-bit RGB exactly.
    """
    try:
        content = read_regular_file(path, MOST_BYTES)
        with warnings.catch_warnings():
            # Pillow warns of what is refused below anyway.
            warnings.simplefilter("ignore")
            pixels, notes = _decoded(content)
    except _Unfit as error:
        problem, fix = error.args
        raise _refusal(path, problem, fix) from error
    except OSError as error:
        raise _refusal(path, f"this file cannot be read: {error.strerror or error}", "check the path") from error
    except Exception as error:
        # The decoders of damaged files raise errors of many kinds.
        problem = f"this file cannot be read: {type(error).__name__}: {error}"
        raise _refusal(path, problem, "save the image again as PNG") from error
    return ImagePixels(torch.from_numpy(pixels.transpose(2, 0, 1).copy())[None], tuple(notes))


def _decoded(content: bytes) -> tuple[np.ndarray, list[str]]:
    """The pixels, uint8 (height, width, 3), and what was done."""
    try:
        image = Image.open(io.BytesIO(content), formats=FORMATS)
    except Image.DecompressionBombError as error:
        raise _too_large() from error
    with image:
        if image.width * image.height > MOST_PIXELS:
            raise _too_large()
        # A phone's JPEG file may hold a preview beside the photograph. Pillow calls its format MPO.
        if getattr(image, "is_animated", False) and image.format != "MPO":
            raise _Unfit("this file has more than one image", "save the image that you mean in a file of its own")
        _check_depth(image, content)
        notes = list(_notes_of(image))
        image.load()
        turned = ImageOps.exif_transpose(image)
        pixels, more = _as_bytes(turned)
        return pixels, [*notes, *more]


def _check_depth(image: Image.Image, content: bytes) -> None:
    """Refuse what Pillow would bring to 8 bits by cutting bits off, and colours that have no exact RGB."""
    mode = image.mode
    if mode not in _BYTES and not mode.startswith("I;16"):
        kinds = {"CMYK": "CMYK", "F": "of floats", "I": "of 32-bit integers", "LAB": "Lab", "YCbCr": "YCbCr"}
        raise _Unfit(
            f"this image is {kinds.get(mode, mode)}, which has no exact 8-bit RGB",
            "convert it to 8-bit RGB first, as you want it to be judged",
        )
    # Bytes 24 and 25 of a PNG file are the depth and the kind of its pixels; kind 0 is grey.
    depth = content[24] if image.format == "PNG" and content[25] != 0 else 8
    if image.format == "TIFF" and mode in _BYTES:
        depth = max(getattr(image, "tag_v2", {}).get(_BITS_PER_SAMPLE, (8,)))
    tiles = getattr(image, "tile", ())
    if image.format == "PPM" and tiles and tiles[0].codec_name.startswith("ppm"):
        # The values of this decoder go up to any number; for 255 Pillow uses another one, except in plain text.
        depth = 8 if tiles[0].args[-1] == 255 else 16
    if depth > 8:
        raise _Unfit("this image has more than 8 bits a channel", "save it with 8 bits a channel first")


def _notes_of(image: Image.Image) -> Iterator[str]:
    if image.format == "MPO":
        yield "the first of the file's images is taken"
    orientation = image.getexif().get(_ORIENTATION, 1)
    if orientation in range(2, 9):
        yield f"the image is turned as its EXIF orientation {orientation} says"
    profile = image.info.get("icc_profile") or b""
    if profile and b"sRGB" not in profile.replace(b"\0", b""):
        yield "the colour profile is not applied: the values are taken for sRGB"


def _as_bytes(image: Image.Image) -> tuple[np.ndarray, list[str]]:
    """The pixels of a loaded image, uint8 (height, width, 3), and what was done."""
    if image.mode.startswith("I;16"):
        grey = np.asarray(image).astype(np.uint32)
        if (clear := image.info.get("transparency")) is not None and (grey == clear).any():
            raise _has_alpha()
        # 65535 = 257 * 255, so this is v * 255 / 65535 rounded, which never falls on a half.
        eight = ((grey + 128) // 257).astype(np.uint8)
        return np.repeat(eight[:, :, None], 3, axis=2), ["16-bit grey is brought to 8 bits, v * 255 / 65535 rounded"]
    if image.has_transparency_data:
        layers = np.asarray(image.convert("RGBA"))
        if (layers[:, :, 3] != 255).any():
            raise _has_alpha()
        return layers[:, :, :3], ["the alpha channel is left out: it is opaque everywhere"]
    return np.asarray(image.convert("RGB")), []


def _has_alpha() -> _Unfit:
    return _Unfit(
        "this image has an alpha channel, and not all of it is opaque",
        "lay it on a background first, as `convert -background white -flatten` does",
    )


def _too_large() -> _Unfit:
    return _Unfit(f"this image has more than {MOST_PIXELS:,} pixels", "make it smaller first")


def _refusal(path: Path, problem: str, fix: str) -> RequestError:
    return RequestError(file=COMMAND_LINE, key="IMAGE", value=str(path), problem=problem, allowed=ALLOWED, fix=fix)
