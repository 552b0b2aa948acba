"""Network addresses: which are this machine's own, and which are never contacted, whatever a configuration says."""

import ipaddress
import socket
from collections.abc import Iterator
from typing import NamedTuple
from urllib.parse import urlsplit

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address

DEFAULT_PORTS = {"http": 80, "https": 443}
# Where clouds hand out credentials, besides link-local addresses: Amazon and Google on IPv6, Alibaba, Azure, Oracle.
_METADATA = {
    ipaddress.ip_address(text)
    for text in ("fd00:ec2::254", "fd20:ce::254", "100.100.100.200", "168.63.129.16", "192.0.0.192")
}
# A network that translates IPv6 to IPv4 has the IPv4 address in the last 32 bits (RFC 6052).
_NAT64 = ipaddress.ip_network("64:ff9b::/96")


class Server(NamedTuple):
    """The server that a URL names."""

    scheme: str
    host: str
    port: int

    @classmethod
    def of(cls, url: str) -> "Server":
        """Return the server of an http or https URL.

        Raises:
            ValueError: the URL has another scheme, no host, or a port that is not a number up to 65535.
        """
        parts = urlsplit(url)
        if parts.scheme not in DEFAULT_PORTS or not parts.hostname:
            raise ValueError("it does not begin with http://HOST or https://HOST")
        port = DEFAULT_PORTS[parts.scheme] if parts.port is None else parts.port
        return cls(parts.scheme, parts.hostname.rstrip("."), port)

    @property
    def name(self) -> str:
        """The host with its port; the host alone stands for https at its default port."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if (self.scheme, self.port) == ("https", 443) else f"{host}:{self.port}"

    @property
    def may_get_key(self) -> bool:
        """Whether a key may be sent: over https, or to this machine. Names other than localhost are not looked up."""
        address = numeric_address(self.host) or self.host
        return self.scheme == "https" or self.host == "localhost" or is_loopback(address)


def is_loopback(address: str) -> bool:
    """Whether an IP address is a loopback address, as IPv4, IPv6 or IPv4 mapped to IPv6. False for a host name."""
    ip = _parsed(address)
    return ip is not None and (getattr(ip, "ipv4_mapped", None) or ip).is_loopback


def is_never_contacted(address: str) -> bool:
    """Whether an IP address is link-local, a cloud's source of credentials, or not the address of one machine.

    Link-local addresses are 169.254.0.0/16 and fe80::/10, also as IPv4 inside IPv6. False for a host name.
    """
    ip = _parsed(address)
    return ip is not None and any(
        form.is_link_local or form.is_unspecified or form.is_multicast or form in _METADATA or int(form) == 2**32 - 1
        for form in _forms(ip)
    )


def numeric_address(host: str) -> str | None:
    """Return the IP address that a host is written as, also in the forms 2852039166 and 0xA9FE.0xA9FE; else None."""
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
    except (OSError, UnicodeError):
        return None
    return str(found[0][4][0])


def _parsed(address: str) -> IPAddress | None:
    try:
        return ipaddress.ip_address(address)
    except ValueError:
        return None


def _forms(ip: IPAddress) -> Iterator[IPAddress]:
    """The address, and the IPv4 address that it holds if it is an IPv6 address of a translation."""
    yield ip
    if isinstance(ip, ipaddress.IPv6Address):
        yield from (form for form in (ip.ipv4_mapped, ip.sixtofour) if form)
        if ip in _NAT64 or int(ip) < 2**32:
            yield ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
