"""Identity fields of strangers: any text ends as a result, bounded, and none of it is trusted."""

import base64
import json

from hypothesis import given
from hypothesis import strategies as st

from stream.core.stir.attestation import Attested
from stream.core.stir.certificates import signer_of, trust_of
from stream.core.stir.passport import NUMBERS_MAX, TOKENS_MAX, read_passport, tokens_in
from stream.core.stir.verifier import SignedCall, Verifier
from tests.support.builders import NOW_S
from tests.support.signed_calls import ADDRESS, CALLEE, CALLER, Authority

ROOT = Authority(NOW_S)
ONE = ROOT.signer()
HELD = {ADDRESS: signer_of(ONE.pem, trust_of(ROOT.pem), NOW_S)}
CALL = SignedCall({CALLER}, {CALLEE}, NOW_S)
GENUINE = ONE.passport(NOW_S)

texts = st.text(st.sampled_from('aA0_-.,;<>= "\t%é'), max_size=400)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8) | st.floats(allow_nan=False),
    lambda inside: (
        st.lists(inside, max_size=3) | st.dictionaries(st.text(max_size=4), inside, max_size=3)
    ),
    max_leaves=8,
)


def part(value):
    """One part of a PASSporT."""
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


heads = st.fixed_dictionaries(
    {}, optional={name: values | st.sampled_from(["ES256", "passport", "shaken", "div", ADDRESS])
                  for name in ("alg", "typ", "ppt", "x5u", "crit")}
)  # fmt: skip
claims = st.fixed_dictionaries(
    {},
    optional={
        "iat": values | st.just(NOW_S),
        "orig": values | st.just({"tn": CALLER[1:]}),
        "dest": values | st.just({"tn": [CALLEE[1:]]}) | st.just({"tn": ["1"] * (NUMBERS_MAX + 1)}),
        "attest": values | st.sampled_from("ABCD"),
        "origid": values | st.just("o"),
        "div": values,
    },
)
forged = st.builds(
    lambda head, said: f"{part(head)}.{part(said)}.{GENUINE.rsplit('.')[-1]}", heads, claims
)


@given(texts | forged | st.lists(forged | texts, max_size=6).map(", ".join))
def test_no_text_of_a_stranger_is_believed(field):
    """It has failed, or says nothing; it never attests a number, and never raises."""
    verifier = Verifier(lambda: HELD, 60.0, 1e6, lambda _: None)
    assert verifier.attested(field, CALL, NOW_S) in (Attested.FAILED, Attested.MISSING)
    assert len(tokens_in(field)) <= TOKENS_MAX
    for token in tokens_in(field):
        found = read_passport(token)
        assert found is None or len(found.callees) <= NUMBERS_MAX


@given(st.integers(0, len(GENUINE) - 1), st.sampled_from("AZaz09-_."))
def test_a_genuine_passport_with_one_letter_changed_is_never_believed(place, letter):
    """The last letter of a part holds bits that base64url does not use."""
    changed = GENUINE[:place] + letter + GENUINE[place + 1 :]
    verifier = Verifier(lambda: HELD, 60.0, 1e6, lambda _: None)
    same = [base64.urlsafe_b64decode(one + "==") for one in GENUINE.split(".")]
    try:
        now = [base64.urlsafe_b64decode(one + "==") for one in changed.split(".")]
    except ValueError:
        now = []
    expected = {Attested.A} if now == same else {Attested.FAILED, Attested.MISSING}
    assert verifier.attested(changed, CALL, NOW_S) in expected | (
        {Attested.FAILED} if now == same else set()
    )
