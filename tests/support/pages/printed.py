"""The commands that README.md and the pages of docs/ print, as a reader would type them."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tests.support.runs import ROOT

PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
_FENCE = re.compile(r"^``` ?(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_INDENTED = re.compile(r"(?:^ {4}.*\n)(?:(?:^ {4}.*)?\n)*", re.MULTILINE)
# How each indented block begins that a reader does not type into a shell -> what it is.
NO_SHELL = {
    "import pandas as pd": "Python",
    "from rewards.contract import": "Python",
    "[project.entry-points": "TOML",
    "scrape_configs:": "YAML",
    "done      ": "the output of a command",
    "E[r z] = ": "an equation",
}


class Command(NamedTuple):
    """A command of a page: its words, without the variables that are set before it."""

    page: str
    words: tuple[str, ...]

    @property
    def text(self) -> str:
        return shlex.join(self.words)


def blocks(page: Path) -> Iterator[str]:
    """The blocks of a page that a reader types into a shell."""
    text = page.read_text(encoding="utf-8")
    yield from (content for language, content in _FENCE.findall(text) if language in ("", "sh", "bash", "shell"))
    for block in _INDENTED.findall(_FENCE.sub("", text)):
        dedented = "\n".join(line[4:] for line in block.splitlines())
        if not dedented.startswith(tuple(NO_SHELL)):
            yield dedented


def commands(page: Path) -> list[Command]:
    """The commands of a page, in their order."""
    lines = [line for block in blocks(page) for line in block.replace("\\\n", " ").splitlines() if line.strip()]
    found = []
    for line in lines:
        for part in line.split(" && "):
            words = shlex.split(part, comments=True)
            while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
                words = words[1:]
            if words:
                found.append(Command(page.name, tuple(words)))
    return found


def inline_commands(page: Path) -> Iterator[Command]:
    """The commands of `srsoup` in the sentences of a page."""
    text = _INDENTED.sub("", _FENCE.sub("", page.read_text(encoding="utf-8")))
    for span in re.findall(r"`(srsoup [a-z][^`]*)`", text):
        yield Command(page.name, tuple(shlex.split(span)))


def snippets(page: Path) -> list[str]:
    """The Python of a page."""
    text = page.read_text(encoding="utf-8")
    found = [content for language, content in _FENCE.findall(text) if language == "python"]
    for block in _INDENTED.findall(_FENCE.sub("", text)):
        dedented = "\n".join(line[4:] for line in block.splitlines())
        if any(dedented.startswith(begin) for begin, kind in NO_SHELL.items() if kind == "Python"):
            found.append(dedented)
    return found
