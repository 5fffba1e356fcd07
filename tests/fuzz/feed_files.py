"""Feed formats against any bytes: rows and rejected rows, or a refusal; never a crash.

    python -m tests.fuzz.feed_files --format stix --seconds 600 --seed 1

Each round takes a golden sample of the format, changes it at one to three places, and reads it as
that format and as any other. It ends at the first file that is read otherwise than promised, and
leaves that file's bytes in the message.
"""

import random
import re
import tempfile
import zipfile
from collections.abc import Iterator
from functools import cache
from io import BytesIO
from pathlib import Path

from stream.feeds.formats.format_words import words_of
from stream.feeds.formats.rows import Format, InputUnreadable, ReadOptions
from stream.feeds.open import FORMATS, has_rows, read_rows
from stream.feeds.parse import Defaults, Parser
from stream.feeds.read import read_bare
from tests.fuzz.harness import fuzz
from tests.fuzz.json_records import changed
from tests.support.feed_samples import NOW_S, Case, cases

LISTED = re.compile(rb"\+[1-9]\d{3,14}\*?\Z")
TOKENS = [
    *(b"{", b"}", b"[", b"]", b'"', b",", b":", b"\\", b"'", b"\n", b"\r\n", b"\t", b";", b"|"),
    *(b"null", b"true", b"false", b"NaN", b"-1", b"1e999", b"9" * 400, b"1" * 5000, b"0.5", b"#"),
    *(b"[]", b"{}", b'""', b"[" * 80, b'{"a":' * 80, b"\0", b"\xff", b"\xc3", b"\xed\xa0\x80"),
    *(b"\xff\xfe", b"\xef\xbb\xbf", b"\\ud800", b"\\u0000", b"\xd9\xa1\xd9\xa2", b"\xe2\x80\xae"),
    *(b"PK\x05\x06", b"\x1f\x8b", b"+447700900123", b"+4477009001*", b"6.68E+10", b"0890000001"),
    *(b"2026-13-45", b"9999-12-31", b"-0001-01-01", b"99999999999999999999", b"x" * 70_000),
    *(b"+447700900100-+447700900199", b'="', b"sep=;\n", b'"deleted":true', b'"revoked":true'),
    *(b'"votes":0', b'"to_ids":"1"', b'"removed":true', b'"objects":', b'"Event":', b" AND "),
    *(
        b'"response":',
        b'"numbers":',
        b'"type":"phone-number"',
        b'"op":"remove"',
        b'"+4477009001":{',
    ),
    *(b"<!DOCTYPE a [<!ENTITY b 'c'>]>", b"&b;", b"<![CDATA[", b"<!--", b"</phone>", b"<a b='c'>"),
    *(b'"+4477009001":{', b'"+447700900101":null,'),
    *(b" to ", b"0812345670/1", b"0812345000 to 0812345999", b"\xe0\xb8\x96\xe0\xb8\xb6"),
    *(b"[phone-number:value = '1' OR ", b"\\ud83d\\ude00", b'"Sighting":[{}]', b'"value":[]'),
]
XML_TOKENS = [
    *TOKENS,
    *(b'<c r="XFD1048576"><v>1</v></c>', b'<c r="A0"><v>1</v></c>', b'<c r="ZZZZZZ99999999999">'),
    *(b'<c t="s"><v>99999999</v></c>', b'<c t="e"><v>#N/A</v></c>', b"<v>1e999</v>", b"<v>-1</v>"),
    *(b"<v>NaN</v>", b's="99999"', b'<row r="0">', b"</row>", b"<!DOCTYPE x [<!ENTITY a 'b'>]>"),
    *(b"&a;", b"&#0;", b"&#1114112;", b'table:number-columns-repeated="99999999"', b"<![CDATA["),
    *(b'table:number-rows-repeated="99999999"', b'office:date-value="9999-99-99"', b"<!--"),
]
OPTIONS = (
    ReadOptions(),
    ReadOptions(unconfirmed=True),
    ReadOptions(columns={"number": 1, "source": 2}),
    ReadOptions(columns={"number": "number", "category": "a.b"}),
    ReadOptions(encoding="utf-16"),
    ReadOptions(encoding="cp874"),
    ReadOptions(items="data.numbers", columns={"number": "phone.e164"}),
    ReadOptions(items="phonebooks.phonebook.contact", columns={"number": "telephony.number"}),
    ReadOptions(items="numbers.phone", columns={"number": "@from", "number_to": "@to"}),
    ReadOptions(columns={"number": "Range Start", "number_to": "Range End"}),
    ReadOptions(items="*"),
    ReadOptions(items="data.*", columns={"number": "@key", "category": "why", "source": "."}),
)
DEFAULTS = (
    Defaults("feed", NOW_S),
    Defaults("feed", NOW_S, "TH", now_s=NOW_S, expires_after_s=864_000, sources="both"),
    Defaults("feed", NOW_S, "US", now_s=NOW_S, future="reject", sources="feed", confidence_max=50),
)


@cache
def samples(kind: Format) -> tuple[bytes, ...]:
    """The golden samples of a format as bytes; a feed's folder as a zip."""
    found = [case for rows in (True, False) for case in cases(rows=rows) if case.kind == kind]
    return tuple(map(_bytes_of, found))


def _bytes_of(case: Case) -> bytes:
    if not case.path.is_dir():
        return case.path.read_bytes()
    file = BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for path in sorted(case.path.iterdir()):
            archive.writestr(zipfile.ZipInfo(path.name), path.read_bytes())
    return file.getvalue()


def mutants(kind: Format, seed: int, count: int) -> Iterator[bytes]:
    """Files of a format, most of them changed at one to three places."""
    rng = random.Random(f"{kind} {seed}")
    pool = samples(kind)
    for _ in range(count):
        base = rng.choice(pool)
        if rng.random() < 0.15:
            yield base
        elif kind == "workbook" and rng.random() < 0.8:
            yield with_changed_part(base, rng)
        else:
            yield changed(base, pool, rng, TOKENS)


def with_changed_part(data: bytes, rng: random.Random) -> bytes:
    """A workbook of which one part is changed, and packed again: its checksum is right."""
    with zipfile.ZipFile(BytesIO(data)) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    name = rng.choice(
        [name for name in parts if "sheet" in name or "content" in name] * 3 + [*parts]
    )
    parts[name] = changed(parts[name], tuple(parts.values()), rng, XML_TOKENS)
    file = BytesIO()
    with zipfile.ZipFile(file, "w", rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))) as made:
        for part, text in parts.items():
            made.writestr(zipfile.ZipInfo(part), text)
    return file.getvalue()


def check(path: Path, kind: Format, options: ReadOptions, defaults: Defaults) -> int:
    """Read a file as a format; how many rows it had. Fails unless what is promised holds."""
    try:
        if not has_rows(kind):
            return len(read_bare(path, b""))
        parser, lines = Parser(defaults, words_of(kind)), 0
        for rows in read_rows(path, kind, options=options):
            parsed = parser.parse(rows)
            bad = {row.line for row in parsed.rejected}
            assert len(parsed.rejected) <= len(rows) + len(rows.unreadable)
            assert len(parsed) + len(parsed.rejected) >= len(rows) + len(rows.unreadable), bad
            assert all(LISTED.match(number) for number in parsed.numbers.tolist())
            assert parsed.confidence.max(initial=0) <= defaults.confidence_max
            assert parsed.source.max(initial=0) < len(parser.sources)
            if defaults.now_s:
                assert parsed.reported_at.max(initial=0) <= defaults.now_s
                kept = parsed.expires_at[~parsed.removed & (parsed.expires_at != 0)]
                assert kept.min(initial=2**32 - 1) > defaults.now_s
            assert all(len(row.original) <= 1 << 17 for row in parsed.rejected)
            lines += len(rows)
    except InputUnreadable:
        return 0
    return lines


def run(kind: Format, seed: int, count: int, folder: Path) -> int:
    """Check `count` files; how many rows were read of them."""
    rng = random.Random(seed)
    path = folder / "feed"
    rows = 0
    for data in mutants(kind, seed, count):
        path.write_bytes(data)
        kinds = [kind, rng.choice(FORMATS)] if rng.random() < 0.2 else [kind]
        for one in kinds:
            try:
                rows += check(path, one, _options(one, rng), rng.choice(DEFAULTS))
            except BaseException as error:
                error.add_note(f"{one}: {data!r}")
                raise
    return rows


def _options(kind: Format, rng: random.Random) -> ReadOptions:
    """Draw options; for half of the documents some with a path: without one few have rows."""
    with_path = kind in {"json", "xml"} and rng.random() < 0.5
    return rng.choice([one for one in OPTIONS if one.items] if with_path else OPTIONS)


def main() -> None:
    """Check until the time is over."""
    with tempfile.TemporaryDirectory() as folder:
        at = Path(folder)
        fuzz("rows read", FORMATS, lambda kind, seed: run(kind, seed, 200, at), "--format", 200)


if __name__ == "__main__":
    main()
