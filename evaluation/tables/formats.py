"""Writes a table as text for the screen, as Markdown, LaTeX (booktabs), CSV or JSON."""

import io
import json
import math
import re
from collections.abc import Callable, Mapping, Sequence

import pandas as pd
import rich.box
from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from evaluation.tables.csv_files import csv_text
from evaluation.tables.model import Cell, Head, Table, Value

DROP = "\u2193"
# Characters of a line of the format `screen`, if no terminal says how many it has.
WIDTH = 200
_LATEX = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "%": r"\%", "#": r"\#", "_": r"\_",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "|": r"\textbar{}", '"': "''", "\u2212": "$-$", "\u2013": "--", "\u2014": "---", "\u00b1": r"$\pm$",
    "\u00d7": r"$\times$", "\u2264": r"$\leq$", "\u2265": r"$\geq$", "\u00b7": r"$\cdot$", "\u2193": r"$\downarrow$",
    "\u2018": "`", "\u2019": "'", "\u201c": "``", "\u201d": "''", "\u00a0": "~",
}  # fmt: skip
_SUBSCRIPTS = {chr(0x2080 + digit): f"$_{digit}$" for digit in range(10)}
# Characters that pdfLaTeX sets without further packages.
_LATIN = re.compile("[ -~\u00c0-\u00cf\u00d1-\u00d6\u00d8-\u00dd\u00df-\u00ef\u00f1-\u00f6\u00f8-\u00fd\u00ff]")


def screen(table: Table, width: int = WIDTH, colour: bool = False) -> str:
    """Returns the table for a terminal; drops are red if there are colours, and have an arrow in any case."""
    shown = RichTable(title=Text(_plain(table.caption)), box=rich.box.SIMPLE_HEAD, title_justify="left")
    for number, column in enumerate(table.columns("\n")):
        shown.add_column(
            Text("\n".join(map(_plain, column.split("\n")))), justify="left" if number < table.names else "right"
        )
    for number, row in enumerate(table.rows):
        if number in table.rules and number:
            shown.add_section()
        shown.add_row(*(Text(_marked(cell), style="red" if cell.drop else "") for cell in row))
    file = io.StringIO()
    console = Console(file=file, width=width, force_terminal=colour, no_color=not colour, highlight=False)
    console.print(shown)
    for note in _notes(table):
        console.print(Text(_plain(note)))
    return file.getvalue()


def markdown(table: Table) -> str:
    """Returns a Markdown table, with the caption before it and the notes after it."""
    lines = [f"**{_markdown(table.caption)}**", "", _pipes(table.columns())]
    lines.append("|" + "|".join(["---"] * table.names + ["---:"] * (len(table.columns()) - table.names)) + "|")
    lines += [_pipes([_marked(cell) for cell in row]) for row in table.rows]
    return "\n".join([*lines, "", *(f"- {_markdown(note)}" for note in _notes(table))]).rstrip() + "\n"


def latex(table: Table) -> str:
    """Returns a LaTeX table that needs the packages booktabs and, if drops are marked, xcolor."""
    columns = len(table.columns())
    packages = ["booktabs", *(["xcolor"] if table.has_drops else [])]
    lines = [
        "% needs " + ", ".join(rf"\usepackage{{{package}}}" for package in packages),
        r"\begin{table}",
        r"  \centering",
        rf"  \caption{{{_latex(table.caption)}}}",
        rf"  \label{{tab:{re.sub('[^a-z0-9]+', '-', table.name.lower())}}}",
        rf"  \begin{{tabular}}{{{'l' * table.names}{'r' * (columns - table.names)}}}",
        r"    \toprule",
    ]
    for row in table.heads:
        lines.append("    " + " & ".join(_latex_head(head) for head in row) + r" \\")
        if row is not table.heads[-1]:
            lines.append("    " + _cmidrules(row))
    lines.append(r"    \midrule")
    for number, cells in enumerate(table.rows):
        if number in table.rules and number:
            lines.append(r"    \midrule")
        lines.append("    " + " & ".join(_latex_cell(cell) for cell in cells) + r" \\")
    lines += [r"    \bottomrule", r"  \end{tabular}"]
    lines += [rf"  \par\smallskip\footnotesize {_latex(note)}" for note in _notes(table, "Red")]
    return "\n".join([*lines, r"\end{table}", ""])


def csv(table: Table) -> str:
    """Returns CSV with numbers in full.

    A column with intervals is followed by two columns with their ends. The column `drops` names the columns in which a
    number is marked as a drop.
    """
    columns, frame = table.columns(), {}
    for number, name in enumerate(columns):
        cells = [row[number] for row in table.rows]
        frame[name] = _typed([cell.value for cell in cells])
        if any(cell.ends for cell in cells):
            for place, end in enumerate(("low", "high")):
                frame[f"{name}, {end}"] = _typed([cell.ends[place] if cell.ends else None for cell in cells])
    if table.has_drops:
        drops = ["; ".join(name for name, cell in zip(columns, row, strict=True) if cell.drop) for row in table.rows]
        frame["drops"] = pd.Series(drops, dtype=object)
    return csv_text(pd.DataFrame(frame))


def as_json(table: Table) -> str:
    """Returns the table as one JSON object: name, caption, columns, notes, and rows of cells."""
    whole = {
        "name": table.name,
        "caption": table.caption,
        "columns": table.columns(),
        "rows": [[_json_cell(cell) for cell in row] for row in table.rows],
        "notes": _notes(table),
    }
    return json.dumps(whole, ensure_ascii=False, indent=1, allow_nan=False) + "\n"


def _json_cell(cell: Cell) -> dict[str, Value | bool]:
    found: dict[str, Value | bool] = {"text": cell.text, "value": _known(cell.value)}
    if cell.ends:
        found |= {"low": _known(cell.ends[0]), "high": _known(cell.ends[1])}
    return found | ({"drop": True} if cell.drop else {})


# The name of a format -> the suffix of its files, and what writes it.
FORMATS: Mapping[str, tuple[str, Callable[[Table], str]]] = {
    "screen": (".txt", screen),
    "markdown": (".md", markdown),
    "latex": (".tex", latex),
    "csv": (".csv", csv),
    "json": (".json", as_json),
}


def _notes(table: Table, mark: str = DROP) -> list[str]:
    drops = [f"{mark}: lower than the base model, and the 95 % interval of the difference is below 0."]
    return [*(drops if table.has_drops else []), *table.notes]


def _marked(cell: Cell) -> str:
    return _plain(cell.text) + (f" {DROP}" if cell.drop else "")


def _plain(text: str) -> str:
    """Returns text in one line, without characters that would command a terminal."""
    return "".join(c if c.isprintable() else " " if c.isspace() else "\ufffd" for c in text)


def _pipes(texts: list[str]) -> str:
    return "| " + " | ".join(_markdown(text) for text in texts) + " |"


def _markdown(text: str) -> str:
    escaped = re.sub(r"([\\`*\[\]|])", r"\\\1", _plain(text)).replace("&", "&amp;").replace("<", "&lt;")
    return re.sub(r"(?<!\w)_|_(?!\w)", r"\_", escaped)


def _latex(text: str) -> str:
    table = _LATEX | _SUBSCRIPTS
    return "".join(table.get(c) or (c if _LATIN.match(c) else f"[U+{ord(c):04X}]") for c in _plain(text))


def _latex_head(head: Head) -> str:
    text = head.latex if head.latex is not None else _latex(head.text)
    return rf"\multicolumn{{{head.span}}}{{c}}{{{text}}}" if head.span > 1 else text


def _latex_cell(cell: Cell) -> str:
    text = _latex(cell.text)
    return rf"\textcolor{{red}}{{{text}}}" if cell.drop else text


def _cmidrules(heads: Sequence[Head]) -> str:
    rules, start = [], 1
    for head in heads:
        if head.span > 1:
            rules.append(rf"\cmidrule(lr){{{start}-{start + head.span - 1}}}")
        start += head.span
    return " ".join(rules)


def _typed(values: list[Value]) -> pd.Series:
    """Returns a column of numbers if it has no text, so that a spreadsheet reads them as numbers."""
    if any(isinstance(value, str) for value in values):
        return pd.Series(["" if value is None else value for value in values], dtype=object)
    return pd.Series([math.nan if value is None else value for value in values], dtype=float)


def _known(value: Value) -> Value:
    return None if isinstance(value, float) and not math.isfinite(value) else value
