"""Filters and snapshots against any bytes: read as they are, or refused; never a crash.

    python -m tests.fuzz.filters --kind snapshot --seconds 600 --seed 1

`filter` are pybloom-live files, as a partner sends them. `manifest` are manifests alone. `snapshot`
are all parts of a list, changed, with sizes and checksums made right again: as a publisher who
means harm would sign them. What is accepted is matched by the kernels, which read its columns by
address, and by NumPy: both have to say the same.
"""

import random
from collections.abc import Callable, Iterator
from functools import cache
from hashlib import sha256
from typing import Any, Final

import msgspec
import numpy as np

from stream.core import kernels
from stream.core.filters.blocklists import Blocklists, fresh
from stream.core.filters.bloom import check_probes, check_rate, read_filter
from stream.core.filters.digests import Digests, elements
from stream.core.filters.snapshot import (
    FILTER_PART,
    MANIFEST_PART,
    Manifest,
    SnapshotPart,
    decode_manifest,
    encode_manifest,
    read_snapshot,
)
from stream.core.model.allowlist import NOBODY
from stream.core.model.errors import FilterUnreadable, SnapshotUnreadable
from stream.core.numbers.number import Numbers
from stream.lists.snapshot.build import Version, build_snapshot
from tests.campaigns.soak_traffic import number
from tests.fuzz.harness import fuzz
from tests.fuzz.json_records import changed
from tests.support.builders import NOW_S, columns_of, numbers_of, table_of
from tests.support.engine import KERNELS_DIR

KINDS: Final = ("filter", "manifest", "snapshot")
ROUND: Final = 200
REFUSED: Final = (FilterUnreadable, SnapshotUnreadable)
MEMBERS: Final = [number(area, line) for area in range(200, 212) for line in range(25)]
TOKENS: Final = (
    *(b"\0", b"\xff", b"\0" * 8, b"\xff" * 8, b"\x7f\xf0\0\0\0\0\0\0"[::-1], b"\x01" + b"\0" * 7),
    *(b"\0\0\0\0\0\0\xf0\x3f", b"\0\0\0\0\0\0\xe0\x3f", b"\xfc\xa9\xf1\xd2\x4d\x62\x50\x3f"),
    *(b"\x0e\0\0\0\0\0\0\0", b"\0\0\0\x80\0\0\0\0", b"\xff" * 100, b"\0" * 100),
)
FIELDS: Final[tuple[tuple[str, tuple[Any, ...]], ...]] = (
    ("format", (0, 1, 2, 3, 2**53)),
    ("count", (0, 1, 299, 301, 2**32, 2**53)),
    ("numbers", (0, 1, 299, 301, 2**53)),
    ("prefixes", (0, 1, 300)),
    ("slices", (0, 1, 13, 15, 2**53)),
    ("bits_per_slice", (0, 1, 7, 2**31, 2**53)),
    ("capacity", (0, 1, 2**53)),
    ("generation", (0, 2**53)),
    ("built_at_s", (0, 2**53)),
    ("has_entries", (False, True)),
    ("algorithm", ("", "sha1", "sha384", "md5")),
    ("circle", ("", "x" * 300, "../..")),
    ("sources", ((), ("a",) * 300, ("\x00",))),
)


@cache
def whole() -> dict[str, bytes]:
    """The parts of a list of 300 numbers with two sources, some of them expired."""
    rows = np.arange(len(MEMBERS))
    columns = columns_of(
        MEMBERS,
        sources=("one", "two"),
        reported_at=NOW_S - 60 * rows,
        expires_at=np.where(rows % 5, 0, NOW_S + rows % 3 - 1),
        category=rows % 7,
        confidence=rows % 101,
        source=rows % 2,
    )
    version = Version("XA", "list", 7, "plain", b"", "")
    return dict(build_snapshot(version, columns, NOW_S))


def asked() -> Numbers:
    """Members and others."""
    return numbers_of([*MEMBERS, *(number(area, 0) for area in range(700, 760))])


def snapshots(rng: random.Random) -> dict[str, bytes]:
    """Parts of which one to three were changed; sizes and checksums are right."""
    parts = dict(whole())
    columns = [name for name in parts if name != MANIFEST_PART]
    for name in rng.sample(columns, rng.choice((0, 1, 1, 2, 3))):
        data = bytearray(parts[name])
        if rng.random() < 0.5 and name != FILTER_PART:
            wide = len(data) // len(MEMBERS)
            for _ in range(rng.choice((1, 2, 5))):  # whole rows, so that the size stays
                here, there = rng.randrange(len(MEMBERS)), rng.randrange(len(MEMBERS))
                row = data[wide * there : wide * (there + 1)]
                data[wide * here : wide * (here + 1)] = rng.choice(
                    (row, b"\0" * wide, b"\xff" * wide, rng.randbytes(wide))
                )
            parts[name] = bytes(data)
        else:
            parts[name] = changed(bytes(data), columns_bytes(), rng, TOKENS)
    fields = msgspec.to_builtins(decode_manifest(parts[MANIFEST_PART]))
    for name, values in rng.sample(FIELDS, rng.choice((0, 0, 1, 2))):
        fields[name] = rng.choice(values)
    held = {name: parts[name] for name in fields["parts"]}
    if rng.random() < 0.1:
        held.pop(rng.choice(sorted(held)))
    manifest = Manifest(
        **{
            **fields,
            "sources": tuple(fields["sources"]),
            "parts": {
                name: SnapshotPart(len(data), sha256(data).hexdigest())
                for name, data in held.items()
            },
        }
    )
    return {**held, MANIFEST_PART: encode_manifest(manifest)}


def columns_bytes() -> tuple[bytes, ...]:
    """All parts, as material for others."""
    return tuple(whole().values())


def check_filter(data: bytes) -> int:
    """Read a filter, and ask it."""
    held = read_filter(data)
    check_rate(held)
    held.may_hold(Digests(elements(asked().e164, b"")))
    check_probes(held, b"")
    return 1


def check_snapshot(parts: dict[str, bytes]) -> int:
    """Read a snapshot, and match numbers with it in both ways."""
    held = read_snapshot(parts, key=b"")
    lists = Blocklists.of([fresh("XA/list", b"", held, NOW_S)], NOBODY, table_of)
    found = lists.match(asked(), NOW_S).columns
    with kernels.reference_only():
        expected = lists.match(asked(), NOW_S).columns
    for mine, theirs in zip(found, expected, strict=True):
        assert mine.tolist() == theirs.tolist(), "kernels and reference differ"
    return 1


def inputs(kind: str, seed: int, count: int) -> Iterator[Any]:
    """So many inputs of a kind."""
    rng = random.Random(f"{kind} {seed}")
    base = whole()[FILTER_PART if kind == "filter" else MANIFEST_PART]
    for _ in range(count):
        yield snapshots(rng) if kind == "snapshot" else changed(base, columns_bytes(), rng, TOKENS)


def run(kind: str, seed: int, count: int) -> int:
    """Check `count` inputs; how many were accepted."""
    checks: dict[str, Callable[[Any], int]] = {
        "filter": check_filter,
        "manifest": lambda data: bool(decode_manifest(data)),
        "snapshot": check_snapshot,
    }
    accepted = 0
    for one in inputs(kind, seed, count):
        try:
            accepted += checks[kind](one)
        except REFUSED as refusal:
            if not str(refusal):
                raise AssertionError("a refusal says why") from refusal
        except BaseException as error:
            error.add_note(f"{kind} seed {seed}: {one!r}"[:20_000])
            raise
    return accepted


def main() -> None:
    """Check until the time is over."""
    assert not kernels.activate(KERNELS_DIR)
    fuzz("accepted", KINDS, lambda kind, seed: run(kind, seed, ROUND), "--kind", ROUND)


if __name__ == "__main__":
    main()
