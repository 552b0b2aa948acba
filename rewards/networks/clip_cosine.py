"""The common part of the rewards that are a cosine of image and prompt features."""

from collections.abc import Sequence
from typing import ClassVar

from torch import Tensor

from rewards.base import RewardInfo
from rewards.errors import RewardError
from rewards.networks.clip_encoder import Checkpoint, ClipEncoder
from rewards.pinned_files import WeightFile

_OPENAI = ("openai/clip-vit-large-patch14", "32bd64288804d66eefd0ccbe215aa642df71cc41")
OPENAI_WEIGHTS = WeightFile(
    *_OPENAI, "model.safetensors", "a2bf730a0c7debf160f7a6b50b3aaf3703e7e88ac73de7a314903141db026dcb"
)
# OpenCLIP, PickScore and HPSv2 were trained with OpenAI's byte-pair encoding too.
OPENAI_VOCABULARY = WeightFile(
    *_OPENAI, "vocab.json", "3f0c4f7d2086b61b38487075278ea9ed04edb53a03cbb045b86c27190fa8fb69"
)
OPENAI_MERGES = WeightFile(*_OPENAI, "merges.txt", "9fd691f7c8039210e0fced15865466c65820d09b63988b0174bfe25de299051a")


class ClipCosine:
    """The raw cosine <e(image), e(prompt)>, in -1..1, with both features scaled to length 1.

    The cosine is not multiplied by CLIP's temperature, nor by 100. Prompts are cut after 77 tokens, and their features
    are kept between calls. The last bits depend on the batch size. A subclass adds its declaration and its model.

    Args:
        checkpoint: the CLIP model; by default that of the class.
    """

    info: ClassVar[RewardInfo]
    checkpoint: ClassVar[Checkpoint]

    def __init__(self, checkpoint: Checkpoint | None = None) -> None:
        self._checkpoint = checkpoint or self.checkpoint
        self._encoder: ClipEncoder | None = None

    def setup(self, device: str) -> None:
        """Load the model.

        Raises:
            WeightsError: a weight file is missing, or its content is not the expected one.
        """
        self._encoder = ClipEncoder(self._checkpoint, device)

    def score(self, images: Tensor, prompts: Sequence[str]) -> Tensor:
        if self._encoder is None:
            raise RewardError(f"{self.info.name} is not set up, or it is closed", "call setup() first")
        cosines = (self._encoder.images(images) * self._encoder.texts(prompts)).sum(1)
        # The product of two unit vectors may round to slightly more than 1.
        return cosines.clamp(-1, 1).cpu()

    def close(self) -> None:
        self._encoder = None
