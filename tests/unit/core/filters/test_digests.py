"""Digests and fingerprints of numbers in a circle."""

from hashlib import sha512

import numpy as np
import pytest

from stream.core.filters import digests
from stream.core.filters.digests import (
    Digests,
    HashPlan,
    elements,
    fingerprints_in,
    fingerprints_of,
)

KEYS = [b"", b"mekong"]


def by_hand(text: str, key: bytes) -> int:
    """As pybloom-live hashes an element first: its salt, then the key in hexadecimal, the text."""
    salt = sha512(b"\0\0\0\0").digest()
    return int.from_bytes(sha512(salt + key.hex().encode() + text.encode()).digest()[-8:], "little")


@pytest.mark.parametrize("key", KEYS)
def test_a_number_is_found_by_itself_and_by_its_prefixes(key: bytes) -> None:
    """From `+8*` to all its digits, which extensions follow; at most 14, as prefixes have."""
    texts = ["+85523", "+8*", "+85*", "+855*", "+8552*", "+85523*"]
    assert fingerprints_of("+85523", key) == [by_hand(text, key) for text in texts]
    longest = fingerprints_of("+123456789012345", key)
    assert (len(longest), longest[-1]) == (15, by_hand("+12345678901234*", key))


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("count", [0, 1, 3, 4, 7])
def test_many_fingerprints_are_made_piece_by_piece(
    monkeypatch: pytest.MonkeyPatch, key: bytes, count: int
) -> None:
    """However many: each at the place of its text, prefix entries too."""
    monkeypatch.setattr(digests, "_AT_ONCE", 3)
    texts = [f"+85523900{n:03}" for n in range(count)][:-1] + ["+8552*"] * bool(count)
    found = fingerprints_in(np.array(texts, "S16"), key)
    assert found.dtype == np.uint64
    assert found.tolist() == [by_hand(text, key) for text in texts]


def test_words_of_several_salts_are_put_together_once() -> None:
    """Each table of a plan takes the same words; only another plan makes others."""
    of = Digests(elements(np.array(["+85523900001", "+85523900002"], "S16"), b""))
    words = of.words(HashPlan("sha512", 2, 4, 20))
    assert np.shares_memory(words, of.words(HashPlan("sha512", 2, 4, 20)))
    assert not np.shares_memory(words, of.words(HashPlan("sha512", 3, 4, 37)))
