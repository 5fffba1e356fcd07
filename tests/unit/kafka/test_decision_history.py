"""`ringfence decisions`: what is shown of a decision."""

import json
from copy import deepcopy

from stream.kafka.decision_history import decision_in, without_numbers

DECISION = {
    "verdict": "block",
    "number": "+85523900123",
    "reasons": [{"list": "KH/scam", "prefix": "+8552390012*"}, {"list": "TH/national"}],
}


def test_numbers_and_prefixes_are_masked():
    """A prefix may be as long as a number, so it is masked like one."""
    shown = without_numbers(deepcopy(DECISION))
    assert shown["number"] == "+8552***0123"
    assert shown["reasons"] == [{"list": "KH/scam", "prefix": "+85***12*"}, {"list": "TH/national"}]


def test_what_is_no_decision_is_passed_over():
    """Somebody else may write to the topic, whatever they write."""
    assert decision_in(json.dumps(DECISION).encode()) == DECISION
    for value in (None, b"", b"{", b"[1]", b"\xff\xfe", b'"x"'):
        assert decision_in(value) is None
    assert without_numbers({"number": 5, "reasons": "x"}) == {"number": 5, "reasons": "x"}
