"""Makes a run folder of images that exist already, so that the report evaluates them: `srsoup import`."""

import hashlib
import io
import json
import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

from PIL import Image

from configs.plain.data import dump_yaml
from pipeline.library.image_files import read_image
from pipeline.library.image_folders import FoundImage, find_images, refusal
from pipeline.library.score_files import score_files
from pipeline.records import Row, write_atomically, write_part
from pipeline.storage.status import write_driver_record
from rewards.registry import create

Front = tuple[str, str, int]
"""The method, the prompt_id and the seed of a front."""


def import_images(
    folder: Path,
    run: Path,
    guided: Sequence[str],
    held_out: Sequence[str] = (),
    prompts: Path | None = None,
    method: str = "imported",
) -> int:
    """Score the images of a folder and write them as a run; return the number of images.

    The run has the tables of any run. What the images do not say is null in `costs/`: queries, decodes and seconds.
    `steps/` has no rows.

    Args:
        folder: images in one of `image_folders.LAYOUTS`.
        run: a folder that does not exist, or is empty.
        guided: the rewards that the weights belong to, in their order.
        held_out: rewards that only score.
        prompts, method: see `image_folders.find_images`.

    Raises:
        RequestError: the images cannot be read or are not complete fronts, a reward cannot be queried, or `run` has
            files.
        OSError: the run cannot be written.
    """
    if run.exists() and (not run.is_dir() or any(run.iterdir())):
        raise refusal(folder, f"{run} has files already", "give --to a new folder, or an empty one")
    names = (*guided, *held_out)
    if len(set(names)) < len(names):
        raise refusal(folder, "a reward is named twice", "name each reward once, in --rewards or in --held-out")
    found = find_images(folder, guided, prompts, method)
    rows = _weight_rows(folder, found)
    fronts = _fronts(folder, found, len(rows))
    wanted = [(image.path, image.prompt.text) for image in found]
    scores = dict(score_files(wanted, names, lambda text: print(f"note: {text}", file=sys.stderr)))
    run.mkdir(parents=True, exist_ok=True)
    write_atomically(run / "config.yaml", _record(run, folder, found, rows, guided, held_out).encode())
    methods, texts, seeds = (len(set(part)) for part in zip(*fronts, strict=True))
    write_driver_record(run, texts, texts * methods * seeds, 0)
    for images in fronts.values():
        _write_front(run, images, scores, names, len(guided))
    return len(found)


def _weight_rows(folder: Path, found: Sequence[FoundImage]) -> list[tuple[float, ...]]:
    """Return the weightings, in the order of their numbers in the table, or ascending."""
    orders = defaultdict[int | tuple[float, ...], set[tuple[float, ...]]](set)
    for image in found:
        if image.weights is not None:
            orders[image.order].add(image.weights)
    if not orders:
        raise refusal(folder, "no image has weights", "import images of a guided method")
    if several := next((order for order, rows in orders.items() if len(rows) > 1), None):
        raise refusal(folder, f"weighting {several} has different weights", "import runs of different weights apart")
    return [next(iter(orders[order])) for order in sorted(orders, key=lambda order: (isinstance(order, tuple), order))]


def _fronts(folder: Path, found: Sequence[FoundImage], weightings: int) -> dict[Front, list[FoundImage]]:
    """Return the images of each front in the order of the weightings."""
    fronts = defaultdict[Front, list[FoundImage]](list)
    for image in found:
        fronts[image.method, image.prompt.prompt_id, image.seed].append(image)
    for (method, _, seed), images in fronts.items():
        images.sort(key=lambda image: image.order)
        orders = {image.order for image in images}
        if len(images) != weightings or len(orders) != weightings:
            text = images[0].prompt.text
            raise refusal(
                folder, f"the prompt {text!r:.80} (method {method}, seed {seed}) has {len(images)} images of "
                f"{len(orders)} weightings, and others have {weightings} weightings",
                "add the images that are missing, or take the others of the prompt away",
            )  # fmt: skip
    return dict(fronts)


def _write_front(
    run: Path, images: Sequence[FoundImage], scores: Mapping[Path, list[float]], names: Sequence[str], guided: int
) -> None:
    first = images[0]
    pictures = [_as_png(image.path) for image in images]
    digests = [hashlib.sha256(png).hexdigest() for png, _, _ in pictures]
    identity = json.dumps([first.prompt.prompt_id, first.prompt.text, first.method, first.seed, digests])
    key = hashlib.sha256(identity.encode()).hexdigest()
    shared = {"key": key, "prompt_id": first.prompt.prompt_id, "prompt": first.prompt.text, "method": first.method}
    samples: list[Row] = []
    values: list[Row] = []
    for index, (image, (png, width, height)) in enumerate(zip(images, pictures, strict=True)):
        samples.append({
            **shared, "source": "import", "style": None, "seed": first.seed, "weight_index": index,
            "weights": image.weights and list(image.weights), "image": {"bytes": png, "path": None},
            "width": width, "height": height, "tags": list(first.prompt.tags),
        })  # fmt: skip
        values += [
            {"key": key, "weight_index": index, "reward": name, "role": "guided" if m < guided else "held_out",
             "value": value}
            for m, (name, value) in enumerate(zip(names, scores[image.path], strict=True))
        ]  # fmt: skip
    costs = {**shared, "seed": first.seed, "queries_by_reward": [], "attempts": 1, "tags": list(first.prompt.tags)}
    for table, rows in {"samples": samples, "scores": values, "steps": [], "costs": [costs]}.items():
        write_part(run, table, key, rows)


def _as_png(path: Path) -> tuple[bytes, int, int]:
    """Return the pixels that the rewards saw as a PNG file, with width and height: the file itself if it is one."""
    pixels = read_image(path).pixels[0].permute(1, 2, 0).numpy()
    height, width = pixels.shape[:2]
    with Image.open(path) as image:
        same = image.format == "PNG" and image.mode == "RGB" and not image.getexif()
    if same:
        return path.read_bytes(), width, height
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG")
    return buffer.getvalue(), width, height


def _record(
    run: Path, folder: Path, found: Sequence[FoundImage], rows: Sequence[tuple[float, ...]],
    guided: Sequence[str], held_out: Sequence[str],
) -> str:  # fmt: skip
    """Return the `config.yaml`: the keys of a configuration that are known, and where the images came from."""
    config = {
        "name": run.name,
        "method": list(dict.fromkeys(image.method for image in found)),
        "seed": 0,
        "seeds": max(len({image.seed for image in found}), 1),
        "weights": [list(row) for row in rows],
        "rewards": {"guided": list(guided), "held_out": list(held_out)},
        "imported_from": folder.name,
    }
    units = {name: create(name).info.unit for name in (*guided, *held_out)}
    return dump_yaml({"config": config, "units": units})
