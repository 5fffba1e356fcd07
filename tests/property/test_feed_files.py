"""Any bytes as a file of any format: rows and rejected rows, or a refusal of the whole."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.feeds.detection.detect import detect
from stream.feeds.formats.rows import Format, InputUnreadable
from stream.feeds.open import FORMATS
from tests.fuzz.feed_files import DEFAULTS, OPTIONS, TOKENS, check, samples
from tests.support.examples import examples
from tests.support.feed_samples import NOW_S

formats = st.sampled_from(FORMATS)
pieces = st.lists(st.sampled_from(TOKENS), max_size=12).map(b"".join)
garbage = pieces | st.binary(max_size=300)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("feed") / "feed"


@st.composite
def broken(draw: st.DrawFn) -> tuple[Format, bytes]:
    """A golden sample with something else at one place, and the format it was of."""
    kind = draw(formats)
    base = draw(st.sampled_from(samples(kind)))
    start = draw(st.integers(0, len(base)))
    stop = draw(st.integers(start, min(len(base), start + 50)))
    return kind, base[:start] + draw(pieces | st.binary(max_size=20)) + base[stop:]


@examples(50)
@given(
    formats, pieces | st.binary(max_size=300), st.sampled_from(OPTIONS), st.sampled_from(DEFAULTS)
)
def test_any_bytes(path, kind, data, options, defaults):
    """Whatever a partner sends, each row leaves by one of two doors, or the file is refused."""
    path.write_bytes(data)
    check(path, kind, options, defaults)


@examples(50)
@given(broken(), st.sampled_from(OPTIONS), st.sampled_from(DEFAULTS))
def test_broken_samples(path, sample, options, defaults):
    """A file that is nearly right is no less bounded by what is promised."""
    kind, data = sample
    path.write_bytes(data)
    check(path, kind, options, defaults)


@examples(33)
@given(broken().map(lambda sample: sample[1]) | garbage)
def test_detection_of_anything(path, data):
    """Whatever is to be recognised, there are proposals, or none, or a refusal; in their order."""
    path.write_bytes(data)
    try:
        found = detect(path, ("TH", "US"), NOW_S)
    except InputUnreadable:
        return
    assert all(0 <= one.good <= one.rows for one in found)
    assert [one.sureness for one in found] == sorted((o.sureness for o in found), reverse=True)
