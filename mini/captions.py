"""Captions of the taught names, and the tokenizer that is made from them.

Users mostly prompt with bare names, so these are the most frequent captions. Templates, names of styles and synonyms
teach the model more prompts. Classifier-free guidance needs the empty caption.
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
    """Returns a random caption: empty (10 %), the name (60 %), a template (20 %), or the name and the style (10 %).

    A synonym, if there is one, takes the place of the name in 20 % of the cases.
    """
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
    """Returns every caption that `caption` can return, and the plural of each name."""
    words = [w for name in ICONS for w in (name, *SYNONYMS.get(name, ()))]
    plain = [t.format(w) for w in words for t in ("{}", "{}s", *TEMPLATES)]
    return plain + [f"{w}, {style} style" for w in words for style in STYLES]


def train_merges(texts: list[str]) -> list[tuple[str, str]]:
    """Learns byte-pair merges in CLIP's form: lower-case words, bytes as characters, `</w>` at the end of a word."""
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
    """Returns a `CLIPTokenizer` of length 16; its vocabulary has every byte, so it can encode any text."""
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
