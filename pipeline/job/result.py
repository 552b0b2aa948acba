"""What comes of the task of one prompt: its rows and its costs, or its failure."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field

from actors.protocol import ScoreResult
from pipeline.records import Row


@dataclass
class Meter:
    """What the workers spent on a prompt, added up as their answers come in."""

    seconds: dict[str, float] = field(
        default_factory=lambda: dict.fromkeys(("denoise", "lookahead", "decode", "reward"), 0.0)
    )
    seconds_by_reward: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))
    peak_memory: int = 0
    retries: int = 0

    def add(self, scored: ScoreResult) -> None:
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
