"""SIP proxies: Kamailio and OpenSIPS.

Kamailio: acc_json's transactions, CDRs with `cdr_extra`, and attempts from the request route.

Source: kamailio/kamailio `src/modules/acc_json/acc_json_mod.c`, `src/modules/acc`; transactions and
attempts also as Debian 12's Kamailio 5.6.3 wrote them (golden samples). A transaction is {method,
from_tag, to_tag, callid, sip_code, sip_reason, time} and the extras. A CDR is {start_time,
end_time, duration}, texts "sec.mmm", and the extras. An attempt is what the route puts together.

Traps: there are no numbers unless the extras name them, so a record without numbers is refused with
the line to add. A BYE that is accounted has caller and callee exchanged if the callee hung up, so
only INVITEs are calls. Text that is not UTF-8 arrives as `NON-UTF8`, which no list holds. Results
of STIR/SHAKEN are extras too (of both proxies): `verstat`, `attestation`, `passport`.

OpenSIPS: E_ACC_CDR, E_ACC_EVENT and E_ACC_MISSED_EVENT, as event_kafka publishes them.

Source: OpenSIPS/opensips `modules/acc/acc.c` (its event parameters), `modules/event_kafka`,
`evi/evi_transport.c`: {"jsonrpc":"2.0","method":"E_ACC_CDR","params":{method, from_tag, to_tag,
callid, sip_code, sip_reason, time, extras, duration, ms_duration, setuptime, created}}.

Traps: there are no numbers unless `extra_fields` names them. A call with several legs has one event
per leg. A BYE that is accounted has the numbers exchanged if the callee hung up.
"""

from stream.calls.dialects.dialect import Only
from stream.calls.dialects.json_form import JsonForm, Members, paths, value_at
from stream.core.model.call import Stage

_KAMAILIO_EXTRA = (
    'add to kamailio.cfg: modparam("acc_json", "acc_extra", '
    '"src_user=$fU;src_ip=$si;dst_ouser=$tU;dst_user=$rU")'
)


def _kamailio_stage(record: Members) -> Stage:
    ends = ("sip_code", "duration", "end_time")
    return Stage.END if any(key in record for key in ends) else Stage.ATTEMPT


KAMAILIO = JsonForm(
    call_id=paths("callid", "call_id"),
    caller=paths("src_user"),
    callee=paths("dst_user", "dst_ouser"),
    started_at=paths("start_time", "time"),
    duration_s=paths("duration"),
    trunk=paths("src_ip"),
    verstat=paths("verstat"),
    attestation=paths("attestation"),
    passport=paths("passport"),
    stage=_kamailio_stage,
    only=Only(
        ("method",),
        ("INVITE",),
        may_be_absent=True,
        otherwise="only an INVITE says who calls whom; do not set acc_flag for other requests",
    ),
    missing={
        "call_id": "acc_json writes it; an attempt must have it: $ci",
        "caller": _KAMAILIO_EXTRA,
        "callee": _KAMAILIO_EXTRA,
    },
)

_OPENSIPS_EXTRA = (
    'add to opensips.cfg: modparam("acc", "extra_fields", "evi: src_user; dst_user; src_ip"), and '
    "in the route $acc_extra(src_user) = $fU; $acc_extra(dst_user) = $rU; $acc_extra(src_ip) = $si;"
)


def _opensips_stage(record: Members) -> Stage:
    # E_ACC_EVENT comes when the call is answered, the others when it is over.
    return Stage.ATTEMPT if value_at(record, ("method",)) == "E_ACC_EVENT" else Stage.END


OPENSIPS = JsonForm(
    call_id=paths("params.callid"),
    caller=paths("params.src_user"),
    callee=paths("params.dst_user"),
    started_at=paths("params.created", "params.time"),
    duration_s=paths("params.duration"),
    trunk=paths("params.src_ip"),
    verstat=paths("params.verstat"),
    attestation=paths("params.attestation"),
    passport=paths("params.passport"),
    stage=_opensips_stage,
    only=Only(
        ("params", "method"),
        ("INVITE",),
        may_be_absent=False,
        otherwise="only an INVITE says who calls whom; do not account other requests, and send "
        "only E_ACC_CDR, E_ACC_EVENT and E_ACC_MISSED_EVENT to this topic",
    ),
    missing={
        "call_id": "an E_ACC event has it",
        "caller": _OPENSIPS_EXTRA,
        "callee": _OPENSIPS_EXTRA,
    },
)
