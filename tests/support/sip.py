"""A responder over a few lists, and requests as switches send them."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import Any

from prometheus_client import CollectorRegistry

from stream.calls.decide import decide
from stream.calls.lookup import Lookup, LookupStatus
from stream.config.settings import load
from stream.core.numbers.emergency import EmergencyNumbers
from stream.core.policy.policy import PolicySettings
from stream.core.policy.rules import RuleSettings, RuleState, RuleStates
from stream.core.stir.certificates import signer_of, trust_of
from stream.core.stir.verifier import Verifier
from stream.edge.sip.message import SipRequest, SipResponse, read
from stream.edge.sip.responder import Responder, SipTransport
from stream.edge.sip.response import Address, SipReply
from stream.edge.sip.settings import SipSettings
from stream.ops.metrics.sip_catalogue import SipMetrics
from tests.support.builders import NOW_S, rules_for
from tests.support.lookups import LISTED, LISTS, NOW_MS, REDRESS, TRUNKS, lookup_in
from tests.support.lookups import read as read_questions
from tests.support.signed_calls import ADDRESS, Authority, Signing

SOURCE = Address("192.0.2.7", 40_000)
BLOCKED = LISTED[5]
INNOCENT = "+447700900999"


@cache
def _defaults() -> SipSettings:
    return load([], {}).sip


@cache
def _lookup(*, loaded: bool, redress_url: str) -> Lookup:
    return lookup_in(LISTS, loaded=loaded, redress_url=redress_url)


def sip_settings(**changed: Any) -> SipSettings:
    """The defaults, on a free port."""
    return replace(_defaults(), port=0, health_port=0, **changed)


def responder(
    *, loaded: bool = True, redress_url: str = REDRESS, lookup: Lookup | None = None, **changed: Any
) -> Responder:
    """Answers from the lists of `test_lookup`, or by another lookup."""
    return Responder(
        sip_settings(**changed),
        lookup or _lookup(loaded=loaded, redress_url=redress_url),
        TRUNKS,
        EmergencyNumbers({}),
        lambda: loaded,
        SipMetrics(CollectorRegistry()),
    )


def verifying_responder(
    root: Authority, signer: Signing, *, per_s: float = 1000.0, least: str = "C", **changed: Any
) -> Responder:
    """One that blocks failed and missing attestations, and holds that signer's certificate."""
    block = RuleStates(attestation_failed=RuleState.BLOCK, attestation_missing=RuleState.BLOCK)
    policy = PolicySettings(rules=RuleSettings(block, attestation_min=least))
    rules = rules_for(LISTS, policy, TRUNKS, emit_all=True)
    held = {ADDRESS: signer_of(signer.pem, trust_of(root.pem), NOW_S)}
    lookup = Lookup(
        read_questions,
        lambda batch: decide(batch, LISTS, rules, NOW_MS),
        lambda: LookupStatus(True, True, of_attestation=policy.rules.of_attestation),
        lambda: NOW_MS,
        TRUNKS,
        Verifier(lambda: held, 60.0, per_s, lambda _: None),
    )
    return responder(lookup=lookup, **changed)


def message(
    caller: str = INNOCENT,
    called: str = "sip:+66812345678@sbc.example",
    *,
    method: str = "INVITE",
    via: Sequence[str] = ("SIP/2.0/UDP 192.0.2.7:5070;branch=z9hG4bKa1;rport",),
    changed: Mapping[str, Any] | None = None,
) -> bytes:
    """A request of a switch; `changed` fields replace the usual ones, None takes one away."""
    uri = caller if ":" in caller or "<" in caller else f"<sip:{caller}@sbc.example>"
    fields: dict[str, Any] = {
        "Max-Forwards": "70",
        "From": f"{uri};tag=f1" if ";tag" not in uri else uri,
        "To": f"<{called}>",
        "Call-ID": "c1@sbc.example",
        "CSeq": f"1 {method}",
        "Content-Length": "0",
    } | dict(changed or {})
    lines = [f"{method} {called} SIP/2.0", *(f"Via: {text}" for text in via)]
    lines += (f"{name}: {value}" for name, value in fields.items() if value is not None)
    return "\r\n".join([*lines, "", ""]).encode()


def asked(
    data: bytes, to: Responder | None = None, transport: SipTransport = SipTransport.UDP
) -> SipReply | None:
    """Return the answer to one message."""
    (made,) = (to or responder()).answers([(data, SOURCE)], transport, 1.0)
    return made


def code_of(data: bytes, to: Responder | None = None) -> int | None:
    """The status that a message is answered with; None: there is no answer."""
    made = asked(data, to)
    return None if made is None else made.code


def fields_of(made: SipReply | None) -> Mapping[str, Sequence[str]]:
    """The fields of an answer, read as a request's are."""
    assert made is not None
    first, _, rest = made.data.partition(b"\r\n")
    assert isinstance(read(made.data), SipResponse)
    assert first.startswith(b"SIP/2.0 %d " % made.code)
    again = read(b"X sip:x SIP/2.0\r\n" + rest)
    assert isinstance(again, SipRequest)
    return again.fields


def counted(to: Responder) -> Mapping[str, int]:
    """Messages that got no answer, by reason."""
    (family,) = to.metrics.unanswered.collect()
    found: Counter[str] = Counter()
    for sample in family.samples:
        if sample.value and sample.name.endswith("_total"):
            found[sample.labels["reason"]] += round(sample.value)
    return found
