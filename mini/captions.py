"""Captions of a taught name, and the tokenizer made from them.

Prompts in use are bare names, so these come most often; templates, style words and synonyms widen what is
understood,
and the empty caption is what guidance leaves from.
"""

from __future__ import annotations

import json
import random

from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers
from tokenizers.pre_tokenizers import ByteLevel
from transformers import CLIPTokenizer

from mini.names import ICONS, STYLES, SYNONYMS

LENGTH = 16
TEMPLATES = (
    "a {}",
    "a picture of a {}",
    "an image of a {}",
    "a drawing of a {}",
    "an emoji of a {}",
    "a photo of a {}",
    "the {}",
    "one {}",
    "a small {}",
    "a cute {}",
    "a cartoon {}",
)
START, END = "<|startoftext|>", "<|endoftext|>"


def caption(name: str, style: str, chance: random.Random) -> str:
    """One caption of a picture: 10 % empty, 60 % the bare name, 20 % a template, 10 % with the style's
    name."""
    draw = chance.random()
    if draw < 0.1:
        return ""
    words = SYNONYMS.get(name, ())
    word = chance.choice(words) if words and chance.random() < 0.2 else name
    if draw < 0.7:
        return word
    if draw < 0.9:
        return chance.choice(TEMPLATES).format(word)
    return f"{word}, {style} style"


def all_captions() -> list[str]:
    """Every caption that `caption` can give, and the same words in the plural."""
    words = [w for name in ICONS for w in (name, *SYNONYMS.get(name, ()))]
    plain = [t.format(w) for w in words for t in ("{}", "{}s", *TEMPLATES)]
    return plain + [f"{w}, {style} style" for w in words for style in STYLES]


def train_merges(texts: list[str]) -> list[tuple[str, str]]:
    """Byte-pair merges over CLIP's words: lower case, bytes as characters, the last one marked `</w>`."""
    tokenizer = Tokenizer(models.BPE(end_of_word_suffix="</w>"))
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Lowercase()])
    splitter = pre_tokenizers.WhitespaceSplit()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([splitter, pre_tokenizers.Punctuation(), ByteLevel(False)])
    trainer = trainers.BpeTrainer(
        vocab_size=2048, end_of_word_suffix="</w>", initial_alphabet=ByteLevel.alphabet(), show_progress=False
    )
    tokenizer.train_from_iterator(texts, trainer)
    return _merges(tokenizer)


def _merges(tokenizer: Tokenizer) -> list[tuple[str, str]]:
    return [
        tuple(m) if isinstance(m, list) else tuple(m.split(" "))
        for m in json.loads(tokenizer.to_str())["model"]["merges"]
    ]


def build_tokenizer() -> CLIPTokenizer:
    """A `CLIPTokenizer` of length 16 whose vocabulary covers every byte, so that any text tokenises."""
    merges = train_merges(all_captions())
    letters = sorted(ByteLevel.alphabet())
    tokens = [*letters, *(c + "</w>" for c in letters), *(a + b for a, b in merges), START, END]
    vocabulary = {token: i for i, token in enumerate(dict.fromkeys(tokens))}
    return CLIPTokenizer(
        vocab=vocabulary,
        merges=merges,
        bos_token=START,
        eos_token=END,
        unk_token=END,
        pad_token=END,
        model_max_length=LENGTH,
    )
