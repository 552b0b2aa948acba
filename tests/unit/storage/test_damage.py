"""Damaged disks and wrong clocks: the run reports a clear error or continues correctly, and keeps finished results."""

import errno
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from actors.protocol import RunStopped
from configs.errors import RequestError
from pipeline.job import result_writer
from pipeline.records import DamagedPart, finished_keys, read_table, write_part
from pipeline.storage.compact import compact
from pipeline.storage.lock import is_locked, lock_folder
from pipeline.storage.status import read_status
from srsoup import _app
from tests.support.computed_run import run as computed_run
from tests.support.computed_run import tables

app = _app()

Write = Callable[..., Path]
DAYS = 86_400.0


def damage_rows(part: Path) -> None:
    """Overwrite the rows of a part and leave its footer as it is."""
    content = bytearray(part.read_bytes())
    end = pq.read_metadata(part).row_group(0).column(0).total_compressed_size
    content[4 : 4 + end] = bytes(end)
    part.write_bytes(content)


def test_a_part_with_damaged_rows_is_named_by_every_reader_and_no_other_is_lost(synthetic_run: Write) -> None:
    run = synthetic_run()
    before, part = tables(run), run / "scores" / "p001-srsoup.parquet"
    damage_rows(part)
    for read in (lambda: read_table(run, "scores"), lambda: compact(run)):
        with pytest.raises(DamagedPart, match=r"scores/p001-srsoup\.parquet cannot be read .*remove it and run again"):
            read()
    report = CliRunner().invoke(app, ["report", str(run)])
    assert report.exit_code == 2 and "scores/p001-srsoup.parquet" in report.output and "remove it" in report.output
    assert len(finished_keys(run)) == 6 and len(list((run / "scores").iterdir())) == 6, "nothing was merged away"
    part.unlink()
    rest = [row for row in before["scores"] if row["key"] != "p001-srsoup"]
    assert read_table(run, "scores").to_pylist() == rest


def test_a_driver_that_finds_damaged_rows_names_the_part_and_continues_once_it_is_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(result_writer, "MIN_PARTS_AT_END", 2)
    run = tmp_path / "run"
    computed_run(run, wrong_for="crab")
    (part,) = (run / "steps").iterdir()
    damage_rows(part)
    with pytest.raises(RunStopped, match=f"steps/{part.name} cannot be read.*remove it and run again"):
        computed_run(run)
    assert len(finished_keys(run)) == 2
    part.unlink()
    assert computed_run(run).done == 1
    computed_run(tmp_path / "undisturbed")
    assert tables(run) == tables(tmp_path / "undisturbed")


@pytest.fixture
def read_only(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Path], None]]:
    """Return a function that makes a folder read-only, even for root, as a file system does after a disk error."""
    opened, made = os.open, os.mkdir

    def become(folder: Path) -> None:
        def refuse(path: Any) -> None:
            if str(path).startswith(str(folder)):
                raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))

        def open_(path: Any, flags: int, *rest: Any, **options: Any) -> int:
            if flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
                refuse(path)
            return opened(path, flags, *rest, **options)

        def mkdir(path: Any, *rest: Any, **options: Any) -> None:
            if not os.path.isdir(path):
                refuse(path)
            made(path, *rest, **options)

        monkeypatch.setattr(os, "open", open_)
        monkeypatch.setattr(os, "mkdir", mkdir)

    yield become


def test_a_read_only_folder_is_a_wrong_request_and_can_be_read(
    tmp_path: Path, read_only: Callable[[Path], None]
) -> None:
    run = tmp_path / "run"
    computed_run(run, wrong_for="crab")
    before = tables(run)
    read_only(run)
    with pytest.raises(RequestError, match=r"Read-only file system(.|\n)*key: +output"):
        computed_run(run)
    with pytest.raises(RequestError, match="Read-only file system"):
        computed_run(run / "another")
    assert read_status(run).done == 1 and tables(run) == before and not is_locked(run)


def test_a_folder_that_becomes_read_only_stops_the_run_and_keeps_what_is_finished(
    tmp_path: Path, read_only: Callable[[Path], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    run, write = tmp_path / "run", write_part

    def then_read_only(folder: Path, table: str, *rest: Any) -> None:
        write(folder, table, *rest)
        if table == "costs":
            read_only(run)

    with monkeypatch.context() as patch, pytest.raises(RunStopped, match=r"cannot be written: .*Read-only file system"):
        patch.setattr(result_writer, "write_part", then_read_only)
        computed_run(run)
    monkeypatch.undo()
    assert len(finished_keys(run)) == 1 and len(read_table(run, "samples")) == 6
    assert computed_run(run).found == 1 and len(finished_keys(run)) == 2


def set_clock(monkeypatch: pytest.MonkeyPatch, ahead: float) -> None:
    now = time.time
    monkeypatch.setattr(time, "time", lambda: now() + ahead)


def test_a_clock_that_was_set_back_changes_no_row_and_no_figure_is_absurd(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    with monkeypatch.context() as patch:
        set_clock(patch, 30 * DAYS)
        computed_run(run, wrong_for="crab")
    dead = read_status(run)
    assert (dead.done, dead.seconds, dead.rate, dead.seconds_left) == (1, 0.0, None, None)
    with lock_folder(run):
        live = read_status(run)
        status = CliRunner().invoke(app, ["status", str(run)])
    assert live.alive and (live.seconds, live.rate) == (0.0, None)
    assert status.exit_code == 0 and "no rate yet" in status.output and "not known yet" in status.output
    assert computed_run(run).found == 1
    computed_run(tmp_path / "undisturbed")
    assert tables(run) == tables(tmp_path / "undisturbed")


def test_the_time_before_the_clock_was_set_back_still_counts(tmp_path: Path) -> None:
    run = tmp_path / "run"
    computed_run(run)
    for part in (run / "costs").iterdir():
        os.utime(part, (time.time() + DAYS, time.time() + DAYS))
    with lock_folder(run):
        live = read_status(run)
    assert live.seconds == pytest.approx(DAYS, rel=0.01) and live.rate == pytest.approx(live.decodes / DAYS, rel=0.01)


def test_no_reader_and_no_merge_depends_on_when_a_part_was_written(synthetic_run: Write) -> None:
    run = synthetic_run()
    before = tables(run)

    def shuffle(sign: int) -> None:
        for i, part in enumerate(sorted(run.glob("*/*.parquet"))):
            os.utime(part, (0, max(0.0, time.time() + sign * (i % 7 - 3) * 365 * DAYS)))

    shuffle(1)
    assert tables(run) == before
    compact(run)
    shuffle(-1)
    assert tables(run) == before and compact(run) == 0
