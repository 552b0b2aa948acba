"""LAION's aesthetic predictor: a linear head on CLIP ViT-L/14 image features (Schuhmann 2022)."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from rewards.base import RewardInfo
from rewards.clip_score import ClipScore
from rewards.errors import RewardError
from rewards.networks.clip_cosine import OPENAI_WEIGHTS
from rewards.networks.clip_encoder import Checkpoint, ClipEncoder
from rewards.networks.linear_head import linear_head
from rewards.pinned_files import WeightFile, locate

HEAD = WeightFile(
    "christophschuhmann/improved-aesthetic-predictor",
    "6934dd81792f086e613a121dbce43082cb8be85e",
    "sac+logos+ava1-l14-linearMSE.pth",
    "21dd590f3ccdc646f0d53120778b296013b096a035a2718c9cb0d511bff0f1e0",
    host="github",
)


class Aesthetic:
    """The value head(e), where e are CLIP's image features, scaled to length 1, and head is `linear_head`.

    Values are about 1 to 10, the scale of the human ratings. Photographs and paintings that people like reach 6 to 7.
    The last bits depend on the batch size.

    Args:
        checkpoint: the CLIP model; by default OpenAI's ViT-L/14.
        head: the file of the linear layers; by default LAION's.
    """

    info = RewardInfo(
        name="aesthetic",
        description="the more people like the look of the image, the higher; about 1 to 10",
        unit="",
        range=(float("-inf"), float("inf")),
        reads_prompt=False,
        differentiable=True,
        batch_sensitive=True,
        source="Schuhmann 2022, improved-aesthetic-predictor (sac+logos+ava1-l14-linearMSE)",
        licence="Apache-2.0 (head), MIT (CLIP)",
        preprocessing=ClipScore.info.preprocessing,
        weights=(OPENAI_WEIGHTS, HEAD),
    )

    def __init__(self, checkpoint: Checkpoint = ClipScore.checkpoint, head: WeightFile = HEAD) -> None:
        self._checkpoint, self._head_file = checkpoint, head
        self._encoder: ClipEncoder | None = None

    def setup(self, device: str) -> None:
        """Load the model and the head.

        Raises:
            WeightsError: a weight file is missing, or its content is not the expected one.
        """
        self._head = load_head(self._head_file).to(device)
        self._encoder = ClipEncoder(self._checkpoint, device, reads_prompts=False)

    @torch.inference_mode()
    def score(self, images: Tensor, prompts: Sequence[str]) -> Tensor:
        if self._encoder is None:
            raise RewardError("aesthetic is not set up, or it is closed", "call setup() first")
        scores: Tensor = self._head(self._encoder.images(images))[:, 0].cpu()
        return scores

    def close(self) -> None:
        self._encoder = None


def load_head(file: WeightFile) -> nn.Sequential:
    """Return the five layers, in float32.

    Raises:
        WeightsError: the file is missing, or its SHA-256 is not the expected one.
        RewardError: the file holds other tensors.
    """
    return linear_head(torch.load(locate(file), map_location="cpu", weights_only=True), file)
