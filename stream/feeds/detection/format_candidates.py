"""Candidates: the formats that a file may have by its first bytes, each with its columns."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

import msgspec

from stream.core.filters.bloom import HEADER, FilterShape
from stream.feeds.detection.column_names import regions_hinted, words_known
from stream.feeds.detection.foreign_files import what_it_is
from stream.feeds.detection.guess_columns import guess
from stream.feeds.detection.proposal import FeedProposal, OperatorAnswers
from stream.feeds.detection.table_head import head_of, leaves
from stream.feeds.detection.table_proposals import guessed_columns, question_on
from stream.feeds.detection.text_encodings import encoding_of, legacy_encoding
from stream.feeds.detection.try_proposal import assigned_share
from stream.feeds.formats.element_rows import ITSELF
from stream.feeds.formats.json_array import KEY, MEMBERS, arrays_in, of_member
from stream.feeds.formats.json_objects import BROKEN
from stream.feeds.formats.rows import Format, InputUnreadable, ReadOptions
from stream.feeds.formats.xml_elements import elements_in
from stream.feeds.workbooks import workbook

_LINES = 200
_RECORDS: Final = 100
_PATHS: Final = 30
SHEETS_MAX: Final = 10
"""Sheets that are looked at; a workbook with more is read with `--sheet`."""
_STIX = re.compile(r'"type"\s*:\s*"(bundle|indicator|phone-number|identity|observed-data)"')
_KINDS: Mapping[Format, tuple[re.Pattern[str], str]] = {
    "ringfence": (re.compile(r'\A\s*\{[^\n]*"ringfence-changes"'), "its first line says so"),
    "stix": (re.compile(r'"spec_version"|"objects"\s*:'), "objects of STIX 2.1"),
    "phoneblock": (re.compile(r'"votes"\s*:'), "numbers with votes, as PhoneBlock's API answers"),
    "misp": (re.compile(r'"(Event|Attribute|Object)"\s*:'), "a MISP event"),
}


def sheet_candidates(path: Path, head: bytes, asked: OperatorAnswers) -> Iterator[FeedProposal]:
    """Yield a proposal for each visible sheet of a workbook that has something in it."""
    try:
        names = workbook.sheets_of(path)
    except InputUnreadable as error:
        # A file of another Office program, or an empty one: its kind says more than its damage.
        what = what_it_is(head)
        raise InputUnreadable(f"{path} is {what}: {error}" if what else str(error)) from error
    wanted = [asked.sheet] if asked.sheet else list(names[:SHEETS_MAX])
    for name in wanted:
        options = ReadOptions(sheet=name if asked.sheet or len(names) > 1 else "")
        lines = workbook.first_lines(path, options.sheet, _LINES)
        table = head_of([line for line in lines if line], workbook.DELIMITER)
        if table is None:
            continue
        shown = f" in the sheet {name!r}" if options.sheet else ""
        told = table.told.replace(f" between {workbook.DELIMITER!r}", shown)
        one = FeedProposal("workbook", 85, f"a workbook: {told}", options)
        yield from guessed_columns(one, table.names, table.names_in_file, table.columns, asked)


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
    start = text.lstrip("\ufeff \t\r\n")[:1]
    if start in {"{", "["}:
        known = [*_documents(text)]
        # PhoneBlock's mark, votes, is in the answers of others too.
        is_sure = any(one.kind != "phoneblock" for one in known)
        arrays = [] if is_sure else [*_arrays(text.encode(errors="replace"), options, asked)]
        if any(one.options.items.endswith(MEMBERS) for one in arrays):
            return [*known, *arrays]  # as a line it would be one row of many columns
        return [*known, *arrays, *_json_lines(lines, options, asked)]
    if start == "<":
        return [*_elements(text.encode(errors="replace"), options, asked)]
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


def is_document(head: bytes) -> bool:
    """Return whether a file that begins with `head` is XML, or JSON that is no object a line."""
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    if text.startswith((b"[", b"<")):
        return True
    first, _, more = text.partition(b"\n")
    if not text.startswith(b"{") or not arrays_in(text, 1):
        return False
    try:
        msgspec.json.decode(first)
    except BROKEN:
        return True
    return not more.strip()


def _arrays(head: bytes, options: ReadOptions, asked: OperatorAnswers) -> Iterator[FeedProposal]:
    """Yield a proposal for each array of a JSON document, or object with numbers as names."""
    for items, elements in arrays_in(head, _RECORDS).items():
        if asked.items not in {"", items}:
            continue
        what = "JSON members" if items.endswith(MEMBERS) else "a JSON array"
        where = f"{what} at {items!r}" if items else what
        one = FeedProposal("json", 84, where, replace(options, items=items))
        records = []
        for key, raw in elements:
            try:
                value = msgspec.json.decode(raw)
            except BROKEN:
                continue
            records.append(_record(value if key is None else of_member(key, value)))
        yield from _of_records(one, records, asked)


def _record(value: object) -> dict[str, str]:
    """Return the texts of an element by their paths; by their places for an array."""
    if isinstance(value, dict):
        return dict(leaves(value))
    if isinstance(value, list):
        return {str(at): str(text) for at, text in enumerate(value, 1)}
    return {} if value is None or isinstance(value, bool) else {ITSELF: str(value)}


def _elements(head: bytes, options: ReadOptions, asked: OperatorAnswers) -> Iterator[FeedProposal]:
    """Yield a proposal for the elements of XML that have the numbers: the outermost that do."""
    for items, elements in elements_in(head, _RECORDS, _PATHS).items():
        if asked.items in {"", items}:
            one = FeedProposal("xml", 84, f"XML elements {items!r}", replace(options, items=items))
            yield from _of_records(one, elements, asked)


def _of_records(
    one: FeedProposal, records: Sequence[Mapping[str, str]], asked: OperatorAnswers
) -> Iterator[FeedProposal]:
    paths = list(dict.fromkeys(path for record in records for path in record))
    if not paths or not any(map(str.strip, (text for one in records for text in one.values()))):
        return
    columns = [[record.get(path, "") for record in records] for path in paths]
    own = one.options.items.rpartition(".")[2]
    own_names = {ITSELF: own.replace(MEMBERS, ""), KEY: ""}
    names = [own_names.get(path, path.replace("@", "")) for path in paths]
    are_places = all(path.isdecimal() for path in paths)
    in_file = [""] * len(paths) if are_places else paths
    yield from guessed_columns(
        one, [""] * len(paths) if are_places else names, in_file, columns, asked
    )


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
    yield from guessed_columns(one, paths, paths, columns, asked)


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
    yield from guessed_columns(one, head.names, head.names_in_file, head.columns, asked)


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
        yield replace(one, question=question_on(found, (column,), {column.at: "1"}))
