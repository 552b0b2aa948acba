"""The tokens of HPSv2 on odd texts, against open_clip's algorithm in plain Python; and those of the other CLIP rewards.

The vocabulary here is that of the embedded model, which is in CLIP's layout. Once, by hand, these texts and 20,000
others were given to the authors' own tokenizer (hpsv2 1.2.0) with the published vocabulary: every token was the same.
"""

import json
from pathlib import Path

import numpy as np
import pytest
from transformers import CLIPTokenizer

import mini
from rewards.networks.clip_encoder import _tokenizer
from rewards.networks.open_clip_tokens import OpenClipTokenizer, cleaned
from tests.support.tiny_clip import SimpleTokenizer, Tiny

ODD_WORDS = (
    "a the owl owls fox running monkeys styles photograph “owl” don’t it'S I'VE 'll they’re 'ſ … “ ” ‘ ’ € ™ ½ ³ Ⅷ "
    "café cafe\u0301 e\u0301 &#769; e&#769; &amp;amp; &lt;b&gt; &#x27; &eacute; &nbsp; &sup2; &hellip; &AMP; "
    "&copy &nope; "
    "ﬁsh ﬂower ﬃ ſt ŉ ǅ ﷺ ＦＵＬＬ １２ ｱｲｳ \u3000 Ω ΣΑΣ ΟΔΟΣ ά\u0345 İstanbul ẞ \u00a0 \u200b \ufeff \x1c \x85 \u2028 "
    "â€œquoteâ€\x9d schÃ¶n \ud800 🦉 👩‍🎨 日本語 한국어 \x1b[31mred \x00 \x07 ... -- <p> </p> <start_of_text> "
    "<end_of_text> <|startoftext|> <|endoftext|> \t \n"
)


def odd_texts(n: int) -> list[str]:
    """Words of these kinds with and without spaces between, long rows of them, and any characters."""
    rng = np.random.default_rng(5)
    texts = []
    for i in range(n):
        if i % 3 < 2:
            glue = rng.choice(["", " ", "  "], 60) if i % 3 else [" "] * 60
            words = rng.choice(ODD_WORDS.split(" "), rng.integers(0, 12 if i % 3 else 60))
            texts.append("".join(word + space for word, space in zip(words, glue, strict=False)))
        else:
            ends = rng.choice([0x250, 0x3000, 0xFFFF, 0x1FFFF], rng.integers(0, 30))
            texts.append("".join(chr(rng.integers(0, end)) for end in ends))
    return texts


@pytest.fixture(scope="module")
def embedded() -> tuple[dict[str, int], list[tuple[str, str]]]:
    """The vocabulary and the merges of the embedded model's tokenizer."""
    file = Path(mini.__path__[0]) / "weights" / "pipeline" / "tokenizer" / "tokenizer.json"
    model = json.loads(file.read_text(encoding="utf-8"))["model"]
    return model["vocab"], [tuple(pair) for pair in model["merges"]]


def test_the_tokens_of_2000_odd_texts_are_those_of_the_published_algorithm(
    embedded: tuple[dict[str, int], list[tuple[str, str]]],
) -> None:
    ours, theirs = OpenClipTokenizer(*embedded, context=77), SimpleTokenizer(*embedded)
    longest = 0
    for text in odd_texts(2_000):
        expected = theirs(text)
        longest = max(longest, len(expected))
        assert ours(text) == expected + [theirs.end] * (77 - len(expected)), text
    assert longest == 77


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("“Owl”", '"owl"'),
        ("don’t", "don't"),
        ("fish &amp;amp; chips", "fish & chips"),
        ("&lt;b&gt;&eacute;&nbsp;x", "<b>é x"),
        ("ﬁsh and ﬂower", "fish and flower"),
        ("ＦＵＬＬ　ｗｉｄｔｈ　１２", "full width 12"),
        ("  a\t\n b\u00a0c ", "a b c"),
        ("schÃ¶n", "schön"),
        ("ΟΔΟΣ", "οδος"),
        ("cafe\u0301", "café"),
        ("<b>caf&#101;&#769;", "<b>cafe\u0301"),
    ],
)
def test_a_text_is_cleaned_as_by_the_authors(text: str, clean: str) -> None:
    assert cleaned(text) == clean


def test_hpsv2_cleans_and_the_other_rewards_read_as_their_authors_do(tiny: Tiny) -> None:
    """PickScore's and CLIP's authors use transformers' tokenizer: one kind of space, lower case, NFC, no cleaning."""
    reference = CLIPTokenizer.from_pretrained(tiny.folder / "tiny" / "tokens", model_max_length=77)
    odd = [text for text in odd_texts(300) if not any("\ud800" <= letter <= "\udfff" for letter in text)]
    for name, make in tiny.cosine_rewards.items():
        tokens = _tokenizer(make()._checkpoint)
        if name.startswith("hpsv2"):
            assert tokens("“Owl” &amp; ﬁsh") == tokens('"owl" & fish') and tokens("“") == tokens('"')
        else:
            assert tokens("“") != tokens('"')
            expected = reference(odd, padding="max_length", truncation=True, max_length=77).input_ids
            assert [tokens(text) for text in odd] == expected


@pytest.mark.parametrize("name", ["hpsv2", "hpsv2.1"])
def test_a_score_is_the_same_for_what_the_authors_take_for_the_same_text(tiny: Tiny, name: str) -> None:
    import torch

    reward = tiny.cosine_rewards[name]()
    reward.setup("cpu")
    image = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (1, 3, 42, 42), np.uint8))
    scores = [reward.score(image, [text]).item() for text in ("“Owl” &amp; ﬁsh", '"owl" & fish', "owl")]
    assert scores[0] == scores[1] != scores[2]
