"""Signed calls by SIP: whose word counts, and Identity fields that are verified offline."""

from pathlib import Path
from typing import Any

import pytest

from stream.core.stir.attestation import Attested
from stream.core.stir.certificates import signer_of, trust_of
from stream.core.stir.verifier import SignedCall, Verifier
from stream.edge.sip.message import SipRequest, read
from stream.edge.sip.responder import Responder
from tests.support.builders import NOW_S
from tests.support.signed_calls import ADDRESS, CALLEE, CALLER, Authority
from tests.support.sip import code_of, message, responder, verifying_responder

GOLDEN = Path(__file__).parents[3] / "golden" / "sip" / "signed"
ROOT = Authority(NOW_S)
ONE = ROOT.signer()
PASSED, FAILED = "TN-Validation-Passed", "TN-Validation-Failed"


def signing(**how: Any) -> Responder:
    """A responder with that network's certificate."""
    return verifying_responder(ROOT, ONE, **how)


PEER = {"trunks": {"192.0.2.7": "peer"}}


def invite(*identities: str, caller: str = CALLER, **more: object) -> bytes:
    """An INVITE with those Identity fields."""
    fields = {"Identity": "\r\nIdentity: ".join(identities) if identities else None, **more}
    return message(caller, changed=fields)


def test_an_identity_that_is_genuine_lets_the_call_go_on() -> None:
    """Long or compact name, folded, in one field or in several."""
    here, identity = signing(), ONE.identity(NOW_S)
    assert code_of(invite(identity), here) == 404
    assert code_of(message(CALLER, changed={"y": identity}), here) == 404
    assert code_of(invite(identity.replace(";info", "\r\n ;info")), here) == 404
    other = ONE.identity(NOW_S, head={"ppt": "rcd"})
    assert code_of(invite(other, identity), here) == 404
    assert code_of(invite(f"{other}, {identity}"), here) == 404
    assert code_of(invite(), here) == 603


def test_an_identity_that_is_forged_stale_or_another_calls_is_blocked() -> None:
    """The rule holds for every sender, also a network that vouches."""
    wrong = [
        ROOT.signer().identity(NOW_S),
        ONE.identity(NOW_S - 3600),
        ONE.identity(NOW_S, orig={"tn": "447700900124"}),
        ONE.identity(NOW_S, dest={"tn": ["66812345679"]}),
        "garbage",
    ]
    for identity in wrong:
        for here in (signing(), signing(**PEER)):
            assert code_of(invite(identity), here) == 603
            good = {"P-Asserted-Identity": f"<tel:{CALLER};verstat={PASSED}>"}
            assert code_of(invite(identity, **good), here) == 603


def test_the_called_number_may_be_tos() -> None:
    """A proxy before us has changed the Request-URI alone."""
    identity = ONE.identity(NOW_S)
    moved = message(CALLER, "sip:+66812345600@sbc.example", changed={"Identity": identity})
    assert code_of(moved, signing()) == 603
    to = {"Identity": identity, "To": f"<sip:{CALLEE}@sbc.example>"}
    assert code_of(message(CALLER, "sip:+66812345600@sbc.example", changed=to), signing()) == 404


@pytest.mark.parametrize("field", ["P-Asserted-Identity", "From"])
def test_a_result_is_believed_from_a_network_that_vouches(field: str) -> None:
    """Anybody else may write `verstat`; a failed one counts from all."""
    for text, trusted, unknown in ((PASSED, 404, 603), (FAILED, 603, 603), ("odd", 404, 603)):
        said = {field: f"<sip:{CALLER};verstat={text}@sbc.example;user=phone>;tag=f1"}
        assert code_of(message(CALLER, changed=said), signing(**PEER)) == trusted
        assert code_of(message(CALLER, changed=said), signing()) == unknown
    named = {field: f'"x;verstat={PASSED}" <sip:{CALLER}@sbc.example>;tag=f1'}
    assert code_of(message(CALLER, changed=named), signing(**PEER)) == 603


def test_a_result_is_found_beside_and_behind_other_values() -> None:
    """A field's values may be in one line, each with a name (RFC 3325, 9.1); some come before."""

    def asserted(text: str) -> dict[str, str]:
        one = f'"Alice" <sip:{CALLER};verstat={text}@sbc.example;user=phone>'
        return {"P-Asserted-Identity": f'{one}, "Alice" <tel:{CALLER}>'}

    here, unknown = signing(**PEER), signing()
    assert code_of(message(CALLER, changed=asserted(PASSED)), here) == 404
    assert code_of(message(CALLER, changed=asserted(FAILED)), here) == 603
    signed = {"Identity": ONE.identity(NOW_S)}
    assert code_of(message(CALLER, changed=signed), unknown) == 404
    assert code_of(message(CALLER, changed=asserted(FAILED) | signed), unknown) == 603
    lines = {
        name: f"\r\n{name}: ".join([f"<tel:{CALLER}>"] * 4)
        for name in ("P-Asserted-Identity", "Remote-Party-ID")
    }
    behind = {"From": f"<sip:{CALLER};verstat={FAILED}@sbc.example>;tag=f1"}
    assert code_of(message(CALLER, changed=lines | signed), unknown) == 404
    assert code_of(message(CALLER, changed=lines | signed | behind), unknown) == 603


@pytest.mark.parametrize("field", ["P-Attestation-Indicator", "Attestation-Info"])
def test_a_level_is_believed_from_a_network_that_vouches(field: str) -> None:
    """And counts if it is strong enough."""
    for level, least, code in (("A", "A", 404), ("C", "C", 404), ("C", "B", 603), ("", "C", 603)):
        here = signing(least=least, **PEER)
        assert code_of(message(CALLER, changed={field: level}), here) == code
        assert code_of(message(CALLER, changed={field: level}), signing(least=least)) == 603


def test_a_flood_of_signatures_costs_a_bounded_share_and_blocks_nobody() -> None:
    """Beyond the budget a call counts as not verified."""
    here = signing(per_s=5.0)
    for place in range(40):
        assert code_of(invite(ONE.identity(NOW_S, origid=f"o-{place}")), here) == 404


def test_without_a_rule_nothing_of_it_is_looked_at() -> None:
    """A forged Identity changes no answer where no rule goes by it."""
    assert code_of(invite("garbage"), responder()) == 404


def test_a_recorded_invite_is_read_as_others_signed_it() -> None:
    """Its Identity holds at its own time alone; see tests/golden/sip/README.md."""
    invite = read((GOLDEN / "invite.dat").read_bytes())
    assert isinstance(invite, SipRequest)
    made_s = int((GOLDEN / "iat").read_text())
    authorities = trust_of((GOLDEN / "authority.pem").read_bytes())
    held = {ADDRESS: signer_of((GOLDEN / "signer.pem").read_bytes(), authorities, made_s)}
    verifier = Verifier(lambda: held, 60.0, 100.0, lambda _: None)
    for seconds, expected in ((5, Attested.B), (90, Attested.FAILED)):
        call = SignedCall({CALLER}, {CALLEE}, made_s + seconds)
        assert verifier.attested(invite.one("identity"), call, made_s + seconds) is expected
