"""The gradient of a function of the look-ahead latents, through the denoiser."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

# A differentiable function of the look-ahead latents of one row, (1, C, H, W), and of its number; one number.
Value = Callable[[Tensor, int], Tensor]


def gradients_of_rows(look_ahead: Callable[[Tensor], Tensor], x: Tensor, value: Value) -> Tensor:
    """Return grad_x value(look_ahead(x)) of each row by itself, float32, shape of x.

    Row by row, so that the memory is that of one row, and a row's bits do not depend on the others.
    """
    gradients = list[Tensor]()
    for row in range(len(x)):
        # A copy, because tensors of the inference mode cannot be used in a backward pass.
        x_1CHW = x[row : row + 1].clone().requires_grad_()
        gradients += torch.autograd.grad(value(look_ahead(x_1CHW), row), x_1CHW)
    return torch.cat(gradients).float()


@contextmanager
def differentiable(denoiser: Any, checkpointing: bool) -> Iterator[None]:
    """Allow backward passes to the inputs of a denoiser. No gradients of its weights are kept.

    Args:
        checkpointing: whether activations are computed again in the backward pass, and not kept.
    """
    required = [weight for weight in denoiser.parameters() if weight.requires_grad]
    for weight in required:
        weight.requires_grad_(False)
    if checkpointing:
        denoiser.enable_gradient_checkpointing()
    try:
        with torch.inference_mode(False), torch.enable_grad():
            yield
    finally:
        if checkpointing:
            denoiser.disable_gradient_checkpointing()
        for weight in required:
            weight.requires_grad_(True)
