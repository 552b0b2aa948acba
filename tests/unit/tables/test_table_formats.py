"""The formats of printed tables: layout, escaping, and that LaTeX compiles."""

import csv
import io
import json
import re
import shutil
import subprocess
from pathlib import Path

import pandas as pd
import pytest

from evaluation.reading.comparison import load_runs
from evaluation.report import write_report
from evaluation.tables.formats import FORMATS, as_json, latex, markdown, screen
from evaluation.tables.formats import csv as as_csv
from evaluation.tables.kinds import KINDS, PAPER, print_tables, tables, write_tables
from evaluation.tables.model import Cell, Head, Table, interval_cell, name_cell, number, number_cell
from pipeline.cli import report_commands
from tests.support.evaluation import paper_tables as paper
from tests.support.synthetic_run import write_run

NASTY = "a_b & 50 % #1 $x$ {y} ~z^2 \\input{/etc/passwd} <b> | \" 'é' ± − × ≥ 🦊 [red]x[/red] =1+1 \x1b[31m\nline"
TABLE = Table(
    "nasty",
    f"A caption: {NASTY}",
    [[Head(""), Head("top", span=2)], [Head("name"), Head("x₁", latex="$x_1$"), Head(NASTY)]],
    [
        [name_cell(NASTY), number_cell(-0.25, 1, drop=True), interval_cell(1.5, -1.0, 2.25, 2)],
        [name_cell("", "=second"), number_cell(float("nan"), 1), number_cell(1234567.0, 0, thousands=True)],
    ],
    rules=[0, 1],
    notes=[f"A note: {NASTY}"],
)


def test_markdown_has_one_line_for_each_row_and_nothing_that_markdown_reads() -> None:
    lines = markdown(TABLE).splitlines()
    rows = [line for line in lines if line.startswith("|")]
    assert len(rows) == 4 and rows[1] == "|---|---:|---:|"
    assert all(len(re.findall(r"(?<!\\)\|", row)) == 4 for row in rows)
    assert "−0.2 ↓" in rows[2] and "1.50 [" in rows[2].replace("\\", "") and "1,234,567" in rows[3]
    assert "<b>" not in "".join(lines) and "\x1b" not in "".join(lines) and "top, x₁" in rows[0]


def test_a_screen_shows_names_as_they_are_and_no_command_of_theirs() -> None:
    text = screen(TABLE, width=400)
    assert "\x1b" not in text and "[red]x[/red]" in text and "−0.2 ↓" in text
    assert "\x1b[31m−0.2 ↓" in screen(TABLE, width=400, colour=True)


def test_csv_has_full_numbers_ends_of_intervals_and_no_formula() -> None:
    text = as_csv(TABLE)
    rows = list(csv.reader(io.StringIO(text)))
    assert [len(row) for row in rows] == [6] * 3
    assert rows[0][3].endswith(", low") and rows[0][4].endswith(", high") and rows[0][5] == "drops"
    assert rows[1][1:5] == ["-0.25", "1.5", "-1.0", "2.25"] and rows[1][5] == "top, x₁"
    assert rows[2][0] == "'=second" and rows[2][1] == "" and float(rows[2][2]) == 1234567


def test_json_has_text_and_value_of_each_cell() -> None:
    found = json.loads(as_json(TABLE))
    assert found["rows"][0][1] == {"text": "−0.2", "value": -0.25, "drop": True}
    assert found["rows"][0][2] == {"text": "1.50 [−1.00, 2.25]", "value": 1.5, "low": -1.0, "high": 2.25}
    assert found["rows"][1][1] == {"text": "–", "value": None} and found["rows"][0][0]["text"] == NASTY


def test_latex_escapes_every_character_that_it_would_read() -> None:
    text = latex(TABLE)
    cell = text.split("\\midrule\n")[1].split(" & \\textcolor")[0]
    assert r"a\_b \& 50 \% \#1 \$x\$ \{y\} \textasciitilde{}z\textasciicircum{}2 \textbackslash{}input\{" in cell
    assert "[U+1F98A]" in cell and "é" in cell and r"$\pm$" in cell and r"$\geq$" in cell
    assert r"\cmidrule(lr){2-3}" in text and r" & \multicolumn{2}{c}{top} \\" in text and "$x_1$" in text


def test_a_number_that_rounds_to_zero_has_no_sign() -> None:
    assert number(-0.0004, 2) == "0.00" and number(-0.05, 2) == "−0.05" and number(-1234.5, 1, True) == "−1,234.5"


def test_latex_of_every_table_compiles(tmp_path: Path) -> None:
    """Compiles Tables 1 and 6 of the paper, all tables of a synthetic run, and the table of nasty names."""
    tex = shutil.which("pdflatex") or shutil.which("tectonic")
    if tex is None:
        pytest.skip("LEFT OUT: no pdflatex and no tectonic on PATH, so no LaTeX table was compiled")
    run = write_run(tmp_path, prompts=["a fox", "a cat", "an owl"], weights=3, methods=("srsoup", "other", "unguided"))
    write_tables(load_runs([run]), tmp_path / "tables")
    bodies = [file.read_text(encoding="utf-8") for file in sorted((tmp_path / "tables").glob("*.tex"))]
    assert len(bodies) == len(KINDS)
    accents = "".join(map(chr, [*range(0xC0, 0xD0), *range(0xD1, 0xD7), *range(0xD8, 0xDE), *range(0xDF, 0x100)]))
    letters = Table("accents", accents, [[Head("x")]], [[name_cell(accents)]])
    bodies += [latex(TABLE), latex(letters), print_tables([paper.cross_reward_run(tmp_path, 1)], "1", "latex")]
    document = "\n\\clearpage\n".join(bodies)
    preamble = "\\documentclass{article}\n\\usepackage{booktabs}\n\\usepackage{xcolor}\n\\begin{document}\n"
    (tmp_path / "all.tex").write_text(f"{preamble}{document}\n\\end{{document}}\n", encoding="utf-8")
    options = ["-interaction=nonstopmode", "-halt-on-error", "-no-shell-escape"] if "pdflatex" in tex else []
    done = subprocess.run(
        [tex, *options, "all.tex"], cwd=tmp_path, capture_output=True, text=True, errors="replace", timeout=120
    )
    assert done.returncode == 0, done.stdout[-2000:]
    assert (tmp_path / "all.pdf").stat().st_size > 10_000


def test_a_report_writes_every_table_in_every_format_and_says_what_it_left_out(tmp_path: Path) -> None:
    run = write_run(tmp_path, prompts=["a fox", "a cat"], weights=3)
    out = write_report([run], tmp_path / "report").parent / "tables"
    left_out = (out / "left_out.txt").read_text(encoding="utf-8").splitlines()
    assert [line.split(":")[0] for line in left_out] == ["cost_ratios"]
    made = {file.name for file in out.iterdir()} - {"left_out.txt"}
    assert made == {f"{kind}{end}" for kind in KINDS if kind != "cost_ratios" for end, _ in FORMATS.values()}
    written = pd.read_csv(out / "cross_reward.csv")
    assert written["Method"].tolist() == ["SRSoup"] and written["Cross-reward"].tolist() == ["mini_clip"]
    (out / "cost_ratios.md").write_text("stale")
    write_tables(load_runs([run]), out)
    assert not (out / "cost_ratios.md").exists()


def test_runs_with_other_weights_and_one_prompt_make_tables(tmp_path: Path) -> None:
    runs = [write_run(tmp_path, f"r{n}", prompts=["x"], weights=n, methods=("srsoup", "unguided")) for n in (2, 3)]
    comparison = load_runs(runs)
    (table,) = tables("1", [comparison])
    assert [head.text for head in table.heads[0][2:]] == ["w₁ = 0", "w₁ = 0.5", "w₁ = 1"]
    assert [row[1].text for row in table.rows] == ["SRSoup (r2)", "SRSoup (r3)"]
    assert table.rows[0][3] == Cell("–") and not table.has_drops
    for kind in set(KINDS) - {"cost_ratios"}:
        for found in tables(kind, [comparison]):
            assert found.rows and all(len(row) == len(found.columns()) for row in found.rows)
    (methods,) = tables("methods", [comparison])
    assert "One prompt cannot give a p below 1, whatever the difference." in methods.notes


def test_the_help_names_every_table_and_format() -> None:
    source = Path(report_commands.__file__).read_text(encoding="utf-8")
    others = set(KINDS) - set(PAPER.values())
    assert all(re.search(rf"\b{name}\b", source) for name in (*others, *FORMATS)) and "1 to 6" in source
