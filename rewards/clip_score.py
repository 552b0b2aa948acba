"""CLIP score: the cosine of image and prompt features of OpenAI's ViT-L/14 (Hessel et al. 2021)."""

from rewards.base import RewardInfo
from rewards.networks.clip_cosine import OPENAI_MERGES, OPENAI_VOCABULARY, OPENAI_WEIGHTS, ClipCosine
from rewards.networks.clip_encoder import VIT_L_14, Checkpoint, read_transformers
from rewards.networks.pixels import CropToSquare


class ClipScore(ClipCosine):
    """The raw cosine, in -1..1, commonly 0.15 to 0.35. Some papers print 100 or 2.5 times the cosine."""

    info = RewardInfo(
        name="clip_score",
        description="the better the image shows its prompt, the higher",
        unit="cosine",
        range=(-1.0, 1.0),
        reads_prompt=True,
        differentiable=True,
        batch_sensitive=True,
        source="Hessel et al. 2021, CLIPScore; openai/clip-vit-large-patch14",
        licence="MIT",
        preprocessing="short edge to 224 px, bicubic, antialiased, rounded to bytes; centre crop",
        paper_value="0.26 (SD1.5, animals)",
        weights=(OPENAI_WEIGHTS, OPENAI_VOCABULARY, OPENAI_MERGES),
    )
    checkpoint = Checkpoint(
        VIT_L_14, OPENAI_WEIGHTS, OPENAI_VOCABULARY, OPENAI_MERGES, read_transformers, CropToSquare(224)
    )
