"""Which addresses a webhook may go to: public ones, unless the settings say otherwise.

An endpoint's name may be made to lead to a machine of ours (server-side request forgery): so every
address that a name resolves to is looked at, each time that it is connected to.
"""

import ipaddress
import socket
from typing import Final

from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import ThreadedResolver

_NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")


class PrivateAddress(OSError):
    """The name leads into a private network."""


def is_public(text: str) -> bool:
    """Whether anybody on the Internet could be meant; what is no address is not."""
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return False
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour
        if address in _NAT64:
            inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if inner is not None:
            return is_public(str(inner))
        if address.teredo is not None:
            return False
    return address.is_global and not address.is_multicast


def literal(host: str) -> bool:
    """Whether a host is an address itself, which is never resolved."""
    try:
        ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return True


class PublicResolver(AbstractResolver):
    """The system's resolver, less what is not public."""

    def __init__(self) -> None:
        self._system = ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """The public addresses of `host`. Raises OSError, PrivateAddress if it has only others."""
        found = await self._system.resolve(host, port, family)
        public = [each for each in found if is_public(each["host"])]
        if found and not public:
            raise PrivateAddress(f"{host} leads to a private address")
        return public

    async def close(self) -> None:
        """Nothing is held."""
        await self._system.close()
