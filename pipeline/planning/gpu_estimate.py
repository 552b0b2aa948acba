"""What a run is expected to take of a GPU: from rates that were measured, each with its origin, or nothing.

Table 6 of the paper gives minutes a prompt on one RTX 6000 Ada (48 GB), Table 5 its peak memory, both for Stable
Diffusion 1.5 at 512 px with six weights over two rewards. They are of the authors' code; this code has no such
measurement yet.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from configs.schema import RunConfig
from pipeline.planning.cost import expected_cost
from pipeline.planning.downloads import size_text
from pipeline.planning.hub_sizes import MODELS
from pipeline.planning.plan import Plan

PAPERS_MODEL = "stable-diffusion-v1-5/stable-diffusion-v1-5"
PAPERS_GPU = "RTX 6000 Ada"
# Least and most seconds a candidate over the rows of Table 6 (minutes over N (M K + L (T-K)) candidates, M = 2, L = 6,
# T = 50): all that a prompt takes, denoising and rewards with it. The weighted sum's rise as N falls from 26 to 6.
SECONDS_PER_CANDIDATE = {"srsoup": (0.184, 0.200), "weighted_sum": (0.191, 0.313)}
# Table 5, peak GB, models and rewards together on one GPU: at N = 6, and at N of 11 to 30.
PAPERS_GB = {
    frozenset({"aesthetic", "compressibility"}): (18.4, 20.9),
    frozenset({"aesthetic", "pickscore"}): (22.1, 24.6),
    frozenset({"aesthetic", "hpsv2"}): (22.1, 24.6),
}
FEW, MANY = range(6, 7), range(11, 31)
BYTES = {"float32": 4, "float16": 2, "bfloat16": 2}


@dataclass(frozen=True)
class GpuHours:
    """Least and most hours of one GPU over the fronts that are not done, and the methods with and without a rate."""

    least: float
    most: float
    rated: tuple[str, ...]
    unrated: tuple[str, ...]

    def __str__(self) -> str:
        parts = []
        if self.rated:
            rates = ", ".join(_rate(method) for method in self.rated)
            hours = f"{self.least:,.1f} to {self.most:,.1f} on one {PAPERS_GPU}"
            parts.append(f"{hours}, at {rates} (the paper's Table 6, two rewards)")
        if self.unrated:
            parts.append(f"not known of {', '.join(self.unrated)}")
        return "; ".join(parts) or "0: all fronts are done"


def _rate(method: str) -> str:
    low, high = SECONDS_PER_CANDIDATE[method]
    return f"{low:.3f} to {high:.3f} s a candidate of {method}"


def gpu_hours(plans: Sequence[Plan]) -> GpuHours | None:
    """Hours of the plans' open tasks; None for a model that no rate is known of."""
    if any(plan.config.model.name != PAPERS_MODEL for plan in plans):
        return None
    least = most = 0.0
    methods: dict[str, None] = {}
    for plan in plans:
        for task in plan.open_tasks:
            methods[task.method] = None
            low, high = SECONDS_PER_CANDIDATE.get(task.method, (0.0, 0.0))
            candidates = expected_cost(task, plan.config.steps).decodes - len(task.weights)
            least, most = least + candidates * low / 3600, most + candidates * high / 3600
    rated = tuple(method for method in methods if method in SECONDS_PER_CANDIDATE)
    return GpuHours(least, most, rated, tuple(method for method in methods if method not in rated))


def gpu_memory(config: RunConfig) -> str:
    """What is known of the peak, in words: the paper's where it measured the same, and what the weights alone take."""
    model = config.model
    size = MODELS.get((model.name, model.revision or ""))
    parts = []
    measured = PAPERS_GB.get(frozenset(config.rewards.guided)) if model.name == PAPERS_MODEL else None
    if measured and (config.queries in FEW or config.queries in MANY):
        peak = measured[config.queries in MANY]
        parts.append(f"{peak} GB for model and guiding rewards on one {PAPERS_GPU} (the paper's Table 5)")
    else:
        parts.append("peak not known")
    if size:
        weights = size.total * BYTES[model.dtype] // size.bytes_per_weight
        parts.append(f"the diffusion model's weights alone take at least {size_text(weights)} in {model.dtype}")
    return "; ".join(parts)
