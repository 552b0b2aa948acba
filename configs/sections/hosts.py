"""Which hosts a configuration may have queried: only those that the user confirms.

A file may come from a stranger. What the user typed, or named in an environment variable, is the user's own word.
"""

import os
import re
import shlex
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

from configs.addresses import Server, is_never_contacted, numeric_address
from configs.errors import InvalidValueError, RequestError

_URL_FIX = "give http(s)://HOST[:PORT]/PATH and no more"

Typed = Callable[[str], list[Any]]
"""A function from a dotted key to the values that the user gave it on the command line."""


def plain_address(url: str) -> str:
    """Return an http or https URL that has no user name, key or query, and that no machine's credentials lie behind.

    Raises:
        InvalidValueError: it is another URL.
    """
    try:
        parts = urlsplit(url)
        plain = parts.scheme in ("http", "https") and parts.hostname and "@" not in parts.netloc
        server = Server.of(url) if plain and not re.search(r"[^!-~]|[\\?#]", url) else None
    except ValueError as error:
        raise InvalidValueError(f"the address cannot be read: {error}", _URL_FIX) from error
    if server is None or not re.fullmatch(r"[\w.:%-]+", server.host, re.ASCII):
        raise InvalidValueError("this is not a plain address", _URL_FIX)
    if (address := numeric_address(server.host)) and is_never_contacted(address):
        raise InvalidValueError(
            f"{address} is never contacted: it is a link-local address, a cloud's source of credentials, or no "
            "machine's address",
            "give the address of a server that runs a model",
        )
    return url


def check_host_is_confirmed(
    section: str, url: str, variable: str, default_variable: str, allowed_hosts: str, typed: Typed, file: str
) -> None:
    """Check that the user, and not a configuration file alone, names the host of a URL and the variable of its key.

    Args:
        section: the section with the keys `url` and `key_variable`, such as `rewards.judge`.
        default_variable: the variable whose key a host gets that the user has confirmed without naming a variable.
        allowed_hosts: the environment variable with hosts that the user confirms: HOST[:PORT][=VARIABLE], with commas
            between. VARIABLE holds the key for that host.

    Raises:
        RequestError: the user has not confirmed the host, or the variable of the key.
    """
    server = Server.of(url)
    confirmed = list(_variables_for(server, os.environ.get(allowed_hosts, ""), default_variable))
    if any(_names(one, server) for given in typed(f"{section}.url") for one in _listed(given)):
        confirmed.append(default_variable)
    if not confirmed:
        raise RequestError(
            file=file, key=f"{section}.url", value=url,
            problem=f"this file sends prompts and images to {server.name}, and you have not confirmed that host",
            allowed=f"a host that you name on the command line or in the environment variable {allowed_hosts}",
            fix=f"if you trust the host, add {shlex.quote(f'{section}.url={url}')} to the command, or set "
            f"{allowed_hosts}={server.name}",
        )  # fmt: skip
    if variable not in (*confirmed, *typed(f"{section}.key_variable")):
        raise RequestError(
            file=file, key=f"{section}.key_variable", value=variable,
            problem=f"this file sends the value of {variable} to {server.name}, and you have not confirmed that",
            allowed=" or ".join(dict.fromkeys(confirmed)),
            fix=f"if {variable} is the key for this host, add {section}.key_variable={variable} to the command, or set "
            f"{allowed_hosts}={server.name}={variable}",
        )  # fmt: skip


def _listed(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else [value]


def _names(url: Any, server: Server) -> bool:
    """Whether a URL that the user typed names this server."""
    try:
        return Server.of(url) == server
    except (ValueError, TypeError, AttributeError):
        return False


def _variables_for(server: Server, hosts: str, default: str) -> Iterator[str]:
    """The variables that may hold the key for a server, as the environment names them."""
    for entry in hosts.split(","):
        host, _, variable = entry.strip().partition("=")
        if host.lower() in (server.name, f"{server.name}:443") or _names(host, server):
            yield variable or default
