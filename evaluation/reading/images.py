"""Reads the images of fronts, a few at a time, because those of a whole run do not fit into memory."""

from collections import defaultdict
from collections.abc import Collection, Iterator
from typing import NamedTuple

import pyarrow as pa

from evaluation.errors import ReportError
from pipeline.records import MERGE_RETRIES, DamagedPart, Location, locate, read_rows


class FrontImages(NamedTuple):
    """The images of one front: its key, and the saved bytes of each image (PNG), by weight_index."""

    key: str
    images: list[bytes]


def read_images(run: Location, keys: Collection[str]) -> Iterator[FrontImages]:
    """Yields the images of these fronts, part by part, with one row group in memory at a time.

    Raises:
        ReportError: a part cannot be read, a front is gone, or one of its samples has no image.
    """
    wanted = set(keys)
    try:
        for _ in range(MERGE_RETRIES):
            try:
                for front in _read_once(run, frozenset(wanted)):
                    wanted.discard(front.key)
                    yield front
                break
            except FileNotFoundError:
                continue  # The driver merged parts meanwhile, and the rest is in the merged part.
    except DamagedPart as error:
        raise ReportError(str(error)) from error
    except (OSError, pa.ArrowException) as error:
        raise ReportError(
            f"{run}: the images cannot be read ({error}). `srsoup verify {run}` names the fix."
        ) from error
    if wanted:
        raise ReportError(f"{run}: the images of {min(wanted)} are gone. Write the report again.")


def no_image(run: Location) -> str:
    """Return the message about a run of which a finished front lacks an image."""
    return f"{run}: some samples have no image. `srsoup verify {run}` names every damaged file and its fix."


def _read_once(run: Location, keys: Collection[str]) -> Iterator[FrontImages]:
    by_part = defaultdict[Location, set[str]](set)
    for key, part in locate(run, "samples").items():
        if key in keys:
            by_part[part].add(key)
    for part, own in by_part.items():
        for key, rows in read_rows(part, "samples", own, ("image",)):
            images = [image and image["bytes"] for image in rows.sort_by("weight_index")["image"].to_pylist()]
            if not all(images):
                raise ReportError(no_image(run))
            yield FrontImages(key, images)
