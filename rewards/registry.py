"""Rewards by name. The table is literal; a reward's module is imported when it is asked for."""

import difflib
from functools import cache
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rewards.base import Reward

REWARDS = {
    "aesthetic": "rewards.aesthetic:Aesthetic",
    "clip_score": "rewards.clip_score:ClipScore",
    "colorfulness": "rewards.colorfulness:Colorfulness",
    "compressibility": "rewards.compressibility:Compressibility",
    "hpsv2": "rewards.hpsv2:HPSv2",
    "hpsv2.1": "rewards.hpsv2:HPSv21",
    "incompressibility": "rewards.incompressibility:Incompressibility",
    "mini_clip": "rewards.mini_clip:MiniClip",
    "pickscore": "rewards.pickscore:PickScore",
}
# Where other people's packages announce theirs.
ENTRY_POINTS = "srsoup.rewards"


class UnknownRewardError(LookupError):
    """There is no reward of this name; the message says the nearest and all."""


def names() -> tuple[str, ...]:
    """All names: ours, then those of installed packages that announce others."""
    return (*REWARDS, *sorted(set(_announced()) - set(REWARDS)))


def create(name: str) -> "Reward":
    """A reward that is not set up yet.

    Raises:
        UnknownRewardError: there is none of this name.
    """
    if name in REWARDS:
        module, attribute = REWARDS[name].split(":")
        reward: Reward = getattr(import_module(module), attribute)()
        return reward
    if name in _announced():
        announced: Reward = _announced()[name].load()()
        return announced
    near = difflib.get_close_matches(name, names(), n=1, cutoff=0.0)
    raise UnknownRewardError(f"no reward {name!r}; did you mean {near[0]!r}? There are: {', '.join(names())}")


@cache
def _announced() -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=ENTRY_POINTS)}
