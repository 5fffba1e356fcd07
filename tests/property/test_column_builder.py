"""Columns of a list, gathered from the chunks of a file."""

from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from stream.feeds.formats.rows import Rows
from stream.feeds.parse import ColumnBuilder, Defaults, Parser
from tests.support.builders import NOW_S, columns_of


@given(
    st.lists(st.tuples(st.integers(0, 30), st.sampled_from("abc")), max_size=60), st.integers(1, 9)
)
def test_rows_gathered_chunk_by_chunk_are_those_of_the_whole(rows, size):
    """However a file is cut into chunks: the same columns, the last row of a pair counting."""
    parser, gathered, whole = Parser(Defaults("x", NOW_S)), ColumnBuilder(b"key"), []
    for at in range(0, len(rows), size):
        part = rows[at : at + size]
        texts = [f"+6681234{n:04d}" for n, _ in part]
        confidence = [str((at + i) % 101) for i in range(len(part))]
        lines = range(1, len(part) + 1)
        read = Rows(lines, texts, texts, source=[s for _, s in part], confidence=confidence)
        whole.append(parser.parse(read))
        gathered.add(whole[-1])
    found = gathered.columns(parser.sources)
    if not whole:
        assert not len(found)
        return
    names = ("reported_at", "expires_at", "category", "confidence", "source")
    arrays: dict[str, Any] = {
        name: np.concatenate([getattr(part, name) for part in whole]) for name in names
    }
    listed = np.concatenate([part.numbers for part in whole])
    wanted = columns_of(listed, b"key", parser.sources, **arrays)
    assert gathered.rows == len(rows)
    assert found.sources == wanted.sources
    assert [found.entry(i) for i in range(len(found))] == [
        wanted.entry(i) for i in range(len(wanted))
    ]
