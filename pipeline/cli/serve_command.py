"""The command `serve-reward`: a reward behind HTTP, for runs in other environments or on other machines."""

import logging
import os
import signal
import sys
from typing import Annotated, NoReturn

import typer

from configs.errors import COMMAND_LINE, RequestError
from configs.sections.reward_server import DEFAULT_KEY_VARIABLE
from pipeline.cli.errors import request_errors
from pipeline.cli.options import Plugins
from pipeline.cli.version import srsoup_version


def serve_reward(
    name: Annotated[str, typer.Argument(help="Name of the reward. `srsoup rewards` lists them.", metavar="NAME")],
    host: Annotated[str, typer.Option(help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="The port; 0 takes a free one.", min=0, max=65535)] = 0,
    device: Annotated[str, typer.Option(help="The device of the reward: cpu or cuda.")] = "cpu",
    key_variable: Annotated[
        str, typer.Option(help="The environment variable with the key that clients must have.", metavar="VARIABLE")
    ] = DEFAULT_KEY_VARIABLE,
    plugin: Plugins = None,
) -> None:
    """Serve a reward over HTTP until Ctrl-C or SIGTERM.

    A run names it by rewards.servers.NAME.url. The server listens on this machine only, unless you give another --host.

    Exit status: 2 if the request is wrong.
    """
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    with request_errors():
        key = _key(key_variable)
        from pipeline.planning.plugins import plug_in, read_plugins
        from rewards import registry
        from rewards.errors import RewardError
        from rewards.reward_server import RewardServer

        plugins = read_plugins(plugin or [])
        plug_in(plugins)
        try:
            reward = registry.create(name)
            reward.setup(device)
        except (RewardError, registry.UnknownRewardError) as error:
            raise _wrong("NAME", name, str(error), "the name of a reward that this machine can load") from error
        parts = [f"srsoup {srsoup_version()}", registry.package_of(name), *(one.sha256[:16] for one in plugins)]
        version = "-".join(part for part in parts if part is not None)
        try:
            server = RewardServer(reward, version, key, (host, port))
        except (OSError, OverflowError) as error:
            raise _wrong("--host", f"{host}:{port}", str(error), "an address of this machine that is free") from error
    signal.signal(signal.SIGTERM, _interrupt)
    shown = f"[{host}]" if ":" in host else host
    print(f"{name}: http://{shown}:{server.server_address[1]} (version {version}; Ctrl-C ends it)", flush=True)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        pass
    finally:
        server.server_close()
        reward.close()


def _interrupt(number: int, frame: object) -> NoReturn:
    raise KeyboardInterrupt


def _key(variable: str) -> str:
    key = os.environ.get(variable, "").strip()
    if not key or not (key.isascii() and key.isprintable()):
        raise RequestError(
            file=COMMAND_LINE, key="--key-variable", value=variable,
            problem=f"{variable} holds no key, and a server without one would compute for everybody",
            allowed="an environment variable that holds one line of ASCII",
            fix=f"set it here and where the run starts: export {variable}=$(openssl rand -hex 16)",
        )  # fmt: skip
    return key


def _wrong(key: str, value: str, problem: str, allowed: str) -> RequestError:
    return RequestError(file=COMMAND_LINE, key=key, value=value, problem=problem, allowed=allowed, fix="correct it")
