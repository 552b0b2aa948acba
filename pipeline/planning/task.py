"""One prompt of one method: what it is asked to do, and what comes of it."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Self

from actors.protocol import Scored
from diffusion.base import Sampling
from pipeline.guidance.runner import Guidance
from pipeline.planning.prompts import Prompt
from pipeline.records import Row


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
        lives: how often it was begun before: by a cell that died, or with a chunk that memory did not suffice for.
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
    lives: int = 0

    def again(self) -> Self:
        """The same task, to be begun anew."""
        return replace(self, lives=self.lives + 1)


@dataclass
class Meter:
    """What the workers spent on a prompt, added up as their answers come in."""

    seconds: dict[str, float] = field(
        default_factory=lambda: dict.fromkeys(("denoise", "lookahead", "decode", "reward"), 0.0)
    )
    seconds_by_reward: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))
    peak_memory: int = 0
    retries: int = 0

    def add(self, scored: Scored) -> None:
        self.seconds["lookahead"] += scored.seconds_lookahead
        self.seconds["decode"] += scored.seconds_decode
        for name, seconds in scored.seconds_by_reward.items():
            self.seconds["reward"] += seconds
            self.seconds_by_reward[name] += seconds
        self.peak_memory = max(self.peak_memory, scored.peak_memory)
        self.retries += scored.retries


@dataclass(frozen=True)
class PromptResult:
    """The rows of a finished prompt, by table; the seconds of each reward, which make up one column of its costs; and
    what the model warned of."""

    key: str
    tables: dict[str, list[Row]]
    seconds_by_reward: Mapping[str, float] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class PromptFailure:
    """A prompt that raised: its row in `failures`."""

    key: str
    row: Row
