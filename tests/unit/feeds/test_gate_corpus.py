"""Feeds that were configured with a wrong column: the gate holds them without anybody's help."""

import json
import unicodedata
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from stream.core.model.entry import text_of
from stream.core.numbers.emergency import EmergencyNumbers
from stream.feeds.detection.proposal import FeedProposal
from stream.feeds.detection.table_head import head_of
from stream.feeds.feed import READING, Feed
from stream.feeds.formats.rows import ReadOptions
from stream.feeds.gate import GateLimits, GateVerdict, VersionFacts, decide
from stream.feeds.open import lines_of
from stream.feeds.read import read_version
from stream.feeds.row_checks import Bounds, VersionRead
from tests.support.detect_corpus import NOW_S, Case, feed_cases, outcome

Place = str | int
BOUNDS = Bounds(codes=None, own=(), speaks_for=frozenset(), emergency=EmergencyNumbers({}))
NOT_SEEN = {
    "asterisk-master": "callers under no name",
    "brunei-unnamed-ids": "ids at random under no known name",
    "france-arcep-cp1252": "names of operators and the ends of ranges",
    "fraud-and-caller": "a word of suspects in another's name",
    "headerless-ids-and-names": "ids with gaps of 31 under no name",
    "headerless-two-numbers": "two columns of numbers under no name",
    "irsf-test-ranges": "the ends of ranges",
    "json-lines-users": "the telephones of an app's users",
    "number-and-unnamed-ids": "ids at random under no known name",
    "phone-and-mobile": "two columns of numbers",
    "ranges-and-test-numbers": "the ends of ranges",
    "ranges-from-and-to": "the ends of ranges",
    "thai-two-telephones": "two columns of numbers",
    "totals-only": "counts with gaps of 917 under no known name",
    "yymmdd-tickets": "ids with gaps under no known name",
}
"""Faults in a wrong column that the gate cannot see; `feeds detect` asks in each of these cases."""


def places_of(case: Case, one: FeedProposal) -> list[Place]:
    """The columns of a file as a feed may name them, without the right one."""
    answer = dict(zip(case.answer[::2], case.answer[1::2], strict=True))
    right = case.expected.get("number", answer.get("--number"))
    if one.kind == "jsonl":
        first = json.loads(case.path.read_text().splitlines()[0])
        paths = [
            f"{key}.{inner}" if inner else key
            for key, held in first.items()
            for inner in (held if isinstance(held, dict) else [""])
        ]
        return [path for path in paths if path != right]
    head = head_of(list(next(lines_of(case.path, one.options.encoding), [])[:100]))
    assert head is not None
    places: list[Place] = []
    for at, name in enumerate(head.names_in_file, 1):
        if right is None or right not in {at, str(at), unicodedata.normalize("NFC", name)}:
            places += [at, name] if name else [at]
    return places


def wrong_columns() -> Iterator[tuple[Case, FeedProposal, Place, str]]:
    """Every column of every table but the right one, by its name and by its place, in a region."""
    for case in feed_cases():
        _, one, _ = outcome(case)
        if one is not None and one.kind in {"csv", "jsonl"}:
            home = case.expected.get("region", case.expected.get("home", "TH"))
            for place in places_of(case, one):
                yield from ((case, one, place, region) for region in {home: 0, "BN": 0})


def read(case: Case, one: FeedProposal, place: Place, region: str, folder: Path) -> VersionRead:
    """The version, as a feed reads it whose file names that column."""
    feed = Feed(
        name="f",
        list_name="TH/x",
        owner="TH",
        contact="",
        format=one.kind,
        options=ReadOptions(columns={"number": place}, encoding=one.options.encoding),
        reading=replace(READING, region=region),
    )
    return read_version(feed, case.path, folder / "rejects", b"", BOUNDS, NOW_S)


def test_a_wrong_column_is_held(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """No column of dates, ids, sums, accounts or victims goes live, in any configuration.

    The rest is reported: columns that nothing but a person can know to be wrong.
    """
    held = live = 0
    passed: dict[str, list[object]] = {}
    for case, one, place, region in wrong_columns():
        version = read(case, one, place, region, tmp_path)
        found = {text_of(number) for number in version.columns.number.tolist()}
        if not found - set(case.expected["numbers"]):
            continue  # nothing that could block anybody
        seen = VersionFacts(
            sha256="a", whole=True, good=version.good, bad=version.bad, looks=version.looks
        )
        if decide(seen, None, GateLimits()).verdict is GateVerdict.HELD:
            held += 1
        else:
            live += 1
            passed.setdefault(case.name, []).append((place, region))
    with capsys.disabled():
        print(f"\nthe gate alone: {held} wrong columns held, {live} not seen")  # noqa: T201
    assert passed.keys() == NOT_SEEN.keys(), passed
    assert held >= 100
