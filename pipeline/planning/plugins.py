"""The plugins of a request. They are read on the machine that starts the run, and errors are request errors."""

from collections.abc import Sequence
from pathlib import Path

from configs.errors import RequestError
from configs.schema import RunConfig
from configs.sections.reward_server import RewardServerConfig
from pipeline.planning.model_check import Origin
from rewards import registry
from rewards.errors import PluginError
from rewards.plugin import Plugin
from rewards.reward_client import ServedReward, ServerError, Servers


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


def served_rewards(config: RunConfig, origin: Origin) -> tuple[ServedReward, ...]:
    """Ask the servers of `rewards.servers` what they compute. Their rewards go the way of plugins.

    Raises:
        RequestError: a server does not answer, or the servers of a reward do not agree.
    """
    return tuple(_served(name, server, origin) for name, server in config.rewards.servers.items())


def _served(name: str, server: RewardServerConfig, origin: Origin) -> ServedReward:
    try:
        return ServedReward(name, Servers(server.url, server.key_variable, server.timeout, server.patience))
    except ServerError as error:
        key = f"rewards.servers.{name}"
        raise RequestError(
            file=origin(key), key=key, value=", ".join(server.url), problem=error.problem, fix=error.fix,
            allowed="the addresses of servers that compute the reward",
        ) from error  # fmt: skip


def _request_error(value: str, error: PluginError) -> RequestError:
    return RequestError(
        file="command line",
        key="--plugin",
        value=value,
        problem=error.problem,
        allowed='a Python file, a folder or a module, with REWARDS = {"name": function or class}',
        fix=error.fix or "correct the plugin file",
    )
