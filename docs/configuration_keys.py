"""The keys of a configuration as its reference shows them, read from the schema."""

import json
from collections.abc import Iterator
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, NamedTuple, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from configs.schema import RunConfig

PLURALS = {"text": "texts", "number": "numbers", "mapping": "mappings"}
KINDS = {int: "whole number", float: "number", str: "text", bool: "`true` or `false`", NoneType: "`null`"}
SIGNS = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}


class Key(NamedTuple):
    """One key of a configuration, as the reference shows it."""

    name: str
    values: str
    default: str
    meaning: str


class Section(NamedTuple):
    """A mapping of a configuration: its dotted name, "" for the top level, and the keys in it that hold values."""

    name: str
    meaning: str
    keys: tuple[Key, ...]


def sections(model: type[BaseModel] = RunConfig, name: str = "") -> Iterator[Section]:
    """Yield the mappings of a configuration in the order of the schema, each before those within it."""
    inner, keys = list[tuple[str, type[BaseModel]]](), list[Key]()
    for key, field in model.model_fields.items():
        dotted, (part, many) = f"{name}.{key}".lstrip("."), _model_in(field.annotation)
        if part:
            inner.append((f"{dotted}[]" if many else dotted, part))
        if not part or many or field.default is None:
            keys.append(_key(key, field))
    yield Section(name, (model.__doc__ or "").strip().partition("\n\n")[0], tuple(keys))
    for dotted, part in inner:
        yield from sections(part, dotted)


def _key(name: str, field: FieldInfo) -> Key:
    annotation = Annotated[(field.annotation, *field.metadata)] if field.metadata else field.annotation
    return Key(name, _values(annotation), _default(field), field.description or "")


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value = field.get_default()
    shown = value if isinstance(value, str) and " " not in value else json.dumps(value)
    return f"`{shown}`"


def _values(annotation: Any, bounds: str = "") -> str:
    """What a key takes, in words: the choices, the kind of value, and its bounds."""
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _values(inner[0], " and ".join(_bounds(inner[1:])))
    if origin is Literal:
        return ", ".join(f"`{choice}`" for choice in inner)
    if origin in (Union, UnionType):
        branches = [_values(branch, "" if branch is NoneType else bounds) for branch in inner]
        return " or ".join("a list of them" if branch == f"list of {branches[0]}" else branch for branch in branches)
    if origin is tuple:
        items = _values(inner[0])
        return f"list of {PLURALS.get(items, items.replace('list of', 'lists of'))}"
    if origin is dict:
        return f"mapping of names to {_values(inner[1]).replace('number', 'numbers').replace('text', 'texts')}"
    return f"{KINDS.get(annotation, 'mapping')} {bounds}".strip()


def _bounds(metadata: tuple[Any, ...]) -> Iterator[str]:
    for rule in metadata:
        yield from _bounds(tuple(rule.metadata)) if isinstance(rule, FieldInfo) else ()
        for name, sign in SIGNS.items():
            if (bound := getattr(rule, name, None)) is not None:
                yield f"{sign} 2^63" if bound == 2**63 else f"{sign} {bound:g}"


def _model_in(annotation: Any) -> tuple[type[BaseModel] | None, bool]:
    """The mapping that a key holds, if it holds one, and whether it holds a list of them."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation, False
    for inner in get_args(annotation):
        part, many = _model_in(inner)
        if part:
            return part, many or get_origin(annotation) is tuple
    return None, False
