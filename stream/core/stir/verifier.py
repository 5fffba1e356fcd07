"""Verify the PASSporTs of a call, offline: its signatures, its time, its numbers.

A signature costs about 0.1 ms of CPU, and the caller chooses how many there are. So results are
remembered by the PASSporT's text: a message that is sent again costs nothing. A budget bounds the
new ones of each second. Beyond it a call counts as not verified, never as unsigned.
"""

from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from stream.core.stir.attestation import Attested
from stream.core.stir.passport import DIVERTED, SHAKEN, Passport, read_passport, tokens_in

if TYPE_CHECKING:
    from stream.core.stir.certificates import Signer

HELD_MAX: Final = 4096
"""PASSporTs whose signature is remembered, at most 4 KB each."""
BURST_S: Final = 0.2
"""Of the budget, what one batch may use: with 500 a second 100, which take 10 ms."""
MISSED_MAX: Final = 32
"""Addresses of certificates that are remembered for the log, of `ADDRESS_MAX` characters each."""
ADDRESS_MAX: Final = 200


class Finding(StrEnum):
    """Result for one PASSporT, or for a call: a metric label."""

    VALID = "valid"
    MALFORMED = "malformed"
    WRONG_SIGNATURE = "wrong_signature"
    UNTRUSTED = "untrusted"
    """Its certificate leads to no trusted authority, or is not for calls."""
    EXPIRED = "expired"
    """Its certificate is not good any more, or not yet."""
    STALE = "stale"
    """It was made too long before the call, or after it."""
    OTHER_CALLER = "other_caller"
    OTHER_CALLEE = "other_callee"
    NOT_HELD = "not_held"
    """Its certificate is not in the folder."""
    OTHER_KIND = "other_kind"
    """No PASSporT of the call is SHAKEN's."""
    NO_CALLER = "no_caller"
    """The call has no number to compare."""
    BUSY = "busy"
    """The budget is used up."""


FAILED: Final = frozenset(
    {
        Finding.MALFORMED,
        Finding.WRONG_SIGNATURE,
        Finding.UNTRUSTED,
        Finding.EXPIRED,
        Finding.STALE,
        Finding.OTHER_CALLER,
        Finding.OTHER_CALLEE,
    }
)


@dataclass(frozen=True, slots=True)
class SignedCall:
    """The facts that a call's PASSporTs are compared with.

    `callers` and `callees` are its possible numbers, E.164; none: not compared. `began_s` is when
    it began, since the epoch; None: not known.
    """

    callers: Collection[str]
    callees: Collection[str]
    began_s: float | None


_Held = tuple[Passport | None, "Signer | None", Finding]


class Verifier:
    """Verifies with the certificates of the moment; `tell` counts what is found, call by call."""

    def __init__(
        self,
        signers: Callable[[], Mapping[str, "Signer"]],
        fresh_s: float,
        per_s: float,
        tell: Callable[[Finding], None],
    ) -> None:
        """Take PASSporTs that are at most `fresh_s` away from their call."""
        self._signers = signers
        self._fresh_s = fresh_s
        self._per_s = per_s
        self._tell = tell
        self._held: OrderedDict[str, _Held] = OrderedDict()
        self._left = self._burst = max(1.0, per_s * BURST_S)
        self._at_s = 0.0
        # With cryptography it takes 0.05 s of CPU to load. Every process knows the findings above,
        # for their metric; few verify.
        from jwt import InvalidTokenError, PyJWS

        self._jws = PyJWS(algorithms=["ES256"])
        self._wrong = InvalidTokenError
        self._missed: dict[str, None] = {}

    def attested(self, field: str, call: SignedCall, now_s: float) -> Attested:
        """Return what the Identity fields, or the PASSporT, in `field` say of a call."""
        found, level = self._of_call(field, call, now_s)
        self._tell(found)
        if found is Finding.VALID:
            return Attested[level]
        if found in FAILED:
            return Attested.FAILED
        return Attested.UNSURE if found is Finding.BUSY else Attested.MISSING

    def missed(self) -> list[str]:
        """Return some addresses of certificates that were not held, and forget them."""
        found, self._missed = [*self._missed], {}
        return found

    def _of_call(self, field: str, call: SignedCall, now_s: float) -> tuple[Finding, str]:
        """Return the finding, and the level of a valid one."""
        tokens = tokens_in(field)
        if not tokens:
            return Finding.MALFORMED, ""
        own: Passport | None = None
        diverted = []
        for token in tokens:
            passport, found = self._checked(token, call, now_s)
            if found is Finding.OTHER_KIND:
                continue
            if passport is None or found is not Finding.VALID:
                return found, ""
            if passport.kind == DIVERTED:
                diverted.append(passport)
            else:
                own = own or passport
        if own is None:
            return Finding.OTHER_KIND, ""
        return self._of_numbers(own, diverted, call), own.level

    def _of_numbers(self, own: Passport, diverted: list[Passport], call: SignedCall) -> Finding:
        if not call.callers:
            return Finding.NO_CALLER
        if own.caller not in call.callers:
            return Finding.OTHER_CALLER
        called = {*own.callees}
        # RFC 8946: each names the caller, the number before and the one after, in any order. With
        # one of another caller's call, the called party could use a PASSporT for calls of its own.
        for passport in diverted * len(diverted):
            if passport.diverted in called and passport.caller == own.caller:
                called.update(passport.callees)
        if call.callees and called.isdisjoint(call.callees):
            return Finding.OTHER_CALLEE
        return Finding.VALID

    def _checked(
        self, token: str, call: SignedCall, now_s: float
    ) -> tuple[Passport | None, Finding]:
        """Return a PASSporT and what is found of it alone."""
        held = self._held.get(token)
        if held is None:
            held = self._keep(token, read_passport(token), None, Finding.MALFORMED)
        passport, known_by, known = held
        if passport is None:
            return None, Finding.MALFORMED
        if passport.kind not in (SHAKEN, DIVERTED):
            return passport, Finding.OTHER_KIND
        if call.began_s is not None and abs(call.began_s - passport.made_at_s) > self._fresh_s:
            return passport, Finding.STALE
        signer = self._signers().get(passport.certificate)
        if signer is None:
            self._miss(passport.certificate)
            return passport, Finding.NOT_HELD
        if signer.wrong:
            return passport, Finding.UNTRUSTED
        if not signer.good_at(now_s if call.began_s is None else call.began_s):
            return passport, Finding.EXPIRED
        if known_by is signer:
            self._held.move_to_end(token)
            return passport, known
        if not self._may(now_s):
            return passport, Finding.BUSY
        return passport, self._keep(token, passport, signer, self._signature(token, signer))[2]

    def _signature(self, token: str, signer: "Signer") -> Finding:
        assert signer.key is not None, "a trusted certificate has a key"
        try:
            self._jws.decode_complete(token, signer.key, algorithms=["ES256"])
        except self._wrong:
            return Finding.WRONG_SIGNATURE
        return Finding.VALID

    def _keep(
        self, token: str, passport: Passport | None, signer: "Signer | None", found: Finding
    ) -> "_Held":
        """Remember what is known of a PASSporT: without a signer, only what it says."""
        held = self._held[token] = (passport, signer, found)
        self._held.move_to_end(token)
        if len(self._held) > HELD_MAX:
            self._held.popitem(last=False)
        return held

    def _miss(self, address: str) -> None:
        if len(self._missed) < MISSED_MAX and len(address) <= ADDRESS_MAX and address.isprintable():
            self._missed[address] = None

    def _may(self, now_s: float) -> bool:
        """Take one verification from the budget, if there is one left."""
        self._left = min(self._burst, self._left + max(0.0, now_s - self._at_s) * self._per_s)
        self._at_s = now_s
        if self._left < 1:
            return False
        self._left -= 1
        return True
