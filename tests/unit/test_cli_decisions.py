"""`ringfence decisions`: what is shown of a decision."""

import json

from stream.commands.decisions import _Shown

DECISION = {
    "verdict": "block",
    "number": "+85523900123",
    "reasons": [{"list": "KH/scam", "prefix": "+8552390012*"}, {"list": "TH/national"}],
}


def test_numbers_and_prefixes_are_masked_unless_asked_for():
    """A prefix may be as long as a number, so it is masked like one; --full shows both."""
    value = json.dumps(DECISION).encode()
    shown = _Shown(None, full=False, as_json=True).read(value)
    assert shown is not None
    assert shown["number"] == "+8552***0123"
    assert shown["reasons"] == [{"list": "KH/scam", "prefix": "+85***12*"}, {"list": "TH/national"}]
    assert _Shown(None, full=True, as_json=True).read(value) == DECISION
