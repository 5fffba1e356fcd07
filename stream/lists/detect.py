"""What format a file may be in, and how a feed of such files could be described.

`candidates` looks at the first bytes; `detect` tries each candidate on the file, so that a proposal
says how many of its rows are good, in which region its national numbers are, and which of the
partner's words are still to be mapped.
"""

import csv
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec
import phonenumbers

from stream.core.bloom import HEADER, Shape
from stream.lists.files import Format, encoding_of, has_rows, read_rows, words_of
from stream.lists.folders import MANIFEST, is_folder
from stream.lists.formats.csv import DELIMITERS
from stream.lists.formats.documents import BROKEN
from stream.lists.formats.rows import FIELDS, InputUnreadable, ReadOptions, Rows, Wrong
from stream.lists.guess import fields_in, looks_like_number
from stream.lists.parse import Defaults, Parser

HEAD_BYTES = 256 << 10
ROWS_MAX = 5_000
"""Rows that a candidate is tried on."""
_LINES = 200
_THAI = frozenset(range(0xA1, 0xDB)) | frozenset(range(0xDF, 0xFC))
"""Bytes that are letters in TIS-620 and CP874."""
_STIX = re.compile(r'"type"\s*:\s*"(bundle|indicator|phone-number|identity|observed-data)"')
_KINDS: Mapping[Format, tuple[re.Pattern[str], str]] = {
    "ringfence": (re.compile(r'\A\s*\{[^\n]*"ringfence-changes"'), "its first line says so"),
    "stix": (re.compile(r'"spec_version"|"objects"\s*:'), "objects of STIX 2.1"),
    "phoneblock": (re.compile(r'"votes"\s*:'), "numbers with votes, as PhoneBlock's API answers"),
    "misp": (re.compile(r'"(Event|Attribute|Object)"\s*:'), "a MISP event"),
}


@dataclass(frozen=True, slots=True)
class Proposal:
    """One way to read a file. `sureness` 0 to 100; `why` is a sentence for who decides.

    Of the `rows` that were tried, `good` are entries. `examples`: the first of them, field -> text.
    `unknown_words`: categories of the partner that have no meaning yet. `options`, `region` and
    `encoding` are what the feed would have to say.
    """

    kind: Format
    sureness: int
    why: str
    options: ReadOptions = field(default_factory=ReadOptions)
    region: str | None = None
    rows: int = 0
    good: int = 0
    examples: tuple[Mapping[str, str], ...] = ()
    unknown_words: tuple[str, ...] = ()
    wrong: Mapping[str, int] = field(default_factory=dict)

    def toml(self, path: str) -> str:
        """A feed's file, to be completed: what begins with `# ->` is for the operator to say."""
        lines = [
            'list = "XX/partner"  # -> the list that it fills',
            f"format = {_quoted(self.kind)}",
        ]
        lines += [f"encoding = {_quoted(self.options.encoding)}"] if self.options.encoding else []
        if self.region is not None:
            lines.append(f"region = {_quoted(self.region)}  # whose national numbers these are")
        lines += ["", "[owner]"]
        lines += [
            'name = "XX"  # -> country or organisation',
            'contact = "abuse@example.org"  # ->',
        ]
        lines += ["", "[from]", 'kind = "file"', f"path = {_quoted(path)}"]
        if self.options.columns:
            lines += ["", "[columns]"]
            for name, place in self.options.columns.items():
                lines.append(f"{name} = {place if isinstance(place, int) else _quoted(place)}")
        if self.unknown_words:
            lines += ["", "[categories]"]
            lines += [f'{_quoted(word)} = "other"  # ->' for word in self.unknown_words]
        return "\n".join(lines) + "\n"


def detect(path: Path, regions: Sequence[str], now_s: int) -> tuple[Proposal, ...]:
    """The ways to read a file, the likeliest first; none: it is nothing that is known.

    `regions` are tried for national numbers, in their order. Raises InputUnreadable if the file can
    not be read, or is something known that is no feed (a spreadsheet's own file).
    """
    if is_folder(path):
        found = [Proposal("misp-feed", 90, f"a folder or an archive with a {MANIFEST}")]
    else:
        try:
            with path.open("rb") as file:
                head = file.read(HEAD_BYTES)
            found = candidates(head, path.stat().st_size)
        except OSError as error:
            raise InputUnreadable(f"{path}: {error.strerror}") from error
    tried = [_tried(path, one, regions, now_s) for one in found]
    return tuple(sorted(filter(None, tried), key=lambda one: -one.sureness))


def candidates(head: bytes, size: int) -> list[Proposal]:
    """What a file of `size` bytes that begins with `head` may be. Raises InputUnreadable."""
    if _is_filter(head, size):
        return [Proposal("pybloom", 95, "the header of a pybloom-live filter, of this very size")]
    encoding = _guessed(head)
    read = encoding or encoding_of(head[: len(head) // 4 * 4], Path("the file"))
    text = head.decode(read, "replace")
    options = ReadOptions(encoding=encoding)
    lines = [line for line in text.splitlines()[:_LINES] if line.strip()]
    if len(head) < size and len(lines) > 1:
        lines.pop()  # it is cut
    if text.lstrip("\ufeff \t\r\n").startswith(("{", "[")):
        return [*_documents(text), *_json_lines(lines, options)]
    return [*_tables(lines, options), *_texts(lines, options)]


def _is_filter(head: bytes, size: int) -> bool:
    if len(head) < HEADER.size:
        return False
    rate, slices, bits, capacity, _ = HEADER.unpack_from(head)
    return (
        0 < rate < 1 and 0 < slices < 64 and Shape(rate, slices, bits, capacity).file_size == size
    )


def _guessed(head: bytes) -> str | None:
    """An encoding that the file does not show by itself; None: it does, or is UTF-8."""
    if b"\0" in head:
        return None
    try:
        head[: head.rfind(b"\n") + 1].decode()
    except UnicodeDecodeError:
        odd = [byte for byte in head if byte >= 0x80]
        thai = sum(byte in _THAI for byte in odd)
        return "cp874" if thai >= 0.95 * len(odd) and len(odd) >= 4 else "cp1252"
    return None


def _documents(text: str) -> Iterator[Proposal]:
    for kind, (pattern, why) in _KINDS.items():
        if pattern.search(text) and (kind != "stix" or _STIX.search(text)):
            yield Proposal(kind, 95 if kind != "misp" else 90, why)


def _json_lines(lines: Sequence[str], options: ReadOptions) -> Iterator[Proposal]:
    records: list[dict[str, str]] = []
    for line in lines[:50]:
        try:
            value = msgspec.json.decode(line)
        except BROKEN:
            continue
        if isinstance(value, dict):
            records.append(dict(_leaves(value, (), 0)))
    if len(records) * 2 < len(lines[:50]) or not records:
        return
    paths = list(dict.fromkeys(path for record in records for path in record))
    columns = [[record.get(path, "") for record in records] for path in paths]
    found = fields_in([path.rpartition(".")[2] for path in paths], columns)
    if "number" in found:
        named: dict[str, str | int] = {name: paths[at] for name, at in found.items()}
        plain = all(name == path for name, path in named.items())
        columns_said = {} if plain else {name: named[name] for name in FIELDS if name in named}
        yield Proposal(
            "jsonl", 85, "one JSON object a line", replace(options, columns=columns_said)
        )


def _leaves(value: dict[str, Any], above: tuple[str, ...], depth: int) -> Iterator[tuple[str, str]]:
    for key, held in value.items():
        if isinstance(held, dict) and depth < 4:
            yield from _leaves(held, (*above, key), depth + 1)
        elif isinstance(held, str | int | float) and not isinstance(held, bool):
            yield ".".join((*above, key)), str(held)


def _tables(lines: Sequence[str], options: ReadOptions) -> Iterator[Proposal]:
    if lines and "Company_Phone_Number" in lines[0] and "Violation_Date" in lines[0]:
        yield Proposal("ftc", 98, "the header of the FTC's complaints")
        return
    rows = [line for line in lines if not line.lower().startswith("sep=")]
    if not rows:
        return
    delimiter = max(DELIMITERS, key=lambda mark: sum(mark in row for row in rows))
    try:
        records = [record for record in csv.reader(rows, delimiter=delimiter) if any(record)]
    except csv.Error:
        return
    if not records:
        return
    width = max(map(len, records))
    records = [record + [""] * (width - len(record)) for record in records]
    has_header = not any(sum(c.isdigit() for c in cell) >= 5 for cell in records[0])
    body = records[has_header:] if len(records) > 1 else records
    names = records[0] if has_header else [""] * width
    found = fields_in(names, [[record[at] for record in body] for at in range(width)])
    if "number" not in found or (width == 1 and not has_header):
        return
    columns: dict[str, str | int] = {
        name: names[found[name]].strip() or found[name] + 1 for name in FIELDS if name in found
    }
    told = f"{width} columns between {delimiter!r}, " + ("a header" if has_header else "no header")
    yield Proposal("csv", 85 if width > 1 else 75, told, replace(options, columns=columns))


def _texts(lines: Sequence[str], options: ReadOptions) -> Iterator[Proposal]:
    bare = [line.partition("#")[0].strip() for line in lines]
    numbers = sum(looks_like_number(line) for line in bare if line)
    if numbers * 2 >= len([line for line in bare if line]) > 0:
        yield Proposal("text", 70, "one number a line", options)


def _tried(path: Path, one: Proposal, regions: Sequence[str], now_s: int) -> Proposal | None:
    """The candidate, tried on the file; None: the file can not be read that way."""
    if not has_rows(one.kind):
        return one
    try:
        chunks = _some(path, one)
    except InputUnreadable as error:
        return replace(one, sureness=10, why=f"{one.why}, but: {error}")
    tries = [_with_region(one, chunks, region, now_s) for region in (None, *regions)]
    # Of equals the one whose numbers are assigned, not merely possible; then the first.
    best, _ = max(tries, key=lambda tried: (tried[0].good, tried[1]))
    if not best.rows:
        return replace(best, sureness=min(best.sureness, 40))
    return replace(best, sureness=best.sureness * (best.rows + best.good) // (2 * best.rows))


def _some(path: Path, one: Proposal) -> list[Rows]:
    chunks, count = [], 0
    for rows in islice(
        read_rows(path, one.kind, None, lambda _done, _whole: None, one.options), 100
    ):
        chunks.append(rows)
        count += len(rows)
        if count >= ROWS_MAX:
            break
    return chunks


def _with_region(
    one: Proposal, chunks: Sequence[Rows], region: str | None, now_s: int
) -> tuple[Proposal, int]:
    """The candidate as its rows are read in a region, and how many numbers of it are assigned."""
    # Whether reports are over says nothing of the format: the clock is left out.
    known = Defaults("detect", now_s, region, unknown_category="other")
    parser = Parser(known, words_of(one.kind))
    strict = Parser(replace(known, unknown_category="reject"), words_of(one.kind))
    rows = good = assigned = 0
    wrong: dict[str, int] = {}
    words: dict[str, None] = {}
    examples: list[Mapping[str, str]] = []
    for chunk in chunks:
        parsed = parser.parse(chunk)
        rows += len(chunk) + len(chunk.unreadable)
        good += len(chunk) + len(chunk.unreadable) - len(parsed.rejected)
        if not assigned:  # of the first rows that are any good
            assigned += sum(map(_is_assigned, parsed.numbers[:_LINES].tolist()))
        for row in parsed.rejected:
            wrong[row.wrong.label] = wrong.get(row.wrong.label, 0) + 1
        for row in strict.parse(chunk).rejected:
            if row.wrong is Wrong.BAD_CATEGORY and len(words) < 50:
                words.setdefault(row.detail)
        bad = {row.line for row in parsed.rejected}
        for at, line in enumerate(chunk.lines):
            if len(examples) == 3:
                break
            if line not in bad:
                examples.append(_example(chunk, at))
    told = replace(
        one,
        region=region,
        rows=rows,
        good=good,
        examples=tuple(examples),
        unknown_words=tuple(words),
        wrong=wrong,
    )
    return told, assigned


def _is_assigned(number: bytes) -> bool:
    """Whether a numbering plan assigns such numbers; prefixes are none."""
    try:
        return phonenumbers.is_valid_number(phonenumbers.parse(number.decode()))
    except phonenumbers.NumberParseException:
        return False


def _example(rows: Rows, at: int) -> dict[str, str]:
    texts = {name: getattr(rows, name) for name in FIELDS}
    return {name: str(held[at]) for name, held in texts.items() if held is not None and held[at]}


def _quoted(text: str | None) -> str:
    """A text as TOML's basic string."""
    return json.dumps(text or "", ensure_ascii=False).replace("\x7f", "\\u007f")
