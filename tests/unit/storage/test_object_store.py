"""Runs on an S3 server on this machine: the same bits as on a disk, and no row lost or written twice after a fault."""

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from actors.protocol import RunStopped
from configs.errors import RequestError
from configs.location import RemotePath, location_of
from pipeline.job.driver import _locked_folder
from pipeline.records import (
    RESULT_TABLES,
    DamagedPart,
    failed_keys,
    finished_keys,
    read_table,
    remove_part,
    write_atomically,
    write_part,
)
from pipeline.storage import lease
from pipeline.storage.compact import compact
from pipeline.storage.disk import store_of
from pipeline.storage.verify import verify
from srsoup import _app
from tests.support.computed_run import plan_of, tables
from tests.support.computed_run import run as computed_run
from tests.support.servers.s3_server import ACCESS_KEY, SECRET_KEY, S3Server, serving

app = _app()

ROOT = Path(__file__).parents[3]
DEMO = str(ROOT / "configs" / "demo.yaml")
SMALL = ["steps=2", "queries=2", "soup.steps=1", "method=srsoup", "prompts.list=[snail, lobster]"]
Write = Callable[..., Path]


@pytest.fixture
def s3(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[S3Server]:
    """A server, with its credentials in the environment, and short intervals of the lease."""
    credentials = {"AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": SECRET_KEY}
    for name, value in (credentials | {"AWS_EC2_METADATA_DISABLED": "true"}).items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)  # drivers of runs on an object store log to the current folder
    for name, seconds in {"RENEW": 0.2, "SETTLE": 0.05, "POLL": 0.05, "STALE": 2.0}.items():
        monkeypatch.setattr(lease, f"{name}_SECONDS", seconds)
    with serving(tmp_path / "s3") as server:
        yield server


@pytest.fixture
def run(s3: S3Server) -> RemotePath:
    location = location_of(s3.uri("bucket/runs/a"))
    assert isinstance(location, RemotePath)
    return location


@pytest.fixture
def on_the_server(s3: S3Server) -> Path:
    """The folder in which the server keeps the objects of `run`."""
    return s3.root / "bucket" / "runs" / "a"


def copied(on_disk: Path, s3: S3Server, run: RemotePath) -> RemotePath:
    """Copy a run from a disk to the store, as any tool would."""
    shutil.copytree(on_disk, s3.root / "bucket" / "runs" / "a", dirs_exist_ok=True)
    return run


def invoke(*arguments: object, status: int = 0) -> str:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == status, result.output
    return result.output


def test_the_driver_writes_the_same_files_as_on_a_disk(tmp_path: Path, run: RemotePath, on_the_server: Path) -> None:
    computed_run(tmp_path / "disk", wrong_for="crab")
    computed_run(run, wrong_for="crab")
    assert failed_keys(run) and tables(run) == tables(tmp_path / "disk")
    computed_run(tmp_path / "disk")
    computed_run(run)
    files = {path.relative_to(on_the_server): path.read_bytes() for path in on_the_server.glob("*/*")}
    assert len(files) == 2 * 4 + 1 and Path("failures/schema.parquet") in files
    assert files == {
        path.relative_to(tmp_path / "disk"): path.read_bytes() for path in tmp_path.glob("disk/*/*.parquet")
    }
    assert {path.name for path in on_the_server.glob("*") if path.is_file()} == {
        "config.yaml",
        "driver.yaml",
        "driver.log",
        ".lease",
        ".costs-index.parquet",
    }
    assert SECRET_KEY not in (on_the_server / "config.yaml").read_text()
    log = (on_the_server / "driver.log").read_text()
    assert log.count("driver starts") == 2 and log == (tmp_path / "driver-a.log").read_text()


def test_a_run_of_an_earlier_version_keeps_its_maps(
    tmp_path: Path, s3: S3Server, run: RemotePath, on_the_server: Path
) -> None:
    disk = tmp_path / "disk"
    computed_run(disk, wrong_for="crab")
    (part,) = (disk / "costs").iterdir()
    pq.write_table(read_table(disk, "costs"), part)
    copied(disk, s3, run)
    assert computed_run(run).done == 1 and not verify(run).damage
    schemas = [pq.read_schema(part) for part in (on_the_server / "costs").iterdir()]
    assert [pa.types.is_map(schema.field("queries_by_reward").type) for schema in schemas] == [True, True]
    assert len(read_table(run, "costs")) == 2


@pytest.mark.slow
def test_a_whole_run_its_status_and_its_report(run: RemotePath) -> None:
    output = invoke("run", DEMO, *SMALL, "--local", f"output={run}")
    assert f"next: srsoup report '{run}'" in output
    invoke("run", DEMO, *SMALL, "--local", "output=disk")
    for table in ("samples", "scores", "steps"):
        assert read_table(run, table).equals(read_table(Path("disk"), table))
    status = invoke("status", run)
    assert "none is running" in status and "2 of 2 done, 0 failed, 0 left" in status
    assert "2 of 2 fronts are done already" in invoke("run", DEMO, *SMALL, "--local", f"output={run}")
    assert invoke("report", run) == "report: report-a/index.html\n"
    invoke("report", "disk")
    assert Path("report-a/front.csv").read_bytes() == Path("disk/report/front.csv").read_bytes()
    assert invoke("report", run, "--out", "other").endswith("other/index.html\n")


DRIVER = """
import sys
from configs.location import location_of
from tests.support.computed_run import run
run(location_of(sys.argv[1]))
"""


@pytest.mark.slow
def test_a_run_whose_driver_is_killed_within_a_put_continues_and_no_row_is_lost_or_written_twice(
    tmp_path: Path, s3: S3Server, run: RemotePath, on_the_server: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is killed in the scores of the second prompt. The first is finished, and the second has one part of four."""
    reached, resume = threading.Event(), threading.Event()

    def hangs(method: str, path: str) -> bool:
        if method == "PUT" and "/scores/" in path and any((on_the_server / "costs").glob("*")):
            reached.set()
            return resume.wait(60)
        return False

    s3.fault = hangs
    monkeypatch.setattr(lease, "STALE_SECONDS", 30.0)  # the driver is another process, with the default intervals
    driver = subprocess.Popen(
        [sys.executable, "-c", DRIVER, str(run)], cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(ROOT)}
    )
    try:
        assert reached.wait(90)
        alive = invoke("status", run)
        with pytest.raises(RequestError, match=f"another run is using this folder.*process {driver.pid}"):
            computed_run(run)
        driver.kill()
        driver.wait()
    finally:
        resume.set()
        driver.kill()
    s3.fault = lambda method, path: False
    assert "running since" in alive and f"process {driver.pid}" in alive and "1 of 2 done" in alive
    assert "none is running" in invoke("status", run), "this is known at once of a process of this machine"
    assert len(list((on_the_server / "samples").glob("*"))) == 2 and len(finished_keys(run)) == 1
    assert len(read_table(run, "samples")) == 6
    assert computed_run(run).found == 1
    computed_run(tmp_path / "disk")
    for table in ("samples", "scores", "steps"):
        assert read_table(run, table).equals(read_table(tmp_path / "disk", table))


@pytest.mark.slow
@pytest.mark.parametrize("breaks", ["one put half-way", "the whole store"])
def test_a_store_that_fails_stops_the_run_and_keeps_what_is_finished(
    s3: S3Server, run: RemotePath, on_the_server: Path, breaks: str
) -> None:
    def fault(method: str, path: str) -> bool:
        begun = len(list((on_the_server / "samples").glob("*"))) == 2
        return begun and (breaks == "the whole store" or (method == "PUT" and "/steps/" in path))

    s3.fault = fault
    with pytest.raises(RunStopped, match=r"runs/a\?.* cannot be written"):
        computed_run(run)
    s3.fault = lambda method, path: False
    assert len(finished_keys(run)) == 1 and len(read_table(run, "samples")) == 6
    assert len(list((on_the_server / "steps").glob("*"))) == 1, "the interrupted part left nothing"
    assert computed_run(run).found == 1
    assert len(finished_keys(run)) == 2


def test_an_interrupt_within_a_put_leaves_a_complete_object(s3: S3Server, run: RemotePath, on_the_server: Path) -> None:
    def slow(method: str, path: str) -> bool:
        return method == "PUT" and threading.Event().wait(0.5)

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    store_of(run).make_folder(run)
    s3.fault = slow
    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.1)
        with pytest.raises(KeyboardInterrupt):
            write_atomically(run / "a", b"x" * 1000)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    s3.fault = lambda method, path: False
    deadline = time.monotonic() + 30
    while not (on_the_server / "a").is_file() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert (on_the_server / "a").read_bytes() == b"x" * 1000


def test_the_second_driver_is_refused_and_the_folder_is_free_after_the_first(run: RemotePath) -> None:
    plan = plan_of(run)
    with _locked_folder(plan) as lock:
        with pytest.raises(RequestError, match="another run is using this folder"), _locked_folder(plan):
            pass
        lock.check()
    with _locked_folder(plan):
        pass


def test_a_driver_that_lost_its_folder_writes_nothing_more(run: RemotePath, monkeypatch: pytest.MonkeyPatch) -> None:
    def lost(_: lease.Lease) -> None:
        raise lease.FolderLost("another driver has taken this folder over")

    monkeypatch.setattr(lease.Lease, "check", lost)
    with pytest.raises(RunStopped, match="taken this folder over"):
        computed_run(run)
    assert not finished_keys(run)


def test_the_finished_keys_are_known_from_four_listings(synthetic_run: Write, s3: S3Server, run: RemotePath) -> None:
    on_disk = synthetic_run()
    copied(on_disk, s3, run)
    s3.requests.clear()
    assert finished_keys(run) == finished_keys(on_disk)
    assert len(s3.requests) == 4 and all("list-type=2" in path for _, path in s3.requests)
    remove_part(run, "steps", "p000-srsoup")
    assert finished_keys(run) == finished_keys(on_disk) - {"p000-srsoup"}


def test_status_opens_no_part_of_a_run_that_has_ended(s3: S3Server, run: RemotePath) -> None:
    computed_run(run)
    s3.requests.clear()
    status = invoke("status", run)
    assert "2 of 2 done, 0 failed, 0 left" in status and "/costs/" not in "".join(path for _, path in s3.requests)
    store_of(run).remove(run / ".costs-index.parquet")
    s3.requests.clear()
    assert invoke("status", run) == status and "/costs/" in "".join(path for _, path in s3.requests)


def test_a_merged_run_that_was_copied_to_the_store_is_read_and_continued(
    synthetic_run: Write, s3: S3Server, run: RemotePath
) -> None:
    on_disk = synthetic_run(failures=1)
    rows = tables(on_disk)
    compact(on_disk)
    copied(on_disk, s3, run)
    assert tables(run) == rows
    for table in RESULT_TABLES:
        write_part(run, table, "q", [row | {"key": "q"} for row in rows[table] if row["key"] == "p000-srsoup"])
    assert finished_keys(run) == finished_keys(on_disk) | {"q"}
    scores = pd.read_parquet(str(run / "scores"))
    assert len(scores) == len(rows["scores"]) + 18 and not scores.duplicated(["key", "weight_index", "reward"]).any()
    assert "cannot swap two folders" in invoke("compact", run, status=2) and set(finished_keys(run)) > {"q"}


def test_a_damaged_part_is_named(synthetic_run: Write, s3: S3Server, run: RemotePath) -> None:
    copied(synthetic_run(), s3, run)
    write_atomically(run / "scores" / "p000-srsoup.parquet", b"PAR1 half of it")
    with pytest.raises(DamagedPart, match=r"scores/p000-srsoup\.parquet"):
        read_table(run, "scores")
    error = invoke("report", run, status=2)
    assert "scores/p000-srsoup.parquet" in error and "remove it and run again" in error


def test_if_a_store_shows_incomplete_files_a_part_counts_once_its_footer_can_be_read() -> None:
    run = RemotePath("fsspec+memory:///shows-incomplete-files")
    for key in ("a", "b"):
        for table in RESULT_TABLES:
            write_part(run, table, key, [{"key": key}])
    assert finished_keys(run) == {"a", "b"}
    write_atomically(run / "steps" / "a.parquet", store_of(run).read(run / "steps" / "a.parquet")[:-8])
    assert finished_keys(run) == {"b"}


@pytest.mark.parametrize("wrong", ["bucket", "credentials", "server"])
def test_a_store_that_cannot_be_used_is_a_wrong_request(
    s3: S3Server, monkeypatch: pytest.MonkeyPatch, wrong: str
) -> None:
    uri = s3.uri("absent/runs/a").replace("&allow_bucket_creation=true", "")
    if wrong == "credentials":
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "somebody")
    if wrong == "server":
        s3.fault = lambda method, path: True
    problems = {
        "bucket": "the bucket absent does not exist",
        "credentials": "ACCESS_DENIED",
        "server": "NETWORK_CONNECTION",
    }
    error = invoke("run", DEMO, *SMALL, f"output={uri}", status=2)
    assert problems[wrong] in error and "key:     output" in error
    assert "AWS_ACCESS_KEY_ID" in error and "endpoint_override" in error
    if wrong != "server":  # a server that does not answer is tried for some seconds each time
        assert "error: " in invoke("status", uri, status=2) and "absent/runs/a" in invoke("report", uri, status=2)
