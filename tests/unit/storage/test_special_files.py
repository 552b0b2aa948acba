"""Pipes, links and files in the places of a run's parts and tables: damage that is named, and that nobody waits for."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pipeline.records import RESULT_TABLES, finished_keys
from srsoup import _app
from tests.support.synthetic_run import write_driver

KEY = "p000-srsoup"


def pipe(place: Path) -> None:
    os.mkfifo(place)


def loop(place: Path) -> None:
    place.symlink_to(place.name)


def empty_file(place: Path) -> None:
    place.touch()


@pytest.fixture
def run(synthetic_run: Callable[..., Path]) -> Path:
    """A run of two fronts."""
    folder = synthetic_run(prompts=["a"])
    write_driver(folder, fronts=2)
    return folder


def ask(*words: str) -> tuple[int, str]:
    done = CliRunner().invoke(_app(), words)
    return done.exit_code, " ".join(done.output.split())


@pytest.mark.timeout(30)
@pytest.mark.parametrize("make", [pipe, loop, Path.mkdir, empty_file])
@pytest.mark.parametrize("table", RESULT_TABLES)
def test_what_is_no_file_of_parquet_is_a_damaged_part(
    run: Path, table: str, make: Callable[[Path], None], tmp_path: Path
) -> None:
    part = run / table / f"{KEY}.parquet"
    part.unlink()
    make(part)
    assert KEY not in finished_keys(run)
    for words, status in ((("verify",), 1), (("status",), 2), (("report", "--out", str(tmp_path / "page")), 2)):
        ended, output = ask(*words, str(run))
        assert ended == status and str(part) in output, output


@pytest.mark.timeout(30)
@pytest.mark.parametrize("make", [pipe, loop, empty_file])
@pytest.mark.parametrize("table", RESULT_TABLES)
def test_what_is_no_folder_is_a_damaged_table(run: Path, table: str, make: Callable[[Path], None]) -> None:
    shutil.rmtree(run / table)
    make(run / table)
    for command, status in (("verify", 1), ("status", 2)):
        ended, output = ask(command, str(run))
        assert ended == status and f"{run / table}: this is no folder" in output, output
