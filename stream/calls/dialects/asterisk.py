"""Asterisk: `Master.csv`, `cdr_custom`, AMI, beanstalkd, CEL, FreePBX, and two modules for Kafka.

Sources: asterisk/asterisk `cdr/cdr_csv.c`, `cdr/cdr_beanstalkd.c`, `cdr/cdr_manager.c`,
`configs/samples/cdr_custom.conf.sample`, `cel_custom.conf.sample`, `cel/cel_manager.c`;
braams/asterisk-kafka `cdr_kafka.c`; vsgroup's cdr_kafka; the columns of FreePBX's asteriskcdrdb.

Traps: `uniqueid` is off by default in `Master.csv` and in vsgroup's module. A call that forks or is
transferred has several records, which share `linkedid` (where it is written). A disposition is a
word, or a number in braams' module; it only serves to distinguish orders of columns here. Times are
the machine's local ones, without a zone.

CEL: each channel has events of its own. CHAN_START of the channel whose `uniqueid` is the call's
`linkedid` is the call as it came in, before an answer. No event has a duration. FreePBX has the
extension that answered in `dst`, and the number that was called in `did`.
"""

import re
from collections.abc import Sequence

from stream.calls.dialects.columns import cells_of
from stream.calls.dialects.csv_form import CsvForm
from stream.calls.dialects.dialect import NoCall, Value
from stream.calls.dialects.flat_form import (
    Attributes,
    FlatForm,
    first_text,
    read_block,
    read_object,
)
from stream.calls.dialects.json_form import JsonForm, paths
from stream.core.model.call import RejectReason, Stage

_UNIQUE = re.compile(r"(?:.+-)?\d+\.\d+")
_ID = re.compile(r"(?:.+-)?\d+\.\d+$|(?=\S*\d)\S{8,}$")
"""Time and sequence, perhaps after the machine's name. Or a text that a program gave to its
channel: never as short as a sequence, and no word."""
_WORD = r"NO ?ANSWER|ANSWERED|BUSY|FAILED|CONGESTION|CANCEL|UNKNOWN|NULL"
_WORDS = ("ANSWERED", "NO ANSWER", "BUSY", "FAILED", "CONGESTION")
_ID_OFF = (
    "no uniqueid: set loguniqueid=yes, and newcdrcolumns=yes for linkedid, in cdr.conf under [csv]"
)


def _id_of_master(cells: Sequence[str]) -> int:
    """Behind amaflags (15): [uniqueid,] [userfield,] [peeraccount, linkedid, sequence]."""
    if len(cells) >= 19 and cells[-2]:
        return len(cells) - 2
    if len(cells) > 16 and _UNIQUE.fullmatch(cells[16]):
        return 16
    raise NoCall(RejectReason.MISSING_FIELD, _ID_OFF)


MASTER_CSV = CsvForm(
    columns_min=16,
    caller=1,
    callee=2,
    channel=5,
    started_at=9,
    duration_s=12,
    sure=(14, re.compile(f"(?:{_WORD})$"), "disposition"),
    call_id=_id_of_master,
    id_like=_ID,
    words=_WORDS,
    id_column=16,
    id_bytes_min=8,
    linked_from=19,
)
"""accountcode, src, dst, dcontext, clid, channel, dstchannel, lastapp, lastdata, start, answer,
end, duration, billsec, disposition, amaflags, and what `cdr.conf` switches on."""

CUSTOM_CSV = CsvForm(
    columns_min=17,
    caller=1,
    callee=2,
    channel=4,
    started_at=8,
    duration_s=11,
    sure=(13, re.compile(rf"(?:{_WORD}|\d+)$"), "disposition"),
    call_id=lambda _: 16,
    id_like=_ID,
    words=_WORDS,
    id_column=16,
    id_bytes_min=8,
)
"""clid, src, dst, dcontext, channel, dstchannel, lastapp, lastdata, start, answer, end, duration,
billsec, disposition, amaflags, accountcode, uniqueid, userfield, sequence: the sample's order."""

AMI = JsonForm(
    call_id=paths("UniqueID", "LinkedID"),
    caller=paths("Source"),
    callee=paths("Destination"),
    started_at=paths("StartTime"),
    duration_s=paths("Duration"),
    trunk=paths("Channel"),
    local_times=True,
    channels=True,
    missing={
        "call_id": "an AMI Cdr event or a job of cdr_beanstalkd has it",
        "caller": "an AMI Cdr event or a job of cdr_beanstalkd has it",
        "callee": "an AMI Cdr event or a job of cdr_beanstalkd has it",
    },
)
_NAMES = "its cdr module writes it; a cdr_custom file must name it under fields"
KAFKA = JsonForm(
    call_id=paths("linkedid", "uniqueid"),
    caller=paths("src"),
    callee=paths("dst"),
    started_at=paths("start"),
    duration_s=paths("duration"),
    trunk=paths("channel"),
    # A cdr_custom file can name CDR variables that the dialplan sets from STIR_SHAKEN().
    verstat=paths("verstat"),
    attestation=paths("attestation"),
    local_times=True,
    channels=True,
    missing={"call_id": _NAMES, "caller": _NAMES, "callee": _NAMES},
)
VSGROUP = JsonForm(
    call_id=paths("linkedid", "uniqueid"),
    caller=paths("src"),
    callee=paths("dst"),
    started_at=paths("start"),
    duration_s=paths("durationsec"),
    trunk=paths("channel"),
    channels=True,
    missing={
        "call_id": "switch on loguniqueid in cdr_kafka.conf",
        "caller": _NAMES,
        "callee": _NAMES,
    },
)
FREEPBX = FlatForm(
    read=read_object,
    call_id=("linkedid", "uniqueid"),
    caller=("src", "cnum"),
    callee=("did", "dst"),
    started_at=("calldate",),
    duration_s=("duration",),
    trunk=("channel",),
    also=("disposition",),
    check=lambda record: _require(record, "calldate"),
    channels=True,
    missing={
        "call_id": "name uniqueid or linkedid in the query",
        "caller": "name src in the query",
        "callee": "name did and dst in the query",
    },
)
"""Rows of asteriskcdrdb's table `cdr`, with its columns' names."""


def _require(record: Attributes, name: str) -> None:
    if name not in record:
        text = f"{name} missing: each row of FreePBX's table cdr has it"
        raise NoCall(RejectReason.MISSING_FIELD, text)


_CEL_COLUMNS = (
    "eventtype", "eventtime", "cid_name", "cid_num", "cid_ani", "cid_rdnis", "cid_dnid", "exten",
    "context", "channame", "appname", "appdata", "amaflags", "accountcode", "uniqueid", "linkedid",
)  # fmt: skip
_CEL_TYPE = ("eventtype", "EventName")
_UNIQUE_ID, _LINKED_ID = ("uniqueid", "UniqueID"), ("linkedid", "LinkedID")
_CHAN_START = ("CHAN_START", "1")
_CEL_OTHERS = frozenset((
    *("CHAN_END", "ANSWER", "HANGUP", "APP_START", "APP_END", "BRIDGE_ENTER", "BRIDGE_EXIT"),
    *("BRIDGE_START", "BRIDGE_END", "CONF_START", "CONF_END", "CONF_ENTER", "CONF_EXIT"),
    *("PARK_START", "PARK_END", "BLINDTRANSFER", "ATTENDEDTRANSFER", "TRANSFER", "FORWARD"),
    *("PICKUP", "HOOKFLASH", "3WAY_START", "3WAY_END", "LINKEDID_END", "USER_DEFINED"),
    *("LOCAL_OPTIMIZE", "LOCAL_OPTIMIZE_BEGIN", "STREAM_BEGIN", "STREAM_END", "DTMF"),
    *map(str, range(2, 25)),
))  # fmt: skip
"""Names and numbers of Asterisk's other events; another text may be another column's."""


def _read_cel(value: Value, wanted: frozenset[str]) -> Attributes:
    """Read an event of CEL: JSON with a table's names or AMI's, or a line of cel_custom."""
    if bytes(value[:64]).lstrip()[:1] == b"{":
        return read_object(value, wanted)
    cells = cells_of(value, ",")
    if len(cells) < len(_CEL_COLUMNS):
        text = f"{len(cells)} columns where at least {len(_CEL_COLUMNS)} are needed"
        raise NoCall(RejectReason.MISSING_FIELD, text)
    return dict(zip(_CEL_COLUMNS, cells, strict=False))


def _check_cel(record: Attributes) -> None:
    """Refuse all events but the first channel's CHAN_START."""
    kind = first_text(record, _CEL_TYPE)
    if kind is None:
        text = "eventtype missing: this is no event of CEL, or cel_custom writes other columns"
        raise NoCall(RejectReason.MISSING_FIELD, text)
    if kind not in _CHAN_START:
        text = "eventtype is not CHAN_START: set events=CHAN_START in cel.conf"
        other = kind in _CEL_OTHERS
        raise NoCall(RejectReason.OTHER_EVENT if other else RejectReason.WRONG_TYPE, text)
    unique, linked = first_text(record, _UNIQUE_ID), first_text(record, _LINKED_ID)
    if linked is not None and unique != linked:
        text = "uniqueid is not linkedid: this channel is another leg of a call that has begun"
        torn = unique is None or unique.startswith(linked)
        raise NoCall(RejectReason.WRONG_TYPE if torn else RejectReason.OTHER_EVENT, text)


def _attempt(_: Attributes) -> Stage:
    return Stage.ATTEMPT


CEL = FlatForm(
    read=_read_cel,
    call_id=(*_LINKED_ID, *_UNIQUE_ID),
    caller=("cid_num", "cid_ani", "CallerIDnum", "CallerIDani"),
    callee=("exten", "Exten", "cid_dnid", "CallerIDdnid"),
    started_at=("eventtime", "EventTime"),
    trunk=("channame", "Channel"),
    also=_CEL_TYPE,
    check=_check_cel,
    stage=_attempt,
    channels=True,
    missing={
        "call_id": "name linkedid or uniqueid in the backend's columns",
        "caller": "name cid_num in the backend's columns",
        "callee": "name exten in the backend's columns",
    },
)


def _read_ami(value: Value, wanted: frozenset[str]) -> Attributes:
    found = read_block(value, wanted, ": ")
    if found and b"\n" not in bytes(value):
        # Torn in its first line, which says the event.
        raise NoCall(RejectReason.MISSING_FIELD, "one line alone is no event of AMI as text")
    return found


def _check_ami(record: Attributes) -> None:
    """Refuse all events but Cdr, and CEL's that is a call."""
    event = first_text(record, ("Event",))
    if event is None:
        raise NoCall(RejectReason.MISSING_FIELD, "Event missing: this is no event of AMI as text")
    if event == "CEL":
        _check_cel(record)
    elif event != "Cdr":
        text = "Event is not Cdr or CEL: read=cdr in manager.conf brings no other events"
        raise NoCall(RejectReason.OTHER_EVENT, text)


AMI_TEXT = FlatForm(
    read=_read_ami,
    call_id=("UniqueID", "LinkedID"),
    caller=("Source", "CallerIDnum", "CallerIDani"),
    callee=("Destination", "Exten", "CallerIDdnid"),
    started_at=("StartTime", "EventTime"),
    duration_s=("Duration",),
    trunk=("Channel",),
    also=("Event", "EventName"),
    check=_check_ami,
    stage=lambda record: Stage.ATTEMPT if record.get("Event") == "CEL" else Stage.END,
    channels=True,
    missing={
        "call_id": "the event is cut short",
        "caller": "the event is cut short",
        "callee": "the event is cut short",
    },
)
