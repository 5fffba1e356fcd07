"""Decisions about calls, with their reasons: the record of the decisions topic.

A decision's id is a function of its record's place and of the deciding number. So a record that is
decided twice (at-least-once delivery) yields the same id, and a reader can drop the repeat.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from hashlib import blake2b

import msgspec
import numpy as np
from numpy.typing import NDArray

from stream.core import kernels
from stream.core.model.errors import UNREADABLE


class Action(IntEnum):
    """Effect of a list or rule; ordered, so that the strongest is the largest."""

    OBSERVE = 0
    FLAG = 1
    BLOCK = 2


class Verdict(StrEnum):
    """The network's answer to a call."""

    ALLOW = "allow"
    FLAG = "flag"
    BLOCK = "block"


class Role(StrEnum):
    """The number of a call that decided it."""

    CALLER = "caller"
    CALLEE = "callee"


VERDICT_OF = {Action.OBSERVE: Verdict.ALLOW, Action.FLAG: Verdict.FLAG, Action.BLOCK: Verdict.BLOCK}


# `gc=False` on the three below: none can be part of a cycle, so the garbage collector need not
# look at them.
class Reason(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One list that holds the number, or may hold it (`confirmed` false).

    `prefix` is the list's entry ("+8552390*") where that is not the number; absent otherwise.
    """

    list: str
    agreement: str | None = None
    category: str | None
    confirmed: bool
    confidence: int | None
    generation: int
    expires_at: str | None
    prefix: str | msgspec.UnsetType = msgspec.UNSET


class SipAnswer(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The answer for a blocked INVITE, ready for a proxy to send.

    603+ (ATIS-1000099), or 607 or 608 (RFC 8197, RFC 8688) where the settings say so.

    `reason` is the value of the Reason header field (RFC 3326) with the redress address in it.
    """

    code: int
    phrase: str
    reason: str


class Decision(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The JSON value of one record on the decisions topic. Times are RFC 3339, UTC, milliseconds.

    `would` is the verdict that a simulated list or rule would have caused; absent otherwise.
    `repeats` is the id of an earlier decision about the same call and number, where this one comes
    of another of its records and says nothing new (`calls.deduplicate`); absent otherwise.
    """

    decision_id: str
    verdict: str
    simulated: bool
    rule: str
    number: str | None
    role: str
    call_id: str
    caller: str | None
    callee: str | None
    reasons: Sequence[Reason]
    sip: SipAnswer | None
    called_at: str | None
    decided_at: str
    expires_at: str | None
    origin: str
    would: str | msgspec.UnsetType = msgspec.UNSET
    repeats: str | msgspec.UnsetType = msgspec.UNSET

    def deciding(self) -> list[Reason]:
        """Return the lists that the rule names: `list:KH/scam`, or all of `agreement:th-kh`."""
        kind, _, name = self.rule.partition(":")
        if kind == "list":
            return [reason for reason in self.reasons if reason.list == name]
        named = kind == "agreement"
        return [reason for reason in self.reasons if named and reason.agreement == name]

    def entry_of(self, reason: Reason) -> str | None:
        """Return the entry of that list: its prefix, else the number; None: there is none."""
        return self.number if reason.prefix is msgspec.UNSET else reason.prefix


def read_decision(value: bytes | None) -> Decision | None:
    """Return the decision in a record; None: it is none, another program writes to this topic too.

    Fields of a newer version are passed over.
    """
    try:
        return _decode(value or b"")
    except UNREADABLE:
        return None


_decode = msgspec.json.Decoder(Decision).decode


@dataclass(frozen=True, slots=True)
class SipAnswerSettings:
    """Settings of a block's SIP answer.

    `redress_url` holds `{decision_id}` where the id goes; `location` is the ATIS-1000099 location.
    `code` is that of calls on trunks that `trunks` does not name.
    """

    redress_url: str
    location: str
    code: int = 603
    trunks: tuple[tuple[str, int], ...] = ()

    @property
    def codes(self) -> tuple[int, ...]:
        """All codes, each once, the general one first."""
        return tuple(dict.fromkeys((self.code, *(code for _, code in self.trunks))))

    def code_on(self, trunk: str | None) -> int:
        """Return the code for calls on a trunk."""
        return next((code for name, code in self.trunks if name == trunk), self.code)

    def __post_init__(self) -> None:
        if self.location not in ("LN", "TN", "RLN", "LPN", "RPN"):
            raise ValueError(f"sip_location is LN, TN, RLN, LPN or RPN, not {self.location!r}")
        if "{decision_id}" not in self.redress_url or '"' in self.redress_url:
            raise ValueError("redress_url must hold {decision_id} and no quotation mark")


PHRASES = {603: "Network Blocked", 607: "Unwanted", 608: "Rejected"}
"""The answers that a block may have, by code."""


def sip_answer(decision_id: str, settings: SipAnswerSettings, code: int) -> SipAnswer:
    """Return the answer that lets a wrongly blocked caller reach the carrier that blocked it."""
    url = settings.redress_url.replace("{decision_id}", decision_id)
    return SipAnswer(
        code=code,
        phrase=PHRASES[code],
        reason=f'SIP;cause={code};text="v=analytics1;url={url}";location={settings.location}',
    )


def seed_of(topic: str, partition: int) -> int:
    """64 bits that identify one partition in `decision_ids`."""
    name = f"{topic}/{partition}".encode()
    return int.from_bytes(blake2b(name, digest_size=8).digest(), "little")


def decision_ids(
    seeds: NDArray[np.uint64],
    offsets: NDArray[np.int64],
    timestamps_ms: NDArray[np.int64],
    numbers: NDArray[np.bytes_],
) -> NDArray[np.bytes_]:
    """S16: ids of decisions, 13 characters of Crockford base 32, equal for equal input.

    The timestamp is part of it so that a topic deleted and created again, whose offsets start at 0,
    does not repeat ids. `numbers` (S16) are the deciding ones, b"" if there is none. Each step is
    the finaliser of SplitMix64 (Steele, Lea, Flood, OOPSLA 2014, fig. 16), a bijection: two
    decisions of one partition with different offsets collide with a chance of 2^-64.
    """
    halves = np.ascontiguousarray(numbers, "S16").view("<u8").reshape(-1, 2)
    letters = np.zeros((len(seeds), 16), np.uint8)
    if kernels.compiled():
        from stream.core.kernels.write_decisions import identify

        columns = map(np.ascontiguousarray, (seeds, offsets, timestamps_ms, halves))
        identify(*columns, letters)
    else:
        state = seeds
        for column in (offsets, timestamps_ms, halves[:, 0], halves[:, 1]):
            state = _mix(state ^ column.astype(np.uint64))
        letters[:, :13] = _CROCKFORD[(state[:, None] >> _SHIFTS) & np.uint64(31)]
    return letters.view("S16").reshape(-1)


_CROCKFORD = np.frombuffer(b"0123456789ABCDEFGHJKMNPQRSTVWXYZ", np.uint8)
_SHIFTS = np.arange(60, -1, -5, dtype=np.uint64)


def _mix(state: NDArray[np.uint64]) -> NDArray[np.uint64]:
    state = state + np.uint64(0x9E3779B97F4A7C15)
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return state ^ (state >> np.uint64(31))
