"""FreeSWITCH: mod_json_cdr, mod_cdr_csv and mod_event_kafka.

CDRs as mod_json_cdr writes and posts them. Source: signalwire/freeswitch `src/switch_ivr.c`
(switch_ivr_generate_json_cdr), `src/mod/event_handlers/mod_json_cdr`; samples in cgrates/cgrates
`engine/fscdr_test.go`.

    variables   uuid, call_uuid, sip_from_user, start_uepoch...; URL-encoded unless encode-values
                is false
    callflow    the channel's profiles, the newest first: an array, or, in older versions, the key
                again and again; caller_profile{caller_id_number, ani, destination_number...}

The body of a POST may be `cdr=` and the JSON, URL-encoded or base64 (`encode`); all three are read.

Traps: a transfer puts a new profile in front, so the call as it came in is the *last* one. A JSON
reader takes the last of a repeated key too. After uuid_bridge, a profile may have the same caller
and callee; then the INVITE counts. The b-leg is logged too, with the same `call_uuid`, and is
marked as a repeat of its call.

Events as mod_event_kafka publishes them: flat JSON, all texts. Source: voiceip/mod_event_kafka
`mod_event_kafka.cpp`, signalwire/freeswitch `switch_event_serialize_json`. CHANNEL_CREATE comes
before the call is answered: an attempt, which can still be stopped. CHANNEL_HANGUP_COMPLETE is its
end.

Traps: without an `event-filter` every event comes, heartbeats too. Each leg has its own events,
which share `Channel-Call-UUID` (in about 1 % of calls they do not). Times are in microseconds, "0"
for none. The module sets no record key, so a call's events may be in any partition.
"""

import re
from base64 import b64decode
from binascii import Error as Base64Error
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import unquote_to_bytes

import msgspec

from stream.calls.call_batch import KeyFields
from stream.calls.dialects import fields
from stream.calls.dialects.csv_form import CsvForm
from stream.calls.dialects.dialect import (
    Details,
    FieldLayout,
    NoCall,
    Only,
    RecordField,
    SwitchSettings,
    Value,
)
from stream.calls.dialects.json_form import JsonForm, Members, paths, too_deep, value_at
from stream.core.model.call import RejectReason, Stage
from stream.core.numbers.spelling import in_utf8, unescaped

CSV = CsvForm(
    columns_min=11,
    caller=1,
    callee=2,
    started_at=4,
    duration_s=7,
    sure=(9, re.compile(r"[A-Z][A-Z0-9_]+$"), "hangup cause"),
    call_id=lambda _: 10,
    # A channel's uuid; with inbound-use-callid-as-uuid a SIP Call-ID, which is as long. A cause, a
    # duration, a codec or a time is neither.
    id_like=re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$|\S{20,}$|\S+@\S+$"),
    words=(
        *("NORMAL_CLEARING", "ORIGINATOR_CANCEL", "NO_ANSWER", "USER_BUSY", "NO_USER_RESPONSE"),
        *("CALL_REJECTED", "UNALLOCATED_NUMBER", "NO_ROUTE_DESTINATION", "SUBSCRIBER_ABSENT"),
        *("NORMAL_TEMPORARY_FAILURE", "NORMAL_UNSPECIFIED", "RECOVERY_ON_TIMER_EXPIRE"),
        *("INVALID_NUMBER_FORMAT", "NORMAL_CIRCUIT_CONGESTION", "USER_NOT_REGISTERED"),
        *("DESTINATION_OUT_OF_ORDER", "INCOMPATIBLE_DESTINATION", "ATTENDED_TRANSFER"),
        *("BLIND_TRANSFER", "LOSE_RACE", "ALLOTTED_TIMEOUT", "MEDIA_TIMEOUT", "INTERWORKING"),
    ),
    id_column=10,
    id_bytes_min=20,
    unescaped=True,
)
"""mod_cdr_csv's template `example`: caller_id_name, caller_id_number, destination_number, context,
start_stamp, answer_stamp, end_stamp, duration, billsec, hangup_cause, uuid, bleg_uuid... The module
writes the name as the caller gives it, with its quotes and line ends."""


class Profile(msgspec.Struct, gc=False):
    """A profile of a channel: who called whom, from where."""

    caller_id_number: Any = None
    ani: Any = None
    destination_number: Any = None
    network_addr: Any = None


class Flow(msgspec.Struct, gc=False):
    """One member of `callflow`."""

    caller_profile: Profile = msgspec.field(default_factory=Profile)


class Variables(msgspec.Struct, gc=False):
    """The channel variables that deciding needs."""

    uuid: Any = None
    call_uuid: Any = None
    sip_from_user: Any = None
    sip_to_user: Any = None
    sip_req_user: Any = None
    start_uepoch: Any = None
    start_epoch: Any = None
    duration: Any = None
    sip_verstat: Any = None
    sip_stir_shaken_attest: Any = None
    sip_h_identity: Any = None


class ChannelRecord(msgspec.Struct, gc=False):
    """A channel's CDR: its variables, and its profiles, of which the last is the first."""

    variables: Variables
    callflow: list[Flow] | Flow = msgspec.field(default_factory=list)


_decode = msgspec.json.Decoder(ChannelRecord).decode


class FreeSwitch:
    """The dialect `freeswitch`, and `freeswitch-xml` with another reader."""

    json_keys = ()  # `callflow` may be there many times, and the values in it too

    def __init__(
        self,
        name: str,
        switch: SwitchSettings,
        read: Callable[[Value], ChannelRecord] | None = None,
    ) -> None:
        self.name = name
        self._read = read or _read
        self._trunk = switch.trunk or None
        self.layout = None if read else _layout(switch.trunk)

    def key_fields(self, value: Value, /) -> KeyFields:
        """See `Dialect`."""
        return self._key_fields(self._read(value))

    def _key_fields(self, record: ChannelRecord) -> KeyFields:
        variables, profile = record.variables, _profile(record)
        call_id = _variable(variables.call_uuid) or _variable(variables.uuid)
        if not call_id:
            text = "variables.uuid and variables.call_uuid missing: every channel has them"
            raise NoCall(RejectReason.MISSING_FIELD, text)
        caller = fields.text(profile.caller_id_number) or fields.text(profile.ani)
        callee = fields.text(profile.destination_number)
        if caller is None or callee is None or caller == callee:
            said_to = _variable(variables.sip_req_user) or _variable(variables.sip_to_user)
            same = caller == callee
            caller = ((same or not caller) and _variable(variables.sip_from_user)) or caller
            callee = ((same or not callee) and said_to) or callee
        if callee is None:
            text = (
                "callflow.caller_profile.destination_number and variables.sip_to_user missing: "
                "this is no whole record of mod_json_cdr or mod_xml_cdr"
            )
            raise NoCall(RejectReason.MISSING_FIELD, text)
        trunk = self._trunk or fields.text(profile.network_addr)
        return KeyFields(
            call_id,
            caller,
            callee,
            trunk,
            verstat=_variable(variables.sip_verstat),
            attestation=_variable(variables.sip_stir_shaken_attest),
            passport=_variable(variables.sip_h_identity),
        )

    def details(self, value: Value, /) -> Details:
        """See `Dialect`."""
        record = self._read(value)
        return Details(
            started_at_s=_started_at_s(record),
            stage=Stage.END,
            carrier=None,
            duration_s=fields.duration_s(record.variables.duration),
        )

    def started_at_s(self, value: Value, /) -> float | None:
        """See `Dialect`."""
        return _started_at_s(self._read(value))

    def found(self, value: Value, /) -> Mapping[str, RecordField]:
        """See `Dialect`."""
        record = self._read(value)
        variables, profile = record.variables, _profile(record)
        last = "callflow (last).caller_profile."
        return {
            "call_id": RecordField(
                "variables.call_uuid or uuid", variables.call_uuid or variables.uuid
            ),
            "caller": RecordField(
                f"{last}caller_id_number or ani", profile.caller_id_number or profile.ani
            ),
            "callee": RecordField(f"{last}destination_number", profile.destination_number),
            "trunk": RecordField(f"{last}network_addr", profile.network_addr),
            "started_at": RecordField("variables.start_uepoch", variables.start_uepoch),
            "duration_s": RecordField("variables.duration", variables.duration),
            "verstat": RecordField("variables.sip_verstat", variables.sip_verstat),
            "attestation": RecordField(
                "variables.sip_stir_shaken_attest", variables.sip_stir_shaken_attest
            ),
            "passport": RecordField("variables.sip_h_identity", variables.sip_h_identity),
        }


def _layout(trunk: str) -> FieldLayout:
    """Return the layout of usual records: JSON with one profile, which has both numbers."""
    profile = ("callflow", "caller_profile")
    signed = {
        "verstat": "sip_verstat",
        "attestation": "sip_stir_shaken_attest",
        "passport": "sip_h_identity",
    }
    paths: dict[str, tuple[str, ...]] = {
        "call_id": ("variables", "call_uuid"),
        "caller": (*profile, "caller_id_number"),
        "callee": (*profile, "destination_number"),
        **({} if trunk else {"trunk": (*profile, "network_addr")}),
        **{field: ("variables", name) for field, name in signed.items()},
    }
    return FieldLayout(
        tuple(paths.items()),
        (("trunk", trunk),) if trunk else (),
        empty_is_absent=True,
        lists=("callflow",),
        parties_elsewhere=True,
        encoded=("call_id", *signed),
    )


def _profile(record: ChannelRecord) -> Profile:
    """Return the first profile of the channel: the call as it came in."""
    flow = record.callflow
    if isinstance(flow, list):
        return flow[-1].caller_profile if flow else Profile()
    return flow.caller_profile


def _variable(value: Any) -> str | None:
    """Return a channel variable; by default URL-encoded, which only a `%` shows."""
    text = fields.text(value)
    return unescaped(text) if text else text


def _started_at_s(record: ChannelRecord) -> float | None:
    for value in (record.variables.start_uepoch, record.variables.start_epoch):
        moment = fields.moment_s(value, None)
        if moment is not None:
            return moment
    return None


_FORM = ord("c")
"""Looked at first: cutting four bytes off each record costs more."""


def _read(value: Value) -> ChannelRecord:
    """Read the record in a file's JSON or in the body of a POST."""
    if value and value[0] == _FORM and value[:4] == b"cdr=":
        value = _unwrapped(bytes(value[4:]))
    try:
        return _decode(value)
    except msgspec.ValidationError:
        record = _by_members(value)
        if record is None:
            raise
        return record


def _by_members(value: Value) -> ChannelRecord | None:
    """Read each value by itself: one that cannot be kept hides no other.

    None: it has no variables, without which it is no channel's record.
    """
    record = fields.members(value)
    variables = fields.members(record.get("variables", _NOTHING))
    if not variables:
        return None
    flow = record.get("callflow", _NOTHING)
    flow = next(reversed(fields.items(flow)), flow)
    profile = fields.members(fields.members(flow).get("caller_profile", _NOTHING))
    return ChannelRecord(
        Variables(**_kept(Variables, variables)), Flow(Profile(**_kept(Profile, profile)))
    )


def _kept(kind: type[msgspec.Struct], held: Mapping[str, msgspec.Raw]) -> dict[str, Any]:
    """Read the members of `held` that `kind` has."""
    return {name: fields.read(held[name]) for name in kind.__struct_fields__ if name in held}


_NOTHING = msgspec.Raw(b"null")


def _unwrapped(form: bytes) -> bytes:
    """Decode URL-encoded or base64 JSON; neither form shows to others how deep it is."""
    text = unwrapped(form, b"{", "JSON")
    if too_deep(text):
        raise NoCall(RejectReason.TOO_DEEP, "objects or arrays nested too deep")
    return in_utf8(text)


_NOT = {b"{": RejectReason.NOT_JSON, b"<": RejectReason.NOT_XML}


def unwrapped(form: bytes, begin: bytes, what: str) -> bytes:
    """Decode the text after `cdr=`: URL-encoded or base64, and it begins with `begin`."""
    text = unquote_to_bytes(form)
    if text[:1] not in (begin, b""):
        try:
            text = b64decode(text, validate=True)
        except Base64Error as error:
            detail = f"cdr= is followed by neither {what} nor base64: {error}"
            raise NoCall(_NOT[begin], detail) from error
    return text


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
    verstat=paths("variable_sip_verstat"),
    attestation=paths("variable_sip_stir_shaken_attest"),
    passport=paths("variable_sip_h_identity"),
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
