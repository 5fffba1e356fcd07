"""Whatever servers write into their headers and bodies, it has a meaning or a reason."""

import gzip
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given, settings
from hypothesis import strategies as st

from stream.core.model.errors import FeedDown, FeedFault
from stream.feeds.transports.http_get import WAIT_S_MOST, digests, fresh_s, retry_after_s
from stream.feeds.transports.intake import Intake, checksum_in
from stream.feeds.transports.landing import date_s, landing
from stream.feeds.transports.unpack import STEP_BYTES, unpacker

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

WAYS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "deflate": zlib.compress,
    "zstd": zstd.compress,
}
values = st.one_of(
    st.text(),
    st.from_regex(r"max-age ?= ?\"?\d{1,30}", fullmatch=True),
    st.from_regex(r"-?\d{1,30}", fullmatch=True),
    st.from_regex(r"sha-256=:?[A-Za-z0-9+/]{43}=:?", fullmatch=True),
    st.from_regex(
        r"[A-Z][a-z]{2}, \d{1,2} [A-Z][a-z]{2} \d{1,6} \d\d:\d\d:\d\d GMT", fullmatch=True
    ),
)
bodies = st.one_of(
    st.binary(max_size=300),
    st.builds(lambda n, b: b * n, st.integers(1, 5000), st.binary(min_size=1, max_size=300)),
)


@settings(max_examples=50)
@given(values, values, values, st.integers(0, 2**33))
def test_any_header_is_a_wait_within_a_day_or_none(
    one: str, other: str, third: str, now_s: int
) -> None:
    """Nothing that a server writes keeps a feed away for longer, and none of it is an error."""
    wait_s = retry_after_s(one, now_s)
    assert wait_s is None or 0 <= wait_s <= WAIT_S_MOST
    assert 0 <= fresh_s({"Cache-Control": one, "Age": other}) <= WAIT_S_MOST
    assert isinstance(date_s(one), int | None)
    sums = digests({"Repr-Digest": one, "Content-Digest": other, "Digest": third})
    assert all(len(value) == 64 for value in sums.values())


def cut(data: bytes, sizes: list[int]) -> list[bytes]:
    """The same in pieces."""
    pieces, place = [], 0
    for size in sizes:
        pieces.append(data[place : place + size])
        place += size
    return [*pieces, data[place:]]


cuts = st.lists(st.integers(0, 4000), max_size=20)


@given(st.lists(bodies, min_size=1, max_size=3), st.sampled_from(sorted(WAYS)), cuts)
def test_what_was_packed_comes_back(parts: list[bytes], way: str, sizes: list[int]) -> None:
    """In any members and any pieces, never more than a step at once."""
    opened = unpacker(way, "list")
    packed = b"".join(WAYS[way](part) for part in parts)
    out = [step for piece in cut(packed, sizes) for step in opened.feed(piece)]
    opened.end()
    assert b"".join(out) == b"".join(parts)
    assert all(len(step) <= STEP_BYTES for step in out)


@given(bodies, st.sampled_from(["", *sorted(WAYS)]), st.binary(max_size=40), st.data())
def test_any_bytes_land_or_have_a_reason(
    body: bytes, way: str, noise: bytes, data: st.DataObject
) -> None:
    """Damaged, cut, compressed or not: a file within its limit, or FeedDown and no file."""
    sent = bytearray(WAYS[way](body) if way else body)
    place = data.draw(st.integers(0, len(sent)))
    sent[place : place + len(noise)] = noise
    coding = data.draw(st.sampled_from(["", way]))
    with TemporaryDirectory() as folder:
        into = Path(folder) / "version"
        try:
            with landing(into, 100_000, "list") as land:
                intake = Intake(land, coding)
                for piece in cut(bytes(sent), data.draw(cuts)):
                    for _ in intake.feed(piece):
                        assert land.size <= 100_000
                intake.end()
        except FeedDown:
            assert not list(Path(folder).iterdir())
        else:
            assert into.stat().st_size == land.size <= 100_000


lines = st.lists(
    st.builds("{}  {}\n".format, st.text("0123456789abcdefF", max_size=70), st.text(max_size=5)),
    max_size=3,
)


@given(st.one_of(st.text(), lines.map("".join)))
def test_any_text_has_a_checksum_or_a_reason(text: str) -> None:
    """64 hex digits, or FeedDown."""
    try:
        found = checksum_in(text, "list", "place")
    except FeedDown as fault:
        found = "0" * 64 if fault.reason is FeedFault.CHECKSUM else ""
    assert len(found) == 64
