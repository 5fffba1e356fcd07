"""Promises of the rules that go by STIR/SHAKEN: every way in which a record says what is known."""

from collections import Counter
from dataclasses import replace

import msgspec
import pytest

from stream.calls.decide import decide
from stream.calls.decode import decode
from stream.calls.dialects import dialect_named
from stream.calls.dialects.mapping_settings import MappingSettings
from stream.core.filters.blocklists import EMPTY_BLOCKLISTS
from stream.core.policy.policy import PolicySettings
from stream.core.policy.rules import RuleSettings, RuleState, RuleStates
from stream.core.stir.certificates import signer_of, trust_of
from stream.core.stir.verifier import Finding, Verifier
from stream.kafka.batch import Partition, RawBatch
from tests.support.builders import DECODING, HOME, NOW_S, rules_for
from tests.support.signed_calls import ADDRESS, Authority
from tests.support.signed_calls import CALLER as SIGNED

pytestmark = pytest.mark.usefixtures("both_ways")

CALLER, CALLEE = "+447700900999", "+66812345678"
MAPPING = MappingSettings(
    "json",
    {"call_id": "id", "caller": "a", "callee": "b", "verstat": "stir.result"},
    constants={"attestation": "partial"},
)
FAILED, MISSING = "rule:attestation_failed", "rule:attestation_missing"


def broken(*records, dialect="ringfence", least="C", verifier=None):
    """The rule of each record's decision; both rules block."""
    states = RuleStates(attestation_failed=RuleState.BLOCK, attestation_missing=RuleState.BLOCK)
    policy = PolicySettings(rules=RuleSettings(states, attestation_min=least))
    rules = rules_for(EMPTY_BLOCKLISTS, policy, HOME, emit_all=True)
    rules = replace(rules, verify=verifier and verifier.attested)
    values = [msgspec.json.encode(one) for one in records]
    raw = RawBatch.of(values, Partition("calls", 0), at_ms=NOW_S * 1000)
    batch = decode(raw, {"calls": dialect_named(dialect, {"m": MAPPING})}, HOME, DECODING)
    outcome = decide(batch, EMPTY_BLOCKLISTS, rules, NOW_S * 1000).outcome()
    found = [msgspec.json.decode(value) for value in outcome.values if value is not None]
    by_id = {one["call_id"]: one["rule"] for one in found}
    return [by_id[f"c-{place}"] for place in range(len(records))]


def record(place, **more):
    """A record of dialect `ringfence`."""
    return {"call_id": f"c-{place}", "caller": CALLER, "callee": CALLEE, **more}


def records(*more):
    """Records that differ in those fields."""
    return [record(place, **each) for place, each in enumerate(more)]


def test_failed_missing_and_attested_are_told_apart():
    """The weakest result counts: a failed verification beside a level has failed."""
    results = {
        "TN-Validation-Passed": "none",
        "TN-Validation-Failed": FAILED,
        "No-TN-Validation": MISSING,
        "tn-validation-failed-c": FAILED,
        "TN-Validation-Passed-A": "none",
        "": MISSING,
        "a result of a later standard": "none",
    }
    assert broken(*records(*({"verstat": text} for text in results))) == [*results.values()]
    assert broken(
        *records(
            {},
            {"attestation": "A"},
            {"attestation": "gateway"},
            {"attestation": "A", "verstat": "TN-Validation-Failed"},
            {"attestation": "A", "verstat": "No-TN-Validation"},
            {"verstat": 7},
        )
    ) == [MISSING, "none", "none", FAILED, "none", MISSING]


def test_a_level_below_the_weakest_that_counts_is_missing():
    """`attestation_min = "B"`: a gateway's word for a number is none."""
    levels = [{"attestation": level} for level in "ABC"]
    suffixes = [{"verstat": f"TN-Validation-Passed-{level}"} for level in "ABC"]
    for found in (levels, suffixes):
        assert broken(*records(*found), least="B") == ["none", "none", MISSING]
        assert broken(*records(*found), least="A") == ["none", MISSING, MISSING]
    unknown = records({"verstat": "TN-Validation-Passed"})
    assert broken(*unknown, least="A") == ["none"]


def test_a_result_in_the_callers_uri_counts_and_one_in_his_name_does_not():
    """The network writes the URI's parameter; the caller may choose the name before it."""
    passed, failed = "verstat=TN-Validation-Passed", "verstat=TN-Validation-Failed"
    callers = {
        f"tel:{CALLER};{passed}": "none",
        f"<sip:{CALLER};{failed}@sbc.example;user=phone>": FAILED,
        f'"x;{passed}" <sip:{CALLER}@sbc.example>': MISSING,
        f"x;{passed} <tel:{CALLER}>": MISSING,
        f"<tel:{CALLER};{failed}>;tag=1": FAILED,
    }
    found = [record(place, caller=caller) for place, caller in enumerate(callers)]
    assert broken(*found) == [*callers.values()]


@pytest.mark.parametrize(
    ("dialect", "one", "names"),
    [
        (
            "kamailio",
            {"callid": "c-0", "src_user": CALLER, "dst_user": CALLEE},
            ("verstat", "attestation"),
        ),
        (
            "freeswitch-events",
            {
                "Event-Name": "CHANNEL_CREATE",
                "Channel-Call-UUID": "c-0",
                "Caller-Caller-ID-Number": CALLER,
                "Caller-Destination-Number": CALLEE,
            },
            ("variable_sip_verstat", "variable_sip_stir_shaken_attest"),
        ),
    ],
)
def test_switches_that_carry_it_are_read(dialect, one, names):
    """In the fields that their documentation names, or that we ask for."""
    verstat, attestation = names
    assert broken(one, dialect=dialect) == [MISSING]
    assert broken({**one, verstat: "TN-Validation-Failed"}, dialect=dialect) == [FAILED]
    assert broken({**one, attestation: "B"}, dialect=dialect) == ["none"]
    assert broken({**one, attestation: "B"}, dialect=dialect, least="A") == [MISSING]


def test_nested_switches_carry_it_too():
    """OpenSIPS' events and FreeSWITCH's records hold the fields inside another object."""
    event = {"method": "INVITE", "callid": "c-0", "src_user": CALLER, "dst_user": CALLEE}
    assert broken({"params": {**event, "verstat": "TN-Validation-Failed"}}, dialect="opensips") == [
        FAILED
    ]
    profile = {"caller_id_number": CALLER, "destination_number": CALLEE}
    flow = [{"caller_profile": profile}]
    variables = {"uuid": "c-0", "sip_verstat": "TN-Validation-Passed-C"}
    cdr = {"variables": variables, "callflow": flow}
    assert broken(cdr, dialect="freeswitch") == ["none"]
    assert broken(cdr, dialect="freeswitch", least="B") == [MISSING]


def test_a_mapping_names_the_fields():
    """By path, and as constants of all its records."""
    one = {"id": "c-0", "a": CALLER, "b": CALLEE}
    assert broken(one, dialect="mapping:m") == ["none"]
    assert broken(one, dialect="mapping:m", least="A") == [MISSING]
    failed = {**one, "stir": {"result": "TN-Validation-Failed"}}
    assert broken(failed, dialect="mapping:m") == [FAILED]


def test_a_passport_in_a_record_is_verified():
    """Against the record's numbers, and the time at which its call began."""
    root = Authority(NOW_S)
    one = root.signer()
    told: Counter[str] = Counter()
    held = {ADDRESS: signer_of(one.pem, trust_of(root.pem), NOW_S)}
    verifier = Verifier(lambda: held, 60.0, 1000.0, lambda found: told.update([found]))
    passport = one.passport(NOW_S, attest="B")
    found: list[dict[str, object]] = [
        {"passport": passport, "stage": "attempt"},
        {"passport": one.identity(NOW_S, attest="B"), "started_at": NOW_S + 30},
        {"passport": passport, "started_at": NOW_S + 90},
        {"passport": passport, "stage": "end"},
        {"passport": passport, "caller": CALLER},
        {"passport": "garbage"},
        {"passport": passport, "verstat": "TN-Validation-Failed"},
        {"verstat": "TN-Validation-Passed"},
    ]
    calls = [record(place, **{"caller": SIGNED, **more}) for place, more in enumerate(found)]
    expected = ["none", "none", FAILED, "none", FAILED, FAILED, FAILED, "none"]
    assert broken(*calls, verifier=verifier) == expected
    weak = [MISSING if rule == "none" else rule for rule in expected[:-1]]
    assert broken(*calls, verifier=verifier, least="A") == [*weak, "none"]
    assert told[Finding.STALE] == 2
    unverified = broken(*calls)
    assert unverified == [MISSING] * 6 + [FAILED, "none"]
