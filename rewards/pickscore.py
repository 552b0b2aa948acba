"""PickScore: CLIP ViT-H/14 fine-tuned on human choices (Kirstain et al. 2023)."""

from rewards.base import RewardInfo
from rewards.networks.clip_cosine import OPENAI_MERGES, OPENAI_VOCABULARY, ClipCosine
from rewards.networks.clip_encoder import VIT_H_14, Checkpoint, read_transformers
from rewards.networks.pixels import CropToSquare
from rewards.pinned_files import WeightFile

WEIGHTS = WeightFile(
    "yuvalkirstain/PickScore_v1",
    "a4e4367c6dfa7288a00c550414478f865b875800",
    "model.safetensors",
    sha256="ef31ef6fc5ff4d9bb90dd232df4e145887ba62c5a03aa2841415f8c25f18d52e",
)


class PickScore(ClipCosine):
    """The raw cosine, in -1..1, as the SRSoup paper reports it. PickScore's demo prints 100 times the cosine."""

    info = RewardInfo(
        name="pickscore",
        description="the likelier people are to pick the image for its prompt, the higher",
        unit="cosine",
        range=(-1.0, 1.0),
        reads_prompt=True,
        differentiable=True,
        batch_sensitive=True,
        source="Kirstain et al. 2023, Pick-a-Pic; yuvalkirstain/PickScore_v1",
        licence="not stated by its authors",
        preprocessing="short edge to 224 px, bicubic, antialiased, rounded to bytes; centre crop",
        paper_value="0.22 (SD1.5, animals)",
        weights=(WEIGHTS, OPENAI_VOCABULARY, OPENAI_MERGES),
    )
    checkpoint = Checkpoint(VIT_H_14, WEIGHTS, OPENAI_VOCABULARY, OPENAI_MERGES, read_transformers, CropToSquare(224))
