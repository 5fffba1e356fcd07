"""Callers: several identities, those without a guarantor, and forms that hide a number."""

import pytest

from stream.core.numbers.number import parse
from stream.edge.sip.responder import SipTransport
from stream.edge.sip.response import Address
from tests.support.sip import BLOCKED, INNOCENT, SOURCE, asked, code_of, message, responder

PEER = responder(trunks={"192.0.2.7": "peer"})
"""Its trunk vouches for the identities that it asserts."""
LOCAL = responder(trunks={"192.0.2.7": "gb"})
"""British too, but nobody vouches."""
NATIONAL = BLOCKED.removeprefix("+44")
FIELDS = ["P-Asserted-Identity", "P-Preferred-Identity", "Remote-Party-ID"]


@pytest.mark.parametrize("field", FIELDS)
def test_nobody_is_spared_by_what_he_adds(field: str) -> None:
    """A listed From stays listed, whatever identity stands beside it, by an unknown source and by a
    trunk that does not vouch.
    """
    for here in (responder(), LOCAL):
        for said in (f"<sip:{INNOCENT}@n>", f"<tel:{INNOCENT}>", "<sip:alice@n>", "", '"', "<"):
            assert code_of(message(BLOCKED, changed={field: said}), here) == 603


@pytest.mark.parametrize("field", FIELDS)
def test_any_listed_identity_is_enough(field: str) -> None:
    """The strictest verdict counts: the second value, the second line, the field behind others."""
    both = f"<sip:{INNOCENT}@n>, <tel:{BLOCKED}>"
    assert code_of(message(changed={field: both})) == 603
    assert (
        code_of(message(changed={field: f"<sip:{INNOCENT}@n>\r\n{field}: <tel:{BLOCKED}>"})) == 603
    )
    assert code_of(message("<sip:alice@n>", changed={field: f"<tel:{BLOCKED}>"})) == 603
    assert code_of(message(changed={field: f"<tel:{INNOCENT}>"})) == 404


def test_a_trunk_that_vouches_is_believed() -> None:
    """There From is what the caller wrote himself, and P-Asserted-Identity who he is."""
    asserted = {"P-Asserted-Identity": f"<tel:{INNOCENT}>"}
    assert code_of(message(BLOCKED, changed=asserted), PEER) == 404
    assert code_of(message(BLOCKED), PEER) == 603
    assert code_of(message(BLOCKED, changed={"P-Asserted-Identity": "<sip:alice@n>"}), PEER) == 603
    both = {"P-Asserted-Identity": f"<sip:{INNOCENT}@n>, <tel:{BLOCKED}>"}
    assert code_of(message(changed=both), PEER) == 603
    party = asserted | {"Remote-Party-ID": f"<sip:{BLOCKED}@n>"}
    assert code_of(message(changed=party), PEER) == 404
    preferred = {"P-Preferred-Identity": f"<tel:{INNOCENT}>"}
    assert code_of(message(BLOCKED, changed=preferred), PEER) == 603


def test_nobody_becomes_trusted_by_his_own_word() -> None:
    """A message may name its trunk; believed is only whose address is that of one that vouches."""
    named = {"X-Trunk": "peer", "P-Asserted-Identity": f"<tel:{INNOCENT}>"}
    anybody = responder(trunk_header="X-Trunk")
    assert code_of(message(BLOCKED, changed=named), anybody) == 603
    local = responder(trunk_header="X-Trunk", trunks={"192.0.2.7": "gb"})
    assert code_of(message(BLOCKED, changed=named), local) == 603
    peer = responder(trunk_header="X-Trunk", trunks={"192.0.2.7": "peer"})
    assert code_of(message(BLOCKED, changed=named), peer) == 404
    assert code_of(message(BLOCKED, changed=named | {"X-Trunk": "gb"}), peer) == 603


def test_an_identity_that_is_no_number_breaks_its_rule_all_the_same() -> None:
    """On a trunk where such callers are blocked, a number beside it spares nobody."""
    rubbish = "<sip:1234567890123456789@n>"
    beside = {"P-Asserted-Identity": f"<tel:{INNOCENT}>"}
    assert code_of(message(rubbish), LOCAL) == 603
    assert code_of(message(rubbish, changed=beside), LOCAL) == 603
    assert code_of(message(f"<sip:x{INNOCENT}y@n>"), LOCAL) == 603
    assert code_of(message("<sip:alice@n>", changed=beside), LOCAL) == 404
    assert code_of(message("<sip:anonymous@anonymous.invalid>", changed=beside), LOCAL) == 404


@pytest.mark.parametrize(
    "caller",
    [
        f"a;b <sip:{BLOCKED}@sbc.example>",
        f"a@b, c <sip:{BLOCKED}@sbc.example>",
        f"sip:{INNOCENT}@x <sip:{BLOCKED}@sbc.example>",
        f"<sip:{INNOCENT}@x> <sip:{BLOCKED}@sbc.example>",
        f"<sip:{BLOCKED}@sbc.example",
        f"Ann sip:{BLOCKED}@sbc.example",
        f"sip:{BLOCKED}@x;a <sip:{INNOCENT}@x>",
        f"tel:{NATIONAL};phone-context=+44",
        f"<tel:{NATIONAL}>;phone-context=+44",
        f"<tel:{NATIONAL};phone-context=+44>",
        f"<sip:0{NATIONAL};phone-context=+44@sbc.example>",
        f"<sip:0{NATIONAL}@sbc.example;phone-context=+44;user=phone>",
        f"<sip:{NATIONAL[4:]};phone-context=+44{NATIONAL[:4]}@sbc.example>",
        f"<tel:{BLOCKED};phone-context=+66>",
        f"<tel:{BLOCKED};isub=12;ext=3>",
        f"sip:+44-{NATIONAL};x@sbc.example",
        f"sip:+44-{NATIONAL}",
        f"<sip:+44\t{NATIONAL}@sbc.example>",
        f"<sip:+44\u00a0{NATIONAL}@sbc.example>",
        f"<sip:+44%C2%A0{NATIONAL}@sbc.example>",
        f"<sip:+44%A0{NATIONAL}@sbc.example>",
        f"<sip:+44%09{NATIONAL}@sbc.example>",
        f"<sip:+44%20{NATIONAL}@sbc.example>",
        "<sip:+" + "".join(chr(0xFF10 + int(digit)) for digit in BLOCKED[1:]) + "@sbc.example>",
        "<sip:+" + "".join(chr(0x0E50 + int(digit)) for digit in BLOCKED[1:]) + "@sbc.example>",
        "<sip:+" + "".join(f"%3{digit}" for digit in BLOCKED[1:]) + "@sbc.example>",
        f"<sip:{BLOCKED}%00@sbc.example>",
        f"<sip:{BLOCKED[:6]}*{BLOCKED[6:]}@sbc.example>",
        f"<sip:{BLOCKED[:3]}~{BLOCKED[3:]}@sbc.example>",
        f"<sip:abc{BLOCKED}@sbc.example>",
        f"<sip:{BLOCKED}x9@sbc.example>",
        f"<sip:{BLOCKED},9@sbc.example>",
        f"<sip:{BLOCKED}@sbc.example;user=phone>;party=called",
    ],
)
def test_a_listed_number_is_found_in_forms_that_hide_it(caller: str) -> None:
    """Lists find the number that a proxy, a phone or libphonenumber behind us would read."""
    assert code_of(message(caller)) == 603


def test_a_number_in_anothers_context_is_that_and_the_trunks_own() -> None:
    """`phone-context` says where a number is dialled; who does not heed it reads another."""
    caller = f"<sip:0{NATIONAL};phone-context=+49@sbc.example>"
    assert code_of(message(caller), LOCAL) == 603
    assert code_of(message(caller)) == 404


def test_latin_1_is_read_too() -> None:
    """A no-break space as one byte, which is no UTF-8."""
    data = message(f"<sip:+44\u00a0{NATIONAL}@sbc.example>").replace(b"\xc2\xa0", b"\xa0")
    assert code_of(data) == 603


@pytest.mark.parametrize(
    ("caller", "field"),
    [
        ("<sip:+44" + "-" * 300 + f"{NATIONAL}@sbc.example>", "From"),
        ("<sip:" + "x" * 70 + f"{BLOCKED}@sbc.example>", "From"),
        ("".join(f"<sip:+447700900{n:03d}@x>" for n in range(990, 1000)), "From"),
        ("<sip:07700%00900999@sbc.example>", "From"),
    ],
)
def test_what_cannot_be_read_to_its_end_is_refused(caller: str, field: str) -> None:
    """Too long, of too many parts, or with a character at which some programs stop: 403, which
    names the field. A switch routes a malformed INVITE (400) further, and this one never.
    """
    made = asked(message(caller))
    assert made is not None
    assert made.data.startswith(f"SIP/2.0 403 Forbidden: {field} cannot be read\r\n".encode())


def test_too_many_identities_are_refused() -> None:
    """As many lookups as one message may cost are made, no more; a block is one all the same."""
    many = ", ".join(f"<tel:+4477009009{n:02d}>" for n in range(50))
    made = asked(message(changed={"P-Asserted-Identity": many}))
    assert made is not None
    assert made.data.startswith(b"SIP/2.0 403 Forbidden: P-Asserted-Identity cannot be read\r\n")
    assert code_of(message(BLOCKED, changed={"P-Asserted-Identity": many})) == 603
    assert code_of(message(called="sip:191@x", changed={"P-Asserted-Identity": many})) == 404


@pytest.mark.parametrize(
    "caller",
    [
        "<sip:alice@pbx.example>",
        '"Dr. O\'Brien, A&E" <sip:ward-7@hospital.example>',
        "<sip:โรงพยาบาล@pbx.example>",
        "<sip:203.0.113.25>",
        "<sip:gw1.example>",
        "<sip:203.0.113.25@203.0.113.25>",
        "<sip:1234567890123456789012345678901234567890@pbx.example>",
        "Bell, Alexander <sip:bell@pbx.example>",
        '"' + "a" * 2000 + '" <sip:+447700900999@pbx.example;' + "x" * 300 + ">",
    ],
)
def test_honest_callers_go_on(caller: str) -> None:
    """A name, an address, a number that is none: no reading of it is listed, so it is 404."""
    assert code_of(message(caller)) == 404


def test_diversions_are_not_the_caller() -> None:
    """A forwarding party did not make the call."""
    for field in ("Diversion", "History-Info", "Referred-By"):
        assert code_of(message(changed={field: f"<sip:{BLOCKED}@n>"})) == 404


def test_a_batch_of_several_identities_keeps_its_order() -> None:
    """Each answer is that of its own call, however many lookups the ones before it took."""
    data = [
        message(INNOCENT, changed={"P-Asserted-Identity": f"<tel:{INNOCENT[:-1]}8>"}),
        message(BLOCKED, changed={"P-Asserted-Identity": f"<tel:{INNOCENT}>"}),
        message(INNOCENT),
        message(INNOCENT, changed={"P-Asserted-Identity": f"<tel:{BLOCKED}>"}),
    ]
    made = responder().answers(
        [(one, Address(SOURCE.host, 5060)) for one in data], SipTransport.UDP, 1.0
    )
    assert [one and one.code for one in made] == [404, 603, 404, 603]


def test_the_number_of_these_tests_is_one() -> None:
    """Else they would say nothing."""
    assert parse(f"0{NATIONAL}", "GB").text == BLOCKED
