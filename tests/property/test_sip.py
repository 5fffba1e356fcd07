"""SIP against anything: every message ends in an answer or a count, soon, and never in a crash."""

from hypothesis import given
from hypothesis import strategies as st

from stream.core.numbers.number import parse
from stream.edge.sip.message import Lost, SipFraming, listed, parameters_of, uri_of, via_of
from stream.edge.sip.responder import LONGER_MAX, SipTransport
from tests.support.examples import examples
from tests.support.sip import BLOCKED, SOURCE, code_of, counted, fields_of, message, responder
from tests.unit.edge.sip.test_torture import MESSAGES

SAMPLES = [*MESSAGES.values(), message(BLOCKED), message(method="OPTIONS")]
PUT = [b"", b"\r\n", b"\r\n ", b"\r", b"\n", b"\0", b'"', b"<", b">", b";", b",", b":", b"@", b"%0"]
HERE = responder(strangers_per_s=1e6, message_bytes_max=1_000_000)
HOP = responder(strangers_per_s=1e6, answer_allow=302, next_hop="h" * 190)
LONG = responder(strangers_per_s=1e6, redress_url="https://r.example/{decision_id}" + "p" * 300)


@st.composite
def changed(draw):
    """A message with bytes of it replaced, taken out or put in at some places."""
    value = draw(st.sampled_from(SAMPLES))
    for _ in range(draw(st.integers(0, 4))):
        at, cut = draw(st.integers(0, len(value))), draw(st.integers(0, 12))
        value = value[:at] + draw(st.sampled_from(PUT)) + value[at + cut :]
    return value


@given(data=st.binary(max_size=400) | changed(), transport=st.sampled_from(SipTransport))
def test_any_bytes_are_answered_or_counted(data: bytes, transport: SipTransport) -> None:
    """One or the other; an answer is one message with the lines that it should have, no more."""
    before = sum(counted(HERE).values())
    (made,) = HERE.answers([(data, SOURCE)], transport, 1e9)
    assert sum(counted(HERE).values()) - before == (made is None)
    if made is None:
        return
    fields = fields_of(made)
    assert made.data.count(b"\r\n\r\n") == 1
    assert b"\n" not in made.data.replace(b"\r\n", b"")
    assert b"\r" not in made.data.replace(b"\r\n", b"")
    assert {*fields} <= {
        *("via", "from", "to", "call-id", "cseq", "content-length", "reason", "allow"),
        *("accept", "unsupported"),
    }
    assert made.to.host == SOURCE.host


LINES = st.sampled_from(
    [
        *("t:a", "t:<sip:a@b>;tag=1", "To: b", "f:a", "From: <sip:a@b>", "i:1", "i:2", "CSeq: 1 X"),
        *("CSeq: 1 INVITE", "v:SIP/2.0/UDP a", "v:x", "v:SIP/2.0/UDP a,SIP/2.0/UDP b;rport", "v:"),
        *("v:SIP/2.0/UDP a;rport", "Require:a,b,c", "Require:" + ",".join("a" * 400), "l:0"),
        *("Record-Route:<sip:a@b>", "Route:<sip:a@b>", "Contact:<sip:a@b>", "l:9", "Reason:a"),
        "P-Asserted-Identity:<tel:" + BLOCKED + ">",
    ]
)
FIRST = st.sampled_from(
    [
        *("INVITE sip:a SIP/2.0", "OPTIONS a:b SIP/2.0", "A a SIP/2.0", "A a SIP/9.9"),
        *("INVITE tel:191 SIP/2.0", "OPTIONS sip:a SIP/2.0", "OPTIONS sip:a ", "X sip:a SIP/2.0"),
        f"INVITE sip:{BLOCKED}@x SIP/2.0",
    ]
)
WRITTEN = st.builds(
    lambda first, lines, times: "\r\n".join([first, *(lines * times), "", ""]).encode(),
    FIRST,
    st.lists(LINES, max_size=12),
    st.integers(1, 80),
)


@given(data=WRITTEN | changed())
@examples(133)
def test_an_answer_to_a_stranger_is_hardly_longer_than_what_he_sent(data: bytes) -> None:
    """By UDP at most 200 bytes longer, whatever is repeated in it: nobody is flooded by way of us.
    Its From, To, Call-ID and CSeq stand there once, by TCP too.
    """
    for here in (HERE, HOP, LONG):
        for transport in SipTransport:
            (made,) = here.answers([(data, SOURCE)], transport, 1e9)
            if made is None:
                continue
            if transport is SipTransport.UDP:
                assert len(made.data) <= len(data) + LONGER_MAX
            fields = fields_of(made)
            names = ("from", "to", "call-id", "cseq")
            assert all(len(fields[name]) == 1 for name in names if name in fields)


@given(parts=st.lists(st.binary(max_size=60) | changed(), max_size=6), size=st.integers(1, 50))
def test_a_stream_is_cut_the_same_however_it_comes(parts: list[bytes], size: int) -> None:
    """In one piece or in many; and no more is held than the limit and a piece."""
    stream, limit = b"".join(parts), 2000

    def cut(pieces: list[bytes]) -> list[bytes]:
        framing, found = SipFraming(limit, limit), []
        for piece in pieces:
            framing.feed(piece)
            try:
                while (one := framing.next()) is not None:
                    found.append(one)
            except Lost as lost:
                return [*found, lost.message]
            assert len(framing._held) <= limit + size or len(pieces) == 1
        return found

    pieces = [stream[at : at + size] for at in range(0, len(stream), size)]
    assert cut(pieces) == cut([stream])


NAMES = st.text(st.characters(codec="latin-1", exclude_characters='\r\n"\\'), max_size=20)


@given(name=NAMES, tail=NAMES)
def test_no_name_hides_a_caller(name: str, tail: str) -> None:
    """Whatever stands in quotes before a number, or in a parameter behind: the number is found."""
    caller = f'"{name}" <sip:{BLOCKED}@sbc.example>;tag=f1;x="{tail}"'
    assert code_of(message(caller)) == 603
    caller = f'sip:{BLOCKED}@sbc.example;tag=f1;x="{tail}"'
    assert code_of(message(caller)) == 603


@given(text=st.text(st.characters(codec="latin-1"), max_size=60))
def test_parts_of_fields_never_raise(text: str) -> None:
    """Whatever a field holds; a URI that is found lies in it."""
    assert "".join(listed([text])).replace(" ", "") in text.replace(" ", "") or "," in text
    uri = uri_of(text)
    assert uri is None or uri in text
    parse(uri, "TH")
    parameters_of(text)
    via = via_of(text)
    assert via is None or via.text == text


def test_long_fields_take_no_long_time() -> None:
    """Of what regular expressions are slow with, 60,000 signs take a moment. Were one of ours
    quadratic, this would not end within a test's limit of time.
    """
    signs = [" ", ";", ",", "<", '"', "\\", '"\\', "a=", ";a=1.1", "a.", ":", "%", "SIP/2.0/UDP "]
    for sign in signs:
        text = sign * (60_000 // len(sign))
        for whole in (text, f"SIP/2.0/UDP x{text}", f'"{text}', f"<{text}", f"x;{text}!"):
            via_of(whole)
            uri_of(whole)
            parameters_of(whole)
            listed([whole])
        data = f"INVITE {text} SIP/2.0\r\nVia: {text}\r\nTo: {text}\r\n\r\n".encode()
        HERE.answers([(data, SOURCE)], SipTransport.UDP, 1e9)
