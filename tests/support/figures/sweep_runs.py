"""Runs on disk that no model made and that differ in K, N and method, with scores, costs and overlap of their own."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import yaml

from pipeline.records import finished_keys, read_table, write_part
from tests.support.synthetic_run import write_run

STEPS = 6


def write_point(
    folder: Path,
    name: str,
    soup_steps: int,
    queries: int,
    methods: Sequence[str] = ("srsoup",),
    guided: Sequence[str] = ("colorfulness", "compressibility"),
    prompts: Sequence[str] = ("a fox", "an owl"),
    weights: Sequence[Sequence[float]] | None = None,
    **config: object,
) -> Path:
    """Write a run with this K and N. Scores rise with the weight of their reward and with N, and fall with K."""
    rows = [[w / 5, 1 - w / 5] for w in range(6)] if weights is None else [list(row) for row in weights]
    run = write_run(folder, name, prompts, methods, guided, (), len(rows))
    document = yaml.safe_load((run / "config.yaml").read_text())
    changes = {"soup": {"steps": soup_steps}, "queries": queries, "steps": STEPS, "weights": rows, **config}
    document["config"] |= changes
    (run / "config.yaml").write_text(yaml.safe_dump(document, sort_keys=False))
    for key in sorted(finished_keys(run)):
        _write_front(run, key, soup_steps, queries, rows, guided)
    return run


def _write_front(
    run: Path, key: str, soup_steps: int, queries: int, weights: Sequence[Sequence[float]], guided: Sequence[str]
) -> None:
    rng = np.random.default_rng([soup_steps, queries, *key.encode()])
    samples, (costs,) = (read_table(run, table, [key]).to_pylist() for table in ("samples", "costs"))
    method, alone = costs["method"], costs["method"] == "unguided"
    lift = {"unguided": 0.0, "unguided_first": 1.2}.get(method, 2.0) * (1 + queries / 40 - soup_steps / 20)
    write_part(run, "samples", key, [
        row | {"weights": None if alone else list(w)} for row, w in zip(samples, weights, strict=True)
    ])  # fmt: skip
    write_part(run, "scores", key, [
        {"key": key, "weight_index": i, "reward": reward, "role": "guided",
         "value": 10.0 * m + lift * float(np.sqrt(w[m])) + float(rng.normal(0, 0.05))}
        for i, w in enumerate(weights) for m, reward in enumerate(guided)
    ])  # fmt: skip
    asked = 0 if alone else queries * (10 * STEPS - 4 * (0 if method == "weighted_sum" else soup_steps))
    by_reward = [(reward, asked // len(guided)) for reward in guided if asked]
    changes = {"queries": asked, "queries_by_reward": by_reward, "seconds_total": 3.0 + asked / 40}
    write_part(run, "costs", key, [costs | changes])
    write_part(run, "steps", key, [] if alone else _step_rows(key, method, soup_steps, weights, guided))


def _step_rows(
    key: str, method: str, soup_steps: int, weights: Sequence[Sequence[float]], guided: Sequence[str]
) -> list[dict[str, object]]:
    rows = []
    for step in range(STEPS):
        for index, w in enumerate(weights):
            for m, reward in enumerate(guided):
                median = float(w[m]) ** (step / 8) if w[m] or step else 1.0
                median = max(median, 0.9 ** (step + 1 + len(key) % 3)) if step else 1.0
                rows.append({
                    "key": key, "step": step, "timestep": 900 - 100 * step, "sigma": 0.5, "weight_index": index,
                    "phase": "soup" if method == "srsoup" and step < soup_steps else "weighted_sum", "reward": reward,
                    "overlap_q25": 0.9 * median, "overlap_q50": median, "overlap_q75": min(1.0, 1.05 * median),
                })  # fmt: skip
    return rows
