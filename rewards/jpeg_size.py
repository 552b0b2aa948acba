"""The JPEG size of images, for the two rewards that read it. Nothing else encodes JPEG."""

import io

import numpy as np
import torch
from PIL import Image
from torch import Tensor

JPEG_QUALITY = 95
BYTES_PER_KB = 1000
SOURCE = "Black et al. 2024, Training Diffusion Models with Reinforcement Learning, Section 5.1"


def jpeg_kilobytes(images: Tensor) -> Tensor:
    """Return the size of each image as a JPEG file, in kB of 1,000 bytes.

    The encoder is Pillow's at quality 95, with its defaults otherwise (4:2:0 chroma, standard Huffman tables, no
    metadata). Sizes by another build of libjpeg may differ by some bytes.

    Args:
        images: uint8 RGB, shape (n, 3, h, w); h and w are at most 65,500, the limit of JPEG.

    Returns:
        float32, shape (n,), above 0.
    """
    sizes = [_jpeg_bytes(image) / BYTES_PER_KB for image in images.cpu().numpy()]
    return torch.tensor(sizes, dtype=torch.float32)


def _jpeg_bytes(image: np.ndarray) -> int:
    file = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(image.transpose(1, 2, 0))).save(file, "JPEG", quality=JPEG_QUALITY)
    return file.tell()
