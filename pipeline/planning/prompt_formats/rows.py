"""Rows of a prompt file, the error that refuses one, and the column that holds the prompts."""

import re
import unicodedata
from collections.abc import Iterable
from typing import Any, NamedTuple

USUAL_COLUMNS = (
    "prompt", "text", "caption", "prompts", "texts", "captions", "prompt_en", "text_en", "caption_en",
)  # fmt: skip
USUAL_TAGS = ("tags", "tag")
MOST_PROMPTS = 1_000_000
"""The largest number of prompts of a run."""
SYNSET = re.compile(r"n\d{8}(?:\s*[:,;]\s*|\s+|$)")
# Characters without a shape that Unicode does not count as spaces or as format characters.
_SHAPELESS = "\u034f\u115f\u1160\u2800\u3164\uffa0"


class Row(NamedTuple):
    """A prompt as it was read; `entry` names its line or row for error messages."""

    text: Any
    entry: str
    style: str | None = None
    tags: tuple[str, ...] = ()


class Columns(NamedTuple):
    """The columns, or fields of a record, that are read; None for one with a usual name."""

    prompts: str | None = None
    tags: str | None = None


class WrongFileError(ValueError):
    """A prompt file that does not have its format.

    Attributes:
        problem: what is wrong, with the row.
        fix: what to do about it, as an imperative.
    """

    def __init__(self, problem: str, fix: str = "correct the file") -> None:
        super().__init__(problem, fix)
        self.problem, self.fix = problem, fix

    def __str__(self) -> str:
        return self.problem


def is_blank(text: str) -> bool:
    """Return whether a text shows nothing: it has spaces, control characters and zero-width characters only."""
    if not text.strip():
        return True
    return all(
        character.isspace()
        or character in _SHAPELESS
        or unicodedata.category(character) in ("Cc", "Cf", "Zs", "Zl", "Zp")
        or unicodedata.name(character, "").startswith(("VARIATION SELECTOR", "MONGOLIAN FREE VARIATION"))
        for character in text
    )


def is_empty(value: Any) -> bool:
    """Return whether a row has no prompt: its value is missing or blank."""
    return value is None or (isinstance(value, str) and is_blank(value))


def row_of(value: Any, columns: Columns, entry: str, style: str | None = None) -> Row:
    """Return the row of an entry: a text, or a record with a prompt and perhaps tags."""
    if not isinstance(value, dict):
        return Row(value, entry, style)
    name = find_tags(list(value), columns.tags, entry)
    tags = () if name is None else tags_of(value[name], columns, entry)
    return Row(value[pick_column(list(value), columns.prompts, entry)], entry, style, tags)


def find_tags(names: Iterable[Any], column: str | None, entry: str, key: str = "prompts.tags") -> str | None:
    """Return the column with the tags: `column` or, if it is None, a usual name in upper or lower case, or None.

    Raises:
        WrongFileError: there is no such column.
    """
    names = [name for name in names if isinstance(name, str)]
    if column is None:
        return next((name for usual in USUAL_TAGS for name in names if name.lower() == usual), None)
    if column not in names:
        problem = f"{entry} has no column {column!r}, only {', '.join(map(repr, names[:20])) or 'none'}"
        raise WrongFileError(problem, f"set {key} to the name of the column with the tags")
    return column


def tags_of(value: Any, columns: Columns, entry: str) -> tuple[str, ...]:
    """Return the tags of a prompt: a text is one tag, and a list of texts are several.

    A usual name may hold something else, such as a number, which is no tag.

    Raises:
        WrongFileError: the user named the column, and the value is neither.
    """
    listed = value if isinstance(value, list | tuple) else [] if value is None else [value]
    if wrong := [tag for tag in listed if not isinstance(tag, str)]:
        if columns.tags is None:
            return ()
        raise WrongFileError(
            f"{entry} has a tag that is a {type(wrong[0]).__name__} and not a text: {wrong[0]!r:.80}",
            "write the tags as texts, or set prompts.tags to another column",
        )
    return tuple(dict.fromkeys(tag for tag in listed if not is_blank(tag)))


def pick_column(names: list[str], column: str | None, entry: str, key: str = "prompts.column") -> str:
    """Return the name of the column with the prompts: `column` or, if it is None, a usual name in upper or lower case.

    `key` is the key of the configuration that names the column.

    Raises:
        WrongFileError: there is no such column, or two columns have its name.
    """
    name = find_column(names, column)
    if name is None:
        wanted = (column,) if column is not None else USUAL_COLUMNS
        shown = ", ".join(map(repr, names[:20])) + (f" and {len(names) - 20} more" if len(names) > 20 else "")
        problem = f"{entry} has no column {' or '.join(map(repr, wanted))}, only {shown or 'none'}"
        raise WrongFileError(problem, f"set {key} to the name of the column with the prompts")
    if names.count(name) > 1:
        problem = f"{entry} has {names.count(name)} columns named {name!r}"
        raise WrongFileError(problem, "give each column a name of its own")
    return name


def find_column(names: Iterable[Any], column: str | None) -> str | None:
    """Return the column that `pick_column` picks, or None if there is none."""
    names = [name for name in names if isinstance(name, str)]
    if column is not None:
        return column if column in names else None
    return next((name for usual in USUAL_COLUMNS for name in names if name.lower() == usual), None)


def without_synsets(rows: list[Row]) -> list[Row]:
    """Remove the WordNet ids that all rows begin with, as in ImageNet's `n01440764 tench, Tinca tinca`.

    Raises:
        WrongFileError: some rows begin with an id and others do not, or a row is an id alone.
    """
    ids = [SYNSET.match(row.text) if isinstance(row.text, str) else None for row in rows]
    first = next((index for index, found in enumerate(ids) if found), None)
    if first is None:
        return rows
    plain = next((row for row, found in zip(rows, ids, strict=True) if found is None), None)
    if plain is not None:
        raise WrongFileError(
            f"{rows[first].entry} begins with a WordNet id, {rows[first].text[:9]}, but {plain.entry} does not",
            "remove the ids, or give each row one",
        )
    names = [row._replace(text=row.text[found.end() :]) for row, found in zip(rows, ids, strict=True) if found]
    if bare := next((row.entry for row in names if not row.text), None):
        raise WrongFileError(
            f"{bare} is a WordNet id alone, and not a text", "use a file with the names of the classes"
        )
    return names
