"""The finished fronts of a run, one at a time, as an export writes them."""

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from evaluation.errors import ReportError
from evaluation.run import Run
from pipeline.records import finished_keys, read_columns, read_table

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


def images_of(run: Run, front: Front) -> Iterator[ExportedImage]:
    """Yields the images of a front in the order of their weightings, as PNG files, with their scores."""
    scores: dict[int, dict[str, float]] = {}
    for row in read_table(run.folder, "scores", [front.key]).to_pylist():
        scores.setdefault(row["weight_index"], {})[row["reward"]] = row["value"]
    samples: list[dict[str, Any]] = read_table(run.folder, "samples", [front.key]).to_pylist()
    for row in sorted(samples, key=lambda row: row["weight_index"]):
        index, weights = row["weight_index"], row["weights"]
        yield ExportedImage(
            index, None if weights is None else tuple(weights), row["seed"], row["image"]["bytes"], scores[index]
        )


def new_folder(out: Path) -> Path:
    """Makes the folder of an export, which may not have files of another one.

    Raises:
        ReportError: the folder has files.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ReportError(f"{out}: there are files already. Give --to a new folder, or an empty one.")
    out.mkdir(parents=True, exist_ok=True)
    return out
