"""The finished fronts of a run, one at a time, as an export writes them."""

import re
from collections import Counter, defaultdict
from collections.abc import Container, Iterable, Iterator, Sequence
from operator import itemgetter
from pathlib import Path
from typing import NamedTuple

from evaluation.errors import ReportError
from evaluation.run import Run
from pipeline.records import Location, Row, finished_keys, locate, read_columns, read_rows, read_table

# How often the parts are looked up because some were merged meanwhile.
_TRIES = 10
_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")


class Front(NamedTuple):
    """One finished front.

    Attributes:
        number: the number of its seed among those of the same prompt and method, from 0.
        several: whether the prompt has fronts of several seeds.
    """

    key: str
    prompt_id: str
    prompt: str
    method: str
    seed: int
    number: int
    several: bool


class ExportedImage(NamedTuple):
    """One image of a front. `weights` is None for the unguided model; `scores` has every reward, held-out ones too."""

    weight_index: int
    weights: tuple[float, ...] | None
    seed: int
    png: bytes
    scores: dict[str, float]


def fronts_of(run: Run) -> list[Front]:
    """Returns the finished fronts, ordered by method, prompt and seed.

    Raises:
        ReportError: no front is finished, or a prompt_id or a method of the files cannot be the name of a folder.
    """
    rows = read_columns(run.folder, "costs", ("method", "prompt", "prompt_id", "seed"), finished_keys(run.folder))
    if not rows:
        raise ReportError(f"{run.folder}: no front is finished, so there is nothing to export. Continue the run first.")
    counts, numbers = Counter((row[0], row[2]) for row in rows.values()), Counter[tuple[str, str]]()
    found = []
    for key, (method, prompt, prompt_id, seed) in sorted(rows.items(), key=lambda item: item[1]):
        for name in (method, prompt_id):
            if not _PLAIN.fullmatch(name):
                raise ReportError(f"{run.folder}: {name!r} in costs/ cannot be the name of a folder. Check the run.")
        pair = (method, prompt_id)
        found.append(Front(key, prompt_id, prompt, method, seed, numbers[pair], counts[pair] > 1))
        numbers[pair] += 1
    return found


def read_fronts(run: Run, fronts: Sequence[Front]) -> Iterator[tuple[Front, list[ExportedImage]]]:
    """Yields fronts with their images as PNG files and their scores, in the order in which they are stored.

    Each file of samples/ is read once, and one front is in memory at a time. If the run's driver merges files
    meanwhile, the fronts that are left are looked up again.

    Raises:
        ReportError: the images of a front are gone.
        OSError: a file cannot be read.
    """
    left = {front.key: front for front in fronts}
    scores = _scores(run, left)
    for _ in range(_TRIES):
        try:
            for part, keys in parts_of(run.folder, "samples", left).items():
                for key, rows in read_rows(part, "samples", frozenset(keys)):
                    yield left.pop(key), _images(run, key, rows.to_pylist(), scores.get(key, {}))
        except FileNotFoundError:
            continue
        if not left:
            return
    raise _damaged(run, f"the images of {min(left)} are gone")


def parts_of(run: Location, table: str, keys: Container[str]) -> dict[Location, list[str]]:
    """Returns the parts of a table that hold some of these keys, ordered by name, each with those keys."""
    found = defaultdict[Location, list[str]](list)
    for key, part in locate(run, table).items():
        if key in keys:
            found[part].append(key)
    return dict(sorted(found.items(), key=lambda item: item[0].name))


def _scores(run: Run, keys: Iterable[str]) -> dict[str, dict[int, dict[str, float]]]:
    """Returns key -> weight_index -> reward -> score."""
    scores: dict[str, dict[int, dict[str, float]]] = {}
    columns = read_table(run.folder, "scores", keys).select(["key", "weight_index", "reward", "value"]).to_pydict()
    for key, index, reward, value in zip(*columns.values(), strict=True):
        scores.setdefault(key, {}).setdefault(index, {})[reward] = value
    return scores


def _images(run: Run, key: str, rows: list[Row], scores: dict[int, dict[str, float]]) -> list[ExportedImage]:
    found = []
    for row in sorted(rows, key=itemgetter("weight_index")):
        index, weights, image = row["weight_index"], row["weights"], row["image"]
        if index not in scores or not image or not image["bytes"]:
            raise _damaged(run, f"image {index} of {key} has no scores or no pixels")
        weights = None if weights is None else tuple(weights)
        found.append(ExportedImage(index, weights, row["seed"], image["bytes"], scores[index]))
    return found


def _damaged(run: Run, problem: str) -> ReportError:
    return ReportError(f"{run.folder}: {problem}. `srsoup verify {run.folder}` names every damaged file and its fix.")


def new_folder(out: Path) -> Path:
    """Makes the folder of an export, which may not have files of another one.

    Raises:
        ReportError: the folder has files.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ReportError(f"{out}: there are files already. Give --to a new folder, or an empty one.")
    out.mkdir(parents=True, exist_ok=True)
    return out
