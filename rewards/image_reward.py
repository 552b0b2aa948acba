"""ImageReward: BLIP's text encoder, which attends to the image, and a linear head (Xu et al. 2023)."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import torch
from torch import Tensor

from rewards.base import RewardInfo
from rewards.errors import RewardError
from rewards.networks.blip_layout import split_image_reward
from rewards.networks.clip_encoder import KEPT_PROMPTS, Tower
from rewards.networks.linear_head import linear_head
from rewards.networks.pixels import CropToSquare
from rewards.networks.strict_fill import filled
from rewards.pinned_files import WeightFile, locate

# Mean and standard deviation of the scores on the authors' training pairs. They standardise the reward.
MEAN, STD = 0.16717362830052426, 1.0333394966054072
WEIGHTS = WeightFile(
    "THUDM/ImageReward",
    "5736be03b2652728fb87788c9797b0570450ab72",
    "ImageReward.pt",
    "d71dc8d4912bc633c06ab8ef1ef6a81e8199d4369f14b47b29baf1d19de561f6",
)
VOCABULARY = WeightFile(
    "google-bert/bert-base-uncased",
    "86b5e0934494bd15c9632b12f734a8a67f723594",
    "vocab.txt",
    "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3",
)
# The number of tokens of a prompt that are read.
CONTEXT = 35


@dataclass(frozen=True)
class BlipShape:
    """BLIP's text and image towers, and how pixels and tokens enter.

    Two of the tokens begin and end a decoding.
    """

    text: Tower
    image: Tower
    pixels: int = 224
    patch: int = 16
    vocabulary: int = 30524
    positions: int = 512


BLIP_LARGE = BlipShape(Tower(768, 3072, 12, 12), Tower(1024, 4096, 24, 16))


class Tokens(NamedTuple):
    """Token ids and attention mask of one prompt, padded to the context: int64 (1, context) each."""

    ids: Tensor
    mask: Tensor


class ImageReward:
    """The value (head(t) - mean)/std, where t is the first output of the text encoder.

    The text encoder attends to the image's patches, so a prompt has no features of its own, and only its tokens are
    kept between calls. Values are commonly -2 to 2. Prompts are cut after 35 tokens. The last bits depend on the
    batch size.

    Args:
        shape: the model's shape; by default that of the published model.
        weights: the file of its weights; by default the published one.
        vocabulary: the file of its tokens; by default the published one.
    """

    info = RewardInfo(
        name="image_reward",
        description="the more people prefer the image for its prompt, the higher; commonly -2 to 2",
        unit="",
        range=(float("-inf"), float("inf")),
        reads_prompt=True,
        differentiable=True,
        batch_sensitive=True,
        source="Xu et al. 2023, ImageReward; THUDM/ImageReward",
        licence="Apache-2.0",
        preprocessing="short edge to 224 px, bicubic, antialiased, rounded to bytes; centre crop",
        weights=(WEIGHTS, VOCABULARY),
    )

    def __init__(
        self, shape: BlipShape = BLIP_LARGE, weights: WeightFile = WEIGHTS, vocabulary: WeightFile = VOCABULARY
    ) -> None:
        self._shape, self._weights, self._vocabulary = shape, weights, vocabulary
        self._vision: Any = None
        self._text: Any = None
        self._head: Any = None

    def setup(self, device: str) -> None:
        """Load the model.

        Raises:
            WeightsError: a weight file is missing, or its content is not the expected one.
            RewardError: the weight file holds other tensors.
        """
        saved = torch.load(locate(self._weights), map_location="cpu", weights_only=True)
        states = split_image_reward(saved, self._weights)
        self._tokenizer = _tokenizer(self._vocabulary)
        self._tokens = lru_cache(KEPT_PROMPTS)(self._tokens_of)
        self._preprocess = CropToSquare(self._shape.pixels, halves="even")
        self._device = device
        self._head = linear_head(states.head, self._weights).to(device)
        self._vision = filled(lambda: _vision(self._shape), states.vision, self._weights).to(device)
        self._text = filled(lambda: _text(self._shape), states.text, self._weights).to(device)

    @torch.inference_mode()
    def score(self, images: Tensor, prompts: Sequence[str]) -> Tensor:
        if self._text is None:
            raise RewardError("image_reward is not set up, or it is closed", "call setup() first")
        tokens = [self._tokens(prompt) for prompt in prompts]
        pixels = self._preprocess(images.to(self._device))
        # A GPU would otherwise convolve the patches in TF32, which has three digits.
        with torch.backends.cudnn.flags(enabled=True, allow_tf32=torch.backends.cuda.matmul.allow_tf32):
            patches = self._vision(pixel_values=pixels).last_hidden_state
        read = self._text(
            input_ids=torch.cat([one.ids for one in tokens]).to(self._device),
            attention_mask=torch.cat([one.mask for one in tokens]).to(self._device),
            encoder_hidden_states=patches,
            is_decoder=False,
        )
        scores: Tensor = ((self._head(read.last_hidden_state[:, 0])[:, 0] - MEAN) / STD).cpu()
        return scores

    def close(self) -> None:
        self._text = self._vision = self._head = None

    def _tokens_of(self, prompt: str) -> Tokens:
        found = self._tokenizer(
            [prompt], padding="max_length", truncation=True, max_length=CONTEXT, return_tensors="pt"
        )
        return Tokens(found.input_ids, found.attention_mask)


def _vision(shape: BlipShape) -> Any:
    from transformers import BlipVisionConfig, BlipVisionModel

    tower = shape.image
    return BlipVisionModel(
        BlipVisionConfig(
            hidden_size=tower.width,
            intermediate_size=tower.mlp,
            num_hidden_layers=tower.layers,
            num_attention_heads=tower.heads,
            image_size=shape.pixels,
            patch_size=shape.patch,
            # BLIP's own value, which is not transformers' default.
            layer_norm_eps=1e-6,
        )
    )


def _text(shape: BlipShape) -> Any:
    from transformers import BlipTextConfig
    from transformers.models.blip.modeling_blip_text import BlipTextModel

    tower = shape.text
    config = BlipTextConfig(
        vocab_size=shape.vocabulary,
        hidden_size=tower.width,
        encoder_hidden_size=shape.image.width,
        intermediate_size=tower.mlp,
        num_hidden_layers=tower.layers,
        num_attention_heads=tower.heads,
        max_position_embeddings=shape.positions,
        bos_token_id=shape.vocabulary - 2,
        # Without this there is no attention to the image. `score` passes is_decoder=False to get an encoder's mask.
        is_decoder=True,
    )
    return BlipTextModel(config, add_pooling_layer=False)


def _tokenizer(vocabulary: WeightFile) -> Any:
    from transformers import BertTokenizer

    lines = locate(vocabulary).read_text(encoding="utf-8").splitlines()
    return BertTokenizer(vocab={token: index for index, token in enumerate(lines)}, do_lower_case=True)
