"""`srsoup verify` names every kind of damage with its fix; no other command says that a damaged run is fine."""

import random
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from typer.testing import CliRunner

from pipeline.records import RESULT_TABLES, finished_keys, read_table, write_part
from pipeline.storage import verify as verifying
from pipeline.storage.compact import compact
from pipeline.storage.part_damage import read_part
from pipeline.storage.verify import verify
from srsoup import _app
from tests.support.synthetic_run import simplex, write_driver, write_key

Write = Callable[..., Path]
KEY, OTHER = "p000-srsoup", "p001-srsoup"
GUIDED, HELD_OUT = ["colorfulness", "compressibility"], ["mini_clip"]


@pytest.fixture
def run(synthetic_run: Write) -> Path:
    """A run of six fronts, as a driver leaves it."""
    folder = synthetic_run(prompts=["a", "b", "c"])
    write_driver(folder, fronts=6)
    return folder


def ask(command: str, *arguments: object) -> tuple[int, str]:
    """Give a command; return its exit status and what it printed. There is never a traceback."""
    told = CliRunner().invoke(_app(), [command, *map(str, arguments)])
    assert told.exception is None or isinstance(told.exception, SystemExit), told.exception
    return told.exit_code, told.output


def part(run: Path, table: str, key: str = KEY) -> Path:
    return run / table / f"{key}.parquet"


def flip(file: Path, start: int, n: int = 40) -> None:
    content = bytearray(file.read_bytes())
    for i in range(start, start + n):
        content[i] ^= 0x55
    file.write_bytes(content)


def rewritten(file: Path, change: Callable[[pa.Table], pa.Table]) -> None:
    """Write a part again with other rows, in a way that no checksum can tell."""
    rows = pq.read_table(file)
    pq.write_table(change(rows).replace_schema_metadata(rows.schema.metadata), file, write_page_checksum=True)


def edited(file: Path, change: Callable[[dict[str, Any]], object]) -> None:
    document = yaml.safe_load(file.read_text(encoding="utf-8"))
    change(document)
    file.write_text(yaml.safe_dump(document), encoding="utf-8")


def flipped_bytes(run: Path) -> None:
    flip(part(run, "samples"), 5_000)


def flipped_bytes_of_steps(run: Path) -> None:
    flip(part(run, "steps"), 60, 20)


def no_footer(run: Path) -> None:
    file = part(run, "scores")
    file.write_bytes(file.read_bytes()[:-8])


def empty_file(run: Path) -> None:
    part(run, "steps").write_bytes(b"")


def rows_twice(run: Path) -> None:
    rewritten(part(run, "scores"), lambda rows: pa.concat_tables([rows, rows]))


def one_row_twice(run: Path) -> None:
    rewritten(part(run, "samples"), lambda rows: pa.concat_tables([rows, rows.slice(2, 1)]))


def costs_twice(run: Path) -> None:
    rewritten(part(run, "costs"), lambda rows: pa.concat_tables([rows, rows]))


def row_missing(run: Path) -> None:
    rewritten(part(run, "samples"), lambda rows: rows.slice(0, 5))


def score_missing(run: Path) -> None:
    rewritten(part(run, "scores"), lambda rows: rows.slice(1))


def score_of_another_reward(run: Path) -> None:
    names = pa.array(["beauty"] * 18)
    rewritten(part(run, "scores"), lambda rows: rows.set_column(2, "reward", names))


def column_renamed(run: Path) -> None:
    rewritten(part(run, "scores"), lambda rows: rows.rename_columns(["key", "weight_index", "reward", "role", "valu"]))


def score_not_finite(run: Path) -> None:
    rewritten(part(run, "scores"), lambda rows: rows.set_column(4, "value", pa.array([float("inf")] * 18)))


def image_missing(run: Path) -> None:
    rewritten(part(run, "samples"), lambda rows: rows.set_column(9, "image", pa.nulls(6, rows.schema.types[9])))


def rows_of_another_front(run: Path) -> None:
    shutil.copy(part(run, "samples", OTHER), part(run, "samples"))


def foreign_merged_part(run: Path) -> None:
    pq.write_table(pa.table({"key": [KEY]}), run / "samples" / "merged-all.parquet")


def foreign_merged_part_of_costs(run: Path) -> None:
    pq.write_table(pa.table({"key": [KEY]}, metadata={b"srsoup.keys": b"{"}), run / "costs" / "merged-1.parquet")


def no_record(run: Path) -> None:
    (run / "config.yaml").unlink()


def record_is_no_yaml(run: Path) -> None:
    (run / "config.yaml").write_text("config: [")


def record_is_a_list(run: Path) -> None:
    (run / "config.yaml").write_text("- a\n")


def record_with_fewer_weights(run: Path) -> None:
    edited(run / "config.yaml", lambda document: document["config"]["weights"].pop())


def record_with_other_weights(run: Path) -> None:
    edited(run / "config.yaml", lambda document: document["config"].update(weights=simplex(6, 2)[::-1]))


def record_with_rewards_in_another_order(run: Path) -> None:
    edited(run / "config.yaml", lambda document: document["config"]["rewards"]["guided"].reverse())


def fewer_fronts_in_the_drivers_record(run: Path) -> None:
    edited(run / "driver.yaml", lambda document: document.update(fronts=3, prompts=3))


def front_of_another_version(run: Path) -> None:
    weights = simplex(6, 2)
    write_key(run, "p000-srsoup-again", "a", "srsoup", weights, GUIDED, HELD_OUT)


DAMAGE: dict[Callable[[Path], None], str] = {
    flipped_bytes: r"samples/p000-srsoup.parquet: the file cannot be read .*Remove it and run again",
    flipped_bytes_of_steps: r"steps/p000-srsoup.parquet: the file cannot be read .*Remove it and run again",
    no_footer: r"scores/p000-srsoup.parquet: the file has a footer that cannot be read.*Remove it and run again",
    empty_file: r"steps/p000-srsoup.parquet: the file has a footer that cannot be read",
    rows_twice: r"scores/p000-srsoup.parquet: the file cannot be read .a row is there twice",
    one_row_twice: r"samples/p000-srsoup.parquet: the file cannot be read .a row is there twice",
    costs_twice: r"costs/p000-srsoup.parquet: the file cannot be read .a row is there twice",
    row_missing: r"samples/p000-srsoup.parquet: p000-srsoup has 5 rows.* but should have 6.*Remove the file",
    score_missing: r"scores/p000-srsoup.parquet: p000-srsoup has 17 rows.* but should have 18.*Remove the file",
    score_of_another_reward: r"scores/p000-srsoup.parquet: the file cannot be read .a row is there twice",
    column_renamed: r"scores/p000-srsoup.parquet: the file cannot be read .no version has written a column 'valu'",
    score_not_finite: r"scores/p000-srsoup.parquet: a score of p000-srsoup is no finite number.*Remove the file",
    image_missing: r"samples/p000-srsoup.parquet: an image of p000-srsoup is missing.*Remove the file",
    rows_of_another_front: r"samples/p000-srsoup.parquet: there are rows of p001-srsoup, which belong in another file",
    foreign_merged_part: r"samples/merged-all.parquet: the file is not a merged part .*Move it out of the folder",
    foreign_merged_part_of_costs: r"costs/merged-1.parquet: the file is not a merged part .*Move it out of the folder",
    no_record: r"config.yaml: the record of the run is missing. Restore the file",
    record_is_no_yaml: r"config.yaml: this is not the record of a run .*Restore the file",
    record_is_a_list: r"config.yaml: this is not the record of a run .*Restore the file",
    record_with_fewer_weights: r"config.yaml: samples/ has 6 rows .*asks for 5 rows.*Restore the file",
    record_with_other_weights: r"config.yaml: samples/ has 6 rows of .*asks for 6 rows of .*Restore the file",
    record_with_rewards_in_another_order: r"config.yaml: scores/ has .*asks for .*Restore the file",
    fewer_fronts_in_the_drivers_record: r"there are 6 finished fronts, but the run has only 3",
    front_of_another_version: r"there are 7 finished fronts, but the run has only 6. Move the parts of another run",
}


def test_a_sound_run_is_fine(run: Path) -> None:
    assert ask("verify", run) == (0, "fine: 6 fronts in 24 files\n")
    compact(run)
    assert ask("verify", run) == (0, "fine: 6 fronts in 4 files\n")
    write_key(run, "p003-srsoup", "d", "srsoup", simplex(6, 2), GUIDED, HELD_OUT)
    part(run, "costs", "p003-srsoup").unlink()
    assert ask("verify", run)[0] == 0, "a front that is not finished is no damage"


def flat(text: str) -> str:
    return " ".join(text.split())


@pytest.mark.parametrize("damage", DAMAGE, ids=lambda damage: damage.__name__)
def test_damage_is_named_with_its_fix_and_no_command_says_that_all_is_fine(
    run: Path, tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    damage(run)
    status, told = ask("verify", run)
    assert status == 1 and re.search(DAMAGE[damage], flat(told)), told
    assert "damaged: " in told and "Traceback" not in told
    status, told = ask("status", run)
    assert status == 2 and str(run) in told, told
    status, told = ask("report", run, "--out", tmp_path / "report")
    assert status == 2 and str(run) in told, told
    assert not (tmp_path / "report" / "index.html").exists()


@pytest.mark.parametrize(
    "damage",
    [flipped_bytes, flipped_bytes_of_steps, no_footer, empty_file, rows_twice, one_row_twice, costs_twice,
     column_renamed, rows_of_another_front, foreign_merged_part, foreign_merged_part_of_costs],
    ids=lambda damage: damage.__name__,
)  # fmt: skip
def test_damage_is_not_merged_away(run: Path, damage: Callable[[Path], None]) -> None:
    before = {table: {file: file.read_bytes() for file in (run / table).iterdir()} for table in RESULT_TABLES}
    damage(run)
    after = {table: {file: file.read_bytes() for file in (run / table).iterdir()} for table in RESULT_TABLES}
    damaged = [table for table in RESULT_TABLES if before[table] != after[table]]
    content = {file: file.read_bytes() for table in damaged for file in (run / table).iterdir()}
    status, told = ask("compact", run)
    assert status == 2 and str(run) in told and len(damaged) == 1
    assert {file: file.read_bytes() for table in damaged for file in (run / table).iterdir()} == content


@pytest.mark.parametrize("table", RESULT_TABLES)
@pytest.mark.parametrize("merged", [False, True])
def test_forty_bytes_anywhere_in_a_part_are_found_or_change_no_row(run: Path, table: str, merged: bool) -> None:
    if merged:
        compact(run)
    rows = read_table(run, table)
    (file, *_) = sorted((run / table).iterdir())
    whole, draw = file.read_bytes(), random.Random(0)
    found = 0
    for _ in range(12):
        flip(file, draw.randrange(len(whole) - 40))
        damaged = bool(verify(run).damage)
        assert damaged or read_table(run, table).equals(rows)
        found += damaged
        file.write_bytes(whole)
    assert found >= 10
    assert not verify(run).damage


def test_the_parts_of_an_earlier_version_are_checked_by_their_images(run: Path) -> None:
    """They have no checksums, so what can be seen is seen, and the rest is said."""
    for file in run.glob("*/*.parquet"):
        rows = pq.read_table(file)
        pq.write_table(rows.replace_schema_metadata(None), file, compression="none")
    status, told = ask("verify", run)
    assert status == 0 and "24 files of an earlier version have no checksums" in flat(told)
    flip(part(run, "samples"), 5_000)
    status, told = ask("verify", run)
    assert status == 1 and "images of p000-srsoup are damaged" in flat(told)


def test_a_front_without_its_other_rows_is_named(run: Path) -> None:
    part(run, "samples").unlink()
    status, told = ask("verify", run)
    assert status == 1 and "samples: there are no rows of 1 fronts that costs/ has, such as p000-srsoup" in flat(told)
    assert "Give the same `srsoup run` command again" in flat(told)


def test_rows_in_two_files_are_named(run: Path) -> None:
    """As two copies of a file, or as older rows in a merged part, which a merge removes."""
    compact(run)
    write_key(run, KEY, "a", "srsoup", simplex(6, 2), GUIDED, HELD_OUT)
    status, told = ask("verify", run)
    assert status == 1 and flat(told).count(f"the rows of {KEY} are also in") == 4
    assert "Run `srsoup compact" in flat(told)
    assert ask("compact", run)[0] == 0
    assert ask("verify", run)[0] == 0


def test_a_front_that_is_finished_and_failed_is_named(run: Path) -> None:
    write_part(run, "failures", KEY, [{"key": KEY, "error_class": "ValueError", "attempts": 1}])
    status, told = ask("verify", run)
    assert status == 1 and f"{KEY} is finished, and cannot have failed too. Remove the file." in flat(told)


def test_no_run_has_exit_status_2(tmp_path: Path) -> None:
    status, told = ask("verify", tmp_path)
    assert status == 2 and "there is no run in" in told
    assert ask("verify", tmp_path / "nothing")[0] == 2
    assert ask("verify", "ftp://x/y")[0] == 2


def test_every_fix_that_says_to_run_again_is_true(run: Path) -> None:
    """A file that is removed makes its fronts unfinished, so that the next driver computes them."""
    flipped_bytes(run)
    part(run, "samples").unlink()
    assert KEY not in finished_keys(run) and len(finished_keys(run)) == 5


def test_of_a_large_run_status_reads_the_footers_only(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verifying, "SMALL_BYTES", 1)
    flipped_bytes(run)
    assert ask("status", run)[0] == 0
    no_footer(run)
    status, told = ask("status", run)
    assert status == 2 and "has a footer that cannot be read" in flat(told)


def test_a_live_run_can_be_verified_while_parts_are_merged(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The parts of a table are taken away after they were listed, as a merge does."""
    read, merged = read_part, list[int]()

    def then_merge(*arguments: Any) -> Any:
        if not merged:
            merged.append(compact(run))
        return read(*arguments)

    monkeypatch.setattr("pipeline.storage.verify.read_part", then_merge)
    assert not verify(run).damage and merged == [20]
