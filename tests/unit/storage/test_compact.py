"""Merged parts: every reader finds every row once, before, during and after a merge, even if the merge fails."""

import functools
import shutil
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from evaluation.reading.comparison import load_run
from pipeline.cli.commands import app
from pipeline.records import (
    RESULT_TABLES,
    failed_keys,
    finished_keys,
    read_table,
    write_part,
)
from pipeline.storage import compact as merging
from pipeline.storage.compact import CannotMerge, compact
from pipeline.storage.disk import remove_leftovers
from pipeline.storage.lock import lock_folder
from pipeline.storage.schemas import SCHEMAS
from tests.support.killed_child import in_a_child
from tests.support.synthetic_run import simplex, write_key

Write = Callable[..., Path]


def tables(run: Path) -> dict[str, Any]:
    return {table: read_table(run, table).to_pylist() for table in SCHEMAS}


def keys_on_the_disk(run: Path, table: str) -> Counter[str]:
    """Count the rows of each key in all files of the folder, as a reader without knowledge of SRSoup finds them."""
    return Counter(key for part in (run / table).glob("*.parquet") for key in pq.read_table(part)["key"].to_pylist())


def files(run: Path) -> dict[str, int]:
    return {table: len(list((run / table).iterdir())) for table in RESULT_TABLES}


def test_every_reader_finds_the_same_rows_in_merged_parts(synthetic_run: Write) -> None:
    run = synthetic_run(failures=2)
    before, frame = tables(run), load_run(run)
    assert compact(run) == 4 * 5 and set(files(run).values()) == {1}
    assert tables(run) == before and failed_keys(run) == {"f0", "f1"}
    some = sorted(finished_keys(run))[1:3]
    assert read_table(run, "steps", some).to_pylist() == [row for row in before["steps"] if row["key"] in some]
    pd.testing.assert_frame_equal(load_run(run).points, frame.points)
    pd.testing.assert_frame_equal(load_run(run).costs, frame.costs)
    assert compact(run) == 0, "there is nothing left to merge"
    write_key(run, "p009-srsoup", "a prompt more", "srsoup", simplex(6, 2), ["colorfulness", "compressibility"], [])
    assert len(pd.read_parquet(run / "samples")) == 42, "single and merged parts are read together"
    query = f"select count(*), count(distinct key) from read_parquet('{run}/samples/*.parquet')"
    assert duckdb.execute(query).fetchall() == [(42, 7)]
    assert len(finished_keys(run)) == 7


def test_the_images_of_merged_parts_are_decoded_as_images(
    synthetic_run: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    import datasets

    run = synthetic_run()
    compact(run)
    parts = str(run / "samples" / "*.parquet")
    loaded = datasets.load_dataset("parquet", data_files=parts, split="train", cache_dir=str(tmp_path / "hf"))
    assert loaded[0]["image"].size == (64, 64)


def test_parts_are_filled_and_then_not_merged_again(synthetic_run: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(merging, "FULL_KEYS", 4)
    monkeypatch.setattr(merging, "ROW_GROUP_BYTES", 1)
    run = synthetic_run(prompts=["a", "b", "c", "d", "e"])
    before = tables(run)
    compact(run, min_parts=11)
    assert files(run)["samples"] == 10, "there are fewer than `min_parts`"
    compact(run)
    assert set(files(run).values()) == {3} and tables(run) == before
    full = {part.name for part in (run / "costs").iterdir() if len(pq.read_table(part)) == 4}
    write_key(run, "p009-srsoup", "more", "srsoup", simplex(6, 2), ["colorfulness", "compressibility"], [])
    compact(run)
    assert set(files(run).values()) == {3} and len(finished_keys(run)) == 11
    assert full < {part.name for part in (run / "costs").iterdir()}


@pytest.mark.parametrize("table", RESULT_TABLES)
@pytest.mark.parametrize("damage", ["footer", "missing"])
def test_a_damaged_merged_part_costs_its_prompts_and_leaves_none_of_their_rows(
    synthetic_run: Write, monkeypatch: pytest.MonkeyPatch, table: str, damage: str
) -> None:
    monkeypatch.setattr(merging, "FULL_KEYS", 3)
    run = synthetic_run()
    before, all_keys = tables(run), finished_keys(run)
    compact(run)
    part = sorted((run / table).iterdir())[0]
    gone = set(pq.read_table(part)["key"].to_pylist())
    part.write_bytes(part.read_bytes()[:-8]) if damage == "footer" else part.unlink()
    assert finished_keys(run) == all_keys - gone
    compact(run, min_parts=100)  # as a driver does at its start
    for name in RESULT_TABLES:
        assert set(keys_on_the_disk(run, name)) == all_keys - gone
        for key in gone:
            write_part(run, name, key, [row for row in before[name] if row["key"] == key])
    assert tables(run) == before
    assert all(keys_on_the_disk(run, name) == Counter(row["key"] for row in before[name]) for name in RESULT_TABLES)


def test_rows_of_a_prompt_that_is_being_written_stay(synthetic_run: Write) -> None:
    run = synthetic_run()
    write_part(run, "samples", "unfinished", [{"key": "unfinished"}])
    compact(run)
    assert (run / "samples" / "unfinished.parquet").is_file() and "unfinished" not in finished_keys(run)


def test_a_merge_that_is_killed_before_any_file_operation_has_merged_a_table_completely_or_not_at_all(
    synthetic_run: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    two = ("scores", "costs")  # two are faster, and all tables are treated alike
    monkeypatch.setattr(merging, "RESULT_TABLES", two)
    original = synthetic_run("original", prompts=["a"], weights=2)
    before = tables(original)
    once = {table: Counter(row["key"] for row in before[table]) for table in two}
    run, die_before, killed = original.parent / "run", 0, True
    while killed:
        die_before += 1
        shutil.copytree(original, run)
        killed = in_a_child(functools.partial(compact, run), die_before)
        assert tables(run) == before
        assert all(keys_on_the_disk(run, table) == once[table] for table in two)
        remove_leftovers(run)
        compact(run)
        assert tables(run) == before and [files(run)[table] for table in two] == [1, 1]
        assert {path.name for path in run.iterdir()} == {"config.yaml", *RESULT_TABLES}
        shutil.rmtree(run)
    assert die_before > 2 * 8, "each table takes eight operations or more"


def test_a_reader_finds_each_row_once_while_parts_are_merged(synthetic_run: Write) -> None:
    run = synthetic_run()
    seen, wrong, stop = list[int](), list[object](), threading.Event()

    def read_repeatedly(keys: Callable[[], list[str]]) -> None:
        known = set[str]()
        while not stop.is_set():
            try:
                found = keys()
            except FileNotFoundError:
                continue  # the plain reader lists the files, and one was merged before it could be opened
            if len(found) != len(set(found)) or not known <= set(found):
                wrong.append(found)
            known = set(found)
            seen.append(len(known))

    def by_srsoup() -> list[str]:
        return list(read_table(run, "costs")["key"].to_pylist())

    def by_a_plain_reader() -> list[str]:
        return list(keys_on_the_disk(run, "costs").elements())

    threads = [threading.Thread(target=read_repeatedly, args=[keys]) for keys in (by_srsoup, by_a_plain_reader)]
    for thread in threads:
        thread.start()
    for i in range(15):
        for j in range(3):
            write_key(run, f"q{i:02d}{j}", "more", "srsoup", simplex(2, 2), ["colorfulness", "compressibility"], [])
        compact(run)
    stop.set()
    for thread in threads:
        thread.join()
    assert not wrong and len(seen) > 20 and len(finished_keys(run)) == 6 + 45


def test_a_full_disk_leaves_the_parts_as_they_were(synthetic_run: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    run = synthetic_run()
    before = tables(run)
    with monkeypatch.context() as patch, pytest.raises(OSError, match="No space"):
        patch.setattr(merging, "flush", full)
        compact(run)
    assert tables(run) == before and not list(run.glob(".compact-*"))


def full(_: Path) -> None:
    raise OSError(28, "No space left on device")


def test_the_command_merges_and_is_refused_while_a_driver_is_running(
    synthetic_run: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = synthetic_run()
    with lock_folder(run):
        refused = CliRunner().invoke(app, ["compact", str(run)])
    assert refused.exit_code == 2 and "another run is using this folder" in refused.output
    done = CliRunner().invoke(app, ["compact", str(run)])
    assert done.exit_code == 0 and "20 files less" in done.output
    assert CliRunner().invoke(app, ["compact", str(run / "samples")]).exit_code == 2

    def cannot_swap(*_: Path) -> None:
        raise CannotMerge("no such call")

    monkeypatch.setattr(merging, "_swap_folders", cannot_swap)
    write_key(run, "q", "more", "srsoup", simplex(2, 2), ["colorfulness", "compressibility"], [])
    before = tables(run)
    assert CliRunner().invoke(app, ["compact", str(run)]).exit_code == 2
    assert tables(run) == before and not list(run.glob(".compact-*"))
