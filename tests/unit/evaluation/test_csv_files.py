"""No cell of a CSV file is a formula to a spreadsheet, and every number stays a number."""

import csv
import time
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from evaluation.report import write_report
from evaluation.tables.csv_files import without_formula, write_csv

FORMULAS = [
    '=HYPERLINK("http://example.org","click")',
    "+1+cmd|'/C calc'!A0",
    "-2+3",
    "@SUM(A1)",
    "\t=1",
    "\r=1",
    "\n=1",
    '"=1+1',
    "'=1",
    '""=1',
    "  =1",
    "\u00a0=1",
    "\u201c=1",
    "\ufeff=1",
    "\uff1d1+1",
    "\uff20SUM(1)",
    "a fox;=1",
    'a fox;"=1',
    "a fox\t@SUM(1)",
    "a fox\n=1",
    "a fox\r\n+1",
]
PLAIN = ["a fox", "a = b", "a - b, c + d", "x@example.org", "(=1)", "a, =1", "", "\u732b", "'quoted'", '"quoted"', "5"]


def cells(text: str) -> list[str]:
    """Returns the beginnings of all cells that a spreadsheet may see, with what it may skip removed."""
    for separator in ";\t\r\n":
        text = text.replace(separator, "\0")
    return [cell.strip(' \u00a0"\u201c\ufeff') for cell in text.split("\0")]


@pytest.mark.parametrize("text", FORMULAS)
def test_a_formula_begins_with_an_apostrophe(text: str) -> None:
    safe = without_formula(text)
    assert not any(cell.startswith(tuple("=+-@\uff1d\uff20")) for cell in cells(safe))
    assert safe != text and safe.replace("'", "") == text.replace("'", "")
    assert not safe.startswith(("\t", "\r", "\n", "="))


@pytest.mark.parametrize("text", PLAIN)
def test_other_texts_are_left_alone(text: str) -> None:
    assert without_formula(text) == text


def test_a_long_text_takes_no_time() -> None:
    start = time.process_time()
    without_formula("\n" * 200_000 + " " * 200_000 + '"' * 200_000 + "=")
    assert time.process_time() - start < 2


def test_a_table_comes_back_as_it_was_but_for_the_apostrophes(tmp_path: Path) -> None:
    texts = FORMULAS + PLAIN
    frame = pd.DataFrame({"=text": texts, "number": [-1.5 + i for i in range(len(texts))], "count": range(len(texts))})
    frame["weights"] = [[-1.0, 2.0]] * len(texts)
    frame["flag"] = True
    write_csv(frame, tmp_path / "table.csv")
    with (tmp_path / "table.csv").open(encoding="utf-8", newline="") as file:
        head, *rows = csv.reader(file)
    assert head == ["'=text", "number", "count", "weights", "flag"]
    assert [row[0] for row in rows] == [without_formula(text) for text in texts]
    assert [float(row[1]) for row in rows] == frame["number"].tolist() and rows[0][1] == "-1.5"
    read = pd.read_csv(tmp_path / "table.csv")
    assert read["number"].dtype == float and read["count"].dtype == int and read["flag"].dtype == bool


def test_no_file_of_a_report_has_a_formula(synthetic_run: Callable[..., Path]) -> None:
    """Prompts, rewards and the names of runs come from others; numbers below zero are there too."""
    run = synthetic_run(prompts=FORMULAS, weights=2, guided=["=one", "@two"], held_out=["+three"])
    out = write_report([run], run / "report").parent
    files = sorted(out.rglob("*.csv"))
    assert len(files) == 8 + 8
    for path in files:
        with path.open(encoding="utf-8", newline="") as file:
            for row in csv.reader(file):
                for cell in row:
                    assert not cells(cell)[0].startswith(("=", "@", "+")), cell
                    assert not cell.startswith("-") or float(cell) < 0
    front = pd.read_csv(out / "front.csv")
    assert front["'@two"].min() < 0 and set(front["prompt"]) == {without_formula(text) for text in FORMULAS}
