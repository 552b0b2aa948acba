"""The costs of each method, per prompt and in total: queries, decodes, denoises, and seconds by part."""

from dataclasses import dataclass

import pandas as pd

from evaluation.reading.comparison import Comparison

COUNTS = ("queries", "decodes", "denoises")
# Quantities that only runs with a surrogate have, or that earlier versions did not count.
OPTIONAL = ("forwards", "backwards", "seconds_surrogate", "seconds_training")
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
    """The costs of all labels.

    Attributes:
        rows: label, quantity, the mean, min and max over prompts, and the total; peak memory has no total.
        speed: label, prompts, candidates_per_second. The last is the number of decoded candidates (decodes minus
            final images) divided by the sum of the prompts' seconds, or NaN if there were no candidates. Prompts that
            run at the same time share seconds of wall clock, so the rate of the whole run can be higher.
    """

    rows: pd.DataFrame
    speed: pd.DataFrame


def cost_table(comparison: Comparison) -> CostTable:
    """Returns the costs of every label."""
    rows, speed = [], []
    for label in comparison.labels:
        costs = comparison.costs[comparison.costs["label"] == label]
        rows += _quantities(label, costs)
        seconds = float(costs["seconds_total"].sum())
        candidates = float(costs["decodes"].sum()) - len(comparison.points_of(label))
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
    columns |= {name: costs[name].astype(float) for name in OPTIONAL if name in costs and costs[name].fillna(0).any()}
    rounds = costs["surrogate_round"] if "surrogate_round" in costs else pd.Series(dtype=float)
    for number in sorted(rounds.dropna().unique()) if rounds.nunique() > 1 else ():
        of_round = costs[rounds == number]
        columns |= {f"{name}, round {number:.0f}": of_round[name] for name in ("queries", "decodes", "seconds_total")}
    rows = []
    for name, column in columns.items():
        total = float("nan") if name == "peak_memory_bytes" else float(column.sum(min_count=1))
        rows.append((label, name, float(column.mean()), float(column.min()), float(column.max()), total))
    return rows
