"""Promises of `stream.calls.publish` that need no broker."""

import hashlib

import pytest

from stream.calls.publish import rejected_form
from stream.calls.settings import PublishSettings
from stream.core.model.call import Origin, Rejected, RejectReason

ORIGIN = Origin("calls", 3, 1048577)


def rejected(value):
    """A record that is no call."""
    return Rejected(value, RejectReason.NOT_JSON, "JSON is malformed", ORIGIN)


def test_a_reject_keeps_its_bytes_and_says_why_and_whence():
    """Whoever mends a switch finds the record as it was, the reason, and where it lay."""
    value, headers = rejected_form(rejected(b"\0\xff"), 100)
    assert value == b"\0\xff"
    assert dict(headers) == {
        "reason": b"not_json",
        "detail": b"JSON is malformed",
        "origin": b"calls/3/1048577",
    }


def test_a_tombstone_stays_one():
    """A record without a value is kept as one; the headers say what it was."""
    assert rejected_form(rejected(None), 100)[0] is None


def test_a_reject_too_large_for_its_topic_is_cut_and_says_so():
    """A record that no topic takes whole must not stop the stream; its digest can be looked for."""
    whole = bytes(range(256)) * 4
    value, headers = rejected_form(rejected(whole), 1000)
    assert value == whole[:1000]
    assert dict(headers)["original_size"] == b"1024"
    assert dict(headers)["original_sha256"] == hashlib.sha256(whole).hexdigest().encode()


@pytest.mark.parametrize(
    "change", [{"compression": "brotli"}, {"rejected_bytes_max": 0}, {"batch_bytes_max": 1}]
)
def test_impossible_settings_are_refused(change):
    """A codec that Kafka does not know, or no room for a record, is found before the start."""
    sound = {
        "decisions_topic": "decisions",
        "rejected_topic": "calls.rejected",
        "cloudevents_source": "/ringfence",
        "rejected_bytes_max": 1000,
    }
    with pytest.raises(ValueError, match=r"compression|must be positive"):
        PublishSettings(**{**sound, **change})
