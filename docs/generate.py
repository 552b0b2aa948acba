"""The parts of the documentation that are made from the code: a hook of MkDocs, and plain functions that tests call.

A page marks a part with `<!-- generated: NAME -->` and `<!-- end -->`. Between the two is what a reader of the
repository sees; the site has the part instead.
"""

import io
import math
import re
import runpy
import sys
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any
from unittest import mock

import yaml

from docs.configuration_keys import sections

HERE = Path(__file__).parent
MARKED = re.compile(r"<!-- generated: (\w+) -->\n.*?<!-- end -->", re.DOTALL)


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Put the generated parts into a page. MkDocs calls this for each page."""
    return MARKED.sub(lambda marked: PARTS[marked.group(1)](), markdown)


def configuration() -> str:
    """Return the reference of all configuration keys: a table for each mapping."""
    text = []
    for section in sections():
        title = f"`{section.name}`" if section.name else "Top level"
        rows = [(f"`{key.name}`", key.values, key.default, _sentence(key.meaning)) for key in section.keys]
        text += [f"### {title}", _sentence(section.meaning), _table(("key", "values", "default", "meaning"), rows)]
    return "\n\n".join(text)


def commands() -> str:
    """Return the table of all commands, and the help of each."""
    names = re.findall(r"^  (\w+)  ", program("--help").partition("Commands:")[2], re.MULTILINE)
    helps = {name: program(name, "--help").strip() for name in names}
    rows = [(f"[`srsoup {name}`](#srsoup-{name})", _first_sentence(shown)) for name, shown in helps.items()]
    text = [f"## srsoup {name}\n\n```text\n{shown}\n```" for name, shown in helps.items()]
    return "\n\n".join([_table(("command", "what it does"), rows), *text])


def program(*arguments: str) -> str:
    """Return what `srsoup` prints for these arguments; SystemExit if its exit status is not 0."""
    output = io.StringIO()
    with redirect_stdout(output), mock.patch.object(sys, "argv", ["srsoup", *arguments]):
        try:
            runpy.run_module("srsoup", run_name="__main__")
        except SystemExit as end:
            if end.code:
                raise
    return output.getvalue()


def _first_sentence(shown: str) -> str:
    """The first sentence of a command's help, which follows the line with its usage."""
    return re.split(r"(?<=\.)\s", " ".join(shown.partition("\n")[2].split()), maxsplit=1)[0]


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
    from pipeline.storage.part_rows import for_file
    from pipeline.storage.schemas import SCHEMAS

    meanings = yaml.safe_load((HERE / "columns.yaml").read_text(encoding="utf-8"))
    text = []
    for table, schema in SCHEMAS.items():
        in_files = for_file(schema.empty_table()).schema
        rows = [(f"`{f.name}`", f"`{f.type}`", _sentence(meanings[table][f.name])) for f in in_files]
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
