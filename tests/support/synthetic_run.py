"""Runs on disk that no model made: every table, with values drawn from each key."""

import io
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import yaml
from PIL import Image

from pipeline.records import write_part

NASTY = (
    "</title><script>alert(1)</script> a fox",
    "a red panda 🦊\nsecond line / with \\ and $x_1$",
    "long " * 1000,
)


def png(rng: np.random.Generator) -> bytes:
    """A random 64 px PNG."""
    buffer = io.BytesIO()
    Image.fromarray(rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(buffer, format="PNG")
    return buffer.getvalue()


def simplex(weights: int, rewards: int) -> list[list[float]]:
    """Rows on the simplex, from the last reward to the first."""
    if rewards == 1:
        return [[1.0] for _ in range(weights)]
    first = np.linspace(0, 1, weights)
    return [[float(w), *([float((1 - w) / (rewards - 1))] * (rewards - 1))] for w in first]


def write_key(
    run: Path,
    key: str,
    prompt: str,
    method: str,
    weights: Sequence,
    guided: Sequence[str],
    held: Sequence[str],
    seed: int = 0,
    draw: Callable[[np.random.Generator], bytes] = png,
    style: str | None = None,
) -> None:
    """One finished prompt of one method. `draw` makes its images."""
    rng = np.random.default_rng(sum(key.encode()))
    lift = 0.0 if method == "unguided" else 2.0
    samples, scores, steps = [], [], []
    for i, w in enumerate(weights):
        samples.append({
            "key": key, "prompt_id": key.split("-")[0], "prompt": prompt, "source": "config", "style": style,
            "method": method, "seed": i, "weight_index": i, "weights": None if method == "unguided" else w,
            "image": {"bytes": draw(rng), "path": None}, "width": 64, "height": 64,
        })  # fmt: skip
        values = [lift * w[m] + rng.normal(0, 0.1) - 3 * m for m in range(len(guided))] + [rng.normal() for _ in held]
        for m, (reward, value) in enumerate(zip([*guided, *held], values, strict=True)):
            role = "guided" if m < len(guided) else "held_out"
            scores.append({"key": key, "weight_index": i, "reward": reward, "role": role, "value": value})
        steps.append({"key": key, "step": 0, "timestep": 981, "phase": "soup", "sigma": 0.1, "weight_index": i})
    queries = 0 if method == "unguided" else 2720
    costs = {
        "key": key, "prompt_id": key.split("-")[0], "prompt": prompt, "method": method, "seed": seed,
        "queries": queries, "queries_by_reward": [(r, queries // len(guided)) for r in guided if queries],
        "decodes": 1766 if queries else 6, "denoises": 150, "seconds_total": 20.0 + len(prompt) % 7,
        "seconds_denoise": 4.0, "seconds_lookahead": 5.0, "seconds_decode": 6.0, "seconds_reward": 3.0,
        "seconds_wait": 1.0, "peak_memory_bytes": 700_000_000, "attempts": 1,
    }  # fmt: skip
    for table, rows in {"samples": samples, "scores": scores, "steps": steps, "costs": [costs]}.items():
        write_part(run, table, key, rows)


def write_driver(run: Path, fronts: int) -> None:
    """Write what the last driver set out to do: this many fronts, each of a prompt of its own."""
    record = {
        "began": 1.0e9, "host": "here", "pid": 1, "prompts": fronts, "fronts": fronts, "decodes": 10 * fronts,
        "found_fronts": 0, "found_decodes": 0,
    }  # fmt: skip
    (run / "driver.yaml").write_text(yaml.safe_dump(record))


def write_run(
    folder: Path,
    name: str = "demo",
    prompts: Sequence[str] = NASTY,
    methods: Sequence[str] = ("srsoup", "unguided"),
    guided: Sequence[str] = ("colorfulness", "compressibility"),
    held_out: Sequence[str] = ("mini_clip",),
    weights: int = 6,
    failures: int = 0,
    reference: dict[str, float] | None = None,
    draw: Callable[[np.random.Generator], bytes] = png,
    styles: Sequence[str | None] = (None,),
) -> Path:
    """Write a run named `name` into the folder and return where it is. Prompts take the styles in turn."""
    run = folder / name
    shutil.rmtree(run, ignore_errors=True)
    run.mkdir()
    rows = simplex(weights, len(guided))
    config = {
        "name": name, "method": list(methods), "seed": 0, "steps": 25, "queries": 16,
        "soup": {"steps": 10}, "report": {"reference_point": reference},
        "weights": rows, "prompts": {"list": list(prompts)},
        "rewards": {"guided": list(guided), "held_out": list(held_out)},
    }  # fmt: skip
    document = {"config": config, "versions": {"srsoup": "0.1.0"}, "model_revision": "abc"}
    (run / "config.yaml").write_text(yaml.safe_dump(document, sort_keys=False))
    for p, prompt in enumerate(prompts):
        for method in methods:
            style = styles[p % len(styles)]
            write_key(run, f"p{p:03d}-{method}", prompt, method, rows, guided, held_out, draw=draw, style=style)
    for f in range(failures):
        failure = {
            "key": f"f{f}", "prompt_id": f"f{f}", "prompt": "<b>broken</b>", "error_class": "RewardError",
            "message": "score is NaN", "traceback": "Traceback <here>", "attempts": 3,
        }  # fmt: skip
        write_part(run, "failures", f"f{f}", [failure])
    return run
