"""The numbers that a list may name: calling codes, and their words."""

import numpy as np
import pytest

from stream.core.policy import list_scope
from stream.core.policy.list_scope import (
    CODES,
    EVERY,
    Allowed,
    Outside,
    Scope,
    Scopes,
    allowed,
    words_of,
)


def test_the_first_three_digits_tell_a_calling_code() -> None:
    """Of one, two and three digits: each number below it has its place, its neighbours not."""
    table = list_scope._places()
    assert table.dtype == np.uint8
    assert len(table) == 1000
    by_code = {code: table[digits] for digits in range(1000) for code in CODES
               if str(digits).zfill(3).startswith(str(code))}  # fmt: skip
    assert by_code == {code: place for place, code in enumerate(CODES, 1)}
    known = {digits for digits in range(1000)
             if any(str(digits).zfill(3).startswith(str(code)) for code in CODES)}  # fmt: skip
    assert set(np.flatnonzero(table).tolist()) == known
    # +855 is Cambodia's, +854 nobody's; +66 Thailand's, whatever follows.
    assert table[855] == CODES.index(855) + 1
    assert table[854] == 0
    assert set(table[660:670].tolist()) == {CODES.index(66) + 1}


@pytest.mark.parametrize(
    ("codes", "words"), [(None, "every country"), ({855, 66}, "+66, +855"), ((), "no country")]
)
def test_codes_are_words_for_a_person(codes, words) -> None:
    """All, some in order, or none."""
    held = None if codes is None else frozenset(codes)
    assert words_of(held) == Scope("police", held).words == words


@pytest.mark.parametrize(
    ("name", "scope", "agreed", "codes", "by"),
    [
        # Without a feed's word another country's list names its own numbers; ours names all.
        ("KH/scam", None, (), {855}, "no feed says more"),
        ("TH/scam", None, (), None, ""),
        ("ASEAN/all", None, (), None, ""),
        ("KH/scam", Scope("police", frozenset({855, 66})), (), {855, 66}, "feed police"),
        ("KH/scam", Scope("police", None), (), None, ""),
        ("KH/scam", Scope("", frozenset()), (), (), "its scope is broken"),
        # Of all limits the least; who says so is named once, and only who limits.
        (
            "KH/scam",
            Scope("police", frozenset({855, 66})),
            (Allowed(frozenset({66, 1}), "a"), Allowed(None, "b"), Allowed(frozenset({66}), "a")),
            {66},
            "feed police, a",
        ),
        ("TH/scam", None, (Allowed(frozenset({1}), "a"),), {1}, "a"),
    ],
)
def test_the_least_of_all_limits_counts(name, scope, agreed, codes, by) -> None:
    """Of the feed and of each agreement; who limits is named."""
    held = None if codes is None else frozenset(codes)
    assert allowed(name, scope, "TH", agreed) == Allowed(held, by)


@pytest.mark.parametrize(
    ("may", "own", "emergency", "outside"),
    [
        (EVERY, (), (), None),
        (Allowed(frozenset({66}), "a"), (), (), [Outside.NOT, Outside.NOT, Outside.COUNTRY]),
        (EVERY, ("+668*",), (), [Outside.OWN, Outside.NOT, Outside.NOT]),
        (EVERY, (), ("+66191",), [Outside.NOT, Outside.EMERGENCY, Outside.NOT]),
        (
            *(Allowed(frozenset(), "a"), ("+66*",), ("+66191",)),
            [Outside.OWN, Outside.EMERGENCY, Outside.COUNTRY],
        ),
    ],
)
def test_each_limit_alone_puts_a_number_outside(may, own, emergency, outside) -> None:
    """A country, an own number, a number for help; of several the last. None of them: no limit."""
    scopes = Scopes.of([may], own, emergency)
    assert scopes.codes.shape == (1, 256)
    assert scopes.limit is (outside is not None)
    asked = np.array(["+66812345678", "+66191", "+85523900001"], "S16")
    found = scopes.outside(asked, np.zeros(3, np.int64))
    assert found.dtype == np.uint8
    assert found.tolist() == (outside or [Outside.NOT] * 3)
