"""The shapes of JSON files with prompts: lists, styles, columns, records by id, class indices, COCO captions."""

import json
import re
from collections.abc import Iterator
from typing import Any

from pipeline.planning.prompt_formats.json_text import documents, loads
from pipeline.planning.prompt_formats.rows import (
    SYNSET,
    Columns,
    Row,
    WrongFileError,
    find_column,
    find_tags,
    row_of,
    tags_of,
)

_SHAPES = "save it as a list of texts, a list of records, or {style: [...]}"
# Keys of which a text is the value: numbers, WordNet ids, names of pictures.
_ID = re.compile(r"\d+|n\d{8}|.*\.(?:png|jpe?g|webp)", re.IGNORECASE)
# Names that no style has.
_NEVER_STYLES = {"prompt", "prompts", "prompt_en"}
_NOT_PROMPTS = {
    "category", "challenge", "class", "classes", "classname", "height", "id", "idx", "image", "image_id", "images",
    "index", "label", "labels", "metadata", "name", "negative", "negative_prompt", "negative_prompts", "note", "score",
    "seed", "seeds", "source", "split", "style", "styles", "synset", "tag", "tags", "url", "width", "wnid",
}  # fmt: skip


def read_json(text: str, columns: Columns) -> Iterator[Row]:
    """Yield the prompts of a JSON document, whose shape says where they are.

    A list has texts or records. An object is one of: COCO captions; ImageNet's class index; columns of equal length;
    texts or records by style; records by id; texts by number or file; one record.

    Raises:
        WrongFileError: the document has no known shape, or its shape does not say which texts are prompts.
    """
    data = _document(text)
    if isinstance(data, list):
        yield from _entries(data, columns)
    elif isinstance(data, dict):
        yield from _of_object(data, columns)
    else:
        raise WrongFileError(f"the file holds a {type(data).__name__}", _SHAPES)


def _document(text: str) -> Any:
    try:
        return loads(text)
    except WrongFileError as error:
        # Many files named .json have a record per line.
        if isinstance(error.__cause__, json.JSONDecodeError) and error.__cause__.msg == "Extra data":
            try:
                return [data for _, data in documents(text)]
            except WrongFileError:
                pass
        raise


def _entries(entries: list[Any], columns: Columns, group: str = "", style: str | None = None) -> Iterator[Row]:
    for index, entry in enumerate(entries):
        name = f"{group}, entry {index}" if group else f"entry {index}"
        yield row_of(entry, columns, name, style)


def _of_object(data: dict[str, Any], columns: Columns) -> Iterator[Row]:
    values = list(data.values())
    if isinstance(data.get("annotations"), list) and {"images", "info", "licenses"} & set(data):
        yield from _entries(data["annotations"], columns, "annotations")
    elif all(isinstance(value, list) for value in values):
        yield from _of_lists(data, columns)
    elif all(isinstance(value, dict) for value in values):
        for key, value in data.items():
            yield row_of(value, columns, f"entry {key!r}")
    elif all(isinstance(value, str) for value in values) and all(_ID.fullmatch(key) for key in data):
        for key, value in data.items():
            yield Row(value, f"entry {key!r}")
    elif (name := find_column(data, columns.prompts)) is not None and isinstance(data[name], str):
        yield row_of(data, columns, "the object")._replace(entry=f"field {name!r}")
    else:
        kinds = ", ".join(f"{key!r}: {type(value).__name__}" for key, value in list(data.items())[:5])
        raise WrongFileError(f"the values of the object are not all lists, nor all records: {kinds}", _SHAPES)


def _of_lists(data: dict[str, list[Any]], columns: Columns) -> Iterator[Row]:
    if data and all(_is_class(value) for value in data.values()):
        for key, (_, name) in data.items():
            yield Row(name.replace("_", " "), f"entry {key!r}")
    elif (name := _prompt_column(data, columns)) is not None:
        tags = find_tags(data, columns.tags, "the object")
        for index, row in enumerate(_entries(data[name], columns, f"column {name!r}")):
            yield row if tags is None else row._replace(tags=tags_of(data[tags][index], columns, row.entry))
    else:
        for style, entries in data.items():
            yield from _entries(entries, columns, style, style)


def _is_class(value: list[Any]) -> bool:
    """Whether a value is one of ImageNet's class index, such as ["n01440764", "tench"]."""
    return len(value) == 2 and all(isinstance(part, str) for part in value) and bool(SYNSET.fullmatch(value[0].strip()))


def _prompt_column(data: dict[str, list[Any]], columns: Columns) -> str | None:
    """Return the key with the prompts if the keys are columns, or None if they are styles.

    Raises:
        WrongFileError: it is not certain which of both they are, or which of the columns has the prompts.
    """
    if len(data) < 2:
        return None
    records = any(isinstance(entry, dict) for entries in data.values() for entry in entries)
    name = None if records else find_column(data, columns.prompts)
    others = [key for key in data if key != name]
    known = [key for key in others if key.lower() in _NOT_PROMPTS or (not records and _has_no_text(data[key]))]
    if name is None and not known:
        return None
    if name is None or (columns.prompts is None and not known and name.lower() not in _NEVER_STYLES):
        suspect = known[0] if known else name
        raise WrongFileError(
            f"the object has lists, and the key {suspect!r} may be a column or a style: its entry 0 is "
            f"{data[str(suspect)][:1]!r:.80}",
            "set prompts.column to the column with the prompts, or save the styles without this key",
        )
    lengths = {key: len(entries) for key, entries in data.items()}
    if short := next((key for key in others if lengths[key] != lengths[name]), None):
        raise WrongFileError(
            f"the column {name!r} has {lengths[name]} entries, but {short!r} has {lengths[short]}, so entry "
            f"{min(lengths[name], lengths[short])} is missing in one of them",
            "give all columns the same number of entries",
        )
    return name


def _has_no_text(entries: list[Any]) -> bool:
    return bool(entries) and not any(isinstance(entry, str) for entry in entries)
