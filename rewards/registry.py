"""Rewards by name: SRSoup's own, those of installed packages and those of plugin files.

A reward's module is imported when the reward is created. Plugin files are named on the command line by the person who
starts a run, never by a configuration.
"""

import difflib
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, Any

from configs.plain.texts import described

if TYPE_CHECKING:
    from rewards.base import Reward
    from rewards.plugin import Plugin

REWARDS = {
    "aesthetic": "rewards.aesthetic:Aesthetic",
    "brightness": "rewards.brightness:Brightness",
    "clip_score": "rewards.clip_score:ClipScore",
    "colorfulness": "rewards.colorfulness:Colorfulness",
    "compressibility": "rewards.compressibility:Compressibility",
    "hpsv2": "rewards.hpsv2:HPSv2",
    "hpsv2.1": "rewards.hpsv2:HPSv21",
    "image_reward": "rewards.image_reward:ImageReward",
    "imagenet_confidence": "rewards.imagenet_confidence:ImageNetConfidence",
    "incompressibility": "rewards.incompressibility:Incompressibility",
    "mini_clip": "rewards.mini_clip:MiniClip",
    "pickscore": "rewards.pickscore:PickScore",
    "sharpness": "rewards.sharpness:Sharpness",
    "vlm_judge": "rewards.vlm_judge:VlmJudge",
}
# The entry point group in which installed packages announce rewards.
ENTRY_POINTS = "srsoup.rewards"

# Name -> (plugin, function or class) for the rewards of the plugin files that this process has loaded.
_plugged: dict[str, tuple["Plugin", Callable[..., Any]]] = {}


class UnknownRewardError(LookupError):
    """No reward has this name. The message gives the most similar name and all names."""


def names() -> tuple[str, ...]:
    """Return all names: SRSoup's own, then those of installed packages, then those of plugin files."""
    announced = sorted(set(_announced()) - set(REWARDS))
    return (*REWARDS, *announced, *(name for name in _plugged if name not in announced))


def create(name: str) -> "Reward":
    """Return a reward that is not set up yet.

    Raises:
        UnknownRewardError: no reward has this name.
        PluginError: a method of the reward is missing, or its declaration has another name.
    """
    if name in REWARDS:
        module, attribute = REWARDS[name].split(":")
        reward: Reward = getattr(import_module(module), attribute)()
        return reward
    if name in _plugged or name in _announced():
        from rewards.own_reward import as_reward

        if name in _plugged:
            plugin, definition = _plugged[name]
            return as_reward(name, definition, plugin.name)
        point = _announced()[name]
        return as_reward(name, _loaded(point), point.value)
    raise UnknownRewardError(
        f"there is no reward {name!r}; did you mean {nearest(name)!r}? The rewards are {', '.join(names())}"
    )


def package_of(name: str) -> str | None:
    """Return the installed package that announces a reward, with its version; None for any other reward."""
    point = None if name in REWARDS or name in _plugged else _announced().get(name)
    return f"{point.dist.name} {point.dist.version}" if point is not None and point.dist is not None else None


def _loaded(point: EntryPoint) -> Callable[..., Any]:
    """The function or class that an installed package announces."""
    from rewards.errors import PluginError

    try:
        definition: Callable[..., Any] = point.load()
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        problem = f"reward {point.name} of {point.value} cannot be imported: {described(error)}"
        raise PluginError(problem, "repair or uninstall the package that announces it") from error
    return definition


def nearest(name: str) -> str:
    """Return the known name that is most similar to this one. Upper and lower case count as equal."""
    return difflib.get_close_matches(name.lower(), names(), n=1, cutoff=0.0)[0]


def plug_in(plugins: Iterable["Plugin"]) -> None:
    """Add the rewards of plugin files to the registry of this process. A plugin that was added before is skipped.

    Raises:
        PluginError: a file does not run, has no table, or uses a name that is taken.
    """
    for plugin in plugins:
        if any(known == plugin for known, _ in _plugged.values()):
            continue
        table = plugin.load()
        _check_free(plugin, table)
        _plugged.update({name: (plugin, definition) for name, definition in table.items()})


def forget_plugins() -> None:
    """Make the rewards of plugin files unknown again, so that an edited file can be plugged in."""
    from rewards.plugin_imports import forget_imports

    _plugged.clear()
    forget_imports()


def _check_free(plugin: "Plugin", table: Mapping[str, object]) -> None:
    from rewards.errors import PluginError

    taken = sorted(set(table) & set(names()))
    if taken:
        raise PluginError(f"plugin {plugin.name}: {', '.join(taken)} is a reward already", "choose another name")


@cache
def _announced() -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=ENTRY_POINTS)}
