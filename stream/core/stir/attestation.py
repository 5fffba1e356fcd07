"""Results of STIR/SHAKEN as switches and networks write them. Pure.

`verstat` (3GPP TS 24.229, 7.2A.20; ATIS-1000074) is the result of a verification, also as a
parameter of a SIP or tel URI. The attestation level (RFC 8588) says how well the first network
knows its customer. A: the caller and the number, B: the caller, C: neither.
"""

import re
from collections.abc import Mapping
from enum import IntEnum
from typing import Final


class Attested(IntEnum):
    """Knowledge of a call's signature. Of several results the largest counts: the weakest level."""

    MISSING = 0
    """The call has no signature."""
    UNSURE = 1
    """Not stated, not understood, or not verified in time: no rule follows from it."""
    PASSED = 2
    """Verified; the level is not known."""
    A = 3
    B = 4
    C = 5
    FAILED = 6


PASSED: Final = "TN-Validation-Passed"
FAILED: Final = "TN-Validation-Failed"
NO_VALIDATION: Final = "No-TN-Validation"
NOT_TOLD: Final = "not-told"
"""Used as `verstat` where a question has no field about signatures."""
LEVELS: Final = ("A", "B", "C")

# Many switches append the level: `TN-Validation-Passed-A`. Texts in the usual case are found as
# columns; any other form is read one by one.
VERSTATS: Final[Mapping[str, Attested]] = {
    PASSED: Attested.PASSED,
    FAILED: Attested.FAILED,
    NO_VALIDATION: Attested.MISSING,
    NOT_TOLD: Attested.UNSURE,
    "": Attested.MISSING,
    **{f"{PASSED}-{level}": Attested[level] for level in LEVELS},
    **{f"{FAILED}-{level}": Attested.FAILED for level in LEVELS},
    **{f"{NO_VALIDATION}-{level}": Attested.MISSING for level in LEVELS},
}
_TEXTS: Final = {
    Attested.MISSING: NO_VALIDATION,
    Attested.UNSURE: NOT_TOLD,
    Attested.PASSED: PASSED,
    **{Attested[level]: f"{PASSED}-{level}" for level in LEVELS},
    Attested.FAILED: FAILED,
}
_FOLDED: Final = {text.lower(): found for text, found in VERSTATS.items()}
_LEVELS: Final = {
    "": Attested.MISSING,
    **{level.lower(): Attested[level] for level in LEVELS},
    "full": Attested.A,
    "partial": Attested.B,
    "gateway": Attested.C,
}
TEXT_MAX: Final = 64
"""Characters of a result; a longer text is none."""
_PARAMETER: Final = re.compile(r";\s*+verstat\s*+=\s*+([A-Za-z-]{1,64}+)", re.IGNORECASE)


def read_verstat(text: str) -> Attested:
    """Return what a `verstat` says; UNSURE for a text that is none."""
    return _FOLDED.get(text.strip().lower(), Attested.UNSURE) if len(text) <= TEXT_MAX else _ODD


def read_level(text: str) -> Attested:
    """Return the level in a field for it; UNSURE for a text that is none."""
    return _LEVELS.get(text.strip().lower(), Attested.UNSURE) if len(text) <= TEXT_MAX else _ODD


_ODD: Final = Attested.UNSURE


def verstat_of(found: Attested) -> str:
    """Return the text that `read_verstat` reads as `found`."""
    return _TEXTS[found]


def verstat_of_uri(text: str) -> str:
    """Return the `verstat` parameter in a SIP or tel URI, or in an address with one; "": none.

    A name before the URI is passed over: the caller may have chosen it.
    """
    behind = text.rpartition('"')[2]
    found = _PARAMETER.search(behind, behind.find("<") + 1)
    return found[1] if found else ""
