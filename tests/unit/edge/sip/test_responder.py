"""Questions by SIP, and the answers: numbers, trunks, routing, refusals."""

from collections import Counter

import pytest

from stream.edge.sip.rate_limits import ADDRESSES_MAX, Admission, Allowance
from stream.edge.sip.responder import SipTransport
from stream.edge.sip.response import Address, Unanswered
from tests.support.sip import (
    BLOCKED,
    INNOCENT,
    SOURCE,
    asked,
    code_of,
    counted,
    fields_of,
    message,
    responder,
)

NATIONAL = "0" + BLOCKED.removeprefix("+44")


def test_a_listed_caller_is_blocked_with_the_way_to_appeal() -> None:
    """603+ (ATIS-1000099): the phrase, and a Reason with the decision's address."""
    made = asked(message(BLOCKED))
    assert made is not None
    assert made.data.startswith(b"SIP/2.0 603 Network Blocked\r\n")
    (reason,) = fields_of(made)["reason"]
    assert reason.startswith('SIP;cause=603;text="v=analytics1;url=https://r.example/')
    assert reason.endswith('";location=TN')
    assert code_of(message(INNOCENT)) == 404


@pytest.mark.parametrize(
    "caller",
    [
        f"<sip:{BLOCKED}@sbc.example;user=phone>",
        f"<tel:{BLOCKED}>",
        f"tel:{BLOCKED}",
        f"sip:{BLOCKED}@sbc.example",
        f'"A \\" <sip:{INNOCENT}@x>" <sip:{BLOCKED}@sbc.example>',
        f'sip:{BLOCKED}@x;tag=f1;note="<sip:{INNOCENT}@x>"',
        f"<sip:%2B{BLOCKED[1:]}@sbc.example>",
        f"<SIP:{BLOCKED[:4]}-{BLOCKED[4:8]}-{BLOCKED[8:]}@sbc.example>",
        f"<sip:{BLOCKED};npdi;rn=+66@sbc.example:5060;transport=udp>",
        f"<sip:00{BLOCKED[1:]}@sbc.example>",
        f'"unbalanced <sip:{BLOCKED}@sbc.example>',
    ],
)
def test_a_number_is_found_however_it_is_written(caller: str) -> None:
    """SIP and tel URIs, with names, parameters, escapes, separators; no other is taken for it."""
    assert code_of(message(caller)) == 603


def test_callers_are_looked_for_in_the_fields_of_the_settings() -> None:
    """Whatever a field says that the settings name is looked up, and From where that says more."""
    identity = {"P-Asserted-Identity": f'"x" <sip:{BLOCKED}@n>, <tel:{BLOCKED}>'}
    party = {"Remote-Party-ID": f"<sip:{BLOCKED}@n>;party=calling;privacy=full"}
    assert code_of(message("<sip:anonymous@anonymous.invalid>", changed=identity)) == 603
    assert code_of(message("<sip:anonymous@anonymous.invalid>", changed=party)) == 603
    assert code_of(message(INNOCENT, changed=party)) == 603
    assert code_of(message(BLOCKED, changed={"p-asserted-identity": "<sip:@x>"})) == 603
    called = {"Remote-Party-ID": f"<sip:{BLOCKED}@n>;party=called"}
    assert code_of(message(INNOCENT, changed=called)) == 404
    only_from = responder(callers=("from",))
    assert code_of(message(INNOCENT, changed=identity), only_from) == 404


def test_the_trunk_says_how_numbers_are_read() -> None:
    """By address, by a header, by a parameter: a national number is read in the trunk's country."""
    data = message(NATIONAL)
    assert code_of(data) == 404
    by_address = responder(trunks={"192.0.2.0/24": "border", "192.0.2.7": "gb"})
    assert code_of(data, by_address) == 603
    by_header = responder(trunk_header="X-Trunk")
    assert code_of(message(NATIONAL, changed={"x-trunk": "gb"}), by_header) == 603
    assert code_of(message(NATIONAL, changed={"x-trunk": "other"}), by_header) == 404
    by_parameter = responder(trunk_parameter="tgrp")
    for uri in ("sip:+66812345678;tgrp=gb@sbc.example", "sip:+66812345678@sbc.example;tgrp=gb"):
        assert code_of(message(NATIONAL, uri), by_parameter) == 603
    contact = {"Contact": "<sip:+447700900999;tgrp=gb;trunk-context=x@gw.example;user=phone>"}
    assert code_of(message(NATIONAL, changed=contact), by_parameter) == 603
    other = "sip:+66812345678;tgrp=other@sbc.example"
    assert code_of(message(NATIONAL, other, changed=contact), by_parameter) == 404


@pytest.mark.parametrize("called", ["sip:191@x", "tel:191", "urn:service:sos", "sip:112@x"])
@pytest.mark.parametrize("hop", ["", "gw.example"])
@pytest.mark.parametrize("caller", [BLOCKED, INNOCENT, "<sip:07700%00900999@sbc.example>"])
def test_calls_for_help_always_go_on(called: str, hop: str, caller: str) -> None:
    """For any caller and destination: never 302, nor 400 for the way in which the caller is
    written.
    """
    here = responder(answer_allow=302 if hop else 404, next_hop=hop)
    assert code_of(message(caller, called), here) == 404


@pytest.mark.parametrize(
    ("called", "contact"),
    [
        ("sip:+66812345678@sbc.example", "<sip:+66812345678@gw.example:5070>"),
        ("sip:0812345678;x=1@sbc.example;user=phone", "<sip:0812345678;x=1@gw.example:5070>"),
        ("tel:+66812345678;phone-context=x", "<sip:+66812345678@gw.example:5070>"),
        (
            "tel:7042;isub=1;Phone-Context=+1914555;ext=2",
            "<sip:7042;phone-context=+1914555@gw.example:5070>",
        ),
        (
            "tel:7042;phone-context=pbx.example",
            "<sip:7042;phone-context=pbx.example@gw.example:5070>",
        ),
        ("tel:7042;phone-context=a@b.example", "<sip:7042@gw.example:5070>"),
        ("sip:sbc.example", None),
        ("sip:name@sbc.example", None),
    ],
)
def test_calls_that_may_go_on_are_sent_to_the_next_hop(called: str, contact: str | None) -> None:
    """With 302: the called number as it came, at the next hop; 404 where there is no number."""
    here = responder(answer_allow=302, next_hop="gw.example:5070")
    made = asked(message(INNOCENT, called), here)
    assert made is not None
    assert made.code == (302 if contact else 404)
    assert fields_of(made).get("contact") == ([contact] if contact else None)
    assert code_of(message(BLOCKED, called), here) == 603


@pytest.mark.parametrize(
    ("via", "port", "answered"),
    [
        ("SIP/2.0/UDP 192.0.2.7:5070;branch=b", 5070, "SIP/2.0/UDP 192.0.2.7:5070;branch=b"),
        ("SIP/2.0/UDP 192.0.2.7", 5060, "SIP/2.0/UDP 192.0.2.7"),
        (
            "SIP/2.0/UDP sbc.example;rport;branch=b",
            40_000,
            "SIP/2.0/UDP sbc.example;branch=b;received=192.0.2.7;rport=40000",
        ),
        (
            "SIP / 2.0 / udp 10.0.0.1 : 5080 ; RPORT=1;received=198.51.100.1 ;branch=b",
            40_000,
            "SIP / 2.0 / udp 10.0.0.1 : 5080 ;branch=b;received=192.0.2.7;rport=40000",
        ),
        ("SIP/2.0/UDP [2001:db8::1]:5070;maddr=198.51.100.1", 5070, None),
    ],
)
def test_answers_go_back_to_where_requests_came_from(
    via: str, port: int, answered: str | None
) -> None:
    """Via's port, or with rport (RFC 3581) the request's; never to an address that Via names."""
    more = "SIP/2.0/TCP far.example;branch=z, SIP/2.0/TLS farther.example"
    made = asked(message(via=[via, more]))
    assert made is not None
    assert made.to == Address(SOURCE.host, port)
    first, *others = fields_of(made)["via"]
    assert others == more.split(", ")
    assert answered is None or first == answered


def test_a_socket_of_both_kinds_of_address() -> None:
    """An IPv4 sender is known by its own address, and the answer has that one."""
    here = responder(trunks={"192.0.2.0/24": "gb"})
    source = Address("::ffff:192.0.2.7", 40_000)
    (made,) = here.answers([(message(NATIONAL), source)], SipTransport.UDP, 1.0)
    assert made is not None
    assert (made.code, made.to) == (603, source)
    assert ";received=192.0.2.7;" in fields_of(made)["via"][0]
    (made,) = here.answers([(message(), Address("2001:db8::7%eth0", 5060))], SipTransport.UDP, 1.0)
    assert made is not None
    assert ";received=2001:db8::7;" in fields_of(made)["via"][0]


def test_the_same_request_gets_the_same_tag() -> None:
    """Nothing is remembered (8.2.7): another process gives it too. To keeps a tag that it has."""
    tags = {fields_of(asked(message(BLOCKED)))["to"][0] for _ in range(3)}
    tags.add(fields_of(asked(message(BLOCKED), responder()))["to"][0])
    assert len(tags) == 1
    other = fields_of(asked(message(BLOCKED, changed={"Call-ID": "other"})))["to"][0]
    assert other not in tags
    tagged = asked(message(changed={"To": "<sip:a@b>;tag=mine"}))
    assert fields_of(tagged)["to"] == ["<sip:a@b>;tag=mine"]


def test_what_is_not_asked_is_refused_or_ignored() -> None:
    """Other methods 405 with Allow; ACK and CANCEL nothing (8.2.7), not even their errors."""
    here = responder()
    made = asked(message(method="REGISTER"), here)
    assert made is not None
    assert made.code == 405
    assert fields_of(made)["allow"] == ["INVITE, ACK, OPTIONS"]
    assert code_of(message(method="BYE"), here) == 405
    assert code_of(message(method="invite"), here) == 405
    assert code_of(message(changed={"Require": "100rel"}), here) == 404
    assert code_of(message(BLOCKED, changed={"Require": "100rel"}), here) == 603
    for data in (message(method="ACK"), message(method="CANCEL", changed={"CSeq": "x"})):
        assert code_of(data, here) is None
    for data in (b"\r\n\r\n", b"\0", b"hello", b"\xff" * 900, b"GET / HTTP/1.1\r\n\r\n"):
        assert code_of(data, here) is None
    assert code_of(message(via=()), here) is None
    assert counted(here) == {
        Unanswered.ACK: 1,
        Unanswered.CANCEL: 1,
        Unanswered.KEEP_ALIVE: 2,
        Unanswered.UNREADABLE: 3,
        Unanswered.NO_VIA: 1,
    }


@pytest.mark.parametrize("transport", [SipTransport.UDP, SipTransport.TCP])
def test_no_length_hides_a_caller(transport: SipTransport) -> None:
    """RFC 3261, 18.1.1: all that a datagram holds is read, but for a very long head. A call with
    one is decided by its beginning, and is refused where a listed number may be behind that.
    """
    long, pad = {"Content-Length": "40000"}, {"X": "y" * 17_000}
    hidden = pad | {"P-Asserted-Identity": f"<tel:{BLOCKED}>"}
    messages = [
        *(message(caller, changed=long) + b"v" * 40_000 for caller in (BLOCKED, INNOCENT)),
        *(message(BLOCKED, changed=pad), message(INNOCENT, changed=hidden)),
        message(BLOCKED, called="sip:191@x", changed=pad),
    ]
    made = responder().answers([(one, SOURCE) for one in messages], transport, 1.0)
    assert [one and one.code for one in made] == [603, 404, 603, 403, 404]


@pytest.mark.parametrize(
    ("put", "by", "code"),
    [
        ("z9hG4bKa1;rport", 'z9hG4bKa1;rport, SIP/2.0/UDP x;q="unclosed', 400),
        ("CSeq: 1 ", "CSeq: 4294967295 ", 400),
        ("Content-Length: 0", "Content-Length: 50", 400),
        ("@sbc.example SIP/2.0", "@sbc.example;x=<y SIP/2.0", 400),
        ("INVITE sip:+", "invite sip:+", 400),
        ("INVITE sip:", "INVITE im:", 416),
        (" SIP/2.0\r", " sip/2.0\r", 404),
    ],
)
def test_a_malformed_call_is_looked_up_before_it_is_refused(put: str, by: str, code: int) -> None:
    """Kamailio 5.6.3 relays nearly all of these, and switches route a call further after 400."""
    for caller, answered in ((BLOCKED, 603), (INNOCENT, code)):
        data = message(caller).replace(put.encode(), by.encode(), 1)
        assert by.encode() in data
        assert code_of(data) == answered


def test_lines_without_cr_are_read_as_proxies_read_them() -> None:
    """Kamailio passes on such lines of a caller, between its own: seen with 5.6.3."""
    for caller, code in ((BLOCKED, 603), (INNOCENT, 404)):
        first, rest = message(caller).split(b"From", 1)
        assert code_of(first + (b"From" + rest).replace(b"\r\n", b"\n")) == code
        assert code_of(message(caller).replace(b"\r\n", b"\n")) == code


def test_a_trunk_at_its_rate_loses_no_call_to_its_acks_and_pings() -> None:
    """An ACK comes with each answer to an INVITE. A ping that is refused takes us out of use."""
    here = responder(trunks={"192.0.2.7": "gb"}, requests_per_s=10.0)
    calls = [(message(), SOURCE), (message(method="ACK"), SOURCE)] * 10
    made = here.answers(calls, SipTransport.UDP, 1.0)
    assert [one and one.code for one in made] == [404, None] * 10
    assert code_of(message(method="OPTIONS"), here) == 200


def test_without_lists_calls_go_on_and_options_say_so() -> None:
    """It fails open: an INVITE is 404; OPTIONS, by which switches see who is there, are 503."""
    empty, here = responder(loaded=False), responder()
    made = asked(message(method="OPTIONS"), empty)
    assert made is not None
    assert made.code == 503
    assert fields_of(made)["retry-after"] == ["1"]
    assert code_of(message(method="OPTIONS"), here) == 200
    assert code_of(message(method="OPTIONS", called="sip:sbc.example"), here) == 200


def test_a_batch_is_answered_in_its_order() -> None:
    """Whatever stands between: each answer belongs to its request."""
    data = [
        message(BLOCKED, changed={"Call-ID": "0"}),
        b"junk",
        message(method="OPTIONS", changed={"Call-ID": "2"}),
        message(INNOCENT, changed={"Call-ID": "3"}),
        message(BLOCKED, changed={"Call-ID": "4"}),
    ]
    made = responder().answers([(one, SOURCE) for one in data], SipTransport.UDP, 1.0)
    assert [one and one.code for one in made] == [603, None, 200, 404, 603]
    assert [one and fields_of(one)["call-id"][0] for one in made] == ["0", None, "2", "3", "4"]


def test_a_flood_of_strangers_takes_nothing_from_a_trunk() -> None:
    """Trunks have their own share: beyond it 503, and then nothing. Strangers share one, without
    503; memory does not grow with their addresses.
    """
    here = responder(trunks={"192.0.2.7": "gb"}, requests_per_s=10.0, strangers_per_s=5.0)
    flood = [(message(), Address(f"198.51.{n >> 8}.{n & 255}", 5060)) for n in range(9000)]
    codes = [one and one.code for one in here.answers(flood, SipTransport.UDP, 1.0)]
    assert codes == [404] * 5 + [None] * 8995
    assert here._sources.of.cache_info().currsize <= ADDRESSES_MAX
    assert counted(here) == {Unanswered.FLOOD: 8995}
    trunk = [(message(), SOURCE)] * 30
    codes = [one and one.code for one in here.answers(trunk, SipTransport.UDP, 1.0)]
    assert codes == [404] * 10 + [503] * 10 + [None] * 10
    codes = [one and one.code for one in here.answers(trunk, SipTransport.UDP, 3.0)]
    assert codes[:10] == [404] * 10


@pytest.mark.parametrize(
    ("trunk", "load", "taken", "busy"),
    [
        ("border-1", 90, 90, 0),
        ("border-1", 105, 100, 5),
        ("border-1", 150, 100, 50),
        ("border-1", 500, 100, 100),
        (None, 150, 100, 0),
    ],
)
def test_a_steady_load_above_the_rate_is_still_decided_at_the_rate(trunk, load, taken, busy):
    """Refusals take nothing from it. At 1.05 times its rate a trunk got no verdict."""
    allowance = Allowance(trunk, 100.0)
    for turn in range(20 * load):  # until the bursts are used up
        allowance.take(turn / load)
    found = Counter(allowance.take(20 + turn / load) for turn in range(10 * load))
    assert abs(found[Admission.TAKEN] - 10 * taken) <= 1
    assert abs(found[Admission.BUSY] - 10 * busy) <= 1
    assert found.total() == 10 * load
