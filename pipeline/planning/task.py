"""The description of one task: one prompt, seed and method."""

from dataclasses import dataclass, replace
from typing import Self

from diffusion.base import Sampling
from pipeline.guidance.choosing.best_of import ONE_GENERATION, Evolution
from pipeline.guidance.choosing.choice import Keep
from pipeline.guidance.runner import Guidance
from pipeline.planning.prompts import Prompt


@dataclass(frozen=True)
class PromptTask:
    """One prompt, seed and method: all that a cell needs to run it.

    Attributes:
        key: the name of its parts in the run's folder; see `pipeline.planning.plan`.
        method: `srsoup`, `weighted_sum`, `unguided_first`, `best_candidate`, `demon`,
            `fk_steering`, `best_of`, `model_soup`, `output_soup` or `unguided`.
        seed: the seed of this front, from which all its noise is derived.
        weights: L rows on the simplex; `unguided` draws one sample for each row instead.
        guidance: the options of the method.
        guided, held_out: the names of the M guiding rewards, in the order of the weights, and of the held-out rewards.
        sampling: the options with which the model is sampled.
        chunk: the largest number of candidates in one unit of work.
        samples: the number of samples that `unguided` draws, one for each weighting, or that `best_of` chooses from.
        round: the number of the surrogate's round that it is in, from 0; None if it has no part in one.
        weights_round: the number of the round of its weights, from 0; None if they are those of the configuration.
        fronts: the number of fronts that are guided, of whose samples each weighting keeps one.
        keep: which of many samples a weighting keeps, of several fronts or of `best_of`.
        evolution: the generations of `best_of`.
        pairs: the number of candidates of each row and step that are kept to train a surrogate with.
        surrogate: the content of the file of its surrogate; None if it has none, or has not been given it yet.
        gradients_at_once: the number of rows whose surrogate gradients one pass computes.
        training_seconds: the share of this task in the seconds that its surrogate was trained for.
        restarts: how often it was started before and lost: its cell died, or a chunk did not fit into memory.
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
    round: int | None = None
    weights_round: int | None = None
    fronts: int = 1
    keep: Keep = "weighted"
    evolution: Evolution = ONE_GENERATION
    pairs: int = 0
    surrogate: bytes | None = None
    gradients_at_once: int = 1
    training_seconds: float = 0.0
    restarts: int = 0

    def restarted(self) -> Self:
        """Return the same task with one more restart."""
        return replace(self, restarts=self.restarts + 1)
