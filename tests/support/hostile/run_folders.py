"""Folders of runs whose files are lost, edited, damaged or foreign."""

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import yaml
from typer.testing import CliRunner

from srsoup import _app
from tests.support.hostile.case import TINY, Case

KIND = "folders"
READERS = (("status", "run"), ("report", "run"), ("compact", "run"))
AGAIN = ("run", "demo", *TINY, "--local", "output=run")


@cache
def finished_run() -> "tempfile.TemporaryDirectory[str]":
    """A folder with the folder `run` of a small run that is finished. It is removed when this process ends."""
    folder = tempfile.TemporaryDirectory(prefix="srsoup-hostile-")
    result = CliRunner().invoke(_app(), ["run", "demo", *TINY, "--local", f"output={folder.name}/run"])
    assert result.exit_code == 0, result.output
    return folder


def _run(change: Callable[[Path], object]) -> Callable[[Path], object]:
    def prepare(folder: Path) -> None:
        shutil.copytree(Path(finished_run().name) / "run", folder / "run")
        change(folder / "run")

    return prepare


def _text(name: str, content: str | bytes) -> Callable[[Path], object]:
    data = content if isinstance(content, bytes) else content.encode()
    return lambda run: (run / name).write_bytes(data)


def _key(name: str, key: str, value: Any) -> Callable[[Path], object]:
    def change(run: Path) -> None:
        data = yaml.safe_load((run / name).read_text())
        data[key] = value
        (run / name).write_text(yaml.safe_dump(data))

    return change


def _gone(name: str) -> Callable[[Path], object]:
    def change(run: Path) -> None:
        (run / name).unlink()

    return change


def _fifo(name: str) -> Callable[[Path], object]:
    def change(run: Path) -> None:
        (run / name).unlink(missing_ok=True)
        os.mkfifo(run / name)

    return change


def _flip(table: str, n: int = 40) -> Callable[[Path], object]:
    def change(run: Path) -> None:
        (part,) = (run / table).glob("*.parquet")
        data = bytearray(part.read_bytes())
        middle = len(data) // 3
        for index in range(middle, middle + n):
            data[index] ^= 0xFF
        part.write_bytes(data)

    return change


def _cut(table: str) -> Callable[[Path], object]:
    def change(run: Path) -> None:
        (part,) = (run / table).glob("*.parquet")
        part.write_bytes(part.read_bytes()[:-100])

    return change


def _pipe(table: str) -> Callable[[Path], object]:
    def change(run: Path) -> None:
        (part,) = (run / table).glob("*.parquet")
        part.unlink()
        os.mkfifo(part)

    return change


def _no_folder(table: str) -> Callable[[Path], object]:
    def change(run: Path) -> None:
        shutil.rmtree(run / table)
        (run / table).touch()

    return change


def _twice(table: str) -> Callable[[Path], object]:
    def change(run: Path) -> None:
        (part,) = (run / table).glob("*.parquet")
        rows = pq.read_table(part)
        pq.write_table(pa.concat_tables([rows, rows]), part)

    return change


def _foreign(name: str) -> Callable[[Path], object]:
    return lambda run: pq.write_table(pa.table({"a": [1]}), run / "samples" / name)


DRIVER = {
    "lost": _gone("driver.yaml"),
    "empty": _text("driver.yaml", ""),
    "no YAML": _text("driver.yaml", "a: [\n"),
    "a list": _text("driver.yaml", "- a\n"),
    "not UTF-8": _text("driver.yaml", b"\xff\xfe\xfd"),
    "a key missing": _text("driver.yaml", "began: 1.0\n"),
    "a key too many": _key("driver.yaml", "more", 1),
    "no prompts": _key("driver.yaml", "prompts", 0),
    "a text for a number": _key("driver.yaml", "fronts", "many"),
    "a time after the end": _key("driver.yaml", "began", 1e18),
    "a time that is none": _key("driver.yaml", "began", float("nan")),
    "a list for a number": _key("driver.yaml", "decodes", [1]),
    "nested 3,000 deep": _text("driver.yaml", "[" * 3_000),
}
RECORD = {
    "empty": _text("config.yaml", ""),
    "no YAML": _text("config.yaml", "a: [\n"),
    "a list": _text("config.yaml", "- a\n"),
    "not UTF-8": _text("config.yaml", b"\xff\xfe\xfd"),
    "no configuration": _key("config.yaml", "config", None),
    "a configuration that is a list": _key("config.yaml", "config", [1]),
    "a configuration that is empty": _key("config.yaml", "config", {}),
    "a chunk that is a text": _key("config.yaml", "chunk", "big"),
    "a chunk of 0": _key("config.yaml", "chunk", 0),
    "a chunk of -1": _key("config.yaml", "chunk", -1),
    "a chunk of 10^9": _key("config.yaml", "chunk", 10**9),
    "another model": _key("config.yaml", "model_revision", "abc"),
    "nested 3,000 deep": _text("config.yaml", "[" * 3_000),
}


def cases() -> Iterator[Case]:
    for name, change in DRIVER.items():
        yield Case(KIND, f"driver.yaml {name}: status", ("status", "run"), "driver.yaml", prepare=_run(change))
    yield Case(KIND, "driver.yaml lost: run", AGAIN, "done already", (0,), prepare=_run(_gone("driver.yaml")))
    yield Case(KIND, "driver.yaml a FIFO: status", ("status", "run"), "", (2,), prepare=_run(_fifo("driver.yaml")))
    for name, change in RECORD.items():
        yield Case(KIND, f"config.yaml {name}: run", AGAIN, "config.yaml|holds a run with", prepare=_run(change))
    for name in ("empty", "no YAML", "a list", "not UTF-8", "no configuration", "a configuration that is empty",
                 "nested 3,000 deep"):  # fmt: skip
        yield Case(KIND, f"config.yaml {name}: report", ("report", "run"), "config.yaml", prepare=_run(RECORD[name]))
    lost = _run(_gone("config.yaml"))
    yield Case(KIND, "config.yaml lost: run", AGAIN, "config.yaml", prepare=lost)
    yield Case(KIND, "config.yaml lost: report", ("report", "run"), "config.yaml", prepare=lost)
    yield Case(KIND, "config.yaml lost: compact", ("compact", "run"), "config.yaml", prepare=lost)
    yield Case(KIND, "config.yaml a FIFO: report", ("report", "run"), "", prepare=_run(_fifo("config.yaml")))
    yield Case(KIND, "config.yaml a FIFO: run", AGAIN, "", prepare=_run(_fifo("config.yaml")))
    for command in READERS:
        yield Case(KIND, f"{command[0]} of nothing", command, "no run|config.yaml")
        yield Case(KIND, f"{command[0]} of a file", (command[0], "a"), "", prepare=lambda f: (f / "a").touch())
        yield Case(KIND, f"{command[0]} of /dev/null", (command[0], "/dev/null"), "no run|config.yaml|cannot")
        yield Case(KIND, f"{command[0]} of bytes", (command[0], "\udcff"), "no run|config.yaml")
        yield Case(KIND, f"{command[0]} of 5,000 letters", (command[0], "x" * 5_000), "")
        yield Case(KIND, f"{command[0]} of a wrong URI", (command[0], "ftp://a/b"), "scheme")
    for table in ("samples", "scores", "steps", "costs"):
        for name, change in {"40 flipped bytes": _flip(table), "rows twice": _twice(table)}.items():
            prepare = _run(change)
            yield Case(KIND, f"{name} in {table}: report", ("report", "run"), "run", (2,), prepare=prepare)
            yield Case(KIND, f"{name} in {table}: verify", ("verify", "run"), "run", (1, 2), prepare=prepare)
        for reader in ("status", "report", "compact", "verify"):
            yield Case(KIND, f"{table} a FIFO: {reader}", (reader, "run"), f"{table}.*footer", (1, 2),
                       prepare=_run(_pipe(table)), in_process=False)  # fmt: skip
        yield Case(KIND, f"{table} cut: run", AGAIN, "1 of 1 fronts", (0,), prepare=_run(_cut(table)))
        for reader in ("status", "verify"):
            prepare = _run(_no_folder(table))
            yield Case(KIND, f"{table} a file: {reader}", (reader, "run"), "no folder", (1, 2), prepare=prepare)
    for words in (*READERS, AGAIN):
        prepare = _run(_foreign("merged-foreign.parquet"))
        yield Case(KIND, f"a foreign merged part: {words[0]}", words, "", (0, 2), prepare=prepare)
    yield Case(
        KIND, "another configuration", (*AGAIN, "seed=7"), "holds a run with seed", prepare=_run(lambda run: None)
    )
    yield Case(KIND, "right: status", ("status", "run"), "1 of 1 done", (0,), prepare=_run(lambda run: None))
