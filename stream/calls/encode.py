"""Decisions as columns, and their JSON: one text for each, by a kernel or by msgspec.

The kernel joins existing text: phrases that decisions share, fields from the records, numbers and
times. msgspec is the reference, and serves where kernels cannot be compiled.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import product
from typing import Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from stream.calls.call_batch import CallBatch
from stream.calls.ruling_columns import NO_RULE, RuleNames, Rulings
from stream.core import kernels
from stream.core.filters.blocklists import Blocklists
from stream.core.model.byte_strings import PADDING, Texts
from stream.core.model.decision import (
    VERDICT_OF,
    Action,
    Decision,
    Reason,
    Role,
    SipAnswer,
    SipAnswerSettings,
    Verdict,
    sip_answer,
)
from stream.core.model.entry import Category
from stream.core.model.moments import rfc3339_ms
from stream.core.numbers.number import Numbers

NO_TIME = -(1 << 62)
"""In a column of milliseconds since the epoch: not known."""
_ROLES = (Role.CALLER, Role.CALLEE)
_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True, eq=False)
class DecisionColumns:
    """Decisions about calls of `batch`, in columns of one length.

    `calls` int64 are indexes of calls, `ids` S16 their decisions' ids. `ruled` int64 is the place
    of a call in `rulings`, -1 for one that no list or rule matched. Such a decision has neither
    `called_at`, which would mean decoding every record, nor `expires_at`. `called_at_ms` and
    `expires_at_ms` int64 have a time for each ruling, or `NO_TIME`. `sip` and `decided_at_ms`, the
    time of deciding, are in all decisions.
    """

    batch: CallBatch
    calls: NDArray[np.int64]
    ids: NDArray[np.bytes_]
    ruled: NDArray[np.int64]
    rulings: Rulings
    called_at_ms: NDArray[np.int64]
    expires_at_ms: NDArray[np.int64]
    blocklists: Blocklists
    rule_names: RuleNames
    sip: SipAnswerSettings
    decided_at_ms: int

    def __len__(self) -> int:
        return len(self.calls)

    def at(self, places: NDArray[np.int64]) -> "DecisionColumns":
        """Return the decisions at `places`, in that order."""
        return replace(
            self, calls=self.calls[places], ids=self.ids[places], ruled=self.ruled[places]
        )

    def verdict(self, place: int) -> tuple[Verdict, bool, str]:
        """Return the verdict of one decision, whether it is simulated, and its rule."""
        ruling = self.ruled[place]
        if ruling < 0:
            return Verdict.ALLOW, False, self.rule_names.rules[NO_RULE]
        rulings, rule = self.rulings, self.rule_names.rules[self.rulings.rules[ruling]]
        if rulings.simulated[ruling]:
            return Verdict.ALLOW, True, rule
        return VERDICT_OF[Action(int(rulings.actions[ruling]))], False, rule

    def sip_answer(self, place: int) -> SipAnswer | None:
        """Return the answer to the INVITE of one decision; None: the call goes on."""
        if self.verdict(place)[0] is not Verdict.BLOCK:
            return None
        trunk = self.batch.text("trunk", int(self.calls[place])) if self.sip.trunks else None
        return sip_answer(self.ids[place].decode("ascii"), self.sip, self.sip.code_on(trunk))


def encode(decisions: DecisionColumns) -> Texts:
    """Return the decisions as JSON, in their order."""
    if kernels.compiled():
        return _by_kernel(decisions)
    return Texts.of(_encode(decision) for decision in _by_objects(decisions))


def _by_objects(columns: DecisionColumns) -> Iterator[Decision]:
    """Yield an object for each decision: the reference for the kernel."""
    batch, rulings = columns.batch, columns.rulings
    decided_at = rfc3339_ms(columns.decided_at_ms)
    for call, decision_id, ruling in zip(
        columns.calls.tolist(), columns.ids.tolist(), columns.ruled.tolist(), strict=True
    ):
        told = batch.key_fields[call]
        action, simulated, rule, role = Action.OBSERVE, False, 0, Role.CALLER
        called_at = expires_at = None
        first = last = 0
        if ruling >= 0:
            action = Action(int(rulings.actions[ruling]))
            simulated = bool(rulings.simulated[ruling])
            rule, role = int(rulings.rules[ruling]), _ROLES[rulings.roles[ruling]]
            called_at = _timestamp_or_none(columns.called_at_ms[ruling])
            expires_at = _timestamp_or_none(columns.expires_at_ms[ruling])
            first, last = int(rulings.first[ruling]), int(rulings.last[ruling])
        verdict = Verdict.ALLOW if simulated else VERDICT_OF[action]
        blocks = verdict is Verdict.BLOCK
        name = decision_id.decode("ascii")
        number = _e164(batch.callers if role is Role.CALLER else batch.callees, call)
        yield Decision(
            decision_id=name,
            verdict=verdict,
            simulated=simulated,
            rule=columns.rule_names.rules[rule],
            number=number,
            role=role,
            call_id=told.call_id,
            caller=_e164(batch.callers, call) or told.caller,
            callee=_e164(batch.callees, call) or told.callee,
            reasons=list(_reasons(columns, first, last, number or "")),
            sip=sip_answer(name, columns.sip, columns.sip.code_on(told.trunk)) if blocks else None,
            called_at=called_at,
            decided_at=decided_at,
            expires_at=expires_at,
            origin=str(batch.raw.origin(int(batch.rows[call]))),
            would=VERDICT_OF[action] if simulated else msgspec.UNSET,
        )


def _timestamp_or_none(at_ms: np.int64) -> str | None:
    return None if at_ms == NO_TIME else rfc3339_ms(int(at_ms))


def _e164(numbers: Numbers | None, call: int) -> str | None:
    e164: bytes = numbers.e164[call] if numbers is not None else b""
    return e164.decode("ascii") or None


def _reasons(columns: DecisionColumns, first: int, last: int, number: str) -> Iterator[Reason]:
    """Yield the reason in each match of `number` from `first` to `last`."""
    for _, index, confirmed, category, confidence, expires_at_s, digits, _ in zip(
        *(column[first:last].tolist() for column in columns.rulings.matches.columns), strict=True
    ):
        live = columns.blocklists.lists[index]
        yield Reason(
            list=live.name,
            agreement=columns.rule_names.agreements[index],
            category=_label(category) if confirmed else None,
            confirmed=confirmed,
            confidence=confidence if confirmed else None,
            generation=live.generation,
            expires_at=rfc3339_ms(expires_at_s * 1000) if expires_at_s else None,
            prefix=f"{number[: 1 + digits]}*" if digits else msgspec.UNSET,
        )


def _label(category: int) -> str:
    """Return a category's name; one that this version does not know yet is `other`."""
    try:
        return Category(category).label
    except ValueError:
        return Category.OTHER.label


class _Phrases(NamedTuple):
    """Text that all decisions under one set of lists share; see `kernels.write_decisions`.

    `heads` is the first of five phrases for each rule, from the verdict to the number: allow, flag,
    block, would flag, would block. `tails` is the first of their five ends. `plain` is head and
    tail of a plain allow. The first answer to a blocked INVITE is the phrases from `sip` to
    `after_sip` with the id between them. Answers of other codes follow, with as many phrases.
    """

    texts: Texts
    heads: int
    tails: int
    plain: int
    sip: int
    after_sip: int


_KINDS = (
    (Verdict.ALLOW, None),
    (Verdict.FLAG, None),
    (Verdict.BLOCK, None),
    (Verdict.ALLOW, Verdict.FLAG),
    (Verdict.ALLOW, Verdict.BLOCK),
)
"""Verdict, and what it would be: the kind of a ruling is its action, and two more on trial."""
_MARK = "\ufdd0"
"""Stands for the id while the SIP answer is taken apart: Unicode has it for no text."""


# By identity of the names, which are made once for a policy: a lookup costs nothing. A few, since
# tests and replays decide with several policies in turn.
@lru_cache(maxsize=8)
def _phrases(rule_names: RuleNames, sip: SipAnswerSettings) -> _Phrases:
    """Make the phrases for the lists and rules of one policy."""
    from stream.core.kernels import write_decisions as writing

    fixed = {
        writing.OPEN: b'{"decision_id":"',
        writing.OF_CALLER: b',"role":"caller","call_id":',
        writing.OF_CALLEE: b',"role":"callee","call_id":',
        writing.CALLER: b',"caller":',
        writing.CALLEE: b',"callee":',
        writing.REASONS: b',"reasons":[',
        writing.NO_SIP: b'],"sip":null,"called_at":',
        writing.SIP: b'],"sip":',
        writing.NULL: b"null",
        writing.CONFIRMED: b',"confirmed":true,"confidence":',
        writing.UNCONFIRMED: b'null,"confirmed":false,"confidence":null',
        writing.GENERATION: b',"generation":',
        writing.REASON_EXPIRES: b',"expires_at":',
        writing.REASON_PREFIX: b',"prefix":"',
    }
    said = [fixed[place] for place in range(writing.CATEGORIES)]
    said += [_encode(_label(category)) for category in range(256)]
    lists = [
        b'{"list":%b,"agreement":%b,"category":' % (_encode(name), _encode(agreement))
        for name, agreement in zip(rule_names.names, rule_names.agreements, strict=True)
    ]
    said += lists
    heads = len(said)
    kinds = product(rule_names.rules, _KINDS)
    said += [_head(rule, verdict, would) for rule, (verdict, would) in kinds]
    tails = len(said)
    said += [b'"}' if would is None else b'","would":"%b"}' % would.encode() for _, would in _KINDS]
    plain = len(said)
    said += [said[heads], said[tails]]
    sip_at = len(said)
    for code in sip.codes:
        parts = _encode(sip_answer(_MARK, sip, code)).split(_MARK.encode())
        said += [*parts[:-1], parts[-1] + b',"called_at":']
    after_sip = sip_at + len(parts)
    return _Phrases(
        texts=Texts.of(said), heads=heads, tails=tails, plain=plain, sip=sip_at, after_sip=after_sip
    )


def _head(rule: str, verdict: Verdict, would: Verdict | None) -> bytes:
    simulated = b"false" if would is None else b"true"
    return b'","verdict":"%b","simulated":%b,"rule":%b,"number":' % (
        verdict.encode(),
        simulated,
        _encode(rule),
    )


_NO_RULINGS: NDArray[np.int64] = np.zeros((8, 0), np.int64)
_NO_MATCHES: NDArray[np.int64] = np.zeros((6, 0), np.int64)
"""Most batches of a quiet worker have neither: columns of nothing are not made each time."""
_ROOM, _REASON_ROOM = 1024, 384
"""Bytes reserved at first for a decision and for a reason. They are above the longest usual forms,
so that one call of the kernel is enough. Too few cost a second run; memory not written to costs
nothing."""


def _by_kernel(columns: DecisionColumns) -> Texts:
    """Return the JSON of what `_by_objects` yields."""
    from stream.core.kernels.write_decisions import ORIGINS, write_decisions

    batch, rulings, count = columns.batch, columns.rulings, len(columns.calls)
    phrases = _phrases(columns.rule_names, columns.sip)
    origins = [
        b',"origin":"%b/%d/' % (segment.partition.topic.encode(), segment.partition.number)
        for segment in batch.raw.segments
    ]
    odd, fragments = _odd_fields(batch, columns.calls, ORIGINS + len(origins))
    decided = b',"decided_at":"%b","expires_at":' % rfc3339_ms(columns.decided_at_ms).encode()
    known, own = phrases.texts, Texts.of([decided, *origins, *fragments])
    fields = _fields(batch)
    starts, sizes = np.empty((2, count), np.int64)
    room = count * _ROOM + int((rulings.last - rulings.first).sum()) * _REASON_ROOM
    while True:
        out = np.empty(room + PADDING, np.uint8)
        end = write_decisions(
            (known.data, known.starts, known.sizes),
            (own.data, own.starts, own.sizes),
            fields,
            (_rows_of(batch.callers, len(batch)), _rows_of(batch.callees, len(batch))),
            (columns.calls, columns.ruled, odd, columns.ids.view(np.uint8).reshape(-1, 16)),
            (batch.rows, batch.raw.offsets, np.array([one.start for one in batch.raw.segments])),
            (
                _ruling_columns(columns, phrases),
                _match_columns(rulings),
                columns.blocklists.generations,
            ),
            (phrases.plain, phrases.sip, phrases.after_sip),
            out,
            starts,
            sizes,
        )
        if end >= 0:
            return Texts(out, starts, sizes)
        room = -end  # enough for all: the kernel has added it up


def _odd_fields(
    batch: CallBatch, calls: NDArray[np.int64], first: int
) -> tuple[NDArray[np.int64], list[bytes]]:
    """Return for each call whose fields were not located the place of its phrases, else -1.

    And the phrases, three for each such call, JSON; the first one's place is `first`.
    """
    odd = np.full(len(calls), -1, np.int64)
    places: Sequence[int] = range(len(calls))
    if batch.located is not None:
        elsewhere = batch.located.fallback
        if not elsewhere:
            return odd, []
        places = np.flatnonzero(np.isin(calls, list(elsewhere))).tolist()
    fragments: list[bytes] = []
    for place in places:
        told = batch.key_fields[int(calls[place])]
        odd[place] = first + len(fragments)
        fragments += (_encode(told.call_id), _encode(told.caller), _encode(told.callee))
    return odd, fragments


def _fields(batch: CallBatch) -> tuple[NDArray[Any], ...]:
    """Return data, starts and sizes of the fields that were located."""
    located = batch.located
    if located is None:
        nowhere = np.full((3, len(batch)), -1, np.int64)
        return np.zeros(PADDING, np.uint8), nowhere, nowhere
    return (located.data, np.ascontiguousarray(located.starts), np.ascontiguousarray(located.sizes))


def _rows_of(numbers: Numbers | None, count: int) -> NDArray[np.uint8]:
    """Return the numbers as uint8[n, 16], without rows where they were not read."""
    if numbers is None:
        return np.zeros((0, 16), np.uint8)
    return np.ascontiguousarray(numbers.e164, "S16").view(np.uint8).reshape(count, 16)


def _ruling_columns(columns: DecisionColumns, phrases: _Phrases) -> NDArray[np.int64]:
    """`rulings` as the kernel wants them."""
    rulings = columns.rulings
    if not len(rulings):
        return _NO_RULINGS
    # A ruling on trial flags or blocks: one that observed would be read as one that blocks.
    kinds = rulings.actions + 2 * rulings.simulated.astype(np.int64)
    return np.array(
        [
            phrases.heads + rulings.rules * len(_KINDS) + kinds,
            phrases.tails + kinds,
            rulings.roles,
            columns.called_at_ms,
            columns.expires_at_ms,
            rulings.first,
            rulings.last,
            _answers(columns),
        ],
        np.int64,
    )


def _answers(columns: DecisionColumns) -> NDArray[np.int64]:
    """Return which SIP answer each ruling has, from 1; 0: none, as it does not block."""
    rulings, sip = columns.rulings, columns.sip
    blocks: NDArray[np.int64] = ((rulings.actions == Action.BLOCK) & ~rulings.simulated).astype(
        np.int64
    )
    if not sip.trunks:
        return blocks
    names = [name for name, _ in sip.trunks]
    which = [sip.codes.index(code) + 1 for _, code in sip.trunks]
    # Rulings are not in the order of calls, which `places` needs.
    order = np.argsort(rulings.calls)
    found = np.empty(len(rulings), np.int64)
    places = columns.batch.places("trunk", names, rulings.calls[order])
    found[order] = np.array([*which, 1])[places]
    blocks *= found
    return blocks


def _match_columns(rulings: Rulings) -> NDArray[np.int64]:
    """Return the reasons as the kernel wants them; an entry that does not expire has no time."""
    matches = rulings.matches
    if not len(matches):
        return _NO_MATCHES
    expires = np.where(matches.expires_at_s == 0, NO_TIME, matches.expires_at_s * 1000)
    return np.array(
        [
            matches.lists,
            matches.confirmed,
            matches.category,
            matches.confidence,
            expires,
            matches.prefix,
        ],
        np.int64,
    )
