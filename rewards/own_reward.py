"""Functions and classes of users and of packages, as rewards whose errors name them."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from configs.plain.texts import described, shown
from rewards.base import Reward, RewardInfo
from rewards.errors import PluginError, RewardError

# Errors of `setup` that may not come again, so that a cluster starts the worker once more.
_PASSING = (ConnectionError, TimeoutError, MemoryError, torch.OutOfMemoryError)


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
