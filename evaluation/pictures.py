"""Images of samples as data URIs."""

import base64
import io
from dataclasses import dataclass

from PIL import Image

# A page of 24 prompts holds hundreds of images: at 512 pixels they would weigh over 100 MB.
LARGEST = 256


@dataclass(frozen=True)
class Picture:
    """`uri` is a PNG; `crisp`: so small that its pixels are shown as squares; `shrunk`: not as it was saved."""

    uri: str
    crisp: bool
    shrunk: bool


def picture(png: bytes) -> Picture:
    """The PNG as it is, or shrunk to at most `LARGEST` pixels a side."""
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
