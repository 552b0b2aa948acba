"""The precision in which the networks of rewards compute."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import torch

Precision = Literal["float32", "tf32", "bfloat16"]


@contextmanager
def computing_in(precision: Precision, device: str) -> Iterator[None]:
    """Compute matrix products and convolutions in a precision, as long as the block runs.

    - `float32`: all bits.
    - `tf32`: 10 bits of each factor and float32 sums, on GPUs since Ampere; on other devices all bits.
    - `bfloat16`: 8 bits of each factor (torch's autocast). Norms, softmax and sums stay in float32.

    Args:
        precision: the precision.
        device: where the networks are.
    """
    if precision == "bfloat16":
        with torch.autocast(torch.device(device).type, torch.bfloat16):
            yield
        return
    before = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = precision == "tf32"
    try:
        yield
    finally:
        torch.backends.cuda.matmul.allow_tf32 = before
