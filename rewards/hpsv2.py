"""Human Preference Score v2 and v2.1: CLIP ViT-H/14 fine-tuned on human rankings (Wu et al. 2023)."""

from dataclasses import replace

from rewards.base import RewardInfo
from rewards.networks.clip_cosine import OPENAI_MERGES, OPENAI_VOCABULARY, ClipCosine
from rewards.networks.clip_encoder import VIT_H_14, Checkpoint, read_open_clip
from rewards.networks.pixels import PadToSquare
from rewards.pinned_files import WeightFile

_REPO = ("xswu/HPSv2", "697403c78157020a1ae59d23f111aa58ced35b0a")
WEIGHTS_2_0 = WeightFile(
    *_REPO, "HPS_v2_compressed.pt", "07cb0d20626232204ca3a6ec53ff5984e7e53212a8a7b0e0ec2bac1bdaf125a1"
)
WEIGHTS_2_1 = WeightFile(
    *_REPO, "HPS_v2.1_compressed.pt", "c57a38fb4a2f7e7c15bf00da2ea377cdf165448b4dd1052a484c215a998c9837"
)


def _checkpoint(weights: WeightFile) -> Checkpoint:
    return Checkpoint(
        VIT_H_14, weights, OPENAI_VOCABULARY, OPENAI_MERGES, read_open_clip, PadToSquare(224), tokens="open_clip"
    )


class HPSv2(ClipCosine):
    """The raw cosine, in -1..1. The files hold half precision, but the score is computed in float32.

    The authors' package computes in half precision on a GPU, which rounds the fourth decimal.
    """

    info = RewardInfo(
        name="hpsv2",
        description="the more people like the image for its prompt, the higher (version 2.0)",
        unit="cosine",
        range=(-1.0, 1.0),
        reads_prompt=True,
        differentiable=True,
        batch_sensitive=True,
        source="Wu et al. 2023, Human Preference Score v2; xswu/HPSv2",
        licence="Apache-2.0",
        preprocessing="long edge to 224 px, bicubic on floats, antialiased; padded with black",
        paper_value="0.27 (SD1.5, animals)",
        weights=(WEIGHTS_2_0, OPENAI_VOCABULARY, OPENAI_MERGES),
    )
    checkpoint = _checkpoint(WEIGHTS_2_0)


class HPSv21(HPSv2):
    """Version 2.1: the same model, trained on better data. Its values are not comparable with those of 2.0."""

    info = replace(
        HPSv2.info,
        name="hpsv2.1",
        description="the more people like the image for its prompt, the higher (version 2.1)",
        paper_value="",
        weights=(WEIGHTS_2_1, OPENAI_VOCABULARY, OPENAI_MERGES),
    )
    checkpoint = _checkpoint(WEIGHTS_2_1)
