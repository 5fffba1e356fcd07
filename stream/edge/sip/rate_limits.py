"""Rate limits of senders: the trunks of the configuration by address, and unknown sources.

The configuration bounds the memory. There is a bucket for each of its addresses and networks, and
one for all unknown sources together, whose addresses may be false. A flood from elsewhere takes
nothing from the trunks.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import lru_cache
from ipaddress import IPv6Address, ip_address, ip_network
from typing import Final

ADDRESSES_MAX: Final = 4096
"""Addresses whose bucket is cached; beyond, the search through the networks costs again."""


class Admission(StrEnum):
    """Admission of a request, before it is parsed."""

    TAKEN = "taken"
    BUSY = "busy"
    DROPPED = "dropped"


@dataclass(slots=True)
class Allowance:
    """Requests of one sender: `per_s`, evenly, with a burst of one second's.

    As many again are answered 503, which costs little. The rest is dropped. What is refused takes
    nothing from what is decided: else a trunk just above its rate would get no verdict at all.
    """

    trunk: str | None
    """None: of unknown sources."""
    per_s: float
    _left: float = field(init=False)
    _busy_left: float = field(init=False)
    _at_s: float = field(init=False, default=0.0)

    def __post_init__(self) -> None:
        self._left = self._busy_left = self.per_s

    def take(self, now_s: float) -> Admission:
        """Admit one more request at `now_s`, which never goes back."""
        more = (now_s - self._at_s) * self.per_s
        self._left = min(self.per_s, self._left + more)
        self._busy_left = min(self.per_s, self._busy_left + more)
        self._at_s = now_s
        if self._left >= 1:
            self._left -= 1
            return Admission.TAKEN
        # The address of an unknown source may be a third party's: a 503 would flood it.
        if self.trunk is None or self._busy_left < 1:
            return Admission.DROPPED
        self._busy_left -= 1
        return Admission.BUSY


class RateLimits:
    """Allowances of senders, by address."""

    def __init__(self, trunks: Mapping[str, str], per_s: float, strangers_per_s: float) -> None:
        self._unknown = Allowance(None, strangers_per_s)
        networks = [(ip_network(text), name) for text, name in trunks.items()]
        # The narrowest network that contains an address counts.
        networks.sort(key=lambda one: one[0].prefixlen, reverse=True)
        self._known = [(network, Allowance(name, per_s)) for network, name in networks]
        self.of = lru_cache(ADDRESSES_MAX)(self._find)

    def _find(self, host: str) -> Allowance:
        """Return the allowance of an address."""
        address = ip_address(host.partition("%")[0])
        mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
        for network, allowance in self._known:
            if (mapped or address) in network:
                return allowance
        return self._unknown
