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

from configs.file_digest import read_regular_file
from configs.plain.texts import described, shown
from rewards.base import Reward, RewardInfo
from rewards.errors import RewardError

TABLE = "REWARDS"
MOST_BYTES = 4_000_000
# Errors of `setup` that may not come again, so that a cluster starts the worker once more.
_PASSING = (ConnectionError, TimeoutError, MemoryError, torch.OutOfMemoryError)


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
            return cls(path.name, read_regular_file(path, MOST_BYTES).decode())
        except (OSError, ValueError) as error:
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
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            # A plugin that calls sys.exit() would end the command as if all were done.
            sys.modules.pop(module.__name__, None)
            raise PluginError(
                f"plugin {self.name} does not run: {described(error)}",
                "correct the file, or install what it imports on every machine that queries its rewards",
            ) from error
        table: Any = getattr(module, TABLE, None)
        if not _is_table(table):
            raise PluginError(
                f"plugin {self.name}: {TABLE} is {shown(table)}",
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
        except Exception as error:
            raise RewardError(
                f"{self.info.name} returned {shown(scores)}", "return one number for each image"
            ) from error

    def close(self) -> None: ...


def as_reward(name: str, definition: Callable[..., Any], source: str) -> Reward:
    """Return a reward, not set up yet, that a function or a class defines.

    Args:
        name: name of the reward; `info.name` must be the same.
        definition: a function `(images, prompts) -> scores`, or a class with `setup`, `score` and `close`.
        source: file or package of the definition, for the `info.source` of a reward without a declaration.

    Raises:
        PluginError: the class cannot be called or lacks a method, or the declaration is wrong or has another name.
    """
    try:
        return _Guarded(_created(name, definition, source))
    except (PluginError, KeyboardInterrupt):
        raise
    except BaseException as error:
        fix = "correct its `__init__` and its `info`; load models in `setup`"
        raise PluginError(f"{name} of {source} cannot be created: {described(error)}", fix) from error


def _created(name: str, definition: Callable[..., Any], source: str) -> Reward:
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
    if not isinstance(reward.info, RewardInfo):
        problem = f"{name}: its info is {shown(reward.info)} in {source}, and not a RewardInfo"
        raise PluginError(problem, "write info = RewardInfo(...), see docs/own_reward.md")
    if reward.info.name != name:
        raise PluginError(
            f"{name}: its info has the name {shown(reward.info.name)} in {source}", "give both the same name"
        )
    declared: Reward = reward
    return declared


class _Guarded:
    """A user's reward whose methods end neither the process nor a run, whatever they raise.

    An error of `setup` or `close` becomes a RewardError that names the reward. An error of `score` stays what it is,
    so that it is recorded under its own class, except for those that would end the process.
    """

    def __init__(self, reward: Reward) -> None:
        self._reward, self.info = reward, reward.info

    def setup(self, device: str) -> None:
        try:
            self._reward.setup(device)
        except (RewardError, KeyboardInterrupt, *_PASSING):
            raise
        except BaseException as error:
            raise RewardError(
                f"{self.info.name} cannot be set up: {described(error)}", "correct its `setup`, or what it loads"
            ) from error

    def score(self, images: Tensor, prompts: Sequence[str]) -> Tensor:
        try:
            return self._reward.score(images, prompts)
        except (Exception, KeyboardInterrupt):
            raise
        except BaseException as error:
            fix = "raise an error that is an Exception, such as ValueError"
            raise RewardError(f"{self.info.name} ended with {described(error)}", fix) from error

    def close(self) -> None:
        try:
            self._reward.close()
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            raise RewardError(
                f"{self.info.name} cannot be closed: {described(error)}", "correct its `close`"
            ) from error


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
    if not isinstance(table, dict) or not table:
        return False
    return all(isinstance(k, str) and k.isprintable() and k.strip() and callable(v) for k, v in table.items())
