"""One prompt of one method: what it is asked to do."""

from dataclasses import dataclass, replace
from typing import Self

from diffusion.base import Sampling
from pipeline.guidance.runner import Guidance
from pipeline.planning.prompts import Prompt


@dataclass(frozen=True)
class PromptTask:
    """One prompt of one method, whole: a worker needs nothing else to run it.

    Attributes:
        key: name of its parts on disk; see `pipeline.planning.plan`.
        method: `srsoup`, `weighted_sum`, `unguided_first`, `best_of` or `unguided`.
        seed: the prompt's own.
        weights: L rows on the simplex; `unguided` draws one sample for each row instead.
        guided, held_out: names of the M guiding rewards, in the order of the weights, and of the others.
        sampling: how the model is sampled.
        chunk: candidates in one unit of work.
        samples: that `unguided` draws, one for each weight, or that `best_of` chooses from.
        restarts: how often it was begun before: by a cell that died, or with a chunk that memory did not suffice for.
    """

    key: str
    prompt: Prompt
    method: str
    seed: int
    weights: tuple[tuple[float, ...], ...]
    guidance: Guidance
    guided: tuple[str, ...]
    held_out: tuple[str, ...]
    sampling: Sampling
    chunk: int
    samples: int
    restarts: int = 0

    def again(self) -> Self:
        """The same task, to be begun anew."""
        return replace(self, restarts=self.restarts + 1)
