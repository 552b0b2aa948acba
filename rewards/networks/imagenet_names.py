"""Which of ImageNet's 1,000 classes (ILSVRC 2012, in their order) a prompt names."""

import difflib
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path

# One class a line, synonyms with commas between.
TABLE = Path(__file__).parent / "imagenet_classes.txt"
# Of a prompt that names none: the longest words are compared, so many, of so many letters; and how many names are told.
COMPARED, LETTERS, TOLD = 4, 3, 3

Words = tuple[str, ...]
Classes = tuple[int, ...]


def named_classes(prompt: str) -> Classes:
    """The classes that a prompt names, ascending; empty where it names none.

    1. Those of the longest synonym that occurs in the prompt as whole words; of equally long ones the first.
       "a tiger cat" is one class, "a crane" two, bird and machine: they share the name.
    2. Else all classes with a synonym whose last word occurs: "a crocodile" is the African crocodile, "a lobster" both
       lobsters, "an owl" the great grey owl.

    Case does not matter, hyphens are spaces, a plural's s or es may follow. Nothing is understood: "a horse" is the
    hippopotamus (river horse), "a mouse" the computer's, "a dog" also the hot dog, and "a cat by a window screen" is
    the screen. There is no octopus, giraffe or dolphin among the classes.
    """
    spoken = _words(prompt)
    synonyms = _synonyms()
    longest = max(map(len, synonyms))
    found = [
        _known(spoken[start : start + count], synonyms)
        for start in range(len(spoken))
        for count in range(1, longest + 1)
        if start + count <= len(spoken)
    ]
    if any(found):
        return synonyms[max(filter(None, found), key=lambda words: len(" ".join(words)))]
    lasts = _last_words()
    heads = [_known((word,), lasts) for word in spoken]
    return tuple(sorted({index for head in heads if head for index in lasts[head]}))


def nearest_names(prompt: str) -> list[str]:
    """Names that are spelled like words of the prompt, the nearest first; empty where none is."""
    names = [" ".join(name) for name in _synonyms()]
    likeness: dict[str, float] = {}
    words = {word for word in _words(prompt) if len(word) >= LETTERS}
    for word in sorted(words, key=lambda word: (-len(word), word))[:COMPARED]:
        for name in difflib.get_close_matches(word, names, n=TOLD):
            ratio = difflib.SequenceMatcher(None, word, name).ratio()
            likeness[name] = max(ratio, likeness.get(name, 0.0))
    return sorted(likeness, key=lambda name: (-likeness[name], name))[:TOLD]


@cache
def class_names() -> tuple[tuple[str, ...], ...]:
    """The synonyms of each class, class by class."""
    return tuple(tuple(line.split(", ")) for line in TABLE.read_text(encoding="utf-8").splitlines())


def _words(text: str) -> Words:
    """Lower-case words without a possessive's s: "St Bernard's T-shirt" -> st, bernard, t, shirt."""
    return tuple(re.sub(r"['\u2019]s$", "", word) for word in re.findall(r"\w+(?:['\u2019]\w+)*", text.casefold()))


def _known(words: Words, names: Mapping[Words, Classes]) -> Words | None:
    """The words as they stand among the names, or without the plural's s or es."""
    *before, last = words
    singulars = (last, last.removesuffix("s"), last.removesuffix("es"))
    return next((name for singular in singulars if (name := (*before, singular)) in names), None)


@cache
def _synonyms() -> Mapping[Words, Classes]:
    found: dict[Words, Classes] = {}
    for index, synonyms in enumerate(class_names()):
        for words in dict.fromkeys(map(_words, synonyms)):
            found[words] = (*found.get(words, ()), index)
    return found


@cache
def _last_words() -> Mapping[Words, Classes]:
    """Of names of several words; a letter (Model T) is none."""
    found: dict[Words, Classes] = {}
    for words, classes in _synonyms().items():
        last = words[-1:]
        if len(words) > 1 and len(words[-1]) > 1:
            found[last] = tuple(sorted({*found.get(last, ()), *classes}))
    return found
