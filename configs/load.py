"""Reading a configuration: one YAML file, and `a.b=value` on top of it. Data only, never code."""

import difflib
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import BaseModel, ValidationError

from configs.errors import RequestError
from configs.schema import RunConfig

COMMAND_LINE = "command line"
_EMBEDDED = "mini"


def load_config(path: Path, overrides: Sequence[str] = (), *, swept: bool = False) -> RunConfig:
    """Read a YAML file, set the overrides on top, and check the whole.

    Args:
        path: a YAML mapping with the keys of `RunConfig`.
        overrides: `a.b=value`; the value is read as YAML, so `3` is a number and `[a, b]` a list.
        swept: the file may hold a `sweep`, which is left out; see `configs.sweep`.

    Raises:
        RequestError: names file, key, value, what is allowed and the fix of the first thing wrong.
    """
    data = read_mapping(path)
    if data.pop("sweep", None) is not None and not swept:
        raise RequestError(
            file=str(path), key="sweep", value="(a sweep)", problem="this file is a sweep of many runs",
            allowed="a file of one run, without the key sweep", fix="use `srsoup sweep`, or `srsoup check` to see it",
        )  # fmt: skip
    from_command_line: set[tuple[str, ...]] = set()
    for override in overrides:
        from_command_line.add(_override(data, override, from_command_line))
    _resolve_paths(data, Path.cwd())
    return checked_config(data, str(path), from_command_line)


def checked_config(data: dict[str, Any], file: str, overrides: Collection[tuple[str, ...]] = ()) -> RunConfig:
    """A configuration from plain data.

    Args:
        file: what told the data, for messages.
        overrides: keys that the command line told instead.

    Raises:
        RequestError: as of `load_config`.
    """
    try:
        return RunConfig.model_validate(data)
    except ValidationError as error:
        raise _request_error(error, data, file, overrides) from error


def origin(key: str, path: Path, overrides: Sequence[str]) -> str:
    """Where the value of a dotted key came from: the file, or the command line."""
    given = [override.partition("=")[0].split(".") for override in overrides]
    return COMMAND_LINE if any(_same_place(keys, key.split(".")) for keys in given) else str(path)


class _UniqueKeys(yaml.SafeLoader):
    """YAML's safe loader, which by itself would let the second of two equal keys win in silence."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if key in seen:
                raise yaml.constructor.ConstructorError(None, None, f"key {key!r} is there twice", key_node.start_mark)
            seen.add(key)
        return super().construct_mapping(node, deep)


def read_mapping(path: Path, extended: tuple[Path, ...] = ()) -> dict[str, Any]:
    """The mapping that a YAML file holds, unchecked, on top of the one that its key `extends` names.

    A key of the file replaces that key of the other file whole. Paths are made absolute, each from its own file.

    Raises:
        RequestError: it cannot be read, or is no such file.
    """

    def wrong(problem: str, fix: str) -> RequestError:
        return RequestError(
            file=str(path), key="(the file)", value=str(path), problem=problem, fix=fix,
            allowed="a YAML file, UTF-8, with the keys of a run at its top level",
        )  # fmt: skip

    try:
        data = yaml.load(path.read_text(encoding="utf-8"), Loader=_UniqueKeys)
    except OSError as error:
        raise wrong(f"cannot be read: {error.strerror}", "check the path; configs/ holds examples") from error
    except UnicodeDecodeError as error:
        raise wrong(f"is not UTF-8: byte {error.start}", "save it as UTF-8") from error
    except yaml.YAMLError as error:
        raise wrong(f"is not YAML: {error}", "fix that line") from error
    if not isinstance(data, dict):
        raise wrong(f"holds a {type(data).__name__}, not keys with values", "begin with `name: ...`")
    _resolve_paths(data, path.absolute().parent)
    other = data.pop("extends", None)
    if other is None:
        return data
    base = path.parent / str(other)
    if not isinstance(other, str) or path.resolve() in extended:
        raise wrong("extends what is no file, or itself", "let `extends` name another file, relative to this one")
    return read_mapping(base, (*extended, path.resolve())) | data


def _override(data: dict[str, Any], override: str, earlier: set[tuple[str, ...]]) -> tuple[str, ...]:
    """Set one `a.b=value`, after those of the keys `earlier`; returns its keys."""
    name, equals, text = override.partition("=")
    keys = tuple(name.split("."))
    try:
        value = yaml.load(text, Loader=_UniqueKeys)
    except yaml.YAMLError as error:
        equals, problem = "", f"the value is not YAML: {error}"
    else:
        problem = "this is not KEY=VALUE"
    if not equals or not all(keys):
        raise RequestError(
            file=COMMAND_LINE, key=name, value=override, problem=problem,
            allowed="KEY=VALUE with a dotted key, such as soup.steps=10", fix="write it so",
        )  # fmt: skip
    place = data
    for key in keys[:-1]:
        if not isinstance(place.get(key), dict):
            place[key] = {}
        place = place[key]
    place[keys[-1]] = value
    if keys in (("prompts", "file"), ("prompts", "list")):
        # The other source of the file gives way: one on the command line is a replacement.
        for other in ("file", "list", "github", "sha256"):
            if other != keys[-1] and ("prompts", other) not in earlier:
                place.pop(other, None)
    if keys == ("model", "name") and ("model", "revision") not in earlier:
        # A commit is of the model that the file named.
        place.pop("revision", None)
    return keys


def _resolve_paths(data: dict[str, Any], folder: Path) -> None:
    """Make paths that are relative absolute: to the folder of the file that told them, or to the current one."""
    for keys, part in _named_parts(data):
        value = part.get(keys[-1])
        elsewhere = part.get("revision") or part.get("github")
        if isinstance(value, str) and value and value != _EMBEDDED and not elsewhere:
            part[keys[-1]] = str(folder / value)


def _named_parts(data: dict[str, Any]) -> list[tuple[tuple[str, ...], dict[str, Any]]]:
    """The mappings that hold a path, each with the keys of the path. With a revision it is a name on the hub."""
    prompts, model = data.get("prompts"), data.get("model")
    adapters = model.get("adapters") if isinstance(model, dict) else None
    parts: list[tuple[tuple[str, ...], Any]] = [(("prompts", "file"), prompts), (("model", "name"), model)]
    if isinstance(adapters, list):
        parts += [(("model", "adapters", str(index), "name"), adapter) for index, adapter in enumerate(adapters)]
    return [(keys, part) for keys, part in parts if isinstance(part, dict)]


def _request_error(
    error: ValidationError, data: dict[str, Any], file: str, overrides: Collection[tuple[str, ...]]
) -> RequestError:
    """The first problem as a RequestError."""
    problems = error.errors()
    first = problems[0]
    location = tuple(str(part) for part in first["loc"] if not _is_branch(part))
    problem, fix = first["msg"].removeprefix("Value error, "), ""
    if first["type"] == "value_error":
        # Our own checks say both, after a semicolon; a check over several keys begins with the key.
        problem, _, fix = problem.rpartition("; ")
        location = _key_in(problem) or location
    elif first["type"] == "extra_forbidden":
        known = list(_model_at(location[:-1]).model_fields)
        near = difflib.get_close_matches(location[-1], known, n=1, cutoff=0.0)[0]
        return _error(
            data, file, overrides, location, "there is no such key", ", ".join(known), f"did you mean {near}?"
        )
    elif first["type"] == "missing":
        problem, fix = "this key is missing", "add it"
    elif len({str(part) for other in problems for part in other["loc"] if _is_branch(part)}) > 1:
        problem = "this is nothing that the key takes"
    allowed = _allowed(location)
    return _error(data, file, overrides, location, problem, allowed, fix or f"set {'.'.join(location)} to such a value")


def _error(
    data: dict[str, Any],
    file: str,
    overrides: Collection[tuple[str, ...]],
    location: tuple[str, ...],
    problem: str,
    allowed: str,
    fix: str,
) -> RequestError:
    told = COMMAND_LINE if any(_same_place(keys, location) for keys in overrides) else file
    value = _value_at(data, location)
    return RequestError(file=told, key=".".join(location), value=value, problem=problem, allowed=allowed, fix=fix)


def _same_place(keys: Sequence[str], location: Sequence[str]) -> bool:
    """One is the other, or within it."""
    shorter = min(len(keys), len(location))
    return list(keys[:shorter]) == list(location[:shorter])


def _is_branch(part: int | str) -> bool:
    """Pydantic names the branch of a union in its locations; users have no such key."""
    return isinstance(part, str) and (not part.isidentifier() or part in ("int", "function-before"))


def _key_in(message: str) -> tuple[str, ...]:
    """The dotted key that a check over several keys begins its message with; empty where there is none."""
    keys = tuple(message.split()[0].rstrip(":").split("."))
    return keys if keys[0] in RunConfig.model_fields else ()


def _model_at(location: Sequence[str]) -> type[BaseModel]:
    model: type[BaseModel] = RunConfig
    for key in location:
        if key.isdigit():
            continue
        part = _part_in(model.model_fields[key].annotation)
        if part is None:
            break
        model = part
    return model


def _part_in(annotation: Any) -> type[BaseModel] | None:
    """The part that a field holds, or holds a list of."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((part for argument in get_args(annotation) if (part := _part_in(argument))), None)


def _allowed(location: Sequence[str]) -> str:
    """What the schema says of a field: its choices or kind, its bounds, and its description."""
    model: type[BaseModel] = RunConfig
    field = None
    for key in location:
        if key not in model.model_fields:
            break
        field = model.model_fields[key]
        model = _part_in(field.annotation) or model
    if field is None:
        return "a mapping of the keys of a run"
    if _part_in(field.annotation) is model:
        return "a mapping with the keys " + ", ".join(model.model_fields)
    bounds = [
        f"{sign} {getattr(rule, name)}"
        for rule in field.metadata
        for name, sign in (("ge", ">="), ("gt", ">"), ("le", "<="), ("lt", "<"))
        if getattr(rule, name, None) is not None
    ]
    kind = getattr(field.annotation, "__name__", "")
    kind = {"tuple": "list", "Optional": "", "str": "text", "int": "a whole number", "float": "a number"}.get(
        kind, kind
    )
    parts = [" or ".join(_choices(field.annotation)) or kind, " and ".join(bounds), field.description or ""]
    return "; ".join(part for part in parts if part)


def _choices(annotation: Any) -> list[str]:
    """The words that a field takes: the literals inside its annotation."""
    found: list[str] = []
    for argument in get_args(annotation):
        if isinstance(argument, str):
            found.append(argument)
        else:
            found += _choices(argument)
    return list(dict.fromkeys(found))


def _value_at(data: dict[str, Any], location: Sequence[str]) -> Any:
    """The value that was given, or the default where none was."""
    value: Any = data
    for key in location:
        if isinstance(value, list) and key.isdigit() and int(key) < len(value):
            value = value[int(key)]
        elif isinstance(value, dict) and key in value:
            value = value[key]
        else:
            field = _model_at(location[:-1]).model_fields.get(location[-1])
            return None if field is None or field.is_required() else field.get_default()
    return value
