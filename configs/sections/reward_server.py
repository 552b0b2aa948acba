"""The section `rewards.servers`: rewards that live behind HTTP, and who may be queried."""

from typing import Annotated

from pydantic import BeforeValidator, Field, field_validator

from configs.errors import InvalidValueError
from configs.sections.hosts import Typed, check_host_is_confirmed, plain_address
from configs.strict_model import StrictModel, as_tuple

# The environment variable in which the user names the hosts that a configuration file may have queried.
ALLOWED_HOSTS = "SRSOUP_REWARD_HOSTS"
DEFAULT_KEY_VARIABLE = "SRSOUP_REWARD_KEY"
MOST_SERVERS = 1_000


def _several(value: object) -> object:
    return as_tuple([value] if isinstance(value, str) else value)


class RewardServerConfig(StrictModel):
    """One reward that servers compute (docs/reward_server.md). All of its servers run the same version."""

    url: Annotated[tuple[str, ...], BeforeValidator(_several)] = Field(
        description="address of the server, such as http://127.0.0.1:8100, or a list of servers that share the images; "
        f"without user name, key or query; the user confirms each on the command line or in {ALLOWED_HOSTS}"
    )
    key_variable: str = Field(
        DEFAULT_KEY_VARIABLE,
        pattern=r"^[A-Za-z_][A-Za-z0-9_]*$",
        description="name of the environment variable that holds the servers' key, never the key itself; another name "
        f"than the default is taken from the command line or from {ALLOWED_HOSTS}",
    )
    timeout: float = Field(60.0, gt=0, le=3600, description="seconds that one request may take")
    patience: float = Field(
        120.0, gt=0, le=86_400, description="seconds for which one batch is sent again, while no server answers"
    )

    @field_validator("url")
    @classmethod
    def _check_url(cls, url: tuple[str, ...]) -> tuple[str, ...]:
        if not 1 <= len(url) <= MOST_SERVERS:
            raise InvalidValueError(f"there are {len(url)} servers", f"give 1 to {MOST_SERVERS:,}")
        return tuple(plain_address(one) for one in url)


def check_servers_are_confirmed(servers: dict[str, RewardServerConfig], typed: Typed, file: str) -> None:
    """Check that the user, and not the configuration file alone, names the hosts and the variables of their keys.

    Raises:
        RequestError: the user has not confirmed a host or the variable of its key.
    """
    for name, server in servers.items():
        for url in server.url:
            check_host_is_confirmed(
                f"rewards.servers.{name}", url, server.key_variable, DEFAULT_KEY_VARIABLE, ALLOWED_HOSTS, typed, file
            )
