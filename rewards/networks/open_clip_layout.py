"""Gives the tensors of an open_clip checkpoint the names of transformers' CLIPModel. No value is changed.

Tensors are split or transposed if needed: open_clip keeps query, key and value in one matrix, and multiplies by its
projections from the right.
"""

from torch import Tensor

from rewards.errors import RewardError

State = dict[str, Tensor]

_TOP = {
    "logit_scale": "logit_scale",
    "token_embedding.weight": "text_model.embeddings.token_embedding.weight",
    "positional_embedding": "text_model.embeddings.position_embedding.weight",
    "ln_final.weight": "text_model.final_layer_norm.weight",
    "ln_final.bias": "text_model.final_layer_norm.bias",
    "visual.class_embedding": "vision_model.embeddings.class_embedding",
    "visual.positional_embedding": "vision_model.embeddings.position_embedding.weight",
    "visual.conv1.weight": "vision_model.embeddings.patch_embedding.weight",
    "visual.ln_pre.weight": "vision_model.pre_layrnorm.weight",
    "visual.ln_pre.bias": "vision_model.pre_layrnorm.bias",
    "visual.ln_post.weight": "vision_model.post_layernorm.weight",
    "visual.ln_post.bias": "vision_model.post_layernorm.bias",
}
_TURNED = {"text_projection": "text_projection.weight", "visual.proj": "visual_projection.weight"}
_TOWERS = {"transformer.resblocks.": "text_model", "visual.transformer.resblocks.": "vision_model"}
_BLOCK = {
    "ln_1": "layer_norm1",
    "ln_2": "layer_norm2",
    "attn.out_proj": "self_attn.out_proj",
    "mlp.c_fc": "mlp.fc1",
    "mlp.c_proj": "mlp.fc2",
}


def from_open_clip(state: State) -> State:
    """Return the same weights under transformers' names.

    Missing tensors are not noticed here, but when the model is filled.

    Args:
        state: a state_dict of open_clip's `CLIP` (ViT towers).

    Raises:
        RewardError: some tensors have no place in that layout; the message names them.
    """
    converted: State = {}
    unknown = []
    for key, value in state.items():
        tensors = _converted(key, value)
        if not tensors:
            unknown.append(key)
        converted |= tensors
    if unknown:
        raise RewardError(
            f"the file holds tensors that open_clip's CLIP does not have: {', '.join(sorted(unknown))}",
            "check the file",
        )
    return converted


def _converted(key: str, value: Tensor) -> State:
    """One tensor under its new names; empty if the key is unknown."""
    if key in _TOP:
        return {_TOP[key]: value}
    if key in _TURNED:
        return {_TURNED[key]: value.T.contiguous()}
    for prefix, tower in _TOWERS.items():
        layer, _, rest = key.removeprefix(prefix).partition(".")
        if key.startswith(prefix) and layer.isdecimal():
            return _block(f"{tower}.encoder.layers.{layer}", rest, value)
    return {}


def _block(name: str, rest: str, value: Tensor) -> State:
    if rest in ("attn.in_proj_weight", "attn.in_proj_bias"):
        kind = rest.rpartition("_")[2]
        parts = zip("qkv", value.chunk(3), strict=True)
        return {f"{name}.self_attn.{part}_proj.{kind}": piece.contiguous() for part, piece in parts}
    module, _, kind = rest.rpartition(".")
    return {f"{name}.{_BLOCK[module]}.{kind}": value} if module in _BLOCK and kind in ("weight", "bias") else {}
