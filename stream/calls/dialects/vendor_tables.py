r"""Switches whose records are read by a mapping that comes with the product: CSV, and cloud JSON.

Sources: Cisco "Call Reporting and Billing Administration Guide", BroadSoft "Accounting Call Detail
Record Interface Specification" R22, Avaya IP Office "SMDR", freeside's `FS/cdr/sansay.pm`, Ribbon
SBC Core "CDR Field Descriptions" 7.1 to 12.1, Microsoft Graph `directRoutingLogRow` and
`pstnCallLogRow`, Twilio's Call resource and Event Streams.

Traps: CUCM's files begin with a line of names and one of types, and its call ids are two columns.
BroadWorks has a record for each side of a call. In a terminating one the user is called, and an
empty calling number is a withheld one, never the user's. It writes `\,` for a comma in a text, and
quotation marks are text. Avaya counts call ids from 1,000,000 again after a restart, so the start
of the call belongs to its id. Its called number is the extension that rings; who called dialled the
number after it. Sansay writes a record for each route that it tried, with one session id. Ribbon's
columns depend on the kind of record. Its durations are hundredths of a second, its times GMT or
local by release. An accounting id is unique within its gateway only. Graph hides digits of foreign
numbers (`+4477009***`) in tenants that ask for it: no list holds those.
"""

from collections.abc import Mapping
from dataclasses import replace

from stream.calls.dialects.dialect import Dialect, SwitchSettings
from stream.calls.dialects.mapping import KindsMapping, made
from stream.calls.dialects.mapping_settings import MappingSettings

_LOCAL = "+00:00"
"""Stands for the switch's zone, which `[switches.<name>]` says."""

CUCM = MappingSettings(
    "csv",
    {
        "caller": "callingPartyNumber",
        "callee": "finalCalledPartyNumber",
        "started_at": "dateTimeOrigination",
        "duration_s": "duration",
        "trunk": "origDeviceName",
    },
    otherwise={"callee": ("originalCalledPartyNumber",)},
    joined={"call_id": ("globalCallID_callManagerId", "globalCallID_callId")},
    only={"cdrRecordType": ("1",)},
    columns=(
        *("cdrRecordType", "globalCallID_callManagerId", "globalCallID_callId"),
        *("origLegCallIdentifier", "dateTimeOrigination", "origNodeId", "origSpan", "origIpAddr"),
        *("callingPartyNumber", "callingPartyUnicodeLoginUserID", "origCause_location"),
        *("origCause_value", "origPrecedenceLevel", "origMediaTransportAddress_IP"),
        *("origMediaTransportAddress_Port", "origMediaCap_payloadCapability"),
        *("origMediaCap_maxFramesPerPacket", "origMediaCap_g723BitRate", "origVideoCap_Codec"),
        *("origVideoCap_Bandwidth", "origVideoCap_Resolution", "origVideoTransportAddress_IP"),
        *("origVideoTransportAddress_Port", "origRSVPAudioStat", "origRSVPVideoStat"),
        *("destLegIdentifier", "destNodeId", "destSpan", "destIpAddr", "originalCalledPartyNumber"),
        *("finalCalledPartyNumber", "finalCalledPartyUnicodeLoginUserID", "destCause_location"),
        *("destCause_value", "destPrecedenceLevel", "destMediaTransportAddress_IP"),
        *("destMediaTransportAddress_Port", "destMediaCap_payloadCapability"),
        *("destMediaCap_maxFramesPerPacket", "destMediaCap_g723BitRate", "destVideoCap_Codec"),
        *("destVideoCap_Bandwidth", "destVideoCap_Resolution", "destVideoTransportAddress_IP"),
        *("destVideoTransportAddress_Port", "destRSVPAudioStat", "destRSVPVideoStat"),
        *("dateTimeConnect", "dateTimeDisconnect", "lastRedirectDn", "pkid"),
        *("originalCalledPartyNumberPartition", "callingPartyNumberPartition"),
        *("finalCalledPartyNumberPartition", "lastRedirectDnPartition", "duration"),
        *("origDeviceName", "destDeviceName"),
    ),
    columns_min=58,
    time="s",
)
"""The columns of CUCM 5 and later that are needed; newer versions append columns."""

BROADWORKS = MappingSettings(
    "csv",
    {"call_id": "0", "callee": "8", "started_at": "9", "trunk": "23"},
    otherwise={"callee": ("3",)},
    choose={"caller": {"5": {"Originating": "3", "Terminating": "6"}}},
    only={"2": ("Normal", "Long Duration", "Failover")},
    escape="\\",
    columns_min=47,
    time="%Y%m%d%H%M%S.%f",
    time_zone="Z",
)
"""0 recordId, 2 type, 3 userNumber, 5 direction, 6 callingNumber, 8 calledNumber, 9 startTime (in
UTC), 23 route: the order of releases 14 to 23."""

AVAYA_IPO = MappingSettings(
    "csv",
    {"caller": "3", "started_at": "0", "duration_s": "1"},
    choose={"callee": {"4": {"I": "6", "O": "5"}}},
    joined={"call_id": ("0", "9")},
    skip=("Call Start", "Call start", '"Call Start', '"Call start'),
    columns_min=17,
    time="%Y/%m/%d %H:%M:%S",
    time_zone=_LOCAL,
)
"""0 call start, 1 connected time, 3 caller, 4 direction, 5 called number, 6 dialled number, 9 call
id."""

SANSAY = MappingSettings(
    "csv",
    {
        "call_id": "4",
        "caller": "15",
        "callee": "17",
        "started_at": "6",
        "duration_s": "53",
        "trunk": "13",
    },
    otherwise={"caller": ("58",)},
    only={"2": ("R",)},
    delimiter=";",
    columns_min=54,
    time="%a %b %d %H:%M:%S %Y",
    time_zone=_LOCAL,
)
"""2 record type (R: a call, A: audit), 4 session id, 6 start, 13 trunk of origination, 15 source
number, 17 destination number, 53 duration, 58 the asserted identity."""

TEAMS = MappingSettings(
    "json",
    {
        "call_id": "correlationId",
        "caller": "callerNumber",
        "callee": "calleeNumber",
        "started_at": "inviteDateTime",
        "duration_s": "duration",
        "trunk": "trunkFullyQualifiedDomainName",
    },
    otherwise={"call_id": ("callId", "id"), "started_at": ("startDateTime",)},
)
"""Rows of getDirectRoutingCalls, and of getPstnCalls, which have `callId`."""

TWILIO = MappingSettings(
    "json",
    {
        "call_id": "sid",
        "caller": "from",
        "callee": "to",
        "started_at": "start_time",
        "duration_s": "duration",
        "trunk": "trunk_sid",
    },
    otherwise={"started_at": ("date_created",)},
    time="%a, %d %b %Y %H:%M:%S %z",
)
"""The Call resource; a call that was not connected has no `start_time`."""

TWILIO_EVENTS = MappingSettings(
    "json",
    {
        "call_id": "data.call_sid",
        "caller": "data.from.caller",
        "callee": "data.to.callee",
        "started_at": "data.start_time",
        "duration_s": "data.duration",
    },
    otherwise={"started_at": ("data.created_time",)},
    only={
        "type": (
            "com.twilio.voice.insights.call-summary.complete",
            "com.twilio.voice.insights.call-summary.partial",
            "com.twilio.voice.insights.call-summary.predicted-complete",
        )
    },
)
"""Call summaries of Event Streams; other events say nothing of both parties."""


def _ribbon(
    stage: str, calling: int, trunk: int, columns: int, duration: int = 0
) -> MappingSettings:
    """Return the table of one kind of Ribbon's records; a number is a column's, from 0."""
    fields = {"caller": str(calling), "callee": str(calling + 1), "trunk": str(trunk)}
    return MappingSettings(
        "csv",
        {**fields, "duration_s": str(duration)} if duration else fields,
        joined={"call_id": ("1", "2"), "started_at": ("5", "6")},
        constants={"stage": stage},
        columns_min=columns,
        time="%m/%d/%Y-%H:%M:%S.%f",
        time_zone=_LOCAL,
        duration="cs",
    )


RIBBON = {
    "START": _ribbon("attempt", 14, 28, 100),
    "STOP": _ribbon("end", 19, 33, 150, duration=13),
    "ATTEMPT": _ribbon("end", 16, 30, 110),
}
"""By the kind of record. 1 gateway, 2 accounting id, 5 and 6 start, 13 duration; then the calling
number, the called number after it, and the ingress trunk group. Other kinds are of no call."""

Table = MappingSettings | Mapping[str, MappingSettings]
"""One table, or one for each kind of record, by the text of the first column."""
TABLES: Mapping[str, tuple[str, Table]] = {
    "cucm": ("Cisco CUCM CDR files", CUCM),
    "broadworks": ("BroadWorks accounting CSV", BROADWORKS),
    "avaya-ipo": ("Avaya IP Office SMDR", AVAYA_IPO),
    "sansay": ("Sansay VSX CDR files", SANSAY),
    "ribbon": ("Ribbon SBC Core, GSX accounting (ACT)", RIBBON),
    "teams": ("Microsoft Graph call logs of Teams", TEAMS),
    "twilio": ("Twilio Call resources", TWILIO),
    "twilio-events": ("Twilio Event Streams summaries", TWILIO_EVENTS),
}
"""By the dialect's name, its records in a few words and the table."""


def is_local(table: Table) -> bool:
    """Return whether the times of a table are in the switch's own zone."""
    return all(one.time_zone == _LOCAL for one in _kinds(table).values())


def _kinds(table: Table) -> Mapping[str, MappingSettings]:
    return {"": table} if isinstance(table, MappingSettings) else table


def for_switch(name: str, table: Table, switch: SwitchSettings) -> Dialect:
    """Return the dialect of a table, with the zone and the trunk of the switch."""
    tables = {kind: _of_switch(one, switch) for kind, one in _kinds(table).items()}
    if isinstance(table, MappingSettings):
        return made(name, tables[""])
    kinds = MappingSettings("csv", kinds={"0": {kind: kind for kind in tables}})
    return KindsMapping(name, kinds, tables)


def _of_switch(table: MappingSettings, switch: SwitchSettings) -> MappingSettings:
    if table.time_zone == _LOCAL:
        table = replace(table, time_zone=switch.time_zone)
    if switch.trunk:
        fields = {key: place for key, place in table.fields.items() if key != "trunk"}
        table = replace(table, fields=fields, constants={**table.constants, "trunk": switch.trunk})
    return table
