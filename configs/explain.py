"""Turns pydantic's errors into a `RequestError`, which names file, key, value, the allowed values and the fix."""

import difflib
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from configs.errors import COMMAND_LINE, InvalidValueError, RequestError
from configs.schema import RunConfig

Keys = tuple[str, ...]
_KINDS = {str: "text", bool: "true or false", dict: "a mapping", tuple: "a list", type(None): "null"}
_NUMBERS = {int: "a whole number", float: "a number"}
# A misspelt key makes another one missing, and a missing key may make a third look wrong: the cause is shown.
_SHOWN_FIRST = ("extra_forbidden", "missing")


@dataclass(frozen=True)
class Unchecked:
    """A configuration before it is checked, and where its values come from.

    Attributes:
        data: the configuration as plain data.
        file: the file that the data was read from.
        overrides: the keys that were set on the command line instead.
    """

    data: dict[str, Any]
    file: str
    overrides: Collection[Keys] = ()

    def origin(self, keys: Sequence[str]) -> str:
        """Return where the value of these keys comes from: the file or the command line."""
        return COMMAND_LINE if any(overlap(keys, override) for override in self.overrides) else self.file

    def value(self, keys: Sequence[str]) -> Any:
        """Return the value of these keys, or their default if none was given."""
        value: Any = self.data
        for key in keys:
            if isinstance(value, list) and key.isdigit() and int(key) < len(value):
                value = value[int(key)]
            elif isinstance(value, dict) and key in value:
                value = value[key]
            else:
                field = _model_at(keys[:-1]).model_fields.get(keys[-1])
                return None if field is None or field.is_required() else field.get_default()
        return value


def overlap(keys: Sequence[str], others: Sequence[str]) -> bool:
    """Return whether two dotted keys name the same value, or one names a part of the other."""
    shorter = min(len(keys), len(others))
    return list(keys[:shorter]) == list(others[:shorter])


def request_error(error: ValidationError, config: Unchecked) -> RequestError:
    """Return one of pydantic's errors as a `RequestError`: an unknown key, a missing key, or else the first."""
    details = error.errors()
    first = min(details, key=lambda one: (*_SHOWN_FIRST, one["type"]).index(one["type"]))
    keys = tuple(str(part) for part in first["loc"] if not _is_branch(part))
    if first["type"] == "extra_forbidden":
        return _unknown_key(keys, config)
    cause = first.get("ctx", {}).get("error")
    problem, fix = _described(first), ""
    if isinstance(cause, InvalidValueError):
        problem, fix, keys = cause.problem, cause.fix, tuple(cause.key.split(".")) if cause.key else keys
    elif first["type"] == "missing":
        problem, fix = "this key is missing", "add it"
    elif len(set(_branches(details))) > 1:
        problem = "the value is of no kind that this key takes"
    key = ".".join(keys)
    return RequestError(
        file=config.origin(keys),
        key=key,
        value=config.value(keys),
        problem=problem,
        allowed=_allowed_at(keys),
        fix=fix or f"set {key} to an allowed value",
    )


def allowed(field: FieldInfo) -> str:
    """Return the values that a key takes, in words: their kinds and bounds, and the key's description."""
    kinds = " or ".join(dict.fromkeys(_kinds(field.annotation, " and ".join(_bounds(field.metadata)))))
    return "; ".join(part for part in (kinds, field.description) if part)


def _unknown_key(keys: Keys, config: Unchecked) -> RequestError:
    known = list(_model_at(keys[:-1]).model_fields)
    (nearest,) = difflib.get_close_matches(keys[-1], known, n=1, cutoff=0.0)
    return RequestError(
        file=config.origin(keys),
        key=".".join(keys),
        value=config.value(keys),
        problem="there is no such key",
        allowed=", ".join(known),
        fix=f"did you mean {nearest}?",
    )


def _described(details: ErrorDetails) -> str:
    """The problem in pydantic's words, or in those of the error that a check of another library raised."""
    cause = details.get("ctx", {}).get("error")
    return str(cause) if isinstance(cause, Exception) else details["msg"]


def _branches(details: Sequence[ErrorDetails]) -> Iterator[str]:
    return (str(part) for one in details for part in one["loc"] if _is_branch(part))


def _is_branch(part: int | str) -> bool:
    """Whether a part of pydantic's location names a branch of a union, and not a key of the configuration."""
    return isinstance(part, str) and (not part.isidentifier() or part in ("int", "function-before"))


def _model_at(keys: Sequence[str]) -> type[BaseModel]:
    """The section that the keys lead to."""
    model: type[BaseModel] = RunConfig
    for key in keys:
        # A number of an item, or a name that the user chose, such as that of a reward's server.
        if key not in model.model_fields:
            continue
        section = _section_in(model.model_fields[key].annotation)
        if section is None:
            break
        model = section
    return model


def _section_in(annotation: Any) -> type[BaseModel] | None:
    """The section that a field holds, or holds a list of."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((section for part in get_args(annotation) if (section := _section_in(part))), None)


def _allowed_at(keys: Sequence[str]) -> str:
    model: type[BaseModel] = RunConfig
    field = None
    for key in keys:
        if key not in model.model_fields:
            break
        field = model.model_fields[key]
        model = _section_in(field.annotation) or model
    return "a mapping with the keys of a run" if field is None else allowed(field)


def _kinds(annotation: Any, bounds: str) -> Iterator[str]:
    """The kinds of values that an annotation takes, each in words."""
    origin, parts = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        yield from map(str, parts)
    elif origin is Annotated:
        yield from _kinds(parts[0], " and ".join(_bounds(parts[1:])) or bounds)
    elif annotation in _NUMBERS:
        yield f"{_NUMBERS[annotation]} {bounds}".strip()
    elif (kind := origin or annotation) in _KINDS:
        yield _KINDS[kind]
    elif isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield "a mapping with the keys " + ", ".join(annotation.model_fields)
    else:
        for part in parts:
            yield from _kinds(part, bounds)


def _bounds(metadata: Sequence[Any]) -> Iterator[str]:
    """The bounds of a number, from the metadata of its field or of its annotation."""
    for rule in metadata:
        if isinstance(rule, FieldInfo):
            yield from _bounds(rule.metadata)
        for name, sign in (("ge", ">="), ("gt", ">"), ("le", "<="), ("lt", "<")):
            if getattr(rule, name, None) is not None:
                yield f"{sign} {getattr(rule, name)}"
