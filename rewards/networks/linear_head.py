"""The five linear layers at the end of LAION's aesthetic predictor and of ImageReward."""

from collections.abc import Mapping
from itertools import pairwise

from torch import Tensor, nn

from rewards.networks.strict_fill import filled

WIDTHS = (768, 1024, 128, 64, 16, 1)
# The numbers of the layers in the original, which also counts its dropout layers.
LAYERS = (0, 2, 4, 6, 7)


def linear_head(state: Mapping[str, Tensor], source: object) -> nn.Sequential:
    """Return the layers W5(W4(W3(W2(W1 x + b1) + b2) + b3) + b4) + b5, (n, 768) -> (n, 1), without activations.

    Args:
        state: the tensors "layers.<number>.weight" and "layers.<number>.bias" of the five layers.
        source: the file of the tensors, for messages.

    Raises:
        RewardError: a tensor is missing, left over or of another shape; the message names it.
    """
    places = {f"layers.{theirs}": str(ours) for ours, theirs in enumerate(LAYERS)}
    renamed = {}
    for key, value in state.items():
        layer, _, kind = key.rpartition(".")
        renamed[f"{places.get(layer, layer)}.{kind}"] = value
    return filled(lambda: nn.Sequential(*(nn.Linear(a, b) for a, b in pairwise(WIDTHS))), renamed, source)
