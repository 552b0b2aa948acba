"""What each method spent: queries, decodes, denoises, seconds by part; per prompt and in total."""

from dataclasses import dataclass

import pandas as pd

from evaluation.run_data import Comparison

COUNTS = ("queries", "decodes", "denoises")
SECONDS = (
    "seconds_total",
    "seconds_denoise",
    "seconds_lookahead",
    "seconds_decode",
    "seconds_reward",
    "seconds_wait",
)


@dataclass(frozen=True)
class CostTable:
    """`rows`: label, quantity, mean, min, max (per prompt) and total; peak memory has no total.

    `speed`: label, prompts, candidates_per_second: decoded look-ahead candidates (decodes less the final
    images) over the sum of the prompts' seconds; NaN where there are none. Prompts in flight at once
    overlap, so the wall clock of a run may be faster.
    """

    rows: pd.DataFrame
    speed: pd.DataFrame


def cost_table(comparison: Comparison) -> CostTable:
    """The costs of every label."""
    rows, speed = [], []
    for label in comparison.labels:
        costs = comparison.costs[comparison.costs["label"] == label]
        rows += _quantities(label, costs)
        seconds = float(costs["seconds_total"].sum())
        candidates = float(costs["decodes"].sum()) - len(comparison.of(label))
        rate = candidates / seconds if seconds > 0 and candidates > 0 else float("nan")
        speed.append((label, len(costs), rate))
    columns = ["label", "quantity", "mean", "min", "max", "total"]
    return CostTable(
        pd.DataFrame(rows, columns=columns),
        pd.DataFrame(speed, columns=["label", "prompts", "candidates_per_second"]),
    )


def _quantities(label: str, costs: pd.DataFrame) -> list[tuple[str, str, float, float, float, float]]:
    by_reward = pd.DataFrame([dict(queries) for queries in costs["queries_by_reward"]]).fillna(0)
    columns: dict[str, pd.Series] = {"queries": costs["queries"]}
    columns |= {f"queries: {reward}": by_reward[reward] for reward in by_reward.columns}
    columns |= {name: costs[name] for name in (*COUNTS[1:], *SECONDS, "attempts", "peak_memory_bytes")}
    rows = []
    for name, column in columns.items():
        total = float("nan") if name == "peak_memory_bytes" else float(column.sum())
        rows.append((label, name, float(column.mean()), float(column.min()), float(column.max()), total))
    return rows
