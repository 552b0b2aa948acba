"""CLIP's text and image towers (Radford et al. 2021): transformers' modules with the weights of pinned files.

The shape of a model is a literal table, not read from its file. Every tensor of the file must fit it.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional as F

from rewards.errors import RewardError
from rewards.networks.open_clip_layout import from_open_clip
from rewards.networks.pixels import CropToSquare, PadToSquare
from rewards.networks.strict_fill import filled, without_counters
from rewards.pinned_files import WeightFile, locate

# How many prompts have their text features kept. An actor works on few prompts at once.
KEPT_PROMPTS = 256
State = dict[str, Tensor]
_COUNTERS = ("text_model.embeddings.position_ids", "vision_model.embeddings.position_ids")


@dataclass(frozen=True)
class Tower:
    """The shape of a transformer: its width, the width of its perceptrons, its layers and attention heads."""

    width: int
    mlp: int
    layers: int
    heads: int


@dataclass(frozen=True)
class ClipShape:
    """The shape of a CLIP model: both towers, the length of the features, and how pixels and tokens enter."""

    text: Tower
    image: Tower
    features: int
    activation: str
    pixels: int = 224
    patch: int = 14
    vocabulary: int = 49408
    context: int = 77


VIT_L_14 = ClipShape(Tower(768, 3072, 12, 12), Tower(1024, 4096, 24, 16), 768, "quick_gelu")
VIT_H_14 = ClipShape(Tower(1024, 4096, 24, 16), Tower(1280, 5120, 32, 16), 1024, "gelu")


@dataclass(frozen=True)
class Checkpoint:
    """The files of a CLIP model and how they are read.

    Attributes:
        shape: shape of the model.
        weights: a .safetensors file, or a file that `torch.load(weights_only=True)` reads.
        vocabulary: tokens of the byte-pair encoding. All CLIP models here use OpenAI's.
        merges: merges of the byte-pair encoding.
        read: function that returns the tensors of the weight file under transformers' names.
        preprocess: function from uint8 images to the input of the image tower.
        tokens: whose tokenizer the model was trained with. That of open_clip cleans the text first.
    """

    shape: ClipShape
    weights: WeightFile
    vocabulary: WeightFile
    merges: WeightFile
    read: Callable[[Path], State]
    preprocess: CropToSquare | PadToSquare
    tokens: Literal["transformers", "open_clip"] = "transformers"


class ClipEncoder:
    """A CLIP model on one device that returns image and text features of length 1, in float32.

    Args:
        checkpoint: the model's files.
        device: the torch device.
        reads_prompts: whether the text tower is loaded.
    """

    def __init__(self, checkpoint: Checkpoint, device: str, *, reads_prompts: bool = True) -> None:
        self._shape, self._preprocess, self.device = checkpoint.shape, checkpoint.preprocess, device
        model = _model(checkpoint.shape, checkpoint.read(locate(checkpoint.weights)), checkpoint.weights)
        if reads_prompts:
            self._tokens = _tokenizer(checkpoint)
        else:
            del model.text_model, model.text_projection
        self._model = model.to(device)
        # A cache on the class would keep this encoder alive; this cache is freed with it.
        self.text = lru_cache(KEPT_PROMPTS)(self._text)

    @torch.inference_mode()
    def images(self, images: Tensor) -> Tensor:
        """Return e(image) for each image: uint8 (n, 3, h, w) -> float32 (n, features)."""
        pixels = self._preprocess(images.to(self.device))
        # A GPU would otherwise convolve the patches in TF32, which has three digits.
        with torch.backends.cudnn.flags(enabled=True, allow_tf32=torch.backends.cuda.matmul.allow_tf32):
            pooled = self._model.vision_model(pixel_values=pixels).pooler_output
        return F.normalize(self._model.visual_projection(pooled), dim=1)

    def texts(self, prompts: Sequence[str]) -> Tensor:
        """Return e(prompt) for each prompt, float32 (n, features). The features of the last prompts are kept."""
        return torch.stack([self.text(prompt) for prompt in prompts])

    @torch.inference_mode()
    def _text(self, prompt: str) -> Tensor:
        # One text at a time, always padded to the whole context, so its bits do not depend on the other prompts.
        tokens = torch.tensor([self._tokens(prompt)], device=self.device)
        pooled = self._model.text_model(input_ids=tokens).pooler_output
        return F.normalize(self._model.text_projection(pooled), dim=1)[0]


def read_transformers(path: Path) -> State:
    """Return the tensors of a `CLIPModel.save_pretrained` file. Files from before 2023 also hold position counters."""
    return without_counters(load_file(path), _COUNTERS, path)


def read_open_clip(path: Path) -> State:
    """Return the tensors of a training checkpoint of open_clip: {"state_dict": ...}, in torch's format."""
    saved = torch.load(path, map_location="cpu", weights_only=True)
    return from_open_clip(saved["state_dict"])


def _model(shape: ClipShape, state: State, file: WeightFile) -> Any:
    from transformers import CLIPModel

    return filled(lambda: CLIPModel(clip_config(shape)), state, file)


def clip_config(shape: ClipShape) -> Any:
    """Return the configuration of transformers for a shape."""
    from transformers import CLIPConfig

    common = {"hidden_act": shape.activation, "projection_dim": shape.features}
    # The last two tokens of the vocabulary mark the beginning and the end of a text.
    text = {
        **_tower(shape.text), **common, "vocab_size": shape.vocabulary, "max_position_embeddings": shape.context,
        "bos_token_id": shape.vocabulary - 2, "eos_token_id": shape.vocabulary - 1,
        "pad_token_id": shape.vocabulary - 1,
    }  # fmt: skip
    image = {**_tower(shape.image), **common, "image_size": shape.pixels, "patch_size": shape.patch}
    return CLIPConfig(text_config=text, vision_config=image, projection_dim=shape.features)


def _tower(tower: Tower) -> dict[str, int]:
    return {
        "hidden_size": tower.width,
        "intermediate_size": tower.mlp,
        "num_hidden_layers": tower.layers,
        "num_attention_heads": tower.heads,
    }


def _tokenizer(checkpoint: Checkpoint) -> Callable[[str], list[int]]:
    """A function from a text to its tokens, as many as the context has places."""
    context = checkpoint.shape.context
    vocabulary = json.loads(locate(checkpoint.vocabulary).read_text(encoding="utf-8"))
    if len(vocabulary) != checkpoint.shape.vocabulary:
        raise RewardError(
            f"{checkpoint.vocabulary} has {len(vocabulary)} tokens, but the model has {checkpoint.shape.vocabulary}",
            "use the vocabulary that the model was trained with",
        )
    lines = locate(checkpoint.merges).read_text(encoding="utf-8").splitlines()
    merges = [(line.split()[0], line.split()[1]) for line in lines if line and not line.startswith("#version")]
    if checkpoint.tokens == "open_clip":
        # Imported here, as transformers is, because rewards without prompts do not need it.
        from rewards.networks.open_clip_tokens import OpenClipTokenizer

        return OpenClipTokenizer(vocabulary, merges, context)
    from transformers import CLIPTokenizer

    tokenizer = CLIPTokenizer(vocab=vocabulary, merges=merges, model_max_length=context)

    def tokens(text: str) -> list[int]:
        found: list[int] = tokenizer(text, padding="max_length", truncation=True, max_length=context).input_ids
        return found

    return tokens
