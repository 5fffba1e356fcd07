"""PhoneBlock's block list: the answer of its API `GET /blocklist`, whole or `since` a version.

Layout: github.com/haumacher/phoneblock, api/phoneblock.json. An object {"numbers": [...],
"version": n}; each number has `phone` (E.164), `rating`, `votes` and perhaps `lastActivity` (ms).
`votes` 0 in an answer to `since` removes the number.
"""

from collections.abc import Iterable, Iterator, Mapping
from itertools import count

import msgspec

from stream.core.model.entry import Category
from stream.feeds.formats.json_objects import BROKEN, Document, as_kept, as_text
from stream.feeds.formats.rows import Collector, InputUnreadable, Rows, Wrong

WORDS: Mapping[str, Category] = {
    "A_LEGITIMATE": Category.LEGITIMATE,
    "B_MISSED": Category.OTHER,
    "C_PING": Category.WANGIRI,
    "D_POLL": Category.SPAM,
    "E_ADVERTISING": Category.SPAM,
    "F_GAMBLE": Category.GAMBLING,
    "G_FRAUD": Category.CALL_CENTRE,
}
CONFIDENCE = ((100, 95), (50, 90), (20, 80), (10, 65), (4, 45), (2, 30), (1, 20))
"""(votes, confidence): the confidence of so many votes or more. PhoneBlock counts each person once,
in the steps 2, 4, 10, 20, 50, 100, and gives no probability. The values are ours: low where two
people may have conspired, and never certain."""
NUMBER_BYTES_MAX = 1 << 16
"""Entries are decoded one by one, so this bounds memory. Real ones take 100 bytes."""


class _Number(msgspec.Struct):  # other members of an entry are skipped without becoming objects
    phone: str
    votes: int
    rating: str | None = None
    lastActivity: int | float | str | None = None  # noqa: N815  its name there


def read(pieces: Iterable[bytes]) -> Iterator[Rows]:
    """Yield the rows of an answer. Raises InputUnreadable for other documents."""
    document = Document(pieces, NUMBER_BYTES_MAX)
    if document.peek() != b"{":
        raise InputUnreadable('not an answer of PhoneBlock: it is an object {"numbers": [...]}')
    decode = msgspec.json.Decoder(_Number).decode
    rows, lines, seen = Collector(), count(1), False
    for numbers in document.array_of("numbers"):
        seen = True
        for raw in numbers:
            line = next(lines)
            try:
                found = decode(raw)
            except BROKEN as error:
                rows.reject(line, Wrong.UNREADABLE, str(error), as_kept(raw))
                continue
            rows.add(
                line,
                as_kept(raw),
                found.phone,
                category=found.rating,
                reported_at=as_text(found.lastActivity),
                confidence=_confidence(found.votes),
                removed=found.votes <= 0,
            )
            yield from rows.drain()
    if not seen:
        raise InputUnreadable("not an answer of PhoneBlock: it has no array `numbers`")
    document.end()
    yield from rows.rest()


def _confidence(votes: int) -> str | None:
    return next((str(worth) for least, worth in CONFIDENCE if votes >= least), None)
