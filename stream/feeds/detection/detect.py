"""Detect the formats that a file may have, and propose a feed's settings for each.

`candidates` reads the first bytes. `detect` tries each candidate on the file: a proposal has the
count of good rows, the region of national numbers, and the partner's words without a meaning.
Whatever is unclear becomes a question, never a guess: a wrong column or country would list innocent
numbers.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import msgspec

from stream.core.filters.bloom import HEADER, FilterShape
from stream.core.model.entry import FIELDS
from stream.feeds.detection.column_names import regions_hinted, says, says_at, words_known
from stream.feeds.detection.foreign_files import what_it_is
from stream.feeds.detection.guess_columns import EXAMPLES, ColumnCandidate, ColumnGuess, guess
from stream.feeds.detection.lookalikes import style_of
from stream.feeds.detection.proposal import Choice, ColumnSeen, FeedProposal, FeedQuestion
from stream.feeds.detection.table_head import head_of, leaves
from stream.feeds.detection.text_encodings import encoding_of, legacy_encoding
from stream.feeds.detection.try_proposal import assigned_share, tried
from stream.feeds.formats.csv import folded_name
from stream.feeds.formats.json_objects import BROKEN
from stream.feeds.formats.rows import Format, InputUnreadable, ReadOptions, Wrong
from stream.feeds.transports.misp_folder import MANIFEST, is_folder, read_folder
from stream.feeds.value_parsers import Dates

HEAD_BYTES = 256 << 10
"""Bytes that decide on the format. A whole file of gigabytes would take minutes."""
_LINES = 200
_STIX = re.compile(r'"type"\s*:\s*"(bundle|indicator|phone-number|identity|observed-data)"')
_KINDS: Mapping[Format, tuple[re.Pattern[str], str]] = {
    "ringfence": (re.compile(r'\A\s*\{[^\n]*"ringfence-changes"'), "its first line says so"),
    "stix": (re.compile(r'"spec_version"|"objects"\s*:'), "objects of STIX 2.1"),
    "phoneblock": (re.compile(r'"votes"\s*:'), "numbers with votes, as PhoneBlock's API answers"),
    "misp": (re.compile(r'"(Event|Attribute|Object)"\s*:'), "a MISP event"),
}


@dataclass(frozen=True, slots=True)
class OperatorAnswers:
    """The answers of a person: `regions` of national numbers, and the column of the numbers.

    `number` is a header's text, a path of keys, or a place from 1; "": no answer.
    """

    regions: Sequence[str]
    number: str = ""


def detect(
    path: Path, regions: Sequence[str], now_s: int, number: str = ""
) -> tuple[FeedProposal, ...]:
    """Return the ways to read a file, the likeliest first; (): no known format.

    `regions` are tried for national numbers in their order, our own country first. `number` is the
    column of the numbers if a person named it. Raises InputUnreadable if the file cannot be read,
    or is of a known kind that is no feed (a spreadsheet's own file).
    """
    asked = OperatorAnswers(regions, number)
    try:
        head = b"" if path.is_dir() else _head(path)
        if what := what_it_is(head):
            _refuse(path, head, what)
        if is_folder(path):
            return (_folder(path),)
        found = candidates(head, path.stat().st_size, asked)
    except OSError as error:
        raise InputUnreadable(f"{path}: {error.strerror}") from error
    good = [tried(path, one, regions, now_s) for one in found]
    return tuple(sorted(good, key=lambda one: (one.question is not None, -one.sureness)))


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(HEAD_BYTES)


def _refuse(path: Path, head: bytes, what: str) -> None:
    """Refuse a file of a kind that is no feed; a packed folder of MISP events may be one."""
    if head.startswith(b"PK") or not is_folder(path):
        raise InputUnreadable(f"{path} is {what}")
    try:
        _folder(path)
    except InputUnreadable as error:
        raise InputUnreadable(f"{path} is {what}") from error


def _folder(path: Path) -> FeedProposal:
    """Propose a MISP feed's folder. Raises InputUnreadable for other folders."""
    try:
        next(read_folder(path), None)
    except InputUnreadable as error:
        text = f"{error}. A list that is packed has to be unpacked first"
        raise InputUnreadable(text) from error
    return FeedProposal("misp-feed", 90, f"a folder or an archive with a {MANIFEST}")


def candidates(head: bytes, size: int, asked: OperatorAnswers) -> list[FeedProposal]:
    """Return proposals for a file of `size` bytes with this head. Raises InputUnreadable."""
    if _is_filter(head, size):
        return [
            FeedProposal("pybloom", 95, "the header of a pybloom-live filter, of this very size")
        ]
    encoding = legacy_encoding(head)
    read = encoding or encoding_of(head[: len(head) // 4 * 4], Path("the file"))
    text = head.decode(read, "replace")
    options = ReadOptions(encoding=encoding)
    lines = [line for line in text.splitlines()[:_LINES] if line.strip()]
    if len(head) < size and len(lines) > 1:
        lines.pop()  # it is cut
    if text.lstrip("\ufeff \t\r\n").startswith(("{", "[")):
        return [*_documents(text), *_json_lines(lines, options, asked)]
    return [*_tables(lines, options, asked)] or [*_texts(lines, options, asked)]


def _is_filter(head: bytes, size: int) -> bool:
    if len(head) < HEADER.size:
        return False
    rate, slices, bits, capacity, _ = HEADER.unpack_from(head)
    return (
        0 < rate < 1
        and 0 < slices < 64
        and FilterShape(rate, slices, bits, capacity).file_size == size
    )


def _documents(text: str) -> Iterator[FeedProposal]:
    for kind, (pattern, why) in _KINDS.items():
        if pattern.search(text) and (kind != "stix" or _STIX.search(text)):
            yield FeedProposal(kind, 95 if kind != "misp" else 90, why)


def _json_lines(
    lines: Sequence[str], options: ReadOptions, asked: OperatorAnswers
) -> Iterator[FeedProposal]:
    records: list[dict[str, str]] = []
    for line in lines[:50]:
        try:
            value = msgspec.json.decode(line)
        except BROKEN:
            continue
        if isinstance(value, dict):
            records.append(dict(leaves(value)))
    if len(records) * 2 < len(lines[:50]) or not records:
        return
    paths = list(dict.fromkeys(path for record in records for path in record))
    columns = [[record.get(path, "") for record in records] for path in paths]
    one = FeedProposal("jsonl", 85, "one JSON object a line", options)
    yield from _guessed_columns(one, paths, paths, columns, asked)


def _tables(
    lines: Sequence[str], options: ReadOptions, asked: OperatorAnswers
) -> Iterator[FeedProposal]:
    if lines and "Company_Phone_Number" in lines[0] and "Violation_Date" in lines[0]:
        yield FeedProposal("ftc", 98, "the header of the FTC's complaints", languages=("US",))
        return
    head = head_of(lines)
    if head is None or (len(head.names) == 1 and not words_known(head.names)):
        return
    one = FeedProposal("csv", 85 if len(head.names) > 1 else 75, head.told, options)
    yield from _guessed_columns(one, head.names, head.names_in_file, head.columns, asked)


def _texts(
    lines: Sequence[str], options: ReadOptions, asked: OperatorAnswers
) -> Iterator[FeedProposal]:
    bare = [text for line in lines if (text := line.partition("#")[0].strip())]
    found = guess([""], [bare], assigned_share(asked.regions), 0 if asked.number else None)
    one = FeedProposal(
        "text", 70, "one number a line", options, languages=regions_hinted([], lines)
    )
    if "number" in found.fields:
        yield one
    elif found.asked or (found.passed and bare):
        column = (*found.asked, *found.passed)[0]
        yield replace(one, question=_question(found, (column,), {column.at: "1"}))


def _guessed_columns(
    one: FeedProposal,
    names: Sequence[str],
    names_in_file: Sequence[str],
    columns: Sequence[Sequence[str]],
    asked: OperatorAnswers,
) -> Iterator[FeedProposal]:
    """Yield a proposal with the guessed columns, or with a question about them."""
    said = _place_of(asked.number, names) if asked.number else None
    reads = says_at if one.kind == "jsonl" else says
    found = guess(names, columns, assigned_share(asked.regions), said, reads)
    places: dict[int, str | int] = {at: names_in_file[at] or at + 1 for at in range(len(names))}
    fields = dict(found.fields)
    dates, notes = Dates(), list(_notes(found))
    if "reported_at" in fields:
        texts = [text.strip() for text in columns[fields["reported_at"]] if text.strip()]
        style = style_of(texts)
        if style is not None:
            dates = Dates(style.dates, style.era == "buddhist")  # type: ignore[arg-type]
        read = sum(not isinstance(dates.reader(text), Wrong) for text in texts)
        if 2 * read < len(texts):
            del fields["reported_at"]
            dates = Dates()
            notes.append(f"days like {texts[0]!r} cannot be read: reports get the file's time")
        elif style is not None and not style.is_sure:
            notes.append(f"dates: day-month is a guess, no day of {texts[0]!r}... is above 12")
    named = {name: places[fields[name]] for name in FIELDS if name in fields}
    if one.kind == "jsonl" and all(name == place for name, place in named.items()):
        named = {}
    one = replace(
        one,
        options=replace(one.options, columns=named),
        dates=dates,
        notes=tuple(notes),
        table=_table(names, columns, places, found),
        languages=_languages(one, names, columns),
    )
    if "number" in found.fields:
        yield one
    elif columns_asked := found.asked or found.passed:
        answers = {column.at: str(places[column.at]) for column in columns_asked}
        yield replace(one, question=_question(found, columns_asked, answers))


_WRITTEN_IN: Final = {
    "cp874": "TH",
    "cp1258": "VN",
    "cp932": "JP",
    "cp949": "KR",
    "gb18030": "CN",
    "big5": "TW",
}
"""The region of each old encoding."""


def _languages(
    one: FeedProposal, names: Sequence[str], columns: Sequence[Sequence[str]]
) -> tuple[str, ...]:
    """Return the countries that a table's encoding, names or else texts point to."""
    home = _WRITTEN_IN.get(one.options.encoding or "")
    if home is not None:
        return (home, "HK") if home == "TW" else (home,)
    return regions_hinted(names, [text for column in columns for text in column[:20]])


def _place_of(said: str, names: Sequence[str]) -> int:
    """Return the column that a person named by its header, its path or its place from 1."""
    for at, name in enumerate(names):
        if folded_name(name) == folded_name(said) and name.strip():
            return at
    if said.isdecimal() and 1 <= int(said) <= len(names):
        return int(said) - 1
    known = ", ".join(repr(name.strip()) for name in names if name.strip())
    raise InputUnreadable(f"no column {said!r}: name one of {known or len(names)}, or its place")


def _question(
    found: ColumnGuess, columns: Sequence[ColumnCandidate], answers: Mapping[int, str]
) -> FeedQuestion:
    why = found.why or "no column looks like the numbers to block"
    choices = tuple(
        Choice(answers[one.at], one.shown, one.why_not, is_likely=one.is_likely) for one in columns
    )
    return FeedQuestion(why, "--number", choices)


def _table(
    names: Sequence[str],
    columns: Sequence[Sequence[str]],
    places: Mapping[int, str | int],
    found: ColumnGuess,
) -> tuple[ColumnSeen, ...]:
    """Return all columns with their first texts, for a person to check."""
    fields = {at: name for name, at in found.fields.items()}
    against = {one.at: one.why_not for one in (*found.passed, *found.asked)}
    return tuple(
        ColumnSeen(
            places[at],
            name.strip(),
            fields.get(at, ""),
            tuple(dict.fromkeys(text.strip() for text in columns[at] if text.strip()))[:EXAMPLES],
            against.get(at, ""),
        )
        for at, name in enumerate(names)
    )


def _notes(found: ColumnGuess) -> Iterator[str]:
    """Yield notes on columns of digits that are no numbers, so that a person can check."""
    if "number" in found.fields:
        for one in found.passed:
            if one.at != found.fields["number"]:
                yield f"not the number: {one.label}: {one.why_not}"
            else:
                yield f"you said that {one.label} is the number; {one.why_not}"
