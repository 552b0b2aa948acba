"""Tiny random CLIP models in the real layouts, in files that `rewards.pinned_files` finds, and independent versions."""

import html
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import ftfy
import numpy as np
import regex
import torch
from PIL import Image
from safetensors.torch import save_file
from tokenizers.pre_tokenizers import ByteLevel
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import CLIPConfig, CLIPModel, CLIPTokenizer
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from configs.file_digest import sha256_of
from rewards.aesthetic import Aesthetic
from rewards.base import Reward
from rewards.clip_score import ClipScore
from rewards.hpsv2 import HPSv2, HPSv21
from rewards.networks.clip_cosine import ClipCosine
from rewards.networks.clip_encoder import Checkpoint, ClipShape, Tower, read_open_clip, read_transformers
from rewards.networks.pixels import CLIP_MEAN, CLIP_STD, CropToSquare, PadToSquare
from rewards.pickscore import PickScore
from rewards.pinned_files import WeightFile

PIXELS = 42
MERGES = ["a n", "o w", "ow l</w>", "f o", "fo x</w>", "b e", "a r</w>", "be ar</w>"]
REVISION = "0" * 40
SHAPE = ClipShape(Tower(24, 48, 2, 3), Tower(32, 64, 2, 4), 768, "quick_gelu", PIXELS, 14, 512 + len(MERGES) + 2)
PIECES = r"<start_of_text>|<end_of_text>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
PROMPTS = ("an owl", "a fox", "", "two BEARS,  and a  Fox!", "été 🦉", "owl " * 200, "“Owl” &amp; ﬁsh")


def vocabulary() -> dict[str, int]:
    """A vocabulary in CLIP's order: bytes, bytes that end a word, merges, begin and end of a text."""
    letters = sorted(ByteLevel.alphabet())
    tokens = [*letters, *(letter + "</w>" for letter in letters), *(merge.replace(" ", "") for merge in MERGES)]
    return {token: index for index, token in enumerate([*tokens, "<|startoftext|>", "<|endoftext|>"])}


def shaken(model: nn.Module, seed: int) -> Any:
    """The module with random weights that are large enough for a wrong one to show."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            scaled = "norm" in name or "ln_" in name
            parameter.copy_(1 + 0.2 * noise if scaled and name.endswith("weight") else 0.2 * noise)
    return model.eval()


def transformers_model(activation: str, seed: int) -> Any:
    """A CLIPModel of the tiny shape, whose configuration does not come from the code under test."""
    config = CLIPConfig(
        text_config={
            "vocab_size": SHAPE.vocabulary, "hidden_size": 24, "intermediate_size": 48, "num_hidden_layers": 2,
            "num_attention_heads": 3, "hidden_act": activation, "max_position_embeddings": 77,
            "eos_token_id": SHAPE.vocabulary - 1, "bos_token_id": SHAPE.vocabulary - 2, "pad_token_id": 1,
        },
        vision_config={
            "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4,
            "hidden_act": activation, "image_size": PIXELS, "patch_size": 14,
        },
        projection_dim=768,
    )  # fmt: skip
    return shaken(CLIPModel(config), seed)


class Block(nn.Module):
    """open_clip's ResidualAttentionBlock."""

    def __init__(self, tower: Tower) -> None:
        super().__init__()
        self.ln_1, self.ln_2 = nn.LayerNorm(tower.width), nn.LayerNorm(tower.width)
        self.attn = nn.MultiheadAttention(tower.width, tower.heads, batch_first=True)
        self.mlp = nn.Sequential()
        self.mlp.add_module("c_fc", nn.Linear(tower.width, tower.mlp))
        self.mlp.add_module("gelu", nn.GELU())
        self.mlp.add_module("c_proj", nn.Linear(tower.mlp, tower.width))

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        h = self.ln_1(x)
        x = x + self.attn(h, h, h, need_weights=False, attn_mask=mask)[0]
        return x + self.mlp(self.ln_2(x))


class Transformer(nn.Module):
    def __init__(self, tower: Tower) -> None:
        super().__init__()
        self.resblocks = nn.ModuleList(Block(tower) for _ in range(tower.layers))

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        for block in self.resblocks:
            x = block(x, mask)
        return x


class Visual(nn.Module):
    def __init__(self, shape: ClipShape) -> None:
        super().__init__()
        width = shape.image.width
        self.class_embedding = nn.Parameter(torch.empty(width))
        self.positional_embedding = nn.Parameter(torch.empty((shape.pixels // shape.patch) ** 2 + 1, width))
        self.proj = nn.Parameter(torch.empty(width, shape.features))
        self.conv1 = nn.Conv2d(3, width, shape.patch, shape.patch, bias=False)
        self.ln_pre, self.ln_post = nn.LayerNorm(width), nn.LayerNorm(width)
        self.transformer = Transformer(shape.image)

    def forward(self, pixels: Tensor) -> Tensor:
        patches = self.conv1(pixels).flatten(2).mT
        x = torch.cat([self.class_embedding.expand(len(pixels), 1, -1), patches], 1) + self.positional_embedding
        return self.ln_post(self.transformer(self.ln_pre(x))[:, 0]) @ self.proj


class OpenClip(nn.Module):
    """open_clip's CLIP, written for these tests with its published names and order of operations."""

    def __init__(self, shape: ClipShape) -> None:
        super().__init__()
        self.positional_embedding = nn.Parameter(torch.empty(shape.context, shape.text.width))
        self.text_projection = nn.Parameter(torch.empty(shape.text.width, shape.features))
        self.logit_scale = nn.Parameter(torch.empty(()))
        self.visual = Visual(shape)
        self.transformer = Transformer(shape.text)
        self.token_embedding = nn.Embedding(shape.vocabulary, shape.text.width)
        self.ln_final = nn.LayerNorm(shape.text.width)

    def encode_text(self, ids: Tensor) -> Tensor:
        """The features of token ids that are padded with 0 after the end of the text, as by open_clip's tokenizer."""
        n = ids.shape[1]
        mask = torch.full((n, n), -torch.inf).triu(1)
        x = self.transformer(self.token_embedding(ids) + self.positional_embedding, mask)
        return self.ln_final(x)[torch.arange(len(ids)), ids.argmax(1)] @ self.text_projection


def letter_of_byte() -> dict[int, str]:
    """Each byte as a visible letter: itself if it is one in Latin-1, else the next letter from 256 on."""
    visible = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    hidden = [byte for byte in range(256) if byte not in visible]
    return {byte: chr(byte) for byte in visible} | {byte: chr(256 + i) for i, byte in enumerate(hidden)}


class SimpleTokenizer:
    """open_clip's tokenizer, written for these tests from its published algorithm, in Python alone."""

    def __init__(self, vocabulary: Mapping[str, int], merges: Sequence[tuple[str, str]]) -> None:
        self.numbers, self.ranks = vocabulary, {pair: rank for rank, pair in enumerate(merges)}
        self.begin, self.end = len(vocabulary) - 2, len(vocabulary) - 1
        self.letters = letter_of_byte()

    def merged(self, piece: str) -> list[str]:
        """Byte-pair encoding: the pair of the lowest rank is merged, everywhere, until no pair has a rank."""
        word = [self.letters[byte] for byte in piece.encode()]
        word[-1] += "</w>"
        while True:
            ranked = [(self.ranks[pair], pair) for pair in pairwise(word) if pair in self.ranks]
            if not ranked:
                return word
            _, (first, second) = min(ranked)
            shorter, i = [], 0
            while i < len(word):
                both = word[i : i + 2] == [first, second]
                shorter.append(first + second if both else word[i])
                i += 2 if both else 1
            word = shorter

    def __call__(self, text: str, context: int = 77) -> list[int]:
        """The tokens from the beginning to the end of the text, at most `context`."""
        text = html.unescape(html.unescape(ftfy.fix_text(text))).strip()
        text = regex.sub(r"\s+", " ", text).strip().lower()
        tokens = [self.begin]
        for piece in regex.findall(PIECES, text, regex.IGNORECASE):
            marks = {"<start_of_text>": self.begin, "<end_of_text>": self.end}
            tokens += [marks[piece]] if piece in marks else [self.numbers[token] for token in self.merged(piece)]
        tokens.append(self.end)
        return tokens if len(tokens) <= context else [*tokens[: context - 1], self.end]


@dataclass(frozen=True)
class Tiny:
    """The five rewards with tiny weights, and independent versions of what they compute.

    Attributes:
        folder: the folder of the weights.
        cosine_rewards: factories of the rewards that are a cosine.
        aesthetic: the factory of the reward `aesthetic`.
        cosine: independent functions from a picture and a prompt to the cosine, by the reward's name.
        image_features: an independent function from a picture to the image features of `aesthetic`.
    """

    folder: Path
    cosine_rewards: dict[str, Callable[[], ClipCosine]]
    aesthetic: Callable[[], Aesthetic]
    cosine: dict[str, Callable[[np.ndarray, str], float]]
    image_features: Callable[[np.ndarray], Tensor]

    @property
    def rewards(self) -> dict[str, Callable[[], Reward]]:
        """The factories of all five rewards, by name."""
        return {"aesthetic": self.aesthetic, **self.cosine_rewards}


def make_tiny(folder: Path) -> Tiny:
    """Write the weights below `folder`, in the layout of SRSOUP_WEIGHTS."""
    tokens = folder / "tiny" / "tokens"
    tokens.mkdir(parents=True)
    (tokens / "vocab.json").write_text(json.dumps(vocabulary()), encoding="utf-8")
    (tokens / "merges.txt").write_text("\n".join(["#version: 0.2", *MERGES, ""]), encoding="utf-8")
    text = (pinned(folder, "tiny/tokens", "vocab.json"), pinned(folder, "tiny/tokens", "merges.txt"))
    clip, crop = transformers_model("quick_gelu", 0), CropToSquare(PIXELS)
    pick, hps = transformers_model("gelu", 1), shaken(OpenClip(SHAPE), 2).half().float()
    small = Checkpoint(SHAPE, _save(folder, "tiny/clip", clip), *text, read_transformers, crop)
    gelu = replace(SHAPE, activation="gelu")
    picked = Checkpoint(gelu, _save(folder, "tiny/pick", pick), *text, read_transformers, crop)
    (folder / "tiny" / "hps").mkdir()
    halves = {key: value.half() for key, value in hps.state_dict().items()}
    torch.save({"epoch": 1, "state_dict": halves}, folder / "tiny" / "hps" / "hps.pt")
    weights, pad = pinned(folder, "tiny/hps", "hps.pt"), PadToSquare(PIXELS)
    ranked = Checkpoint(gelu, weights, *text, read_open_clip, pad, tokens="open_clip")
    tokenizer = CLIPTokenizer.from_pretrained(tokens, model_max_length=77)
    cleaning = SimpleTokenizer(vocabulary(), [(pair.split()[0], pair.split()[1]) for pair in MERGES])
    aesthetic_head = _head(folder)
    return Tiny(
        folder,
        {
            "clip_score": lambda: ClipScore(small),
            "pickscore": lambda: PickScore(picked),
            "hpsv2": lambda: HPSv2(ranked),
            "hpsv2.1": lambda: HPSv21(ranked),
        },
        lambda: Aesthetic(small, aesthetic_head),
        {
            "clip_score": lambda picture, prompt: _transformers_cosine(clip, tokenizer, picture, prompt),
            "pickscore": lambda picture, prompt: _transformers_cosine(pick, tokenizer, picture, prompt),
            "hpsv2": lambda picture, prompt: _open_clip_cosine(hps, cleaning, picture, prompt),
            "hpsv2.1": lambda picture, prompt: _open_clip_cosine(hps, cleaning, picture, prompt),
        },
        lambda picture: _image_features(clip, picture),
    )


def pinned(folder: Path, repo: str, name: str) -> WeightFile:
    """The declaration of a file that is there, with its SHA-256."""
    return WeightFile(repo, REVISION, name, sha256_of(folder / repo / name))


def _save(folder: Path, repo: str, model: Any) -> WeightFile:
    (folder / repo).mkdir(parents=True)
    # With position counters, as files of 2022 have them.
    counters = {f"{tower}_model.embeddings.position_ids": torch.arange(n)[None] for tower, n in COUNTERS.items()}
    save_file({**model.state_dict(), **counters}, folder / repo / "model.safetensors")
    return pinned(folder, repo, "model.safetensors")


COUNTERS = {"text": 77, "vision": (PIXELS // 14) ** 2 + 1}


def _head(folder: Path) -> WeightFile:
    """A random head with the shape of LAION's."""
    place = folder / "tiny" / "head" / "head.pth"
    place.parent.mkdir()
    widths, layers = (768, 1024, 128, 64, 16, 1), (0, 2, 4, 6, 7)
    with torch.random.fork_rng():
        torch.manual_seed(3)
        linears = [nn.Linear(a, b) for a, b in pairwise(widths)]
    named = zip(layers, linears, strict=True)
    torch.save({f"layers.{i}.{k}": v for i, layer in named for k, v in layer.state_dict().items()}, place)
    return pinned(folder, "tiny/head", "head.pth")


def _transformers_cosine(model: Any, tokenizer: Any, picture: np.ndarray, prompt: str) -> float:
    """The cosine by transformers' own processor, tokenizer and model."""
    ids = tokenizer([prompt], padding=True, truncation=True, max_length=77, return_tensors="pt")
    with torch.no_grad():
        out = model(**ids, pixel_values=_processed(picture))
    return F.cosine_similarity(out.image_embeds, out.text_embeds).item()


def _image_features(model: Any, picture: np.ndarray) -> Tensor:
    with torch.no_grad():
        features = model.get_image_features(pixel_values=_processed(picture)).pooler_output
    return (features / features.norm(dim=-1, keepdim=True))[0]


def _processed(picture: np.ndarray) -> Tensor:
    processor = CLIPImageProcessorPil(size={"shortest_edge": PIXELS}, crop_size={"height": PIXELS, "width": PIXELS})
    pixels: Tensor = processor(Image.fromarray(picture), return_tensors="pt")["pixel_values"]
    return pixels


def _open_clip_cosine(model: Any, tokenizer: SimpleTokenizer, picture: np.ndarray, prompt: str) -> float:
    ids = torch.zeros(1, 77, dtype=torch.long)
    found = tokenizer(prompt)
    ids[0, : len(found)] = torch.tensor(found)
    with torch.no_grad():
        image, text = model.visual(_hps_pixels(picture)), model.encode_text(ids)
    return F.cosine_similarity(image, text).item()


def _hps_pixels(picture: np.ndarray) -> Tensor:
    """hpsv2's ToTensor, ResizeMaxSize and Normalize, with Pillow's resize of floats instead of torchvision's."""
    height, width = picture.shape[:2]
    scale = PIXELS / max(height, width)
    new = (max(round(width * scale), 1), max(round(height * scale), 1))
    canvas = np.zeros((3, PIXELS, PIXELS), np.float32)
    left, top = (PIXELS - new[0]) // 2, (PIXELS - new[1]) // 2
    for channel in range(3):
        plane = Image.fromarray(picture[:, :, channel].astype(np.float32) / 255)
        resized = np.asarray(plane.resize(new, Image.Resampling.BICUBIC))
        canvas[channel, top : top + new[1], left : left + new[0]] = resized
    mean, std = np.array(CLIP_MEAN, np.float32), np.array(CLIP_STD, np.float32)
    return torch.from_numpy((canvas - mean[:, None, None]) / std[:, None, None])[None]
