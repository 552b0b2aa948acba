"""No report ends in a traceback, and none is written from rows that cannot be right."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from evaluation.errors import ReportError
from evaluation.report import write_report
from pipeline.records import read_table, write_part
from tests.support.synthetic_run import simplex, write_driver, write_key

Write = Callable[..., Path]
GUIDED, HELD_OUT = ["colorfulness", "compressibility"], ["mini_clip"]


def changed(run: Path, table: str, key: str, change: Callable[[list[dict[str, Any]]], Any]) -> None:
    """Write the rows of a front again, as a driver would, with a change; the checksums are those of the new rows."""
    rows = read_table(run, table, [key]).to_pylist()
    write_part(run, table, key, change(rows) or rows)


def drop_last(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return rows[:-1]


def set_all(**values: Any) -> Callable[[list[dict[str, Any]]], list[dict[str, Any]]]:
    return lambda rows: [row | values for row in rows]


def renumber(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [row | {"weight_index": row["weight_index"] + 1} for row in rows]


@pytest.mark.parametrize(
    ("table", "change", "problem"),
    [
        ("samples", drop_last, r"samples/ has 5 rows of p000-srsoup, but the configuration asks for 6"),
        ("scores", drop_last, r"scores/ has 17 rows of p000-srsoup, but the configuration asks for 18"),
        ("samples", renumber, r"the weights of p000-srsoup are not row 1 of `weights`"),
        ("samples", set_all(weights=[0.3, 0.7]), r"the weights of p000-srsoup are not row 0 of `weights`"),
        ("scores", set_all(value=float("nan")), r"some samples have no score of"),
        ("scores", set_all(value=float("inf")), r"some samples have no score of"),
        ("scores", set_all(value=None), r"some samples have no score of"),
        ("samples", set_all(image=None), r"some samples have no image"),
        ("samples", set_all(image={"bytes": None, "path": "x.png"}), r"some samples have no image"),
        ("samples", set_all(image={"bytes": b"GIF89a", "path": None}), r"an image in samples/ cannot be read"),
        ("costs", set_all(prompt_id="p001"), r"p000-srsoup and p001-srsoup are fronts of the same prompt"),
    ],
)
def test_rows_that_cannot_be_right_are_refused(
    synthetic_run: Write, table: str, change: Callable[[list[dict[str, Any]]], Any], problem: str
) -> None:
    run = synthetic_run(prompts=["a", "b"])
    changed(run, table, "p000-srsoup", change)
    with pytest.raises(ReportError, match=problem) as told:
        write_report([run], run / "report")
    assert "srsoup verify" in str(told.value) or "run again" in str(told.value)
    # Images are read last. A page that would lack one is not written.
    assert not (run / "report").exists() or ("image" in problem and not list((run / "report").glob("*.html")))


def test_more_fronts_than_the_run_has_are_refused(synthetic_run: Write) -> None:
    """Such as those of another version in the same folder, whose keys differ."""
    run = synthetic_run(prompts=["a", "b"], methods=["srsoup"])
    write_driver(run, fronts=2)
    write_key(run, "p009-srsoup", "c", "srsoup", simplex(6, 2), GUIDED, HELD_OUT)
    with pytest.raises(ReportError, match=r"there are 3 finished fronts, but by driver\.yaml the run has 2"):
        write_report([run], run / "report")


def test_the_rewards_of_the_rows_are_those_of_the_record_in_the_same_order(synthetic_run: Write) -> None:
    run = synthetic_run(prompts=["a"])
    text = (run / "config.yaml").read_text()
    swapped = text.replace("- colorfulness\n    - compressibility", "- compressibility\n    - colorfulness")
    (run / "config.yaml").write_text(swapped)
    assert swapped != text
    with pytest.raises(ReportError, match=r"scores/ has colorfulness, compressibility, mini_clip, but config\.yaml"):
        write_report([run], run / "report")


@pytest.mark.parametrize("name", ["seed", "prompt", "label", "compared"])
def test_a_reward_that_is_named_like_a_column_of_the_report_is_a_clear_error(synthetic_run: Write, name: str) -> None:
    run = synthetic_run(prompts=["a"], guided=["colorfulness", name], weights=2)
    with pytest.raises(ReportError, match=f"own columns named {name}"):
        write_report([run], run / "report")


def test_a_reward_may_be_named_like_a_column_that_the_report_does_not_use(synthetic_run: Write) -> None:
    run = synthetic_run(prompts=["a"], guided=["width", "style"], weights=2)
    assert write_report([run], run / "report").is_file()


def test_failures_with_nothing_but_their_key_are_shown(synthetic_run: Write) -> None:
    run = synthetic_run(prompts=["a"], weights=2)
    write_part(run, "failures", "f0", [{"key": "f0"}])
    write_part(run, "failures", "f1", [{"key": "f1", "prompt": "a\ud7ff\0b", "prompt_id": "f1", "attempts": 0}])
    page = write_report([run], run / "report").read_text(encoding="utf-8")
    assert re.search(r'id="failures"', page) and "failed" in page


def test_a_file_where_the_report_is_to_be_is_a_clear_error(synthetic_run: Write, tmp_path: Path) -> None:
    (tmp_path / "report").write_text("")
    with pytest.raises(ReportError, match=r"report cannot be written .*--out"):
        write_report([synthetic_run(prompts=["a"], weights=2)], tmp_path / "report")
