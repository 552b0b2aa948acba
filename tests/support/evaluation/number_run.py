"""Runs on disk that hold given numbers, so that a test knows what every table and every measure must be."""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from PIL import Image

from pipeline.records import write_part


def flat_png(colour: tuple[int, int, int], side: int = 4) -> bytes:
    """A PNG of one colour."""
    buffer = io.BytesIO()
    Image.new("RGB", (side, side), colour).save(buffer, format="PNG")
    return buffer.getvalue()


@dataclass(frozen=True)
class Numbers:
    """The numbers of one front.

    Attributes:
        scores: the score of each weighting and reward, guided ones first, shape (L, R).
        costs: columns of `costs/` that differ from the usual ones.
        images: a PNG of each weighting; by default a grey one.
        steps: rows of `steps/` without their key.
    """

    prompt: str
    method: str
    scores: np.ndarray
    seed: int = 0
    costs: Mapping[str, Any] = field(default_factory=dict)
    images: Sequence[bytes] = ()
    steps: Sequence[Mapping[str, Any]] = ()


def write_numbers(
    folder: Path,
    name: str,
    guided: Sequence[str],
    held_out: Sequence[str],
    weights: Sequence[Sequence[float]],
    fronts: Sequence[Numbers],
    config: Mapping[str, Any] | None = None,
) -> Path:
    """Write a run named `name` into the folder and return where it is; `config` has more keys of its configuration."""
    run = folder / name
    run.mkdir(parents=True)
    rows = [[float(w) for w in row] for row in weights]
    usual = {
        "name": name, "method": list(dict.fromkeys(front.method for front in fronts)), "seed": 0, "steps": 50,
        "queries": 30, "soup": {"steps": 20}, "weights": rows, "model": {"name": "owner/base"},
        "prompts": {"list": list(dict.fromkeys(front.prompt for front in fronts))},
        "rewards": {"guided": list(guided), "held_out": list(held_out)},
    }  # fmt: skip
    document = {"config": usual | dict(config or {}), "versions": {"srsoup": "0.1.0"}, "model_revision": "abc"}
    (run / "config.yaml").write_text(yaml.safe_dump(document, sort_keys=False))
    for number, front in enumerate(fronts):
        _write_front(run, f"k{number:04d}", front, rows, [*guided, *held_out], len(guided))
    return run


def _write_front(run: Path, key: str, front: Numbers, weights: Any, rewards: Sequence[str], guided: int) -> None:
    names = {"key": key, "prompt_id": front.prompt.replace(" ", "-"), "prompt": front.prompt, "method": front.method}
    samples = [
        names | {"source": "config", "style": None, "seed": front.seed * 100 + i, "weight_index": i,
                 "weights": None if front.method == "unguided" else w, "width": 4, "height": 4,
                 "image": {"bytes": front.images[i] if front.images else flat_png((9, 9, 9)), "path": None}}
        for i, w in enumerate(weights)
    ]  # fmt: skip
    scores = [
        {"key": key, "weight_index": i, "reward": reward, "role": "guided" if m < guided else "held_out",
         "value": float(front.scores[i, m])}
        for i in range(len(weights)) for m, reward in enumerate(rewards)
    ]  # fmt: skip
    usual = {"key": key, "step": 0, "timestep": 981, "phase": "soup", "sigma": 0.1}
    steps = [dict(row) | {"key": key} for row in front.steps] or [
        usual | {"weight_index": i, "reward": reward} for i in range(len(weights)) for reward in rewards[:guided]
    ]
    queries = 0 if front.method == "unguided" else 3000
    costs = names | {
        "seed": front.seed, "queries": queries, "queries_by_reward": [], "decodes": queries + len(weights),
        "denoises": 300, "seconds_total": 60.0, "seconds_denoise": 5.0, "seconds_lookahead": 20.0,
        "seconds_decode": 25.0, "seconds_reward": 9.0, "seconds_wait": 1.0, "peak_memory_bytes": 10**9, "attempts": 1,
    } | dict(front.costs)  # fmt: skip
    tables: dict[str, list[dict[str, Any]]] = {"samples": samples, "scores": scores, "steps": steps, "costs": [costs]}
    for table, table_rows in tables.items():
        write_part(run, table, key, table_rows)
