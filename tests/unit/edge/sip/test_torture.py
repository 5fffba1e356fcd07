"""The 49 messages of RFC 4475: none does harm, and each gets the answer that it is owed."""

from pathlib import Path

import pytest
import sipmessage

from stream.edge.sip.message import Lost, SipFraming
from stream.edge.sip.responder import SipTransport
from stream.edge.sip.response import Unanswered
from tests.support.sip import SOURCE, asked, counted, fields_of, responder

GOLDEN = Path(__file__).parents[3] / "golden" / "sip"
MESSAGES = {path.stem: path.read_bytes() for path in sorted(GOLDEN.glob("*.dat"))}
RESPONSES = ("unreason", "noreason", "scalarlg", "bigcode", "bcast")
BY_CODE = {
    # Callers that no list knows: the call goes on. `baddate` has a Date that is none of ours,
    # `escruri` headers in the Request-URI, which are ignored (both may also be answered 400).
    404: "wsinv esc01 longreq baddate escruri inv2543 sdp01 invut",
    # Of `badaspec` and `baddn` (blanks, and a comma in a name) it is plain what is meant.
    200: "lwsdisp semiuri transports zeromf badbranch badaspec baddn",
    400: "badinv01 clerr ncl scalar02 quotbal ltgtruri lwsruri lwsstart trws mismatch01 mismatch02 "
    "insuf multi01 mcl01",
    405: "intmeth esc02 escnull dblreq mpart01 cparam01 cparam02 regaut01 regbadct regescrt unksm2",
    416: "unkscm novelsc",
    420: "bext01",
    505: "badvers",
}
ANSWERS = {name: code for code, names in BY_CODE.items() for name in names.split()}
LOST = ("ncl", "mcl01", "inv2543", "dblreq")
"""Streams that can be cut no further: what can be answered is, and then they end."""
IN_STREAMS = {"dblreq": [405, 404, None], "clerr": []}
"""Two messages and the rest of a body; a message of which more would come."""


def test_all_are_here() -> None:
    """None of the 49 is missing, and each has an answer or is one."""
    assert len(MESSAGES) == 49
    assert set(MESSAGES) == {*ANSWERS, *RESPONSES}


@pytest.mark.parametrize("name", ANSWERS)
def test_each_request_gets_its_answer(name: str) -> None:
    """As RFC 4475 says of it; what it can be known by comes back as it came."""
    made = asked(MESSAGES[name])
    assert made is not None
    assert made.code == ANSWERS[name]
    fields = fields_of(made)
    assert fields["via"]
    if name not in ("insuf", "multi01"):
        assert all(";tag=" in text.replace(" ", "") for text in fields["to"])
        assert len(fields["call-id"]) == len(fields["cseq"]) == len(fields["from"]) == 1


@pytest.mark.parametrize("name", ANSWERS)
def test_another_reader_understands_the_answers(name: str) -> None:
    """Another parser, sipmessage, reads the intended answer."""
    made = asked(MESSAGES[name])
    assert made is not None
    read = sipmessage.Message.parse(made.data)
    assert isinstance(read, sipmessage.Response)
    assert (read.code, read.body, read.content_length) == (made.code, b"", 0)
    if name not in ("badinv01", "badvers"):  # their Via is none, and comes back as it came
        sent_by = [(via.host, via.port) for via in read.via]
        assert len(sent_by) == len(fields_of(made)["via"])


@pytest.mark.parametrize("name", RESPONSES)
def test_responses_are_not_answered(name: str) -> None:
    """Whatever they say: this server never asked anybody."""
    here = responder()
    assert asked(MESSAGES[name], here) is None
    assert counted(here) == {Unanswered.RESPONSE: 1}


@pytest.mark.parametrize("name", MESSAGES)
def test_in_a_stream_they_are_the_same(name: str) -> None:
    """Byte after byte: each is cut where it ends, waits for the rest, or ends the stream."""
    framing, here, codes, lost = SipFraming(16_384), responder(), [], False

    def answered(data: bytes) -> None:
        (made,) = here.answers([(data, SOURCE)], SipTransport.TCP, 1.0)
        codes.append(made and made.code)

    for byte in MESSAGES[name]:
        framing.feed(bytes([byte]))
        try:
            found = framing.next()
        except Lost as end:
            found, lost = end.message, True
        if found is not None:
            answered(found)
        if lost:
            break
    assert codes == IN_STREAMS.get(name, [ANSWERS.get(name)])
    assert lost == (name in LOST)
