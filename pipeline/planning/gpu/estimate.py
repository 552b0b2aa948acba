"""Estimates the GPU hours and the GPU memory of a run from the paper's measurements.

Table 6 of the paper gives minutes per prompt on one RTX 6000 Ada (48 GB), and Table 5 gives peak memory. Both are for
Stable Diffusion 1.5 at 512 px with six weightings over two rewards, and were measured with the authors' code. What was
measured with this code is in `rates`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from actors.from_config import source_of
from configs.schema import RunConfig
from configs.sections.model import ModelConfig
from diffusion.checks.whole import count_weights
from diffusion.errors import NotHereError
from diffusion.source import EMBEDDED, metadata_folder
from pipeline.planning.cost import expected_costs
from pipeline.planning.downloads import size_text
from pipeline.planning.gpu.rates import forecast_memory
from pipeline.planning.hub_sizes import MODELS
from pipeline.planning.plan import Plan

PAPERS_MODEL = "stable-diffusion-v1-5/stable-diffusion-v1-5"
PAPERS_GPU = "RTX 6000 Ada"
PAPERS_SIDE = 512
# The least and the most seconds per candidate over the rows of Table 6: minutes divided by N (M K + L (T-K))
# candidates, with M = 2, L = 6, T = 50. They include the whole prompt, with denoising and rewards. The seconds of the
# weighted sum rise as N falls from 26 to 6.
SECONDS_PER_CANDIDATE = {"srsoup": (0.184, 0.200), "weighted_sum": (0.191, 0.313)}
# Table 5: peak GB of the model and the rewards together on one GPU, for N = 6 and for N in 11..30.
PAPERS_GB = {
    frozenset({"aesthetic", "compressibility"}): (18.4, 20.9),
    frozenset({"aesthetic", "pickscore"}): (22.1, 24.6),
    frozenset({"aesthetic", "hpsv2"}): (22.1, 24.6),
}
FEWER_QUERIES, MORE_QUERIES = range(6, 7), range(11, 31)
BYTES_OF_DTYPE = {"float32": 4, "float16": 2, "bfloat16": 2}


@dataclass(frozen=True)
class GpuHours:
    """The estimated hours of one GPU for the fronts that are not done.

    Attributes:
        least, most: the bounds of the estimate, for the methods in `rated`.
        rated, unrated: the methods with and without a measured rate.
    """

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
            parts.append(f"not known for {', '.join(self.unrated)}")
        return "; ".join(parts) or "0: all fronts are done"


def _rate(method: str) -> str:
    low, high = SECONDS_PER_CANDIDATE[method]
    return f"{low:.3f} to {high:.3f} s per candidate for {method}"


def gpu_hours(plans: Sequence[Plan]) -> GpuHours | None:
    """Return the hours for the plans' open tasks, or None if a model has no rate measured at its size of images."""
    if not all(_is_papers(plan.config.model) for plan in plans):
        return None
    least = most = 0.0
    methods: dict[str, None] = {}
    for plan in plans:
        costs = expected_costs(plan.open_tasks, plan.config.steps)
        for task, cost in zip(plan.open_tasks, costs, strict=True):
            methods[task.method] = None
            low, high = SECONDS_PER_CANDIDATE.get(task.method, (0.0, 0.0))
            candidates = cost.decodes - len(task.weights)
            least, most = least + candidates * low / 3600, most + candidates * high / 3600
    rated = tuple(method for method in methods if method in SECONDS_PER_CANDIDATE)
    return GpuHours(least, most, rated, tuple(method for method in methods if method not in rated))


def _is_papers(model: ModelConfig) -> bool:
    """Whether this is the model of the paper's Tables 5 and 6, at its size of images."""
    return model.name == PAPERS_MODEL and {model.height or PAPERS_SIDE, model.width or PAPERS_SIDE} == {PAPERS_SIDE}


def gpu_memory(config: RunConfig) -> str:
    """Return as text the peak memory, if it was measured for this case, and the memory of the model's weights.

    The number of weights is that of the hub's files or, if their sizes are not known, that of the configuration files.
    """
    model = config.model
    size = MODELS.get((model.name, model.revision or ""))
    parts = []
    measured = PAPERS_GB.get(frozenset(config.rewards.guided)) if _is_papers(model) else None
    if measured and (config.queries in FEWER_QUERIES or config.queries in MORE_QUERIES):
        peak = measured[config.queries in MORE_QUERIES]
        parts.append(f"{peak} GB for the model and the guiding rewards on one {PAPERS_GPU} (the paper's Table 5)")
    parts += forecast_memory(config)
    if not parts:
        parts.append("peak not known")
    weights = size.total // size.bytes_per_weight if size else _counted_weights(model)
    if weights:
        taken = size_text(weights * BYTES_OF_DTYPE[model.dtype])
        parts.append(f"the diffusion model's weights alone take at least {taken} in {model.dtype}")
    return "; ".join(parts)


def _counted_weights(model: ModelConfig) -> int | None:
    """The number of a model's weights by its configuration files; None if they are not on this machine."""
    source = source_of(model)
    if source.name == EMBEDDED:
        return None
    try:
        return count_weights(metadata_folder(source, fetch=False))
    except NotHereError:
        return None
