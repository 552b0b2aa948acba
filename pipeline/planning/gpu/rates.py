"""The rates that were measured on GPUs with this code, and what they forecast for a run. Imports no torch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import yaml

from configs.schema import RunConfig
from configs.sections.lookahead import LookaheadConfig
from pipeline.planning.cost import expected_costs
from pipeline.planning.plan import Plan

# Methods whose passes are those of candidates, and one reverse step for each weighting. Others have passes that were
# not timed.
_RATED = frozenset({"srsoup", "weighted_sum", "unguided_first", "best_candidate", "demon", "unguided"})
FILE = Path(__file__).with_name("rates.yaml")


@dataclass(frozen=True)
class Rate:
    """What was measured for one model on one GPU. The keys are those of rates.yaml, which says what they are."""

    model: str
    side: int
    gpu: str
    dtype: str
    candidate_ms: float
    latent_ms: float
    peak_gb: Mapping[int, float]
    measured: str

    def is_of(self, config: RunConfig) -> bool:
        """Whether the rate is that of a run's model in its dtype, at its size of images and with its look-ahead."""
        model = config.model
        if config.lookahead != LookaheadConfig():
            return False
        sides = {model.height or self.side, model.width or self.side}
        return (self.model, self.dtype) == (model.name, model.dtype) and sides == {self.side}


@cache
def rates() -> tuple[Rate, ...]:
    """Return the measured rates."""
    return tuple(Rate(**row) for row in yaml.safe_load(FILE.read_text(encoding="utf-8")))


def forecast_hours(plans: Sequence[Plan]) -> list[str]:
    """Return, for each GPU on which the model of all plans was measured, the hours of their open tasks.

    There are none if a task has passes that were not timed: those of a surrogate's gradient, and those of methods that
    denoise more rows than weightings.
    """
    configs = [plan.config for plan in plans]
    if any(config.surrogate or not set(config.methods) <= _RATED for config in configs):
        return []
    return [
        f"{_hours(rate, plans):,.2f} on one {rate.gpu}, without the rewards, at {rate.candidate_ms:g} ms a candidate "
        f"in {rate.dtype} (make gpu, {rate.measured})"
        for rate in rates()
        if configs and all(rate.is_of(config) for config in configs)
    ]


def forecast_memory(config: RunConfig) -> list[str]:
    """Return the peak memory of a model on each GPU on which it was measured with as large a chunk or a larger one."""
    found = []
    for rate in (rate for rate in rates() if rate.is_of(config)):
        chunks = [chunk for chunk in sorted(rate.peak_gb) if chunk >= config.chunk_size]
        if chunks:
            found.append(
                f"{rate.peak_gb[chunks[0]]:g} GB for the model without rewards, {chunks[0]} candidates at once, on one "
                f"{rate.gpu} in {rate.dtype} (make gpu, {rate.measured})"
            )
    return found


def _hours(rate: Rate, plans: Sequence[Plan]) -> float:
    milliseconds = 0.0
    for plan in plans:
        costs = expected_costs(plan.open_tasks, plan.config.steps)
        for task, cost in zip(plan.open_tasks, costs, strict=True):
            rows = len(task.weights)
            # The final images are counted as candidates, which take a little longer.
            milliseconds += cost.decodes * rate.candidate_ms + rows * cost.steps * rate.latent_ms
    return milliseconds / 3.6e6
