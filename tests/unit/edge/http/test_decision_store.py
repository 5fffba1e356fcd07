"""The form in which decisions are kept by their ids."""

import msgspec

from stream.edge.http.decision_store import decisions_to_store, packed, unpacked
from tests.support.decisions import decision


def test_a_kept_decision_tells_the_number_that_decided_and_no_other():
    """The other party has only its ends; what an id is never asked for is not kept."""
    (made,) = decisions_to_store([decision("+447700900101", at_ms=0)])
    kept = unpacked(packed(made))
    assert (kept.number, kept.callee) == ("+447700900101", "+6681***5678")
    assert (kept.call_id, kept.origin, kept.sip) == ("", "", None)
    assert kept.reasons == made.reasons


def test_a_decision_that_an_earlier_version_kept_is_read():
    """Version 0.1.0 left out times that were null."""
    (made,) = decisions_to_store([decision(at_ms=0)])
    held = msgspec.msgpack.decode(packed(made))
    del held["called_at"], held["expires_at"]
    assert unpacked(msgspec.msgpack.encode(held)) == unpacked(packed(made))


def test_plain_allows_are_not_kept():
    """An allow that a list on trial would have blocked is; so is any block or flag."""
    allows = [
        decision(verdict="allow", at_ms=0),
        decision(verdict="allow", at_ms=0).replace(b":", b": "),
    ]
    kept = decisions_to_store(
        [*allows, decision(verdict="allow", simulated=True, at_ms=0), b"{", None]
    )
    assert [one.simulated for one in kept] == [True]
