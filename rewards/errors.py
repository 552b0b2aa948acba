"""The errors of rewards. Each says what is wrong and how to fix it."""

from typing import Any


class RewardError(ValueError):
    """A reward that cannot be loaded, was called with wrong arguments, or returned a wrong result.

    It survives pickling, so it reaches the driver from another process whole. A reward of your own may raise it with
    one text: `raise RewardError("my_reward: the prompt is too long")`.

    Attributes:
        problem: what is wrong; a clause that names the reward or the file.
        fix: what to do about it, as an imperative; empty if the code that raises it knows no fix.
    """

    def __init__(self, problem: str, fix: str = "") -> None:
        super().__init__(problem, fix)
        self.problem, self.fix = problem, fix

    def __str__(self) -> str:
        return f"{self.problem}; {self.fix}" if self.fix else self.problem

    def __reduce__(self) -> tuple[Any, ...]:
        # Without a call of the subclass's __init__, which may take other arguments.
        return _rebuilt, (type(self), self.problem, self.fix), self.__dict__


class WeightsError(RewardError):
    """A weight file that is not on this machine, or whose content is not the expected one."""


class MissingFileError(WeightsError):
    """A file that is not on this machine, and was not downloaded."""


class PluginError(RewardError):
    """A plugin that cannot be used, or a reward in it."""


def _rebuilt(kind: type[RewardError], problem: str, fix: str) -> RewardError:
    error = kind.__new__(kind, problem, fix)
    RewardError.__init__(error, problem, fix)
    return error
