"""Messages out of a stream."""

import pytest

from stream.edge.sip.message import Lost, SipFraming
from tests.support.sip import message

BODY = b"v=0\r\n\r\nx"
WITH_BODY = message(changed={"Content-Length": None, "l ": f"\r\n {len(BODY)}"}) + BODY


def cut(framing: SipFraming, data: bytes) -> list[bytes]:
    framing.feed(data)
    found = []
    while (one := framing.next()) is not None:
        found.append(one)
    return found


def test_messages_are_cut_by_their_length() -> None:
    """Whole, in parts, and several at once; blank lines in a body are part of it."""
    stream = WITH_BODY + message() + WITH_BODY
    assert cut(SipFraming(9000), stream) == [WITH_BODY, message(), WITH_BODY]
    framing = SipFraming(9000)
    found = [one for byte in stream for one in cut(framing, bytes([byte]))]
    assert found == [WITH_BODY, message(), WITH_BODY]
    assert not framing.waiting
    bare = message().replace(b"\r\n", b"\n")
    assert cut(SipFraming(9000), bare + WITH_BODY + bare) == [bare, WITH_BODY, bare]


def test_keep_alives_are_counted() -> None:
    """RFC 5626, 4.4.1: two line ends between messages are asked for one; one is none."""
    framing = SipFraming(9000)
    assert cut(framing, b"\r\n\r\n\r\n\r\n" + message() + b"\r\n") == [message()]
    assert framing.pings == 2
    assert not framing.waiting


@pytest.mark.parametrize(
    "length", [None, "-1", "7\r\nContent-Length: 8", "x", "1" * 10, "5000"], ids=str
)
def test_without_a_length_a_stream_ends(length: str | None) -> None:
    """A received message can be answered; the start of the next message is unknown."""
    framing = SipFraming(4000, 4000)
    with pytest.raises(Lost) as lost:
        cut(framing, message(changed={"Content-Length": length}) + BODY)
    assert lost.value.message.endswith(b"\r\n\r\n")
    assert lost.value.message.startswith(b"INVITE ")


def test_what_is_held_is_bounded() -> None:
    """A head without an end is given up at the limit; its beginning can be answered."""
    framing = SipFraming(2000)
    with pytest.raises(Lost) as lost:
        cut(framing, b"a: b\r\n" * 2000)
    assert lost.value.message == (b"a: b\r\n" * 2000)[:2000]
