"""How well an image shows its prompt, by the embedded image-text encoder."""

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

# How many prompts have their text features kept. An actor works on few prompts at once.
KEPT_PROMPTS = 256


class MiniClip:
    """The raw cosine <e(image), e(prompt)>, in -1..1, with both features scaled to length 1.

    The encoder knows the names that the embedded model was trained on and little else; see mini/MODEL_CARD.md. The
    last bits depend on the batch size, so query it in chunks of one size and pad a short chunk.
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
        """Load the encoder.

        Raises:
            RewardError: the package `mini` has no weights.
        """
        # Imported here, so that other rewards need not wait for transformers.
        import mini
        from mini.encoder import MiniEncoder

        folder = Path(mini.__path__[0]) / "weights" / "encoder"
        if not folder.is_dir():
            raise RewardError(f"mini_clip: there are no weights in {folder}", "reinstall srsoup, or run `make mini`")
        self._encoder = MiniEncoder.from_pretrained(folder).to(device)
        self._text = lru_cache(KEPT_PROMPTS)(self._encode_text)

    def score(self, images: Tensor, prompts: Sequence[str]) -> Tensor:
        if self._encoder is None:
            raise RewardError("mini_clip is not set up, or it is closed", "call setup() first")
        features = self._encoder.encode_images(images)
        texts = torch.stack([self._text(prompt) for prompt in prompts])
        # The product of two unit vectors may round to slightly more than 1.
        return (features * texts).sum(1).clamp(-1, 1).cpu()

    def close(self) -> None:
        if self._encoder is not None:
            self._text.cache_clear()
        self._encoder = None

    def _encode_text(self, prompt: str) -> Tensor:
        # One text at a time, because its features must not depend on the other prompts of the call.
        assert self._encoder is not None
        return self._encoder.encode_texts([prompt])[0]
