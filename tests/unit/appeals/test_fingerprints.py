"""Which number under a prefix has a fingerprint."""

import pytest

from stream.appeals import fingerprints
from stream.appeals.fingerprints import number_under
from tests.support.builders import fingerprint_of

KEY = bytes(range(32))


@pytest.mark.parametrize("number", ["+85523900123", "+855239001234"])
def test_numbers_of_every_length_of_the_country_are_found(number) -> None:
    """Cambodia's numbers have 8 or 9 digits: both are looked for, by the circle's key."""
    wanted = fingerprint_of(number, KEY)
    assert number_under(["+8552391*", "+8552390*"], wanted, KEY) == number
    assert number_under(["+8552390*"], wanted, b"") is None
    assert number_under([f"{number}*"], wanted, KEY) == number


def test_what_is_too_much_or_nobodys_is_not_looked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Prefixes that cover too much, or of no country, end as not found, not in hours of work."""
    wanted = fingerprint_of("+85523900123")
    assert number_under(["+999*", "+66*"], wanted, b"") is None
    monkeypatch.setattr(fingerprints, "HASHED_MAX", 500)
    assert number_under(["+8552390*"], wanted, b"") is None
    assert number_under(["+855239001*"], wanted, b"") == "+85523900123"
