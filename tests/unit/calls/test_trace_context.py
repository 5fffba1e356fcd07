"""Trace contexts of records: what counts as one, and where it lies."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.calls.trace_context import HEADERS_MAX, context_in, contexts_of, rows_with_headers
from stream.core.model.byte_strings import PADDING, Texts
from stream.kafka.batch import Partition, RawBatch
from tests.support.record_batches import text, varint

TRACE, SPAN = b"4bf92f3577b34da6a3ce929d0e0e4736", b"00f067aa0ba902b7"
PARENT = b"00-%b-%b-01" % (TRACE, SPAN)


def on_the_wire(records):
    """A batch as the fetcher gives it: values, each with its record's headers right behind it."""
    data, starts, sizes = b"", [], []
    for value, headers in records:
        starts.append(len(data))
        sizes.append(len(value))
        data += value + varint(len(headers))
        data += b"".join(text(name) + text(held) for name, held in headers)
    values = Texts(
        np.frombuffer(data + bytes(PADDING), np.uint8), np.array(starts), np.array(sizes)
    )
    return replace(RawBatch.of(values, Partition("calls", 0)), headers_follow=True)


@pytest.mark.parametrize(
    "parent",
    [
        b"",
        b"garbage",
        PARENT[:-1],
        PARENT + b"-more",
        PARENT.upper(),
        b"ff" + PARENT[2:],
        b"00-%b-%b-01" % (b"0" * 32, SPAN),
        b"00-%b-%b-01" % (TRACE, b"0" * 16),
        PARENT + b"\n",
        b"\xff" * 55,
        None,
    ],
)
def test_what_is_no_context_is_none(parent):
    """W3C Trace Context 3.2: malformed, zero or forbidden, it is as if it were not there."""
    assert context_in([("traceparent", parent)]) is None


def test_a_context_is_carried_with_its_state():
    """Ids and state go on as they came; of the flags those that are known."""
    found = context_in([("tracestate", b"a=1,b=2"), ("traceparent", PARENT[:-2] + b"ff")])
    assert found is not None
    assert found.headers() == [("traceparent", PARENT[:-2] + b"03"), ("tracestate", b"a=1,b=2")]


def test_a_later_version_is_read_as_far_as_it_is_known():
    """W3C Trace Context 3.2.2: what follows the flags is left out, the version is ours."""
    found = context_in([("traceparent", b"01" + PARENT[2:] + b"-later")])
    assert found is not None
    assert found.headers() == [("traceparent", PARENT)]


def test_two_contexts_are_none():
    """Nobody can say which of them counts."""
    assert context_in([("traceparent", PARENT), ("traceparent", PARENT)]) is None


@pytest.mark.parametrize("state", [b"x" * 513, b"a=\xff", b"", None])
def test_a_state_that_can_not_be_carried_is_left_out(state):
    """The trace itself goes on without it."""
    found = context_in([("traceparent", PARENT), ("tracestate", state)])
    assert found is not None
    assert found.headers() == [("traceparent", PARENT)]


@given(
    st.lists(
        st.tuples(
            st.binary(max_size=200),
            st.lists(
                st.tuples(
                    st.sampled_from([b"traceparent", b"tracestate", b"other"]),
                    st.sampled_from([PARENT, b"a=1", b"", None]) | st.binary(max_size=200),
                ),
                max_size=5,
            ),
        ),
        min_size=1,
        max_size=8,
    )
)
def test_headers_behind_values_are_those_of_the_records(records):
    """The fetcher's batches name the same contexts as headers that came as objects."""
    raw = on_the_wire(records)
    assert contexts_of(raw, range(len(raw))) == [context_in(held) for _, held in records]
    having = rows_with_headers(raw, np.arange(len(raw))).tolist()
    assert having == [row for row, (_, held) in enumerate(records) if held]


def test_headers_that_came_as_objects_are_read_too():
    """So they come where aiokafka fetches."""
    headers = [(), (("traceparent", PARENT),)]
    raw = replace(RawBatch.of([b"{}", b"{}"], Partition("calls", 0)), headers=headers)
    assert rows_with_headers(raw, np.arange(2)).tolist() == [1]
    assert [one and one.trace_id for one in contexts_of(raw, range(2))] == [None, TRACE]


def test_thousands_of_headers_are_not_all_looked_at():
    """A record full of headers costs no more than a few."""
    raw = on_the_wire([(b"{}", [(b"x", b"y")] * HEADERS_MAX + [(b"traceparent", PARENT)])])
    assert contexts_of(raw, [0]) == [None]
