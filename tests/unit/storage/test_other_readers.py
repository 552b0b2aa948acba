"""pandas, DuckDB and Hugging Face `datasets` read every table of a run, new or old, wherever its folder is."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from evaluation.reading.comparison import load_run
from pipeline.records import failed_keys, finished_keys, read_table, write_part
from pipeline.storage.compact import compact
from pipeline.storage.no_failures import write_part_without_rows
from pipeline.storage.schemas import QUERIES, SCHEMAS
from pipeline.storage.status import read_status
from pipeline.storage.verify import verify
from srsoup import _app
from tests.support.computed_run import run as computed_run
from tests.support.synthetic_run import simplex, write_key

Write = Callable[..., Path]
LISTS = "list<element: struct<key: string, value: int64>>"
DOCS = Path(__file__).parents[3] / "docs"


def sql(query: str) -> list[tuple[Any, ...]]:
    found = duckdb.sql(query)
    assert found is not None
    return found.fetchall()


@pytest.fixture
def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], Any]:
    """`datasets.load_dataset` of all parts of a table."""
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    import datasets

    return lambda folder: datasets.load_dataset(
        "parquet", data_files=str(folder / "*.parquet"), split="train", cache_dir=str(tmp_path / "hf")
    )


@pytest.mark.parametrize("merged", [False, True])
def test_datasets_loads_every_table(synthetic_run: Write, load: Callable[[Path], Any], merged: bool) -> None:
    run = synthetic_run(prompts=["a", "b"], methods=["srsoup"], failures=1)
    assert not merged or compact(run) == 4
    for table in SCHEMAS:
        loaded = load(run / table)
        assert loaded.column_names == SCHEMAS[table].names and len(loaded) == len(read_table(run, table))
    for row in load(run / "costs"):
        assert row["queries_by_reward"] == [
            {"key": "colorfulness", "value": 1360},
            {"key": "compressibility", "value": 1360},
        ]


def entries(value: Any) -> dict[str, int]:
    """The queries of a front as pandas has them."""
    return {entry["key"]: entry["value"] for entry in value}


def test_the_queries_by_reward_are_readable_by_everybody(synthetic_run: Write) -> None:
    run = synthetic_run(prompts=["a"], methods=["srsoup"])
    wanted = {"colorfulness": 1360, "compressibility": 1360}
    (value,) = pd.read_parquet(run / "costs")["queries_by_reward"]
    assert entries(value) == wanted
    query = "select map_from_entries(queries_by_reward)['colorfulness']"
    assert sql(f"{query} from read_parquet('{run}/costs/*.parquet')") == [(1360,)]
    # Our own reader has the map that it has always had.
    rows = read_table(run, "costs")
    assert rows.schema.field("queries_by_reward").type == QUERIES
    assert rows.to_pandas(maps_as_pydicts="strict")["queries_by_reward"].tolist() == [wanted]
    assert load_run(run).costs["queries_by_reward"].tolist() == [wanted]


def types_of_queries(run: Path) -> set[str]:
    types = [pq.read_schema(part).field("queries_by_reward").type for part in (run / "costs").glob("*.parquet")]
    return {"map" if pa.types.is_map(kind) else str(kind) for kind in types}


def as_an_earlier_version_wrote_it(run: Path) -> None:
    """Maps, no checksums, statistics of everything."""
    for part in run.glob("*/*.parquet"):
        if part.stem == "schema":
            part.unlink()
            continue
        rows = read_table(run, part.parent.name, [part.stem])
        pq.write_table(rows, part, compression="zstd")


def test_a_run_of_an_earlier_version_is_read_and_continued_and_stays_one_table(tmp_path: Path) -> None:
    run, new = tmp_path / "run", tmp_path / "new"
    computed_run(new)
    computed_run(run, wrong_for="crab")
    as_an_earlier_version_wrote_it(run)
    assert types_of_queries(run) == {"map"} and not verify(run).damage
    assert computed_run(run).done == 1
    assert types_of_queries(run) == {"map"} and len(pd.read_parquet(run / "costs")) == 2
    for table in SCHEMAS:
        assert read_table(run, table).equals(read_table(new, table))
    assert compact(run) == 4 and types_of_queries(run) == {"map"}
    assert read_table(run, "costs").equals(read_table(new, "costs"))
    assert types_of_queries(new) == {LISTS} and compact(new) == 4
    assert types_of_queries(new) == {LISTS} and not verify(new).damage


def test_fronts_without_queries_and_rows_without_the_column_are_read(synthetic_run: Write) -> None:
    run = synthetic_run(prompts=["a"])
    costs = read_table(run, "costs").to_pylist()
    assert costs[1]["queries_by_reward"] == []
    write_part(run, "costs", "p000-unguided", [costs[1] | {"queries_by_reward": None}])
    file = run / "costs" / "p000-srsoup.parquet"
    pq.write_table(pq.read_table(file).drop_columns("queries_by_reward"), file)
    assert read_table(run, "costs")["queries_by_reward"].to_pylist() == [None, None]


def test_failures_are_a_table_without_rows_if_nothing_failed(tmp_path: Path, load: Callable[[Path], Any]) -> None:
    run = tmp_path / "run"
    computed_run(run)
    frame = pd.read_parquet(run / "failures")
    assert len(frame) == 0 and list(frame.columns) == SCHEMAS["failures"].names
    assert sql(f"select count(*) from '{run}/failures/*.parquet'") == [(0,)]
    assert failed_keys(run) == set() and len(read_table(run, "failures")) == 0
    assert read_status(run).failed == 0 and not verify(run).damage
    assert compact(run) == 4 and len(pd.read_parquet(run / "failures")) == 0
    assert CliRunner().invoke(_app(), ["report", str(run)]).exit_code == 0


def test_a_failure_is_beside_the_part_without_rows_and_goes_once_the_front_is_made(
    tmp_path: Path, load: Callable[[Path], Any]
) -> None:
    run = tmp_path / "run"
    computed_run(run, wrong_for="crab")
    assert len(pd.read_parquet(run / "failures")) == 1 == len(load(run / "failures")) == len(failed_keys(run))
    assert read_status(run).failed == 1
    computed_run(run)
    assert len(pd.read_parquet(run / "failures")) == 0 and len(finished_keys(run)) == 2


def test_the_part_without_rows_is_written_once(tmp_path: Path) -> None:
    write_part_without_rows(tmp_path)
    (part,) = (tmp_path / "failures").iterdir()
    before = part.stat().st_mtime_ns, part.stat().st_ino
    write_part_without_rows(tmp_path)
    assert (part.stat().st_mtime_ns, part.stat().st_ino) == before


@pytest.mark.parametrize("folder", ["seed=1", "queries=16", "sweep/method=best_of"])
def test_a_folder_that_is_named_like_a_column_changes_no_column(synthetic_run: Write, folder: str) -> None:
    """DuckDB takes such a name for a value of every row, unless it is told not to, as the documentation does."""
    run = synthetic_run(prompts=["a", "b"])
    moved = run.parent / folder
    moved.parent.mkdir(parents=True, exist_ok=True)
    run.rename(moved)
    for text in re.findall(r"```sql\n(.*?)```", (DOCS / "files.md").read_text(encoding="utf-8"), re.DOTALL):
        assert text.count("read_parquet(") == text.count("hive_partitioning = false") == text.count(".parquet'")
    column = folder.rpartition("/")[2].partition("=")[0]
    wanted = sorted(read_table(moved, "costs")[column].to_pylist())
    read = f"read_parquet('{moved}/costs/*.parquet', hive_partitioning = false)"
    assert [value for (value,) in sql(f"select {column} from {read} order by 1")] == wanted
    assert sorted(pd.read_parquet(moved / "costs")[column]) == wanted
    assert verify(moved).fronts == 4


def test_every_example_of_duckdb_in_the_documentation_is_safe() -> None:
    for page in (*DOCS.glob("*.md"), DOCS.parent / "README.md"):
        text = page.read_text(encoding="utf-8")
        assert text.count(".parquet'") == text.count("hive_partitioning = false)"), page


def test_old_and_new_rows_of_one_front_do_not_mix(synthetic_run: Write) -> None:
    """A front that is written again into an old run has the columns of that run."""
    run = synthetic_run(prompts=["a", "b"], methods=["srsoup"])
    as_an_earlier_version_wrote_it(run)
    write_key(run, "p001-srsoup", "b", "srsoup", simplex(6, 2), ["colorfulness", "compressibility"], ["mini_clip"])
    assert types_of_queries(run) == {"map"}
