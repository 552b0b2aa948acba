"""What is wrong with one part: its footer, its pages, its keys, its rows."""

import json
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from configs.location import Location
from pipeline.records import DamagedPart, keys_of, read_whole_part
from pipeline.storage.disk import store_of
from pipeline.storage.schemas import CHECKSUMS

RUN_AGAIN = "Remove the file and give the same `srsoup run` command again, which computes its prompts again"
_PNG = b"\x89PNG\r\n\x1a\n"


@dataclass(frozen=True)
class Damage:
    """One thing that is wrong in the folder of a run: the file or the folder, the problem and the fix."""

    place: Location
    problem: str
    fix: str

    def __str__(self) -> str:
        return f"{self.place}: {self.problem}. {self.fix}."


class Content(NamedTuple):
    """What the rows of one key in one table are.

    Attributes:
        rows: their number.
        names: the weightings in samples/ and the rewards in scores/, as JSON; None if there are none to compare.
    """

    rows: int
    names: str | None = None

    def agrees_with(self, wanted: "Content") -> bool:
        """Whether these are as many rows, with the same names if they have names."""
        return self.rows == wanted.rows and (self.names == wanted.names or None in (self.names, wanted.names))

    def __str__(self) -> str:
        return f"{self.rows:,} rows" + (f" of {self.names:.200}" if self.names else "")


def content_by_config(document: Any) -> dict[str, Content]:
    """Return the content of a front in each table, as `config.yaml` asks for it.

    Raises:
        ValueError: the document is not the record of a run.
    """
    try:
        config = document["config"]
        guided, held_out = config["rewards"]["guided"], config["rewards"].get("held_out") or []
        weights, rewards = [[float(w) for w in row] for row in config["weights"]], [*guided, *held_out]
        if not guided or any(len(row) != len(guided) for row in weights):
            raise ValueError("the weights do not fit the guided rewards")
        scores = Content(len(weights) * len(rewards), json.dumps(rewards))
        # Adaptive weights are those of the round of a front, so there is nothing to compare them with.
        names = None if config.get("adaptive") else json.dumps(weights)
        return {"samples": Content(len(weights), names), "scores": scores, "costs": Content(1)}
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{type(error).__name__}: {error}") from error


def read_part(part: Location, table: str, damage: list[Damage]) -> Iterator[tuple[str, Content]]:
    """Yield the keys of a part with their content, and add what is wrong with the part to `damage`."""
    try:
        keys = keys_of(part)
        if keys is None:
            raise DamagedPart(part, "has a footer that cannot be read")
        checked = has_checksums(part)
        missing = set(keys) if table != "steps" else set[str]()
        for key, rows in read_whole_part(part, table):
            if key not in keys:
                damage.append(Damage(part, f"there are rows of {key}, which belong in another file", RUN_AGAIN))
                continue
            missing.discard(key)
            damage += [Damage(part, problem, RUN_AGAIN) for problem in _problems(rows, table, checked)]
            yield key, _content(rows, table)
        if missing:
            raise DamagedPart(part, f"has no rows of {min(missing)}")
        damage += [Damage(part, problem, RUN_AGAIN) for problem in _wrong_statistics(part)]
    except FileNotFoundError:
        raise
    except DamagedPart as error:
        damage.append(Damage(part, f"the file {error.problem}", error.fix[:1].upper() + error.fix[1:]))
    except (OSError, pa.ArrowException, ValueError, KeyError) as error:
        problem = f"the file has a footer that cannot be read ({type(error).__name__})"
        damage.append(Damage(part, problem, RUN_AGAIN))


def has_checksums(part: Location) -> bool:
    """Whether the pages of a part have checksums, which earlier versions did not write."""
    return set(CHECKSUMS) <= set(pq.read_metadata(store_of(part).parquet_source(part)).metadata or ())


def _wrong_statistics(part: Location) -> Iterator[str]:
    """Yield the columns whose smallest and largest values are not those in the footer, which SQL engines rely on."""
    with pq.ParquetFile(store_of(part).parquet_source(part)) as file:
        footer = file.metadata
        for group in range(footer.num_row_groups):
            chunks = [footer.row_group(group).column(i) for i in range(footer.num_columns)]
            flat = {chunk.path_in_schema: chunk.statistics for chunk in chunks if "." not in chunk.path_in_schema}
            rows = file.read_row_group(group, columns=list(flat))
            for name, statistics in flat.items():
                if statistics is None:
                    continue
                found = pc.min_max(rows[name]).as_py() | {"nulls": rows[name].null_count}
                noted = {"min": statistics.min, "max": statistics.max, "nulls": statistics.null_count}
                if any(noted[what] not in (None, found[what]) for what in noted):
                    yield f"the footer has another smallest or largest {name} than the rows"


def _content(rows: pa.Table, table: str) -> Content:
    if table == "samples" and not rows["weights"].null_count:
        weights = rows.select(["weight_index", "weights"]).sort_by("weight_index")["weights"]
        return Content(len(rows), json.dumps(weights.to_pylist()))
    if table == "scores":
        return Content(len(rows), json.dumps(list(dict.fromkeys(rows["reward"].to_pylist()))))
    return Content(len(rows))


def _problems(rows: pa.Table, table: str, checked: bool) -> Iterator[str]:
    """Yield what is wrong with the rows of one key. Images are looked at if nothing else protects them."""
    key = rows["key"][0].as_py()
    if table == "scores" and not pc.all(pc.is_finite(rows["value"].fill_null(float("nan")))).as_py():
        yield f"a score of {key} is no finite number"
    if table == "samples":
        images = pc.struct_field(rows["image"], "bytes")
        if images.null_count:
            yield f"an image of {key} is missing"
        elif not checked and (broken := sum(not _is_whole_png(image) for image in images.to_pylist())):
            yield f"{broken} of {len(rows)} images of {key} are damaged"


def _is_whole_png(content: bytes) -> bool:
    """Whether these are the chunks of a PNG, each with the checksum that the format has for it."""
    start, name = len(_PNG), b""
    while start < len(content):
        length = int.from_bytes(content[start : start + 4], "big")
        chunk, checksum = content[start + 4 : start + 8 + length], content[start + 8 + length : start + 12 + length]
        if len(checksum) < 4 or zlib.crc32(chunk) != int.from_bytes(checksum, "big"):
            return False
        start, name = start + 12 + length, chunk[:4]
    return content.startswith(_PNG) and name == b"IEND"
