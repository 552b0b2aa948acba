"""Other people's rewards: a function or a class made into a reward, and plugin files that hold some.

A plugin is one Python file with `REWARDS = {"name": function or class}`. Its source travels: a worker on another
machine needs no copy of the file, but it does need every package that the file imports.
"""

import hashlib
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from rewards.base import Reward, RewardInfo
from rewards.errors import RewardError

TABLE = "REWARDS"


class PluginError(RewardError):
    """A plugin file cannot be used; the message says why, and the fix."""


@dataclass(frozen=True)
class Plugin:
    """The source of a plugin file, as it was read once.

    Attributes:
        name: of the file, for messages and for the record of a run.
    """

    name: str
    source: str

    @classmethod
    def read(cls, path: Path) -> "Plugin":
        """Read a file, without running it.

        Raises:
            PluginError: it cannot be read, or is not UTF-8.
        """
        try:
            return cls(path.name, path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError) as error:
            raise PluginError(f"plugin {path}: cannot be read ({error})", "check the path") from error

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.source.encode()).hexdigest()

    def load(self) -> Mapping[str, Callable[..., Any]]:
        """Run the source as a module of its own, and give its table.

        Raises:
            PluginError: it does not run, or has no table of names and functions or classes.
        """
        module = ModuleType(f"srsoup_plugin_{self.sha256[:16]}")
        # As an import does: so that its classes know their module and dataclasses work in it.
        sys.modules[module.__name__] = module
        try:
            exec(compile(self.source, self.name, "exec"), module.__dict__)
        except Exception as error:
            del sys.modules[module.__name__]
            raise PluginError(
                f"plugin {self.name} does not run: {type(error).__name__}: {error}",
                "fix it, or install what it imports on every machine that asks it",
            ) from error
        table = getattr(module, TABLE, None)
        named = isinstance(table, dict) and all(isinstance(name, str) and callable(it) for name, it in table.items())
        if not table or not named:
            raise PluginError(
                f"plugin {self.name}: {TABLE} is {table!r:.80}",
                f'set {TABLE} = {{"name": function or class}}, see docs/own_reward.md',
            )
        return table


class FunctionReward:
    """score(images, prompts) = function(images, prompts).

    The function gets what `Reward.score` gets, and answers n numbers: a tensor, an array or a list. Its declaration is
    its attribute `info`; where it has none, nothing is promised of it: it may read the prompt, have any value, and
    depend in its last bits on the batch, so that it is asked in chunks of one size.
    """

    def __init__(self, name: str, function: Callable[[Tensor, Sequence[str]], Any], source: str) -> None:
        self.info: RewardInfo = getattr(function, "info", None) or undeclared(name, function, source)
        self._function = function

    def setup(self, device: str) -> None: ...

    def score(self, images: Tensor, prompts: Sequence[str]) -> Tensor:
        answer = self._function(images, prompts)
        try:
            return torch.as_tensor(answer).detach().to("cpu", torch.float32)
        except (TypeError, ValueError, RuntimeError) as error:
            raise RewardError(
                f"{self.info.name} returned {answer!r:.80}", "return one number for each image"
            ) from error

    def close(self) -> None: ...


def as_reward(name: str, thing: Callable[..., Any], source: str) -> Reward:
    """A reward that is not set up yet, of a function or a class.

    Args:
        name: what it is asked for by; `info.name` must be the same.
        thing: a function `(images, prompts) -> scores`, or a class with `setup`, `score` and `close`.
        source: where it is from, for an undeclared one's `info.source`.

    Raises:
        PluginError: the class lacks one of these, or the declaration has another name.
    """
    if not isinstance(thing, type):
        reward: Any = FunctionReward(name, thing, source)
    else:
        reward = thing()
        missing = [method for method in ("setup", "score", "close") if not callable(getattr(reward, method, None))]
        if missing:
            raise PluginError(f"{name}: class {thing.__name__} of {source} has no {', '.join(missing)}", "write it")
        if getattr(reward, "info", None) is None:
            reward.info = undeclared(name, thing, source)
    if reward.info.name != name:
        raise PluginError(f"{name}: its info is named {reward.info.name!r} in {source}", "give both the same name")
    declared: Reward = reward
    return declared


def undeclared(name: str, thing: Callable[..., Any], source: str) -> RewardInfo:
    """The declaration of what declares nothing: the first line of its docstring, and no promise."""
    words = (thing.__doc__ or "").strip().splitlines()
    return RewardInfo(
        name=name,
        description=words[0] if words else "(no description)",
        unit="",
        range=(float("-inf"), float("inf")),
        reads_prompt=True,
        differentiable=False,
        batch_sensitive=True,
        source=source,
    )
