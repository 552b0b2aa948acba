"""The gradient of a function of the look-ahead latents, through the denoiser."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

# A differentiable function of the look-ahead latents of some rows, (n, C, H, W), and of the number of the first of
# them: the sum of one number for each row.
Value = Callable[[Tensor, int], Tensor]


def gradients_of_rows(look_ahead: Callable[[Tensor], Tensor], x: Tensor, value: Value, at_once: int) -> Tensor:
    """Return grad_x value(look_ahead(x)) of each row by itself, float32, shape of x.

    Each pass computes `at_once` rows, so the memory is that of so many. The last pass is filled up with zeros, because
    the last bits of a network's output depend on the batch size: so a row's bits do not depend on the others.
    """
    gradients = list[Tensor]()
    for start in range(0, len(x), at_once):
        # A new tensor, because tensors of the inference mode cannot be used in a backward pass.
        x_nCHW = x[start : start + at_once]
        x_BCHW = torch.zeros((at_once, *x.shape[1:]), dtype=x.dtype, device=x.device)
        x_BCHW[: len(x_nCHW)] = x_nCHW
        x_BCHW.requires_grad_()
        (gradient,) = torch.autograd.grad(value(look_ahead(x_BCHW)[: len(x_nCHW)], start), x_BCHW)
        gradients.append(gradient[: len(x_nCHW)])
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
