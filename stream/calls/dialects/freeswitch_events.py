"""FreeSWITCH events in Kafka, as mod_event_kafka publishes them: flat JSON, all texts.

Source: voiceip/mod_event_kafka `mod_event_kafka.cpp`, signalwire/freeswitch
`switch_event_serialize_json`. CHANNEL_CREATE comes before the call is answered: an attempt, which
can still be stopped. CHANNEL_HANGUP_COMPLETE is its end.

Traps: without an `event-filter` every event comes, heartbeats too; each leg has events of its own,
which share `Channel-Call-UUID` (in about 1 % of calls they do not); times are in microseconds, "0"
where there is none; the module sets no record key, so a call's events may be in any partition.
"""

from stream.calls.dialects.dialect import Only
from stream.calls.dialects.json_form import JsonForm, paths
from stream.calls.dialects.paths import Members, value_at
from stream.core.model.call import Stage


def _stage(record: Members) -> Stage:
    ended = value_at(record, ("Event-Name",)) == "CHANNEL_HANGUP_COMPLETE"
    return Stage.END if ended else Stage.ATTEMPT


_CHANNEL = "an event of a channel has it"
EVENTS = JsonForm(
    call_id=paths("Channel-Call-UUID", "Unique-ID", "Caller-Unique-ID"),
    caller=paths("Caller-Caller-ID-Number", "Caller-ANI"),
    callee=paths("Caller-Destination-Number"),
    started_at=paths("Caller-Channel-Created-Time"),
    duration_s=paths("variable_duration"),
    trunk=paths("Caller-Network-Addr"),
    stage=_stage,
    only=Only(
        ("Event-Name",),
        ("CHANNEL_CREATE", "CHANNEL_HANGUP_COMPLETE"),
        may_be_absent=False,
        otherwise='set event-filter to "CHANNEL_CREATE,CHANNEL_HANGUP_COMPLETE" in '
        "event_kafka.conf.xml",
    ),
    missing={"call_id": _CHANNEL, "caller": _CHANNEL, "callee": _CHANNEL},
)
