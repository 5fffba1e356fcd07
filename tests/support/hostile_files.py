"""Files made to fill memory, read in turn: `python -m tests.support.hostile_files FOLDER`.

Prints as JSON for each how it ended and by how many MB the process's peak had grown until then; a
process of its own, since a peak never goes down.
"""

import json
import resource
import sys
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from stream.feeds.formats.format_words import words_of
from stream.feeds.formats.rows import Format, InputUnreadable
from stream.feeds.open import read_rows
from stream.feeds.parse import Defaults, Parser

MB = 1 << 20
EVENT = "x.json"


def repeated(path: Path, head: bytes, body: bytes, tail: bytes, size: int) -> None:
    """A file of `head`, `body` over and over, and `tail`."""
    block = body * (min(size, MB) // len(body))
    with path.open("wb") as file:
        file.write(head)
        for _ in range(size // len(block)):
            file.write(block)
        file.write(tail)


def packed(path: Path, head: bytes, body: bytes, tail: bytes, size: int) -> None:
    """The same as the event of a feed, in a zip that is a thousand times smaller."""
    block = body * (min(size, MB) // len(body))
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        archive.writestr("manifest.json", '{"x": {}}')
        with archive.open(EVENT, "w") as file:
            file.write(head)
            for _ in range(size // len(block)):
                file.write(block)
            file.write(tail)


@dataclass(frozen=True, slots=True)
class Hostile:
    """One file, and how reading it must end."""

    kind: Format
    head: bytes
    body: bytes
    tail: bytes
    size: int
    ending: str
    make: Callable[[Path, bytes, bytes, bytes, int], None] = repeated


FILES = {
    "one line": Hostile("csv", b"number\n", b"x", b"\n", 200 * MB, "read"),
    "one line of numbers": Hostile("text", b"", b"+66890000001", b"\n", 80 * MB, "read"),
    "open quotes": Hostile("csv", b"number,a\n", b'"1,\n', b"", MB // 4, "read"),
    "one JSON line": Hostile("jsonl", b'{"number":"', b"1", b'"}\n', 200 * MB, "read"),
    "deep JSON line": Hostile("jsonl", b"", b"[", b"\n", 80 * MB, "read"),
    "deep document": Hostile("stix", b'{"objects":', b"[", b"", 80 * MB, "refused"),
    "one object": Hostile("stix", b'{"objects":[{"a":"', b"x", b'"}]}', 80 * MB, "refused"),
    "empty objects": Hostile("stix", b'{"objects":[{}', b",{}", b"]}", MB // 4, "read"),
    "one key": Hostile("phoneblock", b'{"', b"k", b'": []}', 80 * MB, "refused"),
    "one number": Hostile("phoneblock", b'{"version":', b"1", b"}", 80 * MB, "refused"),
    "one event": Hostile("misp", b'{"Attribute":[{}', b",{}", b"]}", 4 * MB, "refused"),
    "long event": Hostile("misp", b'{"info":"', b"x", b'"}', 80 * MB, "refused"),
    "zip bomb": Hostile("misp-feed", b'{"info":"', b" ", b'"}', 100 * MB, "refused", packed),
    "one change": Hostile("ringfence", b'{"op":"', b"x", b'"}\n', 80 * MB, "refused"),
}


def ended(path: Path, kind: Format) -> str:
    """Read a file and parse its rows; how that ended."""
    parser = Parser(Defaults("feed", 1_795_564_800), words_of(kind))
    try:
        for rows in read_rows(path, kind):
            parser.parse(rows)
    except InputUnreadable:
        return "refused"
    return "read"


def peak_mb() -> int:
    """The most memory that this process ever had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def main() -> None:
    """Make and read every file."""
    path = Path(sys.argv[1]) / "feed"
    found = {}
    start = peak_mb()
    for name, one in FILES.items():
        one.make(path, one.head, one.body, one.tail, one.size)
        found[name] = (ended(path, one.kind), peak_mb() - start)
        path.unlink()
    sys.stdout.write(json.dumps(found))


if __name__ == "__main__":
    main()
