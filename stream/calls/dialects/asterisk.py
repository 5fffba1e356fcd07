"""Asterisk: `Master.csv`, `cdr_custom`, AMI and beanstalkd JSON, and its two modules for Kafka.

Sources: asterisk/asterisk `cdr/cdr_csv.c`, `cdr/cdr_beanstalkd.c`, `cdr/cdr_manager.c`,
`configs/samples/cdr_custom.conf.sample`; braams/asterisk-kafka `cdr_kafka.c`; vsgroup's cdr_kafka.

Traps: `uniqueid` is off by default in `Master.csv` and in vsgroup's module; a call that forks or is
transferred has several records, which share `linkedid` (where it is written); a disposition is a
word, or a number in braams' module, so nothing here reads it but to tell orders of columns apart;
times are the machine's local ones and do not say so.
"""

import re
from collections.abc import Sequence

from stream.calls.dialects.csv_form import CsvForm
from stream.calls.dialects.dialect import NoCall
from stream.calls.dialects.json_form import JsonForm, paths
from stream.core.model.call import RejectReason

_UNIQUE = re.compile(r"(?:.+-)?\d+\.\d+")
_ID = re.compile(r"(?:.+-)?\d+\.\d+$|(?=\S*\d)\S{8,}$")
"""Time and sequence, perhaps after the machine's name; or what a program gave to its channel: never
as short as a sequence, and no word."""
_WORD = r"NO ?ANSWER|ANSWERED|BUSY|FAILED|CONGESTION|CANCEL|UNKNOWN|NULL"
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
