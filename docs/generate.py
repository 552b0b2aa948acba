"""The parts of the documentation that are made from the code: a hook of MkDocs, and plain functions that tests call.

A page marks a part with `<!-- generated: NAME -->` and `<!-- end -->`. Between the two is what a reader of the
repository sees; the site has the part instead.
"""

import json
import math
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, NamedTuple, Union, get_args, get_origin

import yaml
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from typer.main import get_command
from typer.testing import CliRunner

from configs.schema import RunConfig

HERE = Path(__file__).parent
MARKED = re.compile(r"<!-- generated: (\w+) -->\n.*?<!-- end -->", re.DOTALL)
# Keys whose name says all that there is to say in the schema.
PLAIN_KEYS = {
    "method": "method or methods of the run; see [Methods](methods.md)",
    "seed": "seed of the run, from which every prompt gets a seed of its own",
    "model.dtype": "type of the numbers in the networks",
    "rewards.judge.requests_per_minute": "requests that one reward actor may send in a minute",
    "compute.diffusion_nodes": "nodes that diffusion actors may be on",
    "compute.reward_nodes": "nodes that reward actors may be on",
}
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


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Put the generated parts into a page. MkDocs calls this for each page."""
    return MARKED.sub(lambda marked: PARTS[marked.group(1)](), markdown)


def configuration() -> str:
    """Return the reference of all configuration keys: a table for each mapping."""
    text = []
    for section in sections():
        title = f"`{section.name}`" if section.name else "Top level"
        rows = [(f"`{key.name}`", key.values, key.default, key.meaning) for key in section.keys]
        text += [f"### {title}", _sentence(section.meaning), _table(("key", "values", "default", "meaning"), rows)]
    return "\n\n".join(text)


def sections(model: type[BaseModel] = RunConfig, name: str = "") -> Iterator[Section]:
    """Yield the mappings of a configuration in the order of the schema, each before those within it."""
    inner, keys = list[tuple[str, type[BaseModel]]](), list[Key]()
    for key, field in model.model_fields.items():
        dotted, (part, many) = f"{name}.{key}".lstrip("."), _model_in(field.annotation)
        if part:
            inner.append((f"{dotted}[]" if many else dotted, part))
        if not part or many or field.default is None:
            keys.append(_key(dotted, key, field))
    yield Section(name, (model.__doc__ or "").strip().partition("\n\n")[0], tuple(keys))
    for dotted, part in inner:
        yield from sections(part, dotted)


def _key(dotted: str, name: str, field: FieldInfo) -> Key:
    annotation = Annotated[(field.annotation, *field.metadata)] if field.metadata else field.annotation
    meaning = field.description or PLAIN_KEYS[dotted.replace("[]", "")]
    return Key(name, _values(annotation), _default(field), _sentence(meaning))


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


def commands() -> str:
    """Return the table of all commands, and the help of each."""
    from srsoup import app

    names = get_command(app).commands  # type: ignore[attr-defined]
    rows = [(f"[`srsoup {name}`](#srsoup-{name})", _first_sentence(command.help)) for name, command in names.items()]
    text = [_table(("command", ""), rows)]
    for name in names:
        shown = CliRunner().invoke(app, [name, "--help"], prog_name="srsoup", env={"COLUMNS": "92"})
        text += [f"## srsoup {name}", f"```text\n{shown.output.strip()}\n```"]
    return "\n\n".join(text)


def rewards() -> str:
    """Return the tables of all built-in rewards: what a value means, and what it is computed by."""
    from pipeline.planning.downloads import size_text
    from pipeline.planning.hub_sizes import FILES
    from rewards import registry

    infos = [registry.create(name).info for name in registry.REWARDS]
    values, networks = [], []
    for info in infos:
        reads, runs_on = "yes" if info.reads_prompt else "no", "GPU" if info.batch_sensitive else "CPU"
        values.append((f"`{info.name}`", _sentence(info.description), info.unit, _range(*info.range), reads, runs_on))
        if info.licence:
            sizes = [FILES.get((file.repo, file.revision, file.name)) for file in info.weights]
            known = sum(size for size in sizes if size)
            shown = size_text(known) if known else "none to fetch"
            networks.append((f"`{info.name}`", shown, info.licence, info.preprocessing, info.paper_value))
    sources = [(f"`{info.name}`", info.source) for info in infos]
    return "\n\n".join(
        [
            _table(("reward", "value", "unit", "range", "reads the prompt", "runs on"), values),
            "### Learned rewards",
            _table(("reward", "weights", "licence", "preprocessing", "in the paper"), networks),
            "### Sources",
            _table(("reward", "defined by"), sources),
        ]
    )


def columns() -> str:
    """Return a table of columns for each table of a run.

    Raises:
        KeyError: `columns.yaml` says nothing of a column.
    """
    from pipeline.storage.schemas import SCHEMAS

    meanings = yaml.safe_load((HERE / "columns.yaml").read_text(encoding="utf-8"))
    text = []
    for table, schema in SCHEMAS.items():
        rows = [(f"`{f.name}`", f"`{f.type}`", _sentence(meanings[table][f.name])) for f in schema]
        text += [f"### `{table}/`", _sentence(meanings[table]["rows"]), _table(("column", "type", "meaning"), rows)]
    return "\n\n".join(text)


def metrics() -> str:
    """Return the table of the Prometheus metrics."""
    from actors.telemetry.prometheus import METRICS

    rows = [
        (f"`ray_{name}`", metric.kind, _sentence(metric.description), ", ".join(f"`{tag}`" for tag in metric.tags))
        for name, metric in METRICS.items()
    ]
    return _table(("metric", "kind", "meaning", "tags"), rows)


def library() -> str:
    """Return a reference of the public names of `srsoup`, for mkdocstrings to fill in."""
    import srsoup

    text, plain = list[str](), list[str]()
    for name in sorted(srsoup.__all__, key=str.lower):
        thing = getattr(srsoup, name)
        module = getattr(thing, "__module__", "")
        if callable(thing) and hasattr(thing, "__qualname__") and module != "builtins":
            text.append(f"::: {module}.{thing.__qualname__}\n    options:\n      heading: srsoup.{name}")
        else:
            plain.append(f"- `srsoup.{name}`: {type(thing).__name__}")
    return "\n\n".join(["\n".join(plain), *text])


def _range(low: float, high: float) -> str:
    if math.isinf(low):
        return "any number" if math.isinf(high) else f"at most {high:,.10g}"
    return f"at least {low:,.10g}" if math.isinf(high) else f"{low:,.10g} to {high:,.10g}"


def _first_sentence(text: str | None) -> str:
    return re.split(r"(?<=\.)\s", " ".join((text or "").split()), maxsplit=1)[0]


def _sentence(text: str) -> str:
    """The text as one line with a full stop at its end, and with a capital unless it begins with a value or a name."""
    line = " ".join(text.split()).removesuffix(".")
    word = line.partition(" ")[0]
    return f"{line if re.search(r'[:/._]', word) else line[:1].upper() + line[1:]}." if line else ""


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *([_cell(cell) for cell in row] for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _cell(text: str) -> str:
    """A text that Markdown shows as it is: no tag outside of code, and no bar that would end the cell."""
    parts = re.split(r"(`[^`]*`)", text)
    escaped = [part if part.startswith("`") else part.replace("<", "&lt;") for part in parts]
    return "".join(escaped).replace("|", "\\|").replace("\n", "\\n")


PARTS: dict[str, Callable[[], str]] = {
    part.__name__: part for part in (configuration, commands, rewards, columns, metrics, library)
}
