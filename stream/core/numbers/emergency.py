"""Emergency numbers: a call to one is never blocked, whatever a list says of its caller.

Every doubt is settled for the call. A wrong allow lets one scam call through to the police, a wrong
block may cost a life.
"""

import re
from collections.abc import Mapping
from typing import Final

import phonenumbers

from stream.core.model.errors import ConfigInvalid
from stream.core.numbers.e164 import is_canonical
from stream.core.numbers.numbering import tables
from stream.core.numbers.parties import party_of
from stream.core.numbers.spelling import folded

EVERYWHERE: Final = frozenset({"112", "911"})
"""Mobile networks take these for emergency calls in every country (3GPP TS 22.101, 10.1.1)."""

SUPPLEMENT: Final[Mapping[str, str]] = {
    # Traffic accidents (Ministry of Public Security).
    "CN": "122",
    # Search and rescue (Basarnas).
    "ID": "115",
    # Women and children in danger (Ministry of Women and Child Development), national highways.
    "IN": "181 1033 1091 1098",
    # Japan Coast Guard.
    "JP": "118",
    # Fire, police, ambulance as the Laotian Times prints them, 2019-07-02.
    "LA": "1190 1191 1195",
    # Fire (Fire Services Department) and ambulance, beside 199 for the police.
    "MM": "191 192",
    # Civil defence (APM) and fire (Bomba), from before 999 answered for all.
    "MY": "991 994",
    # Bangkok's ambulances, tourist police, disaster prevention.
    "TH": "1155 1646 1784",
    # 988 Suicide and Crisis Lifeline (FCC 20-100, and CRTC 2022-234 for Canada).
    "CA": "988",
    "US": "988",
}
"""Numbers that the short-number data of phonenumbers lacks, and who answers them."""

_SERVICE_URN: Final = "urn:service:sos"
"""RFC 5031: an emergency call that names no number; `.police`, `.fire` and so on may follow."""
_KEYED: Final = re.compile(r"(?:[*#][0-9]{2}#?)?([0-9]+)#?")
"""Digits behind a code that hides or shows the caller's number (`*67911`, `#31#112`), and the key
that ends dialling."""


class EmergencyNumbers:
    """The emergency numbers of every region: of its numbering plan, ours, and the configuration's.

    `+` and more than `length_max - 1` digits are none of them, nor is a country code with one.
    `extra` adds numbers by region (ISO 3166 alpha-2). Raises ConfigInvalid, with every wrong one
    named, for a region that is none and a text that is no dialled number.
    """

    def __init__(self, extra: Mapping[str, frozenset[str]]) -> None:
        errors = [
            *(f"{r}: no such region (ISO 3166)" for r in extra if not _is_region(r)),
            *(
                f"{r}: {n!r} is not digits"
                for r, ns in extra.items()
                for n in ns
                if not _is_plain(n)
            ),
        ]
        if errors:
            raise ConfigInvalid(tuple(f"policy.emergency.{error}" for error in sorted(errors)))
        plans = tables().emergency
        self._numbers = {
            region: EVERYWHERE.union(
                plans.get(region, ()), SUPPLEMENT.get(region, "").split(), extra.get(region, ())
            )
            for region in plans.keys() | SUPPLEMENT.keys() | extra.keys()
        }
        self._anywhere = EVERYWHERE.union(*self._numbers.values())
        # "+", a country code of up to three digits, and the longest number.
        self.length_max: Final = 1 + 3 + max(map(len, self._anywhere))

    def is_emergency(self, callee: str | None, region: str | None) -> bool:
        """Return whether a call to `callee`, as the switch wrote it, on a trunk of `region` is for
        help.

        Known are `191`, `+66191`, `0066191`, `66191`, `+191`, `*67191`, `191#`, a SIP or tel URI of
        these, and `urn:service:sos`. With an unknown region, the numbers of all regions count.
        """
        if callee is None or self._is_too_long(callee):
            return False
        party = party_of(callee)
        if party is None:
            return False
        user = party.user.casefold()
        if user in ("sos", _SERVICE_URN) or user.startswith(f"{_SERVICE_URN}."):
            return True
        digits = party.dialled
        if digits is None:
            keyed = _KEYED.fullmatch(folded(user))
            if keyed is None:
                return False
            digits = keyed[1]
        # A URI may name another country's context, but the call stays on this trunk.
        regions = {party.region or region, region}
        return any(self._is_listed(digits, one and one.upper()) for one in regions)

    def in_e164(self) -> frozenset[str]:
        """Those that are numbers in E.164 too, as +27 10111: no call from one of them is blocked.

        Most are shorter than any number of their country, and so are no callers in E.164.
        """
        return frozenset(
            f"+{code}{number}"
            for code, regions in phonenumbers.COUNTRY_CODE_TO_REGION_CODE.items()
            for region in regions
            for number in self.numbers_of(region)
            if is_canonical(f"{code}{number}")
        )

    def _is_too_long(self, callee: str) -> bool:
        """Return whether this is `+` and more digits than any country code and emergency number
        have.

        Nearly every callee is, and this is a tenth of the whole look.
        """
        return (
            len(callee) > self.length_max
            and callee.startswith("+")
            and callee.isascii()
            and callee[1:].isdigit()
        )

    def _is_listed(self, digits: str, region: str | None) -> bool:
        """Return whether dialled digits are an emergency number, alone or after a country code."""
        if digits in self.numbers_of(region):
            return True
        full = digits.removeprefix("+").removeprefix("00")
        # Teams writes +911, and TAP3 makes every called number an international one.
        if full in self.numbers_of(region) and not is_canonical(full):
            return True
        for size in (1, 2, 3):
            code = full[:size]
            for owner in phonenumbers.COUNTRY_CODE_TO_REGION_CODE.get(int(code or 0), ()):
                # Without + or 00 the code must be the trunk's own: 66191 in Thailand.
                if digits == full and region not in (owner, None):
                    continue
                if full[size:] in self._numbers.get(owner, ()):
                    return True
        return False

    def numbers_of(self, region: str | None) -> frozenset[str]:
        """Return the numbers that are dialled for help in a region; None: in any."""
        if region is None:
            return self._anywhere
        return self._numbers.get(region, EVERYWHERE)


def _is_region(text: str) -> bool:
    """Return whether a numbering plan is known by this name."""
    return text in tables().emergency or text in phonenumbers.SUPPORTED_REGIONS


def _is_plain(text: str) -> bool:
    """Return whether the text is digits as they are dialled."""
    return text.isascii() and text.isdigit()
