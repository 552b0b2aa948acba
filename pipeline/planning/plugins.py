"""Plugin files of a request: read where the run is started, and refused there in the words of a request."""

from collections.abc import Sequence
from pathlib import Path

from configs.errors import RequestError
from rewards import registry
from rewards.plugin import Plugin, PluginError


def read_plugins(paths: Sequence[Path]) -> tuple[Plugin, ...]:
    """The sources of plugin files, not run yet; the same file twice counts once.

    Raises:
        RequestError: a file cannot be read, or two have one name and not one source.
    """
    found: dict[str, Plugin] = {}
    for path in paths:
        try:
            plugin = Plugin.read(path)
        except PluginError as error:
            raise _request_error(str(path), error) from error
        if found.setdefault(plugin.name, plugin) != plugin:
            raise _request_error(str(path), PluginError(f"another plugin is named {plugin.name}", "rename one of them"))
    return tuple(found.values())


def plug_in(plugins: Sequence[Plugin]) -> None:
    """Make their rewards known in this process.

    Raises:
        RequestError: one does not run, has no table, or takes a name that is taken.
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
        allowed='a Python file with REWARDS = {"name": function or class}',
        fix=error.fix or "correct the plugin file",
    )
