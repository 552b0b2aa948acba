"""Rewards that users write: plugin files, and functions or classes that become rewards.

A plugin is one Python file with `REWARDS = {"name": function or class}`. Its source is sent to the workers, so other
machines need no copy of the file, but they need every package that the file imports.
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
    """A plugin file, or a reward in it, that cannot be used."""


@dataclass(frozen=True)
class Plugin:
    """The source of a plugin file, which is read once.

    Attributes:
        name: name of the file, for messages and for the record of a run.
        source: content of the file.
    """

    name: str
    source: str

    @classmethod
    def read(cls, path: Path) -> "Plugin":
        """Read a file without running it.

        Raises:
            PluginError: the file cannot be read, or is not UTF-8.
        """
        try:
            return cls(path.name, path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError) as error:
            raise PluginError(f"plugin {path} cannot be read ({error})", "check the path") from error

    @property
    def sha256(self) -> str:
        """The SHA-256 of the source, as 64 hexadecimal digits."""
        return hashlib.sha256(self.source.encode()).hexdigest()

    def load(self) -> Mapping[str, Callable[..., Any]]:
        """Run the source as its own module, and return its table `REWARDS`.

        Raises:
            PluginError: the source does not run, or has no table of names with functions or classes.
        """
        module = ModuleType(f"srsoup_plugin_{self.sha256[:16]}")
        # An import does the same. Without it dataclasses and pickle do not find the module of its classes.
        sys.modules[module.__name__] = module
        try:
            exec(compile(self.source, self.name, "exec"), module.__dict__)
        except Exception as error:
            del sys.modules[module.__name__]
            raise PluginError(
                f"plugin {self.name} does not run: {type(error).__name__}: {error}",
                "correct the file, or install what it imports on every machine that queries its rewards",
            ) from error
        table: Any = getattr(module, TABLE, None)
        if not _is_table(table):
            raise PluginError(
                f"plugin {self.name}: {TABLE} is {table!r:.80}",
                f'set {TABLE} = {{"name": function or class}}, see docs/own_reward.md',
            )
        declared: Mapping[str, Callable[..., Any]] = table
        return declared


class FunctionReward:
    """The reward score(images, prompts) = function(images, prompts).

    The function gets the arguments of `Reward.score` and returns n numbers, as a tensor, an array or a list. Its
    attribute `info` is its declaration. Without one the reward is taken to read the prompt, to have no bounds, and to
    depend in its last bits on the batch, so it is queried in chunks of one size.
    """

    def __init__(self, name: str, function: Callable[[Tensor, Sequence[str]], Any], source: str) -> None:
        self.info: RewardInfo = getattr(function, "info", None) or default_info(name, function, source)
        self._function = function

    def setup(self, device: str) -> None: ...

    def score(self, images: Tensor, prompts: Sequence[str]) -> Tensor:
        scores = self._function(images, prompts)
        try:
            return torch.as_tensor(scores).detach().to("cpu", torch.float32)
        except (TypeError, ValueError, RuntimeError) as error:
            raise RewardError(
                f"{self.info.name} returned {scores!r:.80}", "return one number for each image"
            ) from error

    def close(self) -> None: ...


def as_reward(name: str, definition: Callable[..., Any], source: str) -> Reward:
    """Return a reward, not set up yet, that a function or a class defines.

    Args:
        name: name of the reward; `info.name` must be the same.
        definition: a function `(images, prompts) -> scores`, or a class with `setup`, `score` and `close`.
        source: file or package of the definition, for the `info.source` of a reward without a declaration.

    Raises:
        PluginError: the class lacks a method, or the declaration has another name.
    """
    if not isinstance(definition, type):
        reward: Any = FunctionReward(name, definition, source)
    else:
        reward = definition()
        missing = [method for method in ("setup", "score", "close") if not callable(getattr(reward, method, None))]
        if missing:
            raise PluginError(
                f"{name}: class {definition.__name__} of {source} has no {', '.join(missing)}",
                "write the missing methods",
            )
        if getattr(reward, "info", None) is None:
            reward.info = default_info(name, definition, source)
    if reward.info.name != name:
        raise PluginError(f"{name}: its info has the name {reward.info.name!r} in {source}", "give both the same name")
    declared: Reward = reward
    return declared


def default_info(name: str, definition: Callable[..., Any], source: str) -> RewardInfo:
    """Return the declaration of a reward that declares nothing: the first line of its docstring, and no promise."""
    words = (definition.__doc__ or "").strip().splitlines()
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


def _is_table(table: object) -> bool:
    """Whether this is a mapping, not empty, of names to functions or classes."""
    return isinstance(table, dict) and bool(table) and all(isinstance(k, str) and callable(v) for k, v in table.items())
