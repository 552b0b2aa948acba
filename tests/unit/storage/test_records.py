"""The Parquet files of a run: other readers, damaged parts, reruns, and writers that are killed."""

import io
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import duckdb
import pandas as pd
import pytest
from PIL import Image

from pipeline.records import failed_keys, finished_keys, read_table, remove_part, write_part

Write = Callable[..., Path]
ROOT = Path(__file__).parents[3]


def test_pandas_reads_the_parts(synthetic_run: Write) -> None:
    run = synthetic_run()
    samples = pd.read_parquet(run / "samples")
    assert len(samples) == 36 and samples["key"].nunique() == 6
    image = Image.open(io.BytesIO(samples["image"].iloc[0]["bytes"]))
    assert image.size == (64, 64)
    assert set(pd.read_parquet(run / "scores")["role"]) == {"guided", "held_out"}


def test_duckdb_reads_the_parts(synthetic_run: Write) -> None:
    run = synthetic_run()
    query = f"select count(*), count(distinct key) from read_parquet('{run}/samples/*.parquet')"
    assert duckdb.execute(query).fetchall() == [(36, 6)]
    query = f"select sum(queries) from read_parquet('{run}/costs/*.parquet')"
    assert duckdb.execute(query).fetchall() == [(3 * 2720,)]


def test_datasets_decodes_the_images(synthetic_run: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    import datasets

    parts = str(synthetic_run() / "samples" / "*.parquet")
    loaded = datasets.load_dataset("parquet", data_files=parts, split="train", cache_dir=str(tmp_path / "hf"))
    assert isinstance(loaded.features["image"], datasets.Image)
    assert loaded[0]["image"].size == (64, 64) and loaded[0]["image"].mode == "RGB"


@pytest.mark.parametrize("table", ["costs", "samples", "scores", "steps"])
@pytest.mark.parametrize("damage", ["footer", "empty", "missing"])
def test_a_damaged_part_makes_its_key_unfinished(synthetic_run: Write, table: str, damage: str) -> None:
    run = synthetic_run(prompts=["a", "b"], methods=["srsoup"])
    part = run / table / "p000-srsoup.parquet"
    if damage == "missing":
        part.unlink()
    else:
        part.write_bytes(part.read_bytes()[:-8] if damage == "footer" else b"")
    assert finished_keys(run) == {"p001-srsoup"}
    assert set(read_table(run, "samples")["key"].to_pylist()) == {"p001-srsoup"}


def test_a_rerun_writes_no_row_twice(synthetic_run: Write) -> None:
    run = synthetic_run()
    before = {table: read_table(run, table) for table in ("samples", "scores", "steps", "costs")}
    for table, rows in before.items():
        for key in finished_keys(run):
            write_part(run, table, key, [row for row in rows.to_pylist() if row["key"] == key])
    assert all(read_table(run, table).equals(rows) for table, rows in before.items())
    assert len(pd.read_parquet(run / "samples")) == 36


def test_failures_are_read_and_removed(synthetic_run: Write) -> None:
    run = synthetic_run(failures=2, prompts=["a"])
    assert failed_keys(run) == {"f0", "f1"}
    assert read_table(run, "failures")["error_class"].to_pylist() == ["RewardError"] * 2
    remove_part(run, "failures", "f0")
    remove_part(run, "failures", "f0")
    assert failed_keys(run) == {"f1"}


def test_a_folder_without_a_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no run in"):
        read_table(tmp_path, "samples")


KILLED = """
import os, signal, sys
from pathlib import Path
from pipeline import records
os.{call} = lambda *a, **k: os.kill(os.getpid(), signal.SIGKILL)
records.write_part(Path(sys.argv[1]), "failures", "k", [{{"key": "k"}}])
"""


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_writer_killed_mid_write_leaves_no_part(tmp_path: Path, call: str) -> None:
    done = subprocess.run([sys.executable, "-c", KILLED.format(call=call), str(tmp_path)], cwd=ROOT, check=False)
    assert done.returncode == -signal.SIGKILL
    assert failed_keys(tmp_path) == set()
    write_part(tmp_path, "failures", "k", [{"key": "k"}])
    assert failed_keys(tmp_path) == {"k"}


def test_an_error_while_writing_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_part(tmp_path, "failures", "k", [{"key": "k"}])
    assert list((tmp_path / "failures").iterdir()) == []
