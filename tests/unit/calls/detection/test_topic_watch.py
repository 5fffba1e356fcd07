"""Promises of the watch for topics in a wrong dialect."""

from stream.calls.decode import decode
from stream.calls.detection.topic_watch import OTHERS_MIN, RECORDS_MIN, Suspicion
from stream.calls.dialects import dialect_named
from stream.calls.dialects.mapping_settings import MappingSettings
from tests.support.builders import DECODING, HOME, raw_of

SETTINGS = MappingSettings(
    "csv", {"call_id": "1", "caller": "2", "callee": "3"}, only={"0": ("CALL",)}
)
READ = {"calls": dialect_named("mapping:m", {"m": SETTINGS})}


def suspects(watch: Suspicion, *values: bytes) -> list[str]:
    """The topics that become suspect by a batch of `values`."""
    raw = raw_of(*values)
    return [one.topic for one in watch.look(raw, decode(raw, READ, HOME, DECODING))[0]]


def test_a_quiet_night_is_no_wrong_dialect() -> None:
    """Begins and ends alone are no sign until very many came; what cannot be read is one soon."""
    watch = Suspicion("TH")
    assert not suspects(watch, *(b"BEGIN,1,,",) * (OTHERS_MIN - 1))
    assert suspects(watch, b"END,1,,") == ["calls"]
    assert not suspects(watch, b"CALL,1,+447700900125,2", b"BEGIN,1,,")
    assert suspects(watch, *(b"CALL,1",) * RECORDS_MIN) == ["calls"]
