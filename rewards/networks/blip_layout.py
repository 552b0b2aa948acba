"""Gives the tensors of ImageReward's file the names that transformers' BLIP uses. No value is changed.

The file holds BLIP (Li et al. 2022) under its authors' names, and the linear head.
"""

from typing import NamedTuple

from torch import Tensor

from rewards.errors import RewardError
from rewards.networks.strict_fill import without_counters

State = dict[str, Tensor]

_VISUAL = {
    "cls_token": "embeddings.class_embedding",
    "pos_embed": "embeddings.position_embedding",
    "patch_embed.proj.weight": "embeddings.patch_embedding.weight",
    "patch_embed.proj.bias": "embeddings.patch_embedding.bias",
    "norm.weight": "post_layernorm.weight",
    "norm.bias": "post_layernorm.bias",
}
_BLOCK = {
    "norm1": "layer_norm1",
    "norm2": "layer_norm2",
    "attn.qkv": "self_attn.qkv",
    "attn.proj": "self_attn.projection",
    "mlp.fc1": "mlp.fc1",
    "mlp.fc2": "mlp.fc2",
}
# Layers that map both towers to one space. They were trained with BLIP, but the reward does not use them.
_UNUSED = frozenset(
    {"blip.vision_proj.weight", "blip.vision_proj.bias", "blip.text_proj.weight", "blip.text_proj.bias"}
)
_COUNTER = "embeddings.position_ids"


class ImageRewardStates(NamedTuple):
    """The three parts of the file, each as a complete state_dict."""

    vision: State
    text: State
    head: State


def split_image_reward(state: State, source: object) -> ImageRewardStates:
    """Return the parts of ImageReward's file, for `BlipVisionModel`, `BlipTextModel` and `linear_head`.

    Missing tensors are not noticed here, but when the modules are filled.

    Args:
        state: the tensors of the file.
        source: the file, for messages.

    Raises:
        RewardError: some tensors belong to none of the parts; the message names them.
    """
    parts = ImageRewardStates({}, {}, {})
    unknown = []
    for key, value in state.items():
        if key.startswith("blip.visual_encoder.") and (name := _vision(key.removeprefix("blip.visual_encoder."))):
            parts.vision[name] = value
        elif key.startswith("blip.text_encoder."):
            parts.text[key.removeprefix("blip.text_encoder.")] = value
        elif key.startswith("mlp."):
            parts.head[key.removeprefix("mlp.")] = value
        elif key not in _UNUSED:
            unknown.append(key)
    if unknown:
        raise RewardError(
            f"{source} holds tensors that ImageReward does not have: {', '.join(sorted(unknown))}", "check the file"
        )
    return parts._replace(text=without_counters(parts.text, (_COUNTER,), source))


def _vision(key: str) -> str:
    """The name in `BlipVisionModel`; empty if the key is unknown."""
    if key in _VISUAL:
        return _VISUAL[key]
    layer, _, rest = key.removeprefix("blocks.").partition(".")
    module, _, kind = rest.rpartition(".")
    known = key.startswith("blocks.") and layer.isdecimal() and module in _BLOCK and kind in ("weight", "bias")
    return f"encoder.layers.{layer}.{_BLOCK[module]}.{kind}" if known else ""
