"""Kamailio: acc_json's transactions, CDRs with `cdr_extra`, and attempts from the request route.

Source: kamailio/kamailio `src/modules/acc_json/acc_json_mod.c`, `src/modules/acc`; transactions and
attempts also as Debian 12's Kamailio 5.6.3 wrote them (golden samples). A transaction is
{method, from_tag, to_tag, callid, sip_code, sip_reason, time} and the extras; a CDR {start_time,
end_time, duration}, texts "sec.mmm", and the extras; an attempt what the route puts together.

Traps: no numbers unless the extras name them, so a record without is refused with the line to add;
a BYE that is accounted has caller and callee changed over where the callee hung up, so only
INVITEs are calls; what is no UTF-8 arrives as the text `NON-UTF8`, which no list holds.
"""

from stream.calls.dialects.dialect import Only
from stream.calls.dialects.json_form import JsonForm, paths
from stream.calls.dialects.paths import Members
from stream.core.model.call import Stage

ACC_EXTRA = (
    'modparam("acc_json", "acc_extra", "src_user=$fU;src_ip=$si;dst_ouser=$tU;dst_user=$rU")'
)
_EXTRA = f"add to kamailio.cfg: {ACC_EXTRA}"


def _stage(record: Members) -> Stage:
    ends = ("sip_code", "duration", "end_time")
    return Stage.END if any(key in record for key in ends) else Stage.ATTEMPT


ACC_JSON = JsonForm(
    call_id=paths("callid", "call_id"),
    caller=paths("src_user"),
    callee=paths("dst_user", "dst_ouser"),
    started_at=paths("start_time", "time"),
    duration_s=paths("duration"),
    trunk=paths("src_ip"),
    stage=_stage,
    only=Only(
        ("method",),
        ("INVITE",),
        may_be_absent=True,
        otherwise="only an INVITE says who calls whom; do not set acc_flag for other requests",
    ),
    missing={
        "call_id": "acc_json writes it; an attempt must have it: $ci",
        "caller": _EXTRA,
        "callee": _EXTRA,
    },
)
