"""A few numbers onto a list, or off it, at once: the changes of `POST /v1/lists/.../changes`.

A partner's numbers become reports of its feed, as a version's would: the next whole version takes
their place. Rows that a feed may not bring are rejected one by one, and the others count. Nothing
waits here: a version that waits gives way to the next, so its numbers could be lost.
"""

from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import msgspec
import numpy as np

from stream.core.model.entry import NEVER, Category, Entry
from stream.core.model.free_text import SOURCE_CHARS_MAX
from stream.core.model.moments import read_rfc3339
from stream.core.numbers.number import Kind, parse
from stream.core.numbers.prefix_entries import PrefixFault, PrefixRules, read_entries
from stream.edge.http.problems import ProblemError, ProblemKind
from stream.feeds.feed import Feed
from stream.feeds.gate import GateReason
from stream.feeds.row_checks import Bounds, Surroundings, check_rows
from stream.feeds.value_parsers import after_number, why_no_number
from stream.lists.store.heads import By, EditOutcome, EditResult, Removal, Retraction
from stream.lists.store.list_content import fingerprints_of
from stream.lists.store.list_store import ListStore
from stream.ops.clock import now_s
from stream.ops.schema.durations import seconds_of

NUMBERS_MAX: Final = 1_000
"""Numbers of one request: each is a change of its own in Redis. More are a file."""
_WHOSE: Final = 'a national number, or one without its +: give "region": "TH" beside it, or write +'
_DO: Final[Mapping[GateReason, str]] = {
    GateReason.COUNTRY_NOT_ALLOWED: "the feed may list other countries' numbers only by may_list",
    GateReason.EMERGENCY_NUMBER: "people dial it for help: no list holds it",
    GateReason.ALLOW_LISTED: "the allowlist protects it: ask the operator",
    GateReason.REDRESSED: "it was blocked wrongly, and an appeal put that right",
    GateReason.OWN_SERVICE_NUMBER: "it is the carrier's own",
}


class AddedNumber(msgspec.Struct, forbid_unknown_fields=True):
    """A number, prefix (`+6681234*`) or range to add. What is not given is as in the feed's file.

    An operator's is `other`, of confidence 100 and without an end then.
    """

    number: str
    category: str = ""
    confidence: int | None = None
    expires_in: str = ""
    expires_at: str = ""


class ListChange(msgspec.Struct, forbid_unknown_fields=True):
    """Numbers to add and to remove, and the reason for the audit.

    `region` is the country of national numbers.
    """

    reason: str
    add: list[AddedNumber] = []
    remove: list[str] = []
    region: str = ""


class RejectedChange(msgspec.Struct):
    """An element of the request that was left out, by its place, and what to do."""

    field: str
    reason: str
    what_to_do: str


class ChangeAnswer(msgspec.Struct):
    """The effect of a change, which is enforced within a second.

    `absent` counts numbers to remove that were not there. A range counts as its prefixes.
    """

    list: str
    generation: int
    added: int
    updated: int
    removed: int
    absent: int
    rejected: Sequence[RejectedChange]


@dataclass(slots=True, kw_only=True)
class ListChanger:
    """Makes changes. `around` are those by which versions are judged, `own` the carrier's numbers.

    Methods raise the list store's faults.
    """

    connect: Callable[[], Awaitable[ListStore]]
    around: Callable[[], Surroundings]
    own: tuple[str, ...]
    prefixes: PrefixRules

    async def change(
        self, name: str, feeds: Sequence[Feed], asked: ListChange, by: By
    ) -> ChangeAnswer:
        """Change list `name`; `feeds` are the partner's feeds of it, (): an operator does it.

        Added numbers become reports of the first. Raises ProblemError where nothing can be done.
        """
        around, at_s = self.around(), now_s()
        feed = feeds[0] if feeds else None
        if over := around.agreement_over(name, at_s):
            raise ProblemError(ProblemKind.CONFLICT, over)
        async with await self.connect() as store:
            head = (await store.heads()).lists.get(name)
            if head is None:
                text = "there is no such list: a first version, or an operator, makes it"
                raise ProblemError(ProblemKind.NOT_FOUND, text)
            key = around.keys.get(head.circle)
            if key is None:
                text = (
                    f"its numbers are hashed with the key of circle {head.circle}, which is not "
                    f"here: the operator sets [circles.{head.circle}]; nothing was changed"
                )
                raise ProblemError(ProblemKind.CONFLICT, text)
            _, allowed = await store.allow_all()
            # An operator may list all countries' numbers, but none of the carrier's own.
            wide = Feed(name="", list_name=name, owner="", contact="", format="text", own=self.own)
            meant = feed or wide
            bounds = around.bounds(meant, allowed)
            rejected: list[RejectedChange] = []
            rows = _rows_of(asked, meant, self.prefixes, rejected, at_s)
            rows = _allowed(rows, bounds, rejected, at_s)
            gone = _removals(asked, self.prefixes, rejected)
            if not rows and not gone:
                text = "no number of it can be used; nothing was changed"
                errors = msgspec.to_builtins(rejected)
                raise ProblemError(ProblemKind.MALFORMED, text, errors=errors)
            generation, done = head.generation, Counter[EditOutcome]()
            if rows:
                source = (by.actor if feed is None else feed.name)[:SOURCE_CHARS_MAX]
                result = await store.add(name, _entries(rows, key, source, meant, at_s), by)
                generation, done = result.generation, Counter(result.outcomes)
            if gone:
                result = await _take_off(store, name, feeds, gone, key, by)
                generation, done = result.generation, done + Counter(result.outcomes)
        counts = {outcome.value: done[outcome] for outcome in EditOutcome}
        return ChangeAnswer(list=name, generation=generation, rejected=rejected, **counts)


@dataclass(frozen=True, slots=True)
class _Row:
    """An entry to add, and its place in the request. `until_s` None: as the feed's file says."""

    field: str
    text: str
    category: Category
    confidence: int
    until_s: int | None


def _rows_of(
    asked: ListChange, feed: Feed, rules: PrefixRules, rejected: list[RejectedChange], at_s: int
) -> list[_Row]:
    rows, reading = [], feed.reading
    for index, one in enumerate(asked.add):
        field = f"add[{index}]"
        texts = _texts(one.number, asked.region or None, rules)
        category = Category.__members__.get(one.category.upper() or reading.category.name)
        confidence = reading.confidence if one.confidence is None else one.confidence
        until_s = _until_s(one, at_s)
        if isinstance(texts, RejectedChange):
            rejected.append(msgspec.structs.replace(texts, field=f"{field}.number"))
        elif category is None:
            known = ", ".join(kind.label for kind in Category)
            rejected.append(RejectedChange(f"{field}.category", "bad_category", f"one of {known}"))
        elif not 0 <= confidence <= 100:
            rejected.append(RejectedChange(f"{field}.confidence", "bad_confidence", "0 to 100"))
        elif isinstance(until_s, RejectedChange):
            rejected.append(msgspec.structs.replace(until_s, field=f"{field}.{until_s.field}"))
        else:
            rows += [_Row(field, text, category, confidence, until_s) for text in texts]
    return rows


def _removals(asked: ListChange, rules: PrefixRules, rejected: list[RejectedChange]) -> list[str]:
    found: dict[str, None] = {}
    for index, text in enumerate(asked.remove):
        texts = _texts(text, asked.region or None, rules)
        if isinstance(texts, RejectedChange):
            rejected.append(msgspec.structs.replace(texts, field=f"remove[{index}]"))
        else:
            found |= dict.fromkeys(texts)
    return list(found)


def _texts(text: str, region: str | None, rules: PrefixRules) -> tuple[str, ...] | RejectedChange:
    """Return the number or prefixes that a text stands for."""
    read = read_entries(text, region, rules)
    if isinstance(read, PrefixFault):
        return RejectedChange("", read.name.lower(), read.value)
    if read is not None:
        return read
    number = parse(text, region)
    if (more := after_number(text)) is not None:
        return RejectedChange("", more.label, more.value)
    if number.kind is not Kind.E164:
        wrong = why_no_number(text, number.kind, region)
        do = _WHOSE if wrong.name == "NO_COUNTRY" else wrong.value
        return RejectedChange("", wrong.label, do)
    return (number.text,)


def _until_s(one: AddedNumber, at_s: int) -> int | RejectedChange | None:
    """Return the end of an entry; None: it names none."""
    if one.expires_at:
        moment = read_rfc3339(one.expires_at, zone=None)
        if moment is None or not at_s < moment.timestamp() < 2**32:
            do = "a time to come, with its zone: 2027-01-31T00:00:00Z"
            return RejectedChange("expires_at", "bad_time", do)
        return int(moment.timestamp())
    if one.expires_in:
        seconds = seconds_of(one.expires_in)
        if seconds is None or at_s + seconds >= 2**32:
            return RejectedChange("expires_in", "bad_time", "a span: 10d, 12h, 30m")
        return at_s + seconds
    return None


def _allowed(
    rows: list[_Row], bounds: Bounds, rejected: list[RejectedChange], at_s: int
) -> list[_Row]:
    """Return the rows that may go live; the others are rejected, each with one reason."""
    if not rows:
        return []
    texts = np.array([row.text.encode() for row in rows], "S16")
    masks = check_rows(texts, np.zeros(len(rows), np.uint16), (), bounds, at_s)
    left = []
    for at, row in enumerate(rows):
        reason = next((reason for reason, mask in masks.items() if mask[at]), None)
        if reason is None:
            left.append(row)
        else:
            rejected.append(RejectedChange(f"{row.field}.number", reason.value, _DO[reason]))
    return left


def _entries(rows: list[_Row], key: bytes, source: str, feed: Feed, at_s: int) -> list[Entry]:
    """Return the entries. A partner may claim no more than its feed's file lets it."""
    reading = feed.reading
    after_s = 0 if reading.expires_from == "never" else reading.expires_after_s
    usual_s = min(at_s + after_s, 2**32 - 1) if after_s else NEVER
    prints = fingerprints_of([row.text for row in rows], key)
    return [
        Entry(
            *(row.text, print_, row.category, source, at_s),
            usual_s if row.until_s is None else row.until_s,
            min(row.confidence, reading.confidence_max),
        )
        for row, print_ in zip(rows, prints, strict=True)
    ]


async def _take_off(
    store: ListStore, name: str, feeds: Sequence[Feed], gone: Sequence[str], key: bytes, by: By
) -> EditResult:
    """Take numbers off: the reports of `feeds`, or for an operator all reports."""
    pairs = list(zip(fingerprints_of(gone, key), gone, strict=True))
    if not feeds:
        return await store.remove(name, [Removal(*pair) for pair in pairs], by)

    def owned(source: str) -> bool:
        return any(feed.owns(source) for feed in feeds)

    edits = [Retraction(*pair, feeds[0].name, owned) for pair in pairs]
    return await store.retract(name, edits, by)
