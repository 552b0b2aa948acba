"""The plugins of a request. They are read on the machine that starts the run, and errors are request errors."""

from collections.abc import Sequence
from pathlib import Path

from configs.errors import RequestError
from rewards import registry
from rewards.errors import PluginError
from rewards.plugin import Plugin


def read_plugins(paths: Sequence[Path]) -> tuple[Plugin, ...]:
    """Read plugins, which are files, folders or modules, without running them. One that is given twice counts once.

    Raises:
        RequestError: one cannot be read, or two different ones have the same name.
    """
    found: dict[str, Plugin] = {}
    for path in paths:
        try:
            plugin = Plugin.read(path)
        except PluginError as error:
            raise _request_error(str(path), error) from error
        if found.setdefault(plugin.name, plugin) != plugin:
            raise _request_error(
                str(path), PluginError(f"another plugin has the name {plugin.name}", "rename one of them")
            )
    return tuple(found.values())


def plug_in(plugins: Sequence[Plugin]) -> None:
    """Run the plugins and register their rewards in this process.

    Raises:
        RequestError: a plugin raised an error, has no table REWARDS, or uses the name of another reward.
    """
    for plugin in plugins:
        try:
            registry.plug_in([plugin])
        except PluginError as error:
            raise _request_error(plugin.name, error) from error


def _request_error(value: str, error: PluginError) -> RequestError:
    return RequestError(
        file="command line",
        key="--plugin",
        value=value,
        problem=error.problem,
        allowed='a Python file, a folder or a module, with REWARDS = {"name": function or class}',
        fix=error.fix or "correct the plugin file",
    )
