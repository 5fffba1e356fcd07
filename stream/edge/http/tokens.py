"""Bearer tokens of HTTP clients, of which only the hashes are kept.

A token is 256 random bits, so a plain SHA-256 of it is as good as a slow hash.
A reader of the file of hashes cannot act as any of its clients.
"""

import hashlib
import re
import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from hmac import compare_digest
from typing import Final

from stream.core.model import names
from stream.core.model.moments import read_rfc3339, rfc3339

PREFIX: Final = "rf_"
"""So that scanners for leaked secrets recognise one."""
_HASH: Final = re.compile(r"[0-9a-f]{64}")
TOKEN_CHARACTERS_MAX: Final = 512  # ours have 46; longer texts are not hashed
EXPIRES: Final = "expires="
REVOKED: Final = "# revoked"


class ClientRole(StrEnum):
    """Role of a client. Each may do only what is written here; none includes another.

    switch: hand in call records, ask for decisions, read the blocklist. viewer: read decisions,
    lists and appeals. partner: hand in appeals and its own lists, and see its own. operator:
    everything.
    """

    SWITCH = "switch"
    VIEWER = "viewer"
    PARTNER = "partner"
    OPERATOR = "operator"


@dataclass(frozen=True, slots=True)
class Client:
    """A holder of a token; `name` is in logs and in the audit.

    The token is good until `expires_at_s`, seconds since the epoch; 0: for ever.
    """

    name: str
    role: ClientRole
    expires_at_s: int = 0

    def expired(self, now_s: int) -> bool:
        """Return whether its time is over."""
        return self.expires_at_s != 0 and now_s >= self.expires_at_s

    def is_owner(self, owner: str) -> bool:
        """Return whether it is a partner with the name of `owner` (`KH` of the list `KH/scam`)."""
        return self.role is ClientRole.PARTNER and self.name.lower() == owner.lower()


@dataclass(frozen=True, slots=True)
class Tokens:
    """All clients, by the SHA-256 of their tokens."""

    held: tuple[tuple[bytes, Client], ...] = field(default=(), repr=False)

    @property
    def expiries(self) -> dict[str, int]:
        """Expiry times of the clients whose tokens expire, by name."""
        return {one.name: one.expires_at_s for _, one in self.held if one.expires_at_s}

    def client_of(self, token: str) -> Client | None:
        """Return the client of a token; takes as long for a wrong one as for any."""
        return None if len(token) > TOKEN_CHARACTERS_MAX else self.client_by(digest_of(token))

    def client_by(self, digest: bytes) -> Client | None:
        """Return the client whose token has this SHA-256; None: there is none (any more)."""
        found = None
        # No early end, and compare_digest: the time tells nothing of the hashes.
        for known, client in self.held:
            if compare_digest(known, digest):
                found = client
        return found


def new_token() -> str:
    """Return a new token; it is shown once and never stored."""
    return PREFIX + secrets.token_urlsafe(32)


def line_of(client: Client, token: str) -> str:
    """Return its line in the file of tokens: `<name> <role> <SHA-256> [expires=<moment>]`."""
    line = f"{client.name} {client.role} {digest_of(token).hex()}"
    return line if not client.expires_at_s else f"{line} {EXPIRES}{rfc3339(client.expires_at_s)}"


def revoked(text: str, name: str, at_s: int, reason: str) -> str | None:
    """Return the file's text with the lines of `name` as comments; None: it has none."""
    lines = text.splitlines()
    places = [
        place for place, line in enumerate(lines) if line.partition("#")[0].split()[:1] == [name]
    ]
    for place in places:
        why = f" ({reason})" if reason else ""
        lines[place] = f"{REVOKED} {rfc3339(at_s)}{why}: {lines[place].strip()}"
    return "\n".join([*lines, ""]) if places else None


def read_tokens(text: str, errors: list[str]) -> Tokens:
    """Return the tokens in a text: a client a line as `line_of` writes it, # for comments.

    Adds faults to `errors`, with their lines; a token in place of its hash is one.
    """
    held: list[tuple[bytes, Client]] = []
    for number, line in enumerate(text.splitlines(), 1):
        words = line.partition("#")[0].split()
        if not words:
            continue
        try:
            held.append(_client_in(words, {client.name for _, client in held}))
        except ValueError as error:
            errors.append(f"line {number} {error}")
    return Tokens(tuple(held))


def _client_in(words: list[str], known: Iterable[str]) -> tuple[bytes, Client]:
    if len(words) not in {3, 4}:
        raise ValueError(f"must be <name> <role> <SHA-256 of the token> [{EXPIRES}<moment>]")
    name, role, digest = words[:3]
    if (wrong := names.wrong(names.NameKind.CLIENT, name)) is not None:
        raise ValueError(f"names no client: it {wrong}")
    if name in known:
        raise ValueError(f"names {name} a second time")
    if role not in {one.value for one in ClientRole}:
        raise ValueError(f"must give a role ({', '.join(ClientRole)}), not {role!r}")
    if not _HASH.fullmatch(digest):
        text = "must end with 64 hex digits, the SHA-256 of the token"
        raise ValueError(f"{text}: `ringfence token create {name} --role {role}` makes both")
    return bytes.fromhex(digest), Client(name, ClientRole(role), _expiry(words[3:]))


def _expiry(words: list[str]) -> int:
    if not words:
        return 0
    moment = None
    if words[0].startswith(EXPIRES):
        moment = read_rfc3339(words[0].removeprefix(EXPIRES), zone=None)
    if moment is None:
        text = f"must end with the hash, or with {EXPIRES}2027-01-31T00:00:00Z (with its zone)"
        raise ValueError(text)
    return int(moment.timestamp())


def digest_of(token: str) -> bytes:
    """Return a token's SHA-256, which is all that is stored of it."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
