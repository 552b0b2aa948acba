"""The table that `srsoup rewards` prints."""

import math

from rich.table import Table

from rewards import registry
from rewards.base import RewardInfo
from rewards.errors import RewardError


def reward_table() -> Table:
    """One row for each reward, in the words of its declaration. No reward is set up for it."""
    table = Table("reward", "higher means", "scale", "how", title="rewards", title_justify="left", show_lines=True)
    for name in registry.names():
        try:
            info = registry.create(name).info
        except RewardError as error:
            table.add_row(name, f"cannot be used: {error}")
            continue
        table.add_row(name, f"{info.description}\n{info.source}", _scale(info), _how(info))
    return table


def _scale(info: RewardInfo) -> str:
    low, high = (f"{bound:g}" if math.isfinite(bound) else "no bound" for bound in info.range)
    paper = f"\nin the paper {info.paper_value}" if info.paper_value else ""
    return f"{info.unit or 'a pure number'}\n{low} to {high}{paper}"


def _how(info: RewardInfo) -> str:
    lines = [
        "reads the prompt" if info.reads_prompt else "does not read the prompt",
        "" if info.any_prompt else "refuses prompts that it cannot judge",
        "differentiable" if info.differentiable else "not differentiable",
        info.preprocessing,
        f"weights: {info.licence}" if info.licence else "",
        *(f"{file.name}, SHA-256 {file.sha256[:12] if file.sha256 else 'not known'}" for file in info.weights),
    ]
    return "\n".join(line for line in lines if line)
