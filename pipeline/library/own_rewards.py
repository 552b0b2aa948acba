"""The rewards that a caller of `sample_front` gives: names, functions and classes, made into rewards with names."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from configs.errors import RequestError
from rewards import registry
from rewards.base import Reward, RewardInfo
from rewards.errors import RewardError
from rewards.own_reward import as_reward

# A reward's name, or a function (images, prompts) -> scores, or a class; see docs/own_reward.md.
RewardLike = str | Callable[..., Any]
Rewards = Sequence[RewardLike] | Mapping[str, RewardLike]

CALL = "sample_front"
_ALLOWED = 'a list of names, functions and classes, or a mapping {"name": function or class}'


class _Named:
    """A reward whose errors say its name."""

    def __init__(self, reward: Reward) -> None:
        self._reward = reward
        self.info: RewardInfo = reward.info

    def setup(self, device: str) -> None:
        try:
            self._reward.setup(device)
        except Exception as error:
            raise self._error("cannot be set up", error) from error

    def score(self, images: Tensor, prompts: Sequence[str]) -> Tensor:
        try:
            return self._reward.score(images, prompts)
        except torch.OutOfMemoryError:
            # The worker turns it into the advice to take a smaller chunk.
            raise
        except Exception as error:
            raise self._error(f"raised an error for {len(images)} images", error) from error

    def close(self) -> None:
        self._reward.close()

    def _error(self, problem: str, error: Exception) -> RewardError:
        if isinstance(error, RewardError) and self.info.name in str(error):
            return error
        return RewardError(f"reward {self.info.name} {problem}: {type(error).__name__}: {error}")


def named_rewards(guided: Rewards, held_out: Rewards) -> tuple[dict[str, Reward], dict[str, Reward]]:
    """Name -> reward, not set up yet, of those that guide and of those that are held out.

    Raises:
        RequestError: a value is no list or mapping of rewards, or two rewards have one name.
        LookupError: there is no reward of a name.
        RewardError: a class lacks a method, or its declaration has another name.
    """
    given = {"guided": _pairs(guided, "rewards"), "held_out": _pairs(held_out, "held_out")}
    names = [name for pairs in given.values() for name, _ in pairs]
    for role, pairs in given.items():
        if twice := next((name for name, _ in pairs if names.count(name) > 1), None):
            key = "rewards" if role == "guided" else role
            raise _error(
                key, names, f"rewards.{role}: {twice} is named twice",
                f'give each reward a name of its own: {key}={{"first": ..., "second": ...}}',
            )  # fmt: skip
    made = {role: {name: _Named(_created(name, thing)) for name, thing in pairs} for role, pairs in given.items()}
    return dict(made["guided"]), dict(made["held_out"])


def _pairs(rewards: Rewards, key: str) -> list[tuple[str, RewardLike]]:
    if isinstance(rewards, str) or callable(rewards):
        shown = repr(rewards) if isinstance(rewards, str) else _name(rewards)
        raise _error(key, rewards, "one reward stands where a list of rewards is expected", f"write {key}=[{shown}]")
    pairs = list(rewards.items()) if isinstance(rewards, Mapping) else [(_name(reward), reward) for reward in rewards]
    for name, reward in pairs:
        if isinstance(reward, str) and reward != name:
            raise _error(key, reward, f"{reward} has this name, and not {name}", f'write {{"{reward}": "{reward}"}}')
        if not isinstance(reward, str) and not callable(reward):
            raise _error(key, reward, "this is no name, function or class", "give a class, not an object of it")
    return pairs


def _name(reward: RewardLike) -> str:
    return reward if isinstance(reward, str) else str(getattr(reward, "__name__", type(reward).__name__))


def _created(name: str, reward: RewardLike) -> Reward:
    if isinstance(reward, str):
        return registry.create(reward)
    return as_reward(name, reward, str(getattr(reward, "__module__", "")))


def _error(key: str, value: object, problem: str, fix: str) -> RequestError:
    return RequestError(file=CALL, key=key, value=value, problem=problem, allowed=_ALLOWED, fix=fix)
