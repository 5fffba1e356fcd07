"""`[sip]`: the address, the reading of questions, and the limits of senders."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Final

from stream.ops.schema import checks
from stream.ops.schema.toml import Between, Checked, Problem, Problems

FROM: Final = "from"
CALLERS: Final = ("p-asserted-identity", "p-preferred-identity", "remote-party-id", FROM)
"""Fields with the caller. A trusted network vouches for the first one (RFC 3325)."""
_HOP = re.compile(r"(?:[A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(?::\d{1,5})?(?:;[A-Za-z0-9=;.-]+)?")
_NAME = re.compile(r"[A-Za-z0-9!%*_+`'~.-]*")


_CARD_CHARS_MAX: Final = 200
"""Characters of one field: the card has to fit into a datagram."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CardSettings:
    """`[sip.card]`: who rejects calls with 608 (RFC 8688), and the key that signs it."""

    key_file: str
    certificate_url: str
    name: str
    email: str
    tel: str
    url: str

    def __post_init__(self) -> None:
        if not self.key_file:
            return
        found = []
        if not Path(self.key_file).is_file():
            found.append(Problem(("key_file",), f'names no file: "{self.key_file}"'))
        if not self.certificate_url.startswith("https://"):
            text = "must be the https:// address of the key's certificate, where callers find it"
            found.append(Problem(("certificate_url",), text))
        if not self.name:
            found.append(
                Problem(("name",), "is missing: callers are shown who rejected their call")
            )
        if not (self.email or self.tel or self.url):
            found.append(Problem(("email",), "is missing: give email, tel or url to object at"))
        for name in ("certificate_url", "name", "email", "tel", "url"):
            if len(getattr(self, name)) > _CARD_CHARS_MAX:
                text = f"is longer than {_CARD_CHARS_MAX} characters"
                found.append(Problem((name,), text))
        if found:
            raise Problems(found)


@dataclass(frozen=True, slots=True, kw_only=True)
class SipSettings:
    """The settings of `ringfence serve-sip`. Sizes in bytes, times in seconds.

    `trunks` are names of `[trunks]` by the address or network that their calls come from.
    """

    host: Annotated[str, Checked(checks.filled)]
    port: Annotated[int, Between(0, 65_535)]
    tls_port: Annotated[int, Between(0, 65_535)]
    cert_file: str
    key_file: str
    client_ca_file: str
    health_port: Annotated[int, Between(0, 65_535)]
    callers: tuple[str, ...]
    trunk_header: str
    trunk_parameter: str
    answer_allow: int
    next_hop: str
    message_bytes_max: Annotated[int, Between(1024, 65_535)]
    requests_per_s: Annotated[float, Between(1, 1_000_000)]
    strangers_per_s: Annotated[float, Between(1, 1_000_000)]
    connections_max: Annotated[int, Between(1, 100_000)]
    connections_each_max: Annotated[int, Between(1, 100_000)]
    message_s_max: Annotated[float, Between(0.1, 600)]
    idle_s_max: Annotated[float, Between(1, 86_400)]
    trunks: Mapping[str, str]
    card: CardSettings

    def __post_init__(self) -> None:
        found = checks.tls_files("", self.cert_file, self.key_file)
        if self.client_ca_file and not Path(self.client_ca_file).is_file():
            text = f'names no file: "{self.client_ca_file}"'
            found.append(Problem(("client_ca_file",), text))
        if self.client_ca_file and not self.cert_file:
            text = "is missing: client_ca_file is for TLS, which needs a certificate"
            found.append(Problem(("cert_file",), text))
        for name in self.callers:
            if name not in CALLERS:
                text = f'names {", ".join(CALLERS)}, in the order to look, not "{name}"'
                found.append(Problem(("callers",), text))
        if not self.callers:
            found.append(Problem(("callers",), "names none: every caller would be withheld"))
        found += (
            Problem((name,), f'is no name of a header field or parameter: "{getattr(self, name)}"')
            for name in ("trunk_header", "trunk_parameter")
            if not _NAME.fullmatch(getattr(self, name))
        )
        if self.next_hop and not _HOP.fullmatch(self.next_hop):
            text = f'must be host or host:port, e.g. "sbc.example.net:5060", not "{self.next_hop}"'
            found.append(Problem(("next_hop",), text))
        if self.answer_allow not in (302, 404):
            found.append(Problem(("answer_allow",), f"is 404 or 302, not {self.answer_allow}"))
        if self.answer_allow == 302 and not self.next_hop:
            text = "is missing: answer_allow = 302 sends calls there"
            found.append(Problem(("next_hop",), text))
        for text in self.trunks:
            try:
                ip_network(text)
            except ValueError as error:
                wrong = f'must be an address or a network, e.g. "192.0.2.0/24": {error}'
                found.append(Problem(("trunks", text), wrong))
        if found:
            raise Problems(found)

    @property
    def hop(self) -> str:
        """The host that 302 redirects calls to; "": they are answered 404."""
        return self.next_hop if self.answer_allow == 302 else ""
