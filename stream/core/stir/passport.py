"""PASSporTs (RFC 8225, 8588, 8946) of Identity fields (RFC 8224): texts in, values out. Pure.

Anybody may write them, so each is bounded before it is decoded, and read in linear time. Nothing
here says that one is genuine: `verifier` does.
"""

import re
from base64 import urlsafe_b64decode
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Final

import msgspec

from stream.core.model.errors import UNREADABLE

FIELD_MAX: Final = 16_384
"""Characters of all Identity fields of a call: what a SIP message has room for."""
TOKEN_MAX: Final = 4096
"""Characters of one PASSporT; those of SHAKEN have 500 to 800."""
TOKENS_MAX: Final = 16
"""PASSporTs of a call that are looked at: its own, one for each time it was diverted, and those of
other kinds (`rcd`, `rph`, `sph`)."""
NUMBERS_MAX: Final = 16
"""Called numbers in one PASSporT."""
SHAKEN: Final = "shaken"
DIVERTED: Final = "div"

_PART: Final = r"[A-Za-z0-9_-]++"
_TOKEN: Final = re.compile(rf"(?:^|,)\s*+({_PART}\.{_PART}\.{_PART})(?=\s*+(?:[;,]|$))")
_DIGITS: Final = re.compile(r"\+?+[0-9*#]{1,24}+", re.ASCII)


class _Head(msgspec.Struct, gc=False):
    x5u: str
    ppt: str = ""
    typ: str = "passport"


class _Party(msgspec.Struct, gc=False):
    tn: str = ""


class _Parties(msgspec.Struct, gc=False):
    tn: list[str] | str = ""


class _Claims(msgspec.Struct, gc=False):
    # JSON has integers of any size; a clock's seconds are compared as floats.
    iat: Annotated[int, msgspec.Meta(ge=0, lt=1 << 53)]
    orig: _Party = msgspec.field(default_factory=_Party)
    dest: _Parties = msgspec.field(default_factory=_Parties)
    attest: str = ""
    origid: str = ""
    div: _Party = msgspec.field(default_factory=_Party)


_head = msgspec.json.Decoder(_Head).decode
_claims = msgspec.json.Decoder(_Claims).decode


@dataclass(frozen=True, slots=True)
class Passport:
    """One PASSporT. Numbers have a `+`, as E.164; "" and () where it names none.

    `kind` is its `ppt`; `diverted` is the number that the call was diverted from.
    """

    kind: str
    certificate: str
    made_at_s: int
    caller: str
    callees: Sequence[str]
    level: str
    diverted: str


def tokens_in(field: str) -> list[str]:
    """Return the PASSporTs in Identity fields, joined by commas, or in a text that is one."""
    return _TOKEN.findall(field)[:TOKENS_MAX] if len(field) <= FIELD_MAX else []


def read_passport(token: str) -> Passport | None:
    """Return the PASSporT in three parts of base64url; None: it is none."""
    if len(token) > TOKEN_MAX or token.count(".") != 2:
        return None
    first, second, _ = token.split(".")
    try:
        head, claims = _head(_decoded(first)), _claims(_decoded(second))
    except UNREADABLE:
        return None
    called = [claims.dest.tn] if isinstance(claims.dest.tn, str) else claims.dest.tn
    if head.typ.lower() != "passport" or len(called) > NUMBERS_MAX:
        return None
    if head.ppt == SHAKEN and (claims.attest not in ("A", "B", "C") or not claims.origid):
        return None
    return Passport(
        kind=head.ppt,
        certificate=head.x5u,
        made_at_s=claims.iat,
        caller=_number(claims.orig.tn),
        callees=tuple(filter(None, map(_number, called))),
        level=claims.attest,
        diverted=_number(claims.div.tn),
    )


def _decoded(part: str) -> bytes:
    return urlsafe_b64decode(part + "=" * (-len(part) % 4))


def _number(text: str) -> str:
    """Write a number as ours are; RFC 8225 leaves the `+` out, some write it."""
    return f"+{text.removeprefix('+')}" if _DIGITS.fullmatch(text) else ""
