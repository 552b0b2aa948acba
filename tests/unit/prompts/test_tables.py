"""CSV and TSV: no row is cut or swallowed, and no quote of a prompt is dropped."""

import csv
import io
from pathlib import Path
from typing import Literal

import pytest

from tests.support.planning.prompt_files import refusal_of, texts_of

COLUMNS = "prompt\tstyle\n"


@pytest.mark.parametrize(
    ("content", "texts"),
    [
        # The only column: a comma with a space after it is part of the sentence.
        ("prompt\na red fox, oil painting\nan owl\n", ["a red fox, oil painting", "an owl"]),
        ("prompt\r\na fox, an owl, a cat\r\n", ["a fox, an owl, a cat"]),
        ("Prompts\ra fox, in snow\r", ["a fox, in snow"]),
        # A comma at the end of every row cuts nothing.
        ("prompt,style\na fox,x,\nan owl,y,\n", ["a fox", "an owl"]),
        ('prompt,style\n"a ""red"" fox, in snow",x\n', ['a "red" fox, in snow']),
        ('prompt_en,style\n"two\nlines",x\nlast,y\n', ["two\nlines", "last"]),
    ],
)
def test_csv_rows_are_read_whole(tmp_path: Path, content: str, texts: list[str]) -> None:
    (tmp_path / "a.csv").write_bytes(content.encode())
    assert texts_of(tmp_path / "a.csv") == texts


@pytest.mark.parametrize(
    ("content", "row", "reason"),
    [
        ("prompt,style\nan owl,x\na fox, in snow,x\n", "row 2 (line 3)", "3 fields, but the header has 2"),
        ("id,prompt\n1,a fox, in snow\n", "row 1 (line 2)", "3 fields"),
        ("prompt,style\na fox, in snow,\nan owl,x,\n", "row 1 (line 2)", "3 fields"),
        ("prompt,style\na fox,in snow,\n", "row 1 (line 2)", "3 fields"),
        ("prompt\na fox,5\n", "row 1 (line 2)", "2 fields"),
        ('prompt\n"a fox", in snow\n', "row 1 (line 2)", "2 fields"),
        ('prompt,style\n"two\nlines",x\na, b,y\n', "row 2 (line 4)", "3 fields"),
        ('prompt,style\na fox,x\n"an owl,y\na cat,z\n', "row 2 (line 3)", "unexpected end of data"),
        ('prompt,style\n"an" owl,y\n', "row 1 (line 2)", "a quote that does not fit"),
        ("prompt,prompt\na fox,an owl\n", "the header", "2 columns named 'prompt'"),
        ("prompt;style\na fox;x\n", "the header", "has no column"),
        ("style,prompt\nx\n", "row 1 (line 2)", "empty or not text"),
        ("prompt,style\na fox,x\nan\rowl,y\n", "row 2 (line 3)", "carriage return"),
    ],
)
def test_csv_rows_that_are_not_certain_are_refused_by_row(tmp_path: Path, content: str, row: str, reason: str) -> None:
    (tmp_path / "a.csv").write_bytes(content.encode())
    error = refusal_of(tmp_path / "a.csv")
    assert row in f"{error.key} {error.problem}" and reason in error.problem


@pytest.mark.parametrize(
    ("rows", "texts"),
    [
        # A quote that never closes is a character like others.
        (['"a fox\tx', "an owl\ty", 'a 12" disc\tz'], ['"a fox', "an owl", 'a 12" disc']),
        (['a fox\t"', "an owl\ty"], ["a fox", "an owl"]),
        (['"tall fox\tx', "an owl\ty", 'wide cat"\tz'], ['"tall fox', "an owl", 'wide cat"']),
        # Real quotes stay.
        (['"STOP" on a sign\tx', '"GO"\ty'], ['"STOP" on a sign', '"GO"']),
        (['"Hello"\tx', 'a "red" fox\ty'], ['"Hello"', 'a "red" fox']),
        # Quotes of the format go.
        (['"a ""red"" fox"\tx', '"plain"\ty'], ['a "red" fox', "plain"]),
        (['"a fox\tand a tab"\tx', "an owl\ty"], ["a fox\tand a tab", "an owl"]),
        (['"two', 'lines"\tx', "an owl\ty"], ["two\nlines", "an owl"]),
        (['"a\rfox"\tx', '"an ""owl"""\ty'], ["a\rfox", 'an "owl"']),
        # Quotes in another column do not matter.
        (['a fox\t"x"', "an owl\ty"], ["a fox", "an owl"]),
        # Excel puts quotes around each field with a comma.
        (['"a, b"\tx', '"c, d"\ty', '"e, f"\tz', "plain\tz"], ["a, b", "c, d", "e, f", "plain"]),
    ],
)
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_tsv_quotes_belong_to_the_prompt_or_to_the_format(
    tmp_path: Path, rows: list[str], texts: list[str], end: str
) -> None:
    (tmp_path / "a.tsv").write_bytes((COLUMNS + "\n".join(rows) + "\n").replace("\n", end).encode())
    assert texts_of(tmp_path / "a.tsv") == [text.replace("\n", end) for text in texts]


@pytest.mark.parametrize(
    ("content", "row", "reason"),
    [
        (COLUMNS + 'a fox\tx\n"KEEP OUT"\ty\n', "row 2 (line 3)", "part of the prompt or of the format"),
        (COLUMNS + '"a ""red"" fox"\tx\na 12" disc\ty\n', "row 1 (line 2)", "part of the prompt or of the format"),
        ('prompt\n"a fox\nan owl"\n', "row 1 (line 2)", "may enclose line breaks"),
        (COLUMNS + "a fox\tx\nan\towl\ty\n", "row 2 (line 3)", "3 fields, but the header has 2"),
        ("prompt\na fox\tx\n", "row 1 (line 2)", "2 fields"),
        (COLUMNS + "a fox\tx\nan\rowl\ty\n", "line 3", "carriage return"),
    ],
)
def test_tsv_rows_that_are_not_certain_are_refused_by_row(tmp_path: Path, content: str, row: str, reason: str) -> None:
    (tmp_path / "a.tsv").write_bytes(content.encode())
    error = refusal_of(tmp_path / "a.tsv")
    assert row in error.problem and reason in error.problem


NASTY = [
    'a "b" c',
    '"all"',
    "tab\there",
    "line\nbreak",
    "a, b",
    '"open',
    'end"',
    " spaces ",
    "plain",
    '""',
    "a'b",
    '"a" b',
]


@pytest.mark.parametrize("quoting", [csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC])
@pytest.mark.parametrize(("name", "delimiter"), [("a.csv", ","), ("a.tsv", "\t")])
def test_what_pythons_csv_writes_is_read_as_it_was(
    tmp_path: Path, quoting: Literal[0, 1, 2], name: str, delimiter: str
) -> None:
    file = io.StringIO()
    writer = csv.writer(file, delimiter=delimiter, quoting=quoting)
    writer.writerows([["id", "prompt"], *([str(i), text] for i, text in enumerate(NASTY))])
    (tmp_path / name).write_bytes(file.getvalue().encode())
    assert texts_of(tmp_path / name) == NASTY


def test_what_is_written_plainly_is_read_as_it_was(tmp_path: Path) -> None:
    texts = [text for text in NASTY if not {"\t", "\n"} & set(text)]
    content = "id\tprompt\n" + "".join(f"{i}\t{text}\n" for i, text in enumerate(texts))
    (tmp_path / "a.tsv").write_text(content)
    assert texts_of(tmp_path / "a.tsv") == texts
