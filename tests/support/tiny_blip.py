"""A tiny random ImageReward in the layout of its file, and an independent version of the original."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import BertTokenizer

from rewards.image_reward import BlipShape, ImageReward
from rewards.networks.clip_encoder import Tower
from rewards.networks.pixels import CLIP_MEAN, CLIP_STD
from tests.support.tiny_clip import pinned, shaken

PIXELS = 48
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcdefghijklmnopqrstuvwxyz,.!?",
         *(f"##{letter}" for letter in "abcdefghijklmnopqrstuvwxyz"), "an", "owl", "fox", "bear"]  # fmt: skip
SHAPE = BlipShape(Tower(768, 64, 2, 12), Tower(32, 48, 2, 4), PIXELS, 16, len(WORDS) + 2, 40)


def parts(**modules: nn.Module) -> nn.ModuleDict:
    """A module that holds other modules by name and has no `forward`."""
    return nn.ModuleDict(modules)


def attention(width: int, seen: int) -> nn.ModuleDict:
    """BERT's attention layer of this width over inputs of width `seen`."""
    return nn.ModuleDict(
        {
            "self": parts(query=nn.Linear(width, width), key=nn.Linear(seen, width), value=nn.Linear(seen, width)),
            "output": parts(dense=nn.Linear(width, width), LayerNorm=nn.LayerNorm(width, eps=1e-12)),
        }
    )


class Visual(nn.Module):
    """BLIP's VisionTransformer."""

    def __init__(self, shape: BlipShape) -> None:
        super().__init__()
        tower = shape.image
        self.heads = tower.heads
        self.cls_token = nn.Parameter(torch.empty(1, 1, tower.width))
        self.pos_embed = nn.Parameter(torch.empty(1, (shape.pixels // shape.patch) ** 2 + 1, tower.width))
        self.patch_embed = parts(proj=nn.Conv2d(3, tower.width, shape.patch, shape.patch))
        self.blocks = nn.ModuleList(
            parts(
                norm1=nn.LayerNorm(tower.width, eps=1e-6),
                attn=parts(qkv=nn.Linear(tower.width, 3 * tower.width), proj=nn.Linear(tower.width, tower.width)),
                norm2=nn.LayerNorm(tower.width, eps=1e-6),
                mlp=parts(fc1=nn.Linear(tower.width, tower.mlp), fc2=nn.Linear(tower.mlp, tower.width)),
            )
            for _ in range(tower.layers)
        )
        self.norm = nn.LayerNorm(tower.width, eps=1e-6)

    def forward(self, pixels: Tensor) -> Tensor:
        blocks: Any = self.blocks
        x = self.patch_embed["proj"](pixels).flatten(2).mT
        x = torch.cat([self.cls_token.expand(len(x), -1, -1), x], 1) + self.pos_embed
        for block in blocks:
            query, key, value = block["attn"]["qkv"](block["norm1"](x)).chunk(3, -1)
            x = x + block["attn"]["proj"](attended(query, key, value, self.heads, None))
            x = x + block["mlp"]["fc2"](F.gelu(block["mlp"]["fc1"](block["norm2"](x))))
        return self.norm(x)


class Text(nn.Module):
    """BLIP's BertModel with attention to the image in every layer, used as an encoder."""

    def __init__(self, shape: BlipShape) -> None:
        super().__init__()
        width, self.heads = shape.text.width, shape.text.heads
        self.embeddings = parts(
            word_embeddings=nn.Embedding(shape.vocabulary, width),
            position_embeddings=nn.Embedding(shape.positions, width),
            LayerNorm=nn.LayerNorm(width, eps=1e-12),
        )
        # The published file holds this buffer.
        self.embeddings.register_buffer("position_ids", torch.arange(shape.positions)[None])
        layers = [
            parts(
                attention=attention(width, width),
                crossattention=attention(width, shape.image.width),
                intermediate=parts(dense=nn.Linear(width, shape.text.mlp)),
                output=parts(dense=nn.Linear(shape.text.mlp, width), LayerNorm=nn.LayerNorm(width, eps=1e-12)),
            )
            for _ in range(shape.text.layers)
        ]
        self.encoder = parts(layer=nn.ModuleList(layers))

    def forward(self, ids: Tensor, mask: Tensor, patches: Tensor) -> Tensor:
        e: Any = self.embeddings
        x = e["LayerNorm"](e["word_embeddings"](ids) + e["position_embeddings"].weight[: ids.shape[1]])
        layers: Any = self.encoder["layer"]
        for layer in layers:
            x = self._attend(layer["attention"], x, x, mask.bool()[:, None, None])
            x = self._attend(layer["crossattention"], x, patches, None)
            out = layer["output"]
            x = out["LayerNorm"](x + out["dense"](F.gelu(layer["intermediate"]["dense"](x))))
        return x

    def _attend(self, part: Any, x: Tensor, seen: Tensor, mask: Tensor | None) -> Tensor:
        own = part["self"]
        found = attended(own["query"](x), own["key"](seen), own["value"](seen), self.heads, mask)
        return part["output"]["LayerNorm"](x + part["output"]["dense"](found))


def attended(query: Tensor, key: Tensor, value: Tensor, heads: int, mask: Tensor | None) -> Tensor:
    """Attention with several heads."""
    q, k, v = (x.unflatten(-1, (heads, -1)).transpose(1, 2) for x in (query, key, value))
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask).transpose(1, 2).flatten(2)


class Original(nn.Module):
    """ImageReward's module, with the parts that its file holds."""

    def __init__(self, shape: BlipShape) -> None:
        super().__init__()
        width = shape.text.width
        self.blip = parts(
            visual_encoder=Visual(shape),
            text_encoder=Text(shape),
            vision_proj=nn.Linear(shape.image.width, 256),
            text_proj=nn.Linear(width, 256),
        )
        sizes = [(768, 1024), (1024, 128), (128, 64), (64, 16), (16, 1)]
        a, b, c, d, e = (nn.Linear(*size) for size in sizes)
        drop = nn.Dropout(0.2)
        self.mlp = parts(layers=nn.Sequential(a, drop, b, drop, c, drop, d, e))

    def forward(self, pixels: Tensor, ids: Tensor, mask: Tensor) -> Tensor:
        blip: Any = self.blip
        mlp: Any = self.mlp
        read = blip["text_encoder"](ids, mask, blip["visual_encoder"](pixels))
        return (mlp["layers"](read[:, 0])[:, 0] - 0.16717362830052426) / 1.0333394966054072


@dataclass(frozen=True)
class TinyBlip:
    """The reward with tiny weights, and the same score by an independent version.

    Attributes:
        reward: the factory of the reward.
        original: an independent function from a picture and a prompt to the score.
        folder: the folder of the weights.
    """

    reward: Callable[[], ImageReward]
    original: Callable[[np.ndarray, str], float]
    folder: Path


def make_tiny_blip(folder: Path) -> TinyBlip:
    """Write the weights below `folder`, in the layout of SRSOUP_WEIGHTS."""
    place = folder / "tiny" / "blip"
    place.mkdir(parents=True)
    model = shaken(Original(SHAPE), 4)
    # Weights of size 0.2 would saturate layers of width 768.
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "text_encoder.encoder" in name and parameter.ndim == 2:
                parameter.mul_(0.3)
    torch.save(model.state_dict(), place / "ImageReward.pt")
    (place / "vocab.txt").write_text("\n".join(WORDS) + "\n", encoding="utf-8")
    tokenizer = BertTokenizer(vocab=json.loads(json.dumps({word: i for i, word in enumerate(WORDS)})))
    files = [pinned(folder, "tiny/blip", name) for name in ("ImageReward.pt", "vocab.txt")]

    def original(picture: np.ndarray, prompt: str) -> float:
        found = tokenizer([prompt], padding="max_length", truncation=True, max_length=35, return_tensors="pt")
        with torch.no_grad():
            return model(_pixels(picture), found.input_ids, found.attention_mask).item()

    return TinyBlip(lambda: ImageReward(SHAPE, *files), original, folder)


def _pixels(picture: np.ndarray) -> Tensor:
    """The pixels after torchvision's Resize, CenterCrop, ToTensor and Normalize, computed with Pillow."""
    height, width = picture.shape[:2]
    short = min(height, width)
    new = (int(PIXELS * width / short), int(PIXELS * height / short))
    resized = Image.fromarray(picture).resize(new, Image.Resampling.BICUBIC)
    left, top = round((new[0] - PIXELS) / 2), round((new[1] - PIXELS) / 2)
    x = np.asarray(resized.crop((left, top, left + PIXELS, top + PIXELS))).transpose(2, 0, 1).astype(np.float32) / 255
    mean, std = np.array(CLIP_MEAN, np.float32), np.array(CLIP_STD, np.float32)
    return torch.from_numpy((x - mean[:, None, None]) / std[:, None, None])[None]
