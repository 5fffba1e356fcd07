"""Steps packed away and had again."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.core.model.errors import SnapshotUnreadable
from stream.lists.store.past_reader import packed, unpacked
from stream.lists.store.store_codec import Step, chain_after, entries_json
from tests.support.builders import entry

names = st.sampled_from(["", "KH/scam", "TH/national"])
made = st.tuples(names, st.sampled_from(["add", "remove"]), st.binary(max_size=20), st.booleans())


def steps_of(changes) -> list[Step]:
    """Steps of several lists; where `broken`, one that does not follow."""
    last: dict[str, tuple[int, str]] = {}
    steps = []
    for place, (name, op, payload, broken) in enumerate(changes):
        generation, chain = last.get(name, (0, ""))
        chain = "0" * 40 if broken else chain_after(chain, generation + 1, op, payload)
        steps.append(Step(f"{place}-0", name, generation + 1, op, payload, chain))
        last[name] = (generation + 1, chain)
    return steps


@given(st.lists(made, max_size=30))
def test_each_list_gets_its_steps_again(changes):
    """Whatever lists, steps and breaks of the chain there are, they come back as they were."""
    steps = steps_of(changes)
    piece = packed(steps)
    for name in ("", "KH/scam", "TH/national", "XX/none"):
        assert list(unpacked(piece, name)) == [step for step in steps if step.name == name]


@pytest.mark.parametrize("piece", [b"", b"junk", packed([])[:-1]])
def test_a_damaged_piece_is_refused(piece):
    """A piece that is none is said to be, not passed over."""
    with pytest.raises(SnapshotUnreadable):
        list(unpacked(piece, "KH/scam"))


def test_a_piece_is_small():
    """A step takes less than 40 bytes: a tenth of what it takes in the stream."""
    numbers = [f"+447700900{n:03d}" for n in range(1000)]
    changes = [("KH/scam", "add", entries_json([entry(n)]), False) for n in numbers]
    assert len(packed(steps_of(changes))) < 40 * len(numbers)
