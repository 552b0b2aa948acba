"""The classes of ImageNet (ILSVRC 2012, 1,000 classes in their order) that a prompt names."""

import difflib
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path

# One class on each line, with its synonyms separated by commas.
TABLE = Path(__file__).parent / "imagenet_classes.txt"
# For a prompt that names no class: how many of its words are compared with names, how many letters such a word has at
# least, and how many names are suggested.
COMPARED, LETTERS, SUGGESTED = 4, 3, 3

Words = tuple[str, ...]
Classes = tuple[int, ...]


def named_classes(prompt: str) -> Classes:
    """Return the classes that a prompt names, ascending; empty if it names none.

    1. The longest synonym that occurs in the prompt as whole words decides; of equally long ones the first. "a tiger
       cat" names one class, and "a crane" two, a bird and a machine, which have the same name.
    2. If no synonym occurs, all classes count that have a synonym whose last word occurs. "a crocodile" names the
       African crocodile, "a lobster" both lobsters, "an owl" the great grey owl.

    Case does not matter, hyphens count as spaces, and a plural's s or es may follow. Only the spelling is compared, not
    the meaning: "a horse" names the hippopotamus (river horse), "a mouse" that of a computer, "a dog" also the hot dog,
    and "a cat by a window screen" the screen. There is no octopus, giraffe or dolphin among the classes.
    """
    words = _words(prompt)
    synonyms = _synonyms()
    longest = max(map(len, synonyms))
    found = [
        _known(words[start : start + count], synonyms)
        for start in range(len(words))
        for count in range(1, longest + 1)
        if start + count <= len(words)
    ]
    if any(found):
        return synonyms[max(filter(None, found), key=lambda name: len(" ".join(name)))]
    lasts = _last_words()
    heads = [_known((word,), lasts) for word in words]
    return tuple(sorted({index for head in heads if head for index in lasts[head]}))


def nearest_names(prompt: str) -> list[str]:
    """Return names that are spelled like a word of the prompt, the most similar first; empty if there are none."""
    names = [" ".join(name) for name in _synonyms()]
    likeness: dict[str, float] = {}
    words = {word for word in _words(prompt) if len(word) >= LETTERS}
    for word in sorted(words, key=lambda word: (-len(word), word))[:COMPARED]:
        for name in difflib.get_close_matches(word, names, n=SUGGESTED):
            ratio = difflib.SequenceMatcher(None, word, name).ratio()
            likeness[name] = max(ratio, likeness.get(name, 0.0))
    return sorted(likeness, key=lambda name: (-likeness[name], name))[:SUGGESTED]


@cache
def class_names() -> tuple[tuple[str, ...], ...]:
    """Return the synonyms of each class, in the order of the classes."""
    return tuple(tuple(line.split(", ")) for line in TABLE.read_text(encoding="utf-8").splitlines())


def _words(text: str) -> Words:
    """Lower-case words without a possessive's s: "St Bernard's T-shirt" -> st, bernard, t, shirt."""
    return tuple(re.sub(r"['\u2019]s$", "", word) for word in re.findall(r"\w+(?:['\u2019]\w+)*", text.casefold()))


def _known(words: Words, names: Mapping[Words, Classes]) -> Words | None:
    """The name that these words are, as they are or without a plural's s or es; None if they are not a name."""
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
    """The classes by the last word of their names. Names of one word, and last words of one letter, are left out."""
    found: dict[Words, Classes] = {}
    for words, classes in _synonyms().items():
        last = words[-1:]
        if len(words) > 1 and len(words[-1]) > 1:
            found[last] = tuple(sorted({*found.get(last, ()), *classes}))
    return found
