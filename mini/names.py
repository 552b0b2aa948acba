"""The taught names: the animals, the icons that show them, the artwork sets, and synonyms.

Icon names differ between the sets, so every animal lists the icon names that show it, best first. From each set the
first icon on the list is used that the set has. All artwork was looked at; `DROPPED` lists the pictures that people
would not recognise at 64 px.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Style:
    """One artwork set: an npm package in Iconify's JSON format, at a pinned version."""

    package: str
    version: str
    licence: str
    author: str
    source: str


STYLES: dict[str, Style] = {
    "noto": Style(
        "@iconify-json/noto", "1.2.9", "Apache-2.0", "Google Inc", "https://github.com/googlefonts/noto-emoji"
    ),
    "noto-v1": Style(
        "@iconify-json/noto-v1",
        "1.2.5",
        "Apache-2.0",
        "Google Inc",
        "https://github.com/googlefonts/noto-emoji",
    ),
    "fxemoji": Style("@iconify-json/fxemoji", "1.2.2", "Apache-2.0", "Mozilla", "https://github.com/mozilla/fxemoji"),
    "twemoji": Style("@iconify-json/twemoji", "1.2.5", "CC-BY-4.0", "Twitter", "https://github.com/twitter/twemoji"),
    "emojione": Style(
        "@iconify-json/emojione", "1.2.3", "CC-BY-4.0", "Emoji One", "https://github.com/EmojiTwo/emojitwo"
    ),
    "fluent-emoji": Style(
        "@iconify-json/fluent-emoji",
        "1.2.7",
        "MIT",
        "Microsoft Corporation",
        "https://github.com/microsoft/fluentui-emoji",
    ),
    "fluent-emoji-flat": Style(
        "@iconify-json/fluent-emoji-flat",
        "1.2.6",
        "MIT",
        "Microsoft Corporation",
        "https://github.com/microsoft/fluentui-emoji",
    ),
}

PAPER_ANIMALS = ("snail", "hippopotamus", "cheetah", "crocodile", "lobster", "octopus")
"""The six names of the paper's animal prompts; training uses their pictures most often."""

ICONS: dict[str, tuple[str, ...]] = {
    "snail": ("snail",),
    "hippopotamus": ("hippopotamus",),
    "cheetah": ("leopard", "leopardside"),  # no set has a cheetah, so a leopard is used
    "crocodile": ("crocodile",),
    "lobster": ("lobster",),
    "octopus": ("octopus",),
    "ant": ("ant",),
    "bear": ("bear", "bear-face"),
    "bee": ("honeybee", "bee"),
    "butterfly": ("butterfly",),
    "camel": ("two-hump-camel", "camel"),
    "cat": ("cat", "catside", "cat-face"),
    "caterpillar": ("bug",),
    "chick": ("baby-chick",),
    "cow": ("cow-face", "cowface"),
    "crab": ("crab",),
    "dog": ("dog-face", "dogface", "dog"),
    "dolphin": ("dolphin",),
    "duck": ("duck",),
    "elephant": ("elephant",),
    "fish": ("tropical-fish", "fish"),
    "flamingo": ("flamingo",),
    "fox": ("fox", "fox-face"),
    "frog": ("frog", "frog-face"),
    "giraffe": ("giraffe",),
    "horse": ("horse",),
    "koala": ("koala",),
    "ladybug": ("lady-beetle", "ladybug"),
    "lion": ("lion", "lion-face"),
    "monkey": ("monkey-face", "monkeyface"),
    "mouse": ("mouse-face", "mouse"),
    "owl": ("owl",),
    "panda": ("panda", "panda-face", "pandaface"),
    "parrot": ("parrot",),
    "peacock": ("peacock",),
    "penguin": ("penguin",),
    "pig": ("pig-face", "pigface", "pig"),
    "rabbit": ("rabbit-face", "rabbit"),
    "rooster": ("rooster",),
    "shark": ("shark",),
    "snake": ("snake",),
    "spider": ("spider",),
    "tiger": ("tiger-face", "tiger"),
    "turtle": ("turtle",),
    "unicorn": ("unicorn", "unicorn-face"),
    "whale": ("spouting-whale", "whale"),
}
"""Name -> icon names that show it, best first."""

DROPPED: frozenset[tuple[str, str]] = frozenset(
    {
        ("noto", "crocodile"),  # seen from above: looks like a gecko
        ("fluent-emoji", "crocodile"),  # seen from above: looks like a gecko
        ("fluent-emoji-flat", "crocodile"),
        ("fxemoji", "cheetah"),  # its spots are too small for 64 px
        ("emojione", "cheetah"),  # sits and faces the viewer: looks like a house cat
        ("fxemoji", "cat"),  # only a pink and white face; the other sets show the whole body
    }
)
"""The (style, name) of each picture that is left out."""

TWINS: frozenset[str] = frozenset({"fluent-emoji", "fluent-emoji-flat"})
"""Two sets with the same drawings. Training uses each of them half as often as another set, so that these drawings do
not get twice the weight."""

SYNONYMS: dict[str, tuple[str, ...]] = {
    "cheetah": ("leopard",),
    "hippopotamus": ("hippo",),
    "crocodile": ("alligator",),
    "rabbit": ("bunny",),
    "ladybug": ("ladybird",),
    "bee": ("honeybee",),
    "rooster": ("cockerel",),
    "turtle": ("tortoise",),
}
"""Other words for a name, which some captions use."""

NAMES: tuple[str, ...] = tuple(ICONS)
