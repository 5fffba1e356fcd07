"""Which key a number, or a prefix, should have. Pure: what there is and what the judge says, in.

An exception (`allow`) outlives every block around it: were it to end first, somebody who may call
would be blocked while no sink runs.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import repeat

from stream.edge.sinks.key_index import Book, Kind
from stream.edge.sinks.number_policy import Blocked, PrefixKeys, ends_at, speaking
from stream.edge.sinks.preload_ids import Names
from stream.edge.sinks.proxy_keys import ALLOW, BLOCK, Held, Put


@dataclass(slots=True)
class Writes:
    """What is to be written and deleted, and what could not be, for the cap."""

    puts: list[Put] = field(default_factory=list)
    kinds: list[Kind] = field(default_factory=list)
    """Of `puts`, in their order; none: all are `DECIDED`."""
    drops: list[str] = field(default_factory=list)
    capped: int = 0

    def add(self, put: Put, kind: Kind) -> None:
        """One more key."""
        self.puts.append(put)
        self.kinds.append(kind)

    def entered(self, book: Book) -> None:
        """All of it was done."""
        for text in self.drops:
            book.drop(text)
        for put, kind in zip(self.puts, self.kinds or repeat(Kind.DECIDED), strict=False):
            book.put(put.text, kind, put.expires_at_s)


@dataclass(frozen=True, slots=True)
class Rules:
    """`ttl_s`: how long a key lives at most; a longer-lived one is renewed at half of it. `names`
    gives ids to what no call led to.
    """

    ttl_s: int
    preload: bool
    names: Names


def of_numbers(
    book: Book,
    said: Sequence[tuple[str, Blocked | None]],
    around: PrefixKeys,
    rules: Rules,
    at_s: int,
) -> Writes:
    """What to do about numbers of which the judge says why they are blocked, or that they are not.

    `around` are the prefixes that have keys, or are about to.
    """
    writes = Writes()
    room = book.keys_max - book.keys_max // 10 - len(book)
    for text, why in said:
        held = book.get(text)
        kind, ends = held if held is not None else (None, 0)
        if why is None:
            if speaking(around, text) is None:
                if held is not None:
                    writes.drops.append(text)
            elif kind is not Kind.SPARED or ends - at_s < rules.ttl_s * 3 // 2:
                # Never capped: it is what keeps a blocked range from taking innocents with it.
                writes.add(_allow(text, at_s + 2 * rules.ttl_s), Kind.SPARED)
        elif rules.preload:
            until = ends_at(why, at_s + rules.ttl_s)
            if held is None and len(writes.puts) >= room:
                writes.capped += 1
            elif held is None or kind is Kind.SPARED or _renewed(ends, until, at_s, rules):
                kept = Kind.DECIDED if kind is Kind.DECIDED else Kind.PRELOADED
                writes.add(_block(text, why, until), kept)
        elif kind is Kind.SPARED:
            writes.drops.append(text)
    writes.puts = with_ids(writes.puts, rules.names)
    return writes


def of_prefixes(
    written: dict[str, Held], wanted: PrefixKeys, rules: Rules, at_s: int
) -> tuple[list[Put], list[Put], list[str]]:
    """Keys of prefixes: exceptions to write, then blocks to write, and keys to delete."""
    allows, blocks = [], []
    for text, why in wanted.items():
        held = written.get(text)
        name = f"{text}*"
        if why is None:
            until = at_s + 2 * rules.ttl_s
            if (
                held is None
                or held.action != ALLOW
                or held.expires_at_s - at_s < rules.ttl_s * 3 // 2
            ):
                allows.append(_allow(name, until))
        else:
            until = ends_at(why, at_s + rules.ttl_s)
            same = held is not None and held.action == BLOCK
            if held is None or not same or _renewed(held.expires_at_s, until, at_s, rules):
                blocks.append(_block(name, why, until))
    return (
        allows,
        with_ids(blocks, rules.names),
        [f"{text}*" for text in written.keys() - wanted.keys()],
    )


def _renewed(ends_s: int, until_s: int, at_s: int, rules: Rules) -> bool:
    """Whether a key that ends at `ends_s` should be written anew, to end at `until_s`."""
    return until_s < ends_s - 1 or (until_s > ends_s and ends_s - at_s < rules.ttl_s // 2)


def _allow(text: str, ends_s: int) -> Put:
    return Put(text, ALLOW, "", "", "", ends_s, 0)


def _block(text: str, why: Blocked, ends_s: int) -> Put:
    return Put(text, BLOCK, why.reason, why.list, "", ends_s, 0)


def with_ids(puts: Iterable[Put], names: Names) -> list[Put]:
    """Blocks that no call led to, each with an id by which its page is found."""
    held = list(puts)
    ids = names.ids([put.text for put in held])
    return [
        put._replace(decision_id=name) if put.action == BLOCK else put
        for put, name in zip(held, ids, strict=True)
    ]
