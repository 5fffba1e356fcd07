"""OpenSIPS: E_ACC_CDR, E_ACC_EVENT and E_ACC_MISSED_EVENT, as event_kafka publishes them.

Source: OpenSIPS/opensips `modules/acc/acc.c` (its event parameters), `modules/event_kafka`,
`evi/evi_transport.c`: {"jsonrpc":"2.0","method":"E_ACC_CDR","params":{method, from_tag, to_tag,
callid, sip_code, sip_reason, time, extras, duration, ms_duration, setuptime, created}}.

Traps: no numbers unless `extra_fields` names them; one event per leg of a call with several; a BYE
that is accounted has the numbers changed over where the callee hung up.
"""

from stream.calls.dialects.dialect import Only
from stream.calls.dialects.json_form import JsonForm, paths
from stream.calls.dialects.paths import Members, value_at
from stream.core.model.call import Stage

_EXTRA = (
    'add to opensips.cfg: modparam("acc", "extra_fields", "evi: src_user; dst_user; src_ip"), and '
    "in the route $acc_extra(src_user) = $fU; $acc_extra(dst_user) = $rU; $acc_extra(src_ip) = $si;"
)


def _stage(record: Members) -> Stage:
    """E_ACC_EVENT comes when the call is answered, the others when it is over."""
    return Stage.ATTEMPT if value_at(record, ("method",)) == "E_ACC_EVENT" else Stage.END


EVI = JsonForm(
    call_id=paths("params.callid"),
    caller=paths("params.src_user"),
    callee=paths("params.dst_user"),
    started_at=paths("params.created", "params.time"),
    duration_s=paths("params.duration"),
    trunk=paths("params.src_ip"),
    stage=_stage,
    only=Only(
        ("params", "method"),
        ("INVITE",),
        may_be_absent=False,
        otherwise="only an INVITE says who calls whom; do not account other requests, and send "
        "only E_ACC_CDR, E_ACC_EVENT and E_ACC_MISSED_EVENT to this topic",
    ),
    missing={"call_id": "an E_ACC event has it", "caller": _EXTRA, "callee": _EXTRA},
)
