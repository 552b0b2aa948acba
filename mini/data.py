"""The pictures as data: the committed table of animals, and the cache that passes rendered artwork between stages.

Pixels are uint8 RGB, and batches are NCHW. Rendered artwork is 128 px on white; the committed table is 64 px.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from mini.names import STYLES

TABLE = Path(__file__).parent / "data" / "animals.parquet"


@dataclass(frozen=True)
class Artwork:
    """Pictures of one size with their labels.

    Attributes:
        images: uint8 (n, 3, p, p), RGB on white.
        names: the animal or the icon on each picture.
        styles: the artwork set of each picture.
    """

    images: Tensor
    names: tuple[str, ...]
    styles: tuple[str, ...]

    def where(self, keep: list[bool]) -> Artwork:
        """Returns the pictures whose flag in `keep` is true."""
        rows = [i for i, k in enumerate(keep) if k]
        return Artwork(self.images[rows], tuple(self.names[i] for i in rows), tuple(self.styles[i] for i in rows))


def stack(images: list[np.ndarray]) -> Tensor:
    """Stacks uint8 HWC pictures of one size into a uint8 NCHW batch."""
    return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).contiguous()


def shrink(images: Tensor) -> Tensor:
    """Halves uint8 pictures (n, 3, 2p, 2p) to (n, 3, p, p) with averages of 2 x 2 pixels."""
    return F.avg_pool2d(images.float(), 2).round().to(torch.uint8)


def save_table(art: Artwork, path: Path = TABLE) -> None:
    """Halves the pictures from 128 to 64 px, and writes one Parquet file: name, style, licence, image (PNG bytes)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    table = pa.table(
        {
            "name": list(art.names),
            "style": list(art.styles),
            "licence": [STYLES[s].licence for s in art.styles],
            "image": pa.array([_png(x) for x in shrink(art.images)], pa.binary()),
        }
    )
    pq.write_table(table, path, compression="zstd")


def load_table(path: Path = TABLE) -> Artwork:
    """Reads the committed pictures, 64 px each."""
    table = pq.read_table(path).to_pydict()
    images = [np.asarray(Image.open(io.BytesIO(png)).convert("RGB")) for png in table["image"]]
    return Artwork(stack(images), tuple(table["name"]), tuple(table["style"]))


def _png(image: Tensor) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image.permute(1, 2, 0).numpy()).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def save_cache(art: Artwork, path: Path) -> None:
    """Writes rendered artwork for later stages, as an .npz file without pickles."""
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, images=art.images.numpy(), names=np.array(art.names), styles=np.array(art.styles))


def load_cache(path: Path) -> Artwork:
    """Reads the artwork that `save_cache` wrote."""
    with np.load(path) as kept:
        return Artwork(
            torch.from_numpy(kept["images"]), tuple(map(str, kept["names"])), tuple(map(str, kept["styles"]))
        )
