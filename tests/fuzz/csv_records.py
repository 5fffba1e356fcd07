"""Lines of CSV of a switch, and what a hostile or broken one may make of them. Seeded."""

import csv
import io
import random
from collections.abc import Iterator
from pathlib import Path

from tests.fuzz.json_records import changed

GOLDEN = Path(__file__).parents[1] / "golden" / "cdr"
_TOKENS = [
    b'"', b'""', b'"""', b",", b'","', b'",', b"\\", b"'", b" ", b"\t", b"\n", b"\r\n", b"\r",
    b"\0", b"\x7f",
    # UTF-8, and what is none.
    b"\xe0\xb8\xaa", b"\xf0\x9f\x98\x80", b"\xff", b"\x80", b"\xc3", b"\xed\xa0\x80",
    b"\xef\xbb\xbf",
    # Brackets, as deep as nothing may be, and more than a vector or a plan holds.
    b"[", b"{", b"]", b"[" * 201, b"x" * 64, b"x" * 300, b"," * 130,
]  # fmt: skip
_CELLS = [
    "", "0", "7", "+66812345678", "0812345678", "447700900123", "anonymous", "สมชาย ใจดี", 'a "b" c',
    "back\\slash", "a,b", " +66812345678", "{}", "[[", "x" * 63, "x" * 200, "two\nlines", "\x7f",
    # Times.
    "2026-11-25 15:02:03", "2026-11-25", "2026-11-2", "2026/11/25", "20261125", "1795593723",
    "1795593723.5", "1795593723.", "12345678", "9" * 18, "٢٠٢٦-١١-٢٥",
    # Dispositions and causes.
    "ANSWERED", "NO ANSWER", "NOANSWER", "BUSY", "busy", "ANSWERED ", "8", "NORMAL_CLEARING", "A",
    "A1", "USER_BUSY", "NULL",
    # Ids.
    "1795593723.42", "bkk-1795593723.42", "bkk 1-1795593723.42", "-1795593723.42", "a-b-1.2", "1.2",
    "1795593723.", ".42", "8a1c2f2e-6d4b-4f0e-9d7c-3f8f3d2f0a11", "a@b", "abcdefgh", "abcdefg1",
    "abcdefghijklmnopqrstuvwxyz", "an id with spaces in it 1",
    # Channels.
    "PJSIP/carrier-a-0000002a", "PJSIP/", "SIP/x", f"PJSIP/{'y' * 70}-1", "/-", "-",
]  # fmt: skip


def lines(dialect: str, seed: int, count: int) -> Iterator[bytes]:
    """Lines of one dialect with some of their cells in another one's place, or cut off."""
    rng = random.Random(f"{dialect} {seed}")
    samples = [path.read_text("utf-8") for path in sorted((GOLDEN / dialect).glob("*/input.*"))]
    rows = [next(csv.reader([sample])) for sample in samples]
    for _ in range(count):
        row = list(rng.choice(rows))
        for _ in range(rng.choice((0, 0, 1, 1, 2, 4))):
            row[rng.randrange(len(row))] = rng.choice(_CELLS)
        if rng.random() < 0.1:
            del row[rng.randrange(1, len(row)) :]
        if rng.random() < 0.1:
            row += rng.choices(_CELLS, k=rng.choice((1, 2, 3, 110)))
        line, end = io.StringIO(), rng.choice(("", "", "\n", "\r\n"))
        if rng.random() < 0.5:
            csv.writer(line, lineterminator=end).writerow(row)
        else:
            csv.writer(line, quoting=csv.QUOTE_ALL, lineterminator=end).writerow(row)
        yield line.getvalue().encode()


def mutants(dialect: str, seed: int, count: int) -> Iterator[bytes | None]:
    """Lines of which half are changed at one to three places; tombstones too."""
    rng = random.Random(seed)
    bases = list(lines(dialect, seed, count))
    for base in bases:
        if rng.random() < 0.001:
            yield None
        else:
            yield base if rng.random() < 0.5 else changed(base, bases, rng, _TOKENS)
