"""Ids that a number can be read out of, by who has the key."""

from hypothesis import given
from hypothesis import strategies as st

from stream.edge.sinks.preload_ids import NumberIds

NAMES, OTHERS = NumberIds(b"k" * 16), NumberIds(b"o" * 16)
NUMBERS = st.integers(1, 10**15 - 1).map(lambda number: f"+{number}")
TEXTS = NUMBERS | NUMBERS.map(lambda text: f"{text}*")


@given(texts=st.lists(TEXTS, max_size=5))
def test_what_an_id_names_is_read_out_of_it(texts: list[str]) -> None:
    """Numbers and prefixes, each with an id of its own that looks like any other."""
    ids = NAMES.ids(texts)
    assert [NAMES.text(one) for one in ids] == texts
    assert len(set(ids)) == len(set(texts))
    assert all(len(one) == 13 and one[0] in "0123456789ABCDEF" for one in ids)


def test_without_the_key_ids_say_nothing() -> None:
    """Another key finds a number in one id of thousands, and never the right one."""
    texts = [f"+4477009{number:05d}" for number in range(10_000)]
    ids = NAMES.ids(texts)
    found = [OTHERS.text(one) for one in ids]
    assert sum(one is not None for one in found) < 10
    assert not set(found) & set(texts)
    assert len({one[:4] for one in ids}) > 9000, "numbers beside each other have ids far apart"


@given(text=st.text(max_size=20))
def test_anything_else_is_no_id(text: str) -> None:
    """Whatever is asked: nothing is raised."""
    found = NAMES.text(text)
    assert found is None or NAMES.ids([found]) == [text]
