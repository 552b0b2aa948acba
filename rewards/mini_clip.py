"""Prompt alignment by the embedded image-text encoder."""

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from rewards.base import RewardInfo
from rewards.errors import RewardError

if TYPE_CHECKING:
    from mini.encoder import MiniEncoder

# Prompts whose text features are kept: an actor sees few at once.
KEPT_PROMPTS = 256


class MiniClip:
    """Cosine of image and prompt, raw, in -1..1: <e(image), e(prompt)> with both features of length 1.

    It knows the names that the embedded model was taught and little else; see mini/MODEL_CARD.md. Its last bits
    depend on the batch size: ask with chunks of one size, padded where they are short.
    """

    info = RewardInfo(
        name="mini_clip",
        description="the better the image shows its prompt, the higher",
        unit="cosine",
        range=(-1.0, 1.0),
        reads_prompt=True,
        differentiable=True,
        batch_sensitive=True,
        source="the embedded encoder, mini/MODEL_CARD.md",
        licence="Apache-2.0",
    )

    def __init__(self) -> None:
        self._encoder: MiniEncoder | None = None

    def setup(self, device: str) -> None:
        # Here and not above, so that other rewards need not wait for transformers.
        import mini
        from mini.encoder import MiniEncoder

        folder = Path(mini.__path__[0]) / "weights" / "encoder"
        if not folder.is_dir():
            raise RewardError(f"mini_clip: no weights in {folder}", "install srsoup anew, or run `make mini`")
        self._encoder = MiniEncoder.from_pretrained(folder).to(device)
        self._text = lru_cache(KEPT_PROMPTS)(self._encode_text)

    def score(self, images: Tensor, prompts: Sequence[str]) -> Tensor:
        if self._encoder is None:
            raise RewardError("mini_clip is not set up, or closed", "call setup() first")
        features = self._encoder.encode_images(images)
        texts = torch.stack([self._text(prompt) for prompt in prompts])
        # Rounding may carry the product of two unit vectors a hair past 1.
        return (features * texts).sum(1).clamp(-1, 1).cpu()

    def close(self) -> None:
        if self._encoder is not None:
            self._text.cache_clear()
        self._encoder = None

    def _encode_text(self, prompt: str) -> Tensor:
        # One text at a time: its features must not depend on which prompts came with it.
        assert self._encoder is not None
        return self._encoder.encode_texts([prompt])[0]
