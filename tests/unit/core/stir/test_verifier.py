"""Promises of the verification of signed calls, offline, within a budget."""

import base64
import itertools
import json
from collections import Counter

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from stream.core.stir.attestation import Attested
from stream.core.stir.certificates import Signer, signer_of, trust_of
from stream.core.stir.verifier import Finding, SignedCall, Verifier
from tests.support.builders import NOW_S
from tests.support.signed_calls import ADDRESS, CALLEE, CALLER, Authority

ROOT = Authority(NOW_S)
TRUSTED = trust_of(ROOT.pem)
ONE = ROOT.signer()
CALL = SignedCall({CALLER}, {CALLEE}, NOW_S)
HOSPITAL = "+66812345600"


def verifier(signer: Signer | None = None, per_s: float = 1000.0) -> tuple[Verifier, Counter[str]]:
    """A verifier that holds one certificate, and what it counted."""
    held = signer or signer_of(ONE.pem, TRUSTED, NOW_S)
    told: Counter[str] = Counter()
    return Verifier(lambda: {ADDRESS: held}, 60.0, per_s, lambda found: told.update([found])), told


def found(field: str, call: SignedCall = CALL, now_s: float = NOW_S) -> tuple[Attested, str]:
    """The result for one call, and the finding that was counted."""
    made, told = verifier()
    result = made.attested(field, call, now_s)
    (finding,) = told.elements()
    return result, finding


@pytest.mark.parametrize("level", ["A", "B", "C"])
def test_a_genuine_passport_gives_its_level(level):
    """As an Identity field, and bare."""
    for field in (ONE.identity(NOW_S, attest=level), ONE.passport(NOW_S, attest=level)):
        assert found(field) == (Attested[level], Finding.VALID)


def test_what_was_changed_or_signed_by_others_fails():
    """Of claims, of the head, and with a key that is not the certificate's."""
    head, claims, signature = ONE.passport(NOW_S, attest="C").split(".")
    better = json.loads(base64.urlsafe_b64decode(claims + "==")) | {"attest": "A"}
    forged = base64.urlsafe_b64encode(json.dumps(better).encode()).decode().rstrip("=")
    wrong = (Attested.FAILED, Finding.WRONG_SIGNATURE)
    assert found(f"{head}.{forged}.{signature}") == wrong
    assert found(ROOT.signer().passport(NOW_S)) == wrong
    assert found(f"{head}.{claims}.{signature[:-8]}AAAAAAAA") == wrong
    for algorithm in ("none", "HS256", "ES384"):
        said = {"alg": algorithm, "ppt": "shaken", "typ": "passport", "x5u": ADDRESS}
        other = base64.urlsafe_b64encode(json.dumps(said).encode()).decode().rstrip("=")
        assert found(f"{other}.{claims}.{signature}") == wrong


def test_a_passport_of_another_time_or_call_fails():
    """A copied one: too old, too new, of another caller or to another number."""
    stale = (Attested.FAILED, Finding.STALE)
    assert found(ONE.passport(NOW_S - 61)) == stale
    assert found(ONE.passport(NOW_S + 61)) == stale
    assert found(ONE.passport(NOW_S - 59)) == (Attested.A, Finding.VALID)
    unknown = SignedCall({CALLER}, {CALLEE}, None)
    assert found(ONE.passport(NOW_S - 999), unknown) == (Attested.A, Finding.VALID)
    other = ONE.passport(NOW_S, orig={"tn": "447700900124"})
    assert found(other) == (Attested.FAILED, Finding.OTHER_CALLER)
    elsewhere = ONE.passport(NOW_S, dest={"tn": ["66812345679"]})
    assert found(elsewhere) == (Attested.FAILED, Finding.OTHER_CALLEE)


def test_numbers_that_a_call_does_not_show_are_not_compared():
    """Without a caller the PASSporT says nothing about him; without a callee it still does."""
    passport = ONE.passport(NOW_S)
    assert found(passport, SignedCall((), {CALLEE}, NOW_S)) == (Attested.MISSING, Finding.NO_CALLER)
    assert found(passport, SignedCall({CALLER}, (), NOW_S)) == (Attested.A, Finding.VALID)
    plus = ONE.passport(NOW_S, orig={"tn": CALLER}, dest={"tn": CALLEE})
    assert found(plus) == (Attested.A, Finding.VALID)


def test_a_diverted_call_is_followed_from_number_to_number():
    """RFC 8946: the second PASSporT says from where to where; it needs a signature as well."""
    own = ONE.identity(NOW_S)
    div = {"div": {"tn": CALLEE[1:]}, "dest": {"tn": [HOSPITAL[1:]]}}
    diverted = ONE.identity(NOW_S, head={"ppt": "div"}, **div)
    there = SignedCall({CALLER}, {HOSPITAL}, NOW_S)
    assert found(own, there) == (Attested.FAILED, Finding.OTHER_CALLEE)
    assert found(f"{own}, {diverted}", there) == (Attested.A, Finding.VALID)
    forged = ROOT.signer().identity(NOW_S, head={"ppt": "div"}, **div)
    assert found(f"{own},{forged}", there) == (Attested.FAILED, Finding.WRONG_SIGNATURE)
    assert found(diverted, there) == (Attested.MISSING, Finding.OTHER_KIND)
    others = ONE.identity(NOW_S, head={"ppt": "div"}, orig={"tn": "447700900124"}, **div)
    assert found(f"{own}, {others}", there) == (Attested.FAILED, Finding.OTHER_CALLEE)


def test_the_order_of_diversions_is_free():
    """A network may write its Identity field before or after those that came."""
    over = "+66812345601"
    first = ONE.identity(
        NOW_S, head={"ppt": "div"}, div={"tn": CALLEE[1:]}, dest={"tn": [over[1:]]}
    )
    second = ONE.identity(
        NOW_S, head={"ppt": "div"}, div={"tn": over[1:]}, dest={"tn": [HOSPITAL[1:]]}
    )
    there = SignedCall({CALLER}, {HOSPITAL}, NOW_S)
    for fields in itertools.permutations((ONE.identity(NOW_S), first, second)):
        assert found(", ".join(fields), there) == (Attested.A, Finding.VALID)


def test_a_call_may_bring_passports_of_many_kinds():
    """Rich call data and priority beside its own, and two diversions behind them: six fields."""
    over, there = "+6621110002", SignedCall({CALLER}, {HOSPITAL}, NOW_S + 1)
    others = [ONE.identity(NOW_S, head={"ppt": kind}) for kind in ("rcd", "rph", "sph")]
    way = [(CALLEE, over), (over, HOSPITAL)]
    diverted = [
        ONE.identity(NOW_S, head={"ppt": "div"}, div={"tn": a[1:]}, dest={"tn": [b[1:]]})
        for a, b in way
    ]
    own = ONE.identity(NOW_S)
    for fields in ([own, *others, *diverted], [*others, *diverted, own]):
        assert found(", ".join(fields), there) == (Attested.A, Finding.VALID)


def test_a_certificate_that_is_not_there_leaves_the_call_unsigned():
    """It is named for the log, once, and never fetched."""
    made, told = verifier()
    elsewhere = ONE.passport(NOW_S, head={"x5u": "https://new.example.net/two.pem"})
    for _ in range(3):
        assert made.attested(elsewhere, CALL, NOW_S) is Attested.MISSING
    assert told == {Finding.NOT_HELD: 3}
    assert made.missed() == ["https://new.example.net/two.pem"]
    assert made.missed() == []


@pytest.mark.parametrize(
    ("signer", "finding"),
    [
        (Authority(NOW_S).signer(), Finding.UNTRUSTED),
        (ROOT.signer(for_calls=False), Finding.UNTRUSTED),
    ],
    ids=["another authority", "no TNAuthList"],
)
def test_a_certificate_that_is_not_trusted_fails(signer, finding):
    """A web server's certificate under a trusted authority signs no call."""
    made, told = verifier(signer_of(signer.pem, TRUSTED, NOW_S))
    assert made.attested(signer.passport(NOW_S), CALL, NOW_S) is Attested.FAILED
    assert told == {finding: 1}


def test_a_key_of_another_curve_is_refused_when_it_is_read():
    """RFC 8225 signs with ES256 alone."""
    held = signer_of(ROOT.signer(curve=ec.SECP384R1()).pem, TRUSTED, NOW_S)
    assert "P-256" in held.wrong
    assert not held.good_at(NOW_S)


def test_a_certificate_counts_only_while_it_is_good():
    """At the time of the call, not of its reading."""
    later = NOW_S + 3 * 86_400
    call = SignedCall({CALLER}, {CALLEE}, later)
    assert found(ONE.passport(later), call, later) == (Attested.FAILED, Finding.EXPIRED)


def test_other_kinds_of_passport_are_passed_over():
    """Names of callers (RFC 9795) beside a call's own, or alone."""
    rich = ONE.identity(NOW_S, head={"ppt": "rcd"})
    assert found(rich) == (Attested.MISSING, Finding.OTHER_KIND)
    assert found(f"{rich}, {ONE.identity(NOW_S)}") == (Attested.A, Finding.VALID)


def test_a_passport_is_verified_once_and_within_the_budget():
    """One that comes again costs nothing; beyond the budget a call counts as not verified."""
    made, told = verifier(per_s=10.0)
    again = ONE.passport(NOW_S)
    for _ in range(50):
        assert made.attested(again, CALL, NOW_S) is Attested.A
    others = [ONE.passport(NOW_S, origid=f"o-{n}") for n in range(5)]
    results = [made.attested(one, CALL, NOW_S) for one in others]
    assert results == [Attested.A] + [Attested.UNSURE] * 4
    assert told[Finding.BUSY] == 4
    assert made.attested(others[4], CALL, NOW_S + 1) is Attested.A
    assert made.attested(others[4], CALL, NOW_S - 1000) is Attested.A


@pytest.mark.parametrize(
    "text",
    [
        "", ";", "a.b.c", "...", "a.b", "e30.e30.e30", "x" * 20_000, "e30." * 5000, '"a.b.c"',
        "a.b.c;info=<https://h/a,b>;alg=ES256",
    ],
)  # fmt: skip
def test_what_is_no_passport_fails(text):
    """A signature that nobody can read is a wrong one, however long it is."""
    assert found(text) == (Attested.FAILED, Finding.MALFORMED)


@pytest.mark.parametrize("made_at", ["-1", str(1 << 53), "1" + "0" * 320, "9" * 4400, "1e9", '"1"'])
def test_a_time_that_no_clock_shows_is_no_passport(made_at):
    """An integer beyond a float ended the batch of calls, before any signature was looked at."""
    claims = f'{{"attest":"A","dest":{{"tn":["66812345678"]}},"iat":{made_at},"origid":"x"}}'
    head = '{"alg":"ES256","ppt":"shaken","typ":"passport","x5u":"https://cr.example/a.pem"}'
    parts = (
        base64.urlsafe_b64encode(part.encode()).rstrip(b"=").decode() for part in (head, claims)
    )
    assert found(f"{'.'.join(parts)}.c2ln") == (Attested.FAILED, Finding.MALFORMED)
