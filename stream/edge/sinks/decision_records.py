"""Blocks by lists among the decisions of a batch: only those become keys of SIP proxies.

A block by a plausibility rule is about one call on one trunk. Its number may be spoofed: a key
would silence the owner.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

from stream.core.model.decision import Verdict, read_decision
from stream.core.model.moments import read_ms
from stream.core.numbers.e164 import E164_DIGITS_MAX
from stream.edge.sinks.proxy_keys import BLOCK, Put


class RecordOutcome(StrEnum):
    """Outcome of a record of the decisions topic: a closed list, each is a label."""

    WRITTEN = "written"
    NO_BLOCK = "no_block"
    """It allows or flags, or its list is on trial."""
    NO_LIST = "no_list"
    """A rule about the call blocked it, not a list."""
    EXPIRED = "expired"
    UNBLOCKED = "unblocked"
    """The lists, the allowlist or the policy let the number pass by now."""
    CAPPED = "capped"
    UNREADABLE = "unreadable"


class NumberBlock(NamedTuple):
    """A number that a list blocked: its key, and the lists that held it, with their generations."""

    put: Put
    lists: list[tuple[str, int]]


@dataclass(slots=True)
class BlockBatch:
    """The newest block of each number of a batch; `others` counts the other records."""

    by_number: dict[str, NumberBlock] = field(default_factory=dict)
    others: dict[RecordOutcome, int] = field(default_factory=dict)
    older: int = 0
    """Blocks beside the newest of the same number."""


def read_blocks(values: Iterable[bytes | None], now_s: int) -> BlockBatch:
    """Read record values; any bytes have an outcome."""
    blocks = BlockBatch()
    newest = blocks.by_number
    for value in values:
        found = _read(value, now_s)
        if isinstance(found, RecordOutcome):
            blocks.others[found] = blocks.others.get(found, 0) + 1
            continue
        before = newest.setdefault(found.put.text, found)
        if before is not found:
            blocks.older += 1
            if before.put.decided_at_ms <= found.put.decided_at_ms:
                newest[found.put.text] = found
    return blocks


def _read(value: bytes | None, now_s: int) -> NumberBlock | RecordOutcome:
    decision = read_decision(value)
    if decision is None:
        return RecordOutcome.UNREADABLE
    if decision.verdict != Verdict.BLOCK or decision.simulated:
        return RecordOutcome.NO_BLOCK
    if not decision.reasons or decision.number is None or decision.expires_at is None:
        return RecordOutcome.NO_LIST
    expires_at_ms, decided_at_ms = read_ms(decision.expires_at), read_ms(decision.decided_at)
    if expires_at_ms is None or decided_at_ms is None or not _NUMBER.fullmatch(decision.number):
        return RecordOutcome.UNREADABLE
    expires_at_s = expires_at_ms // 1000
    if expires_at_s <= now_s:
        return RecordOutcome.EXPIRED
    reason = decision.reasons[0]
    lists = [(reason.list, reason.generation)]
    if len(decision.reasons) > 1:
        reason = next(iter(decision.deciding()), reason)
        lists = [(each.list, each.generation) for each in decision.reasons]
    put = Put(
        decision.number,
        BLOCK,
        reason.category or "unconfirmed",
        reason.list,
        decision.decision_id,
        expires_at_s,
        decided_at_ms,
    )
    return NumberBlock(put, lists)


_NUMBER = re.compile(rf"\+[1-9][0-9]{{5,{E164_DIGITS_MAX - 1}}}")
