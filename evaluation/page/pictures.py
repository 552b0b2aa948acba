"""The images of samples as data URIs."""

import base64
import io
from dataclasses import dataclass

from PIL import Image

from evaluation.errors import ReportError

# A page of 24 prompts holds hundreds of images. With 512 pixels each, the page would be larger than 100 MB.
LARGEST = 256


@dataclass(frozen=True)
class Picture:
    """One image of the page.

    Attributes:
        uri: a PNG as a data URI.
        crisp: true if the image is so small that the page shows its pixels as squares.
        shrunk: true if the image is smaller than the saved one.
    """

    uri: str
    crisp: bool
    shrunk: bool


def picture(png: bytes) -> Picture:
    """Returns the PNG unchanged, or shrunk if a side is longer than `LARGEST` pixels.

    Raises:
        ReportError: the image cannot be read.
    """
    try:
        return _picture(png)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise ReportError(
            f"an image in samples/ cannot be read ({error}). `srsoup verify RUN` names every damaged file and its fix."
        ) from error


def _picture(png: bytes) -> Picture:
    with Image.open(io.BytesIO(png)) as image:
        large = max(image.size)
        if large <= LARGEST:
            return Picture(_uri(png), large <= 128, False)
        image.thumbnail((LARGEST, LARGEST), Image.Resampling.LANCZOS)
        buffer = io.BytesIO()
        image.save(buffer, format="PNG", optimize=True)
    return Picture(_uri(buffer.getvalue()), False, True)


def _uri(png: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(png).decode("ascii")
