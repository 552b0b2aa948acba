"""The result of one task: its rows and its costs, or its failure."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field

from actors.protocol import ScoreResult
from pipeline.records import Row


@dataclass
class Meter:
    """Adds up what the workers spent on a task.

    Attributes:
        seconds: by stage: denoise, lookahead, decode, reward, surrogate.
        peak_memory: bytes, the maximum over the calls.
        retries: calls that failed and were made again.
    """

    seconds: dict[str, float] = field(
        default_factory=lambda: dict.fromkeys(("denoise", "lookahead", "decode", "reward", "surrogate"), 0.0)
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
    """The result of a finished task.

    Attributes:
        tables: its rows, by table.
        seconds_by_reward: the seconds of each reward. Their sum is a column of `costs`.
        warnings: the warnings of the model.
        pairs: the content of the file of its training pairs; None if none are kept.
    """

    key: str
    tables: dict[str, list[Row]]
    seconds_by_reward: Mapping[str, float] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    pairs: bytes | None = None


@dataclass(frozen=True)
class PromptFailure:
    """The result of a task that raised an error: its row in `failures`, and the candidates that it had scored."""

    key: str
    row: Row
    candidates: int = 0
