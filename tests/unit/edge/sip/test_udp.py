"""SIP over UDP: what the kernel drops is counted, and what comes too late."""

import asyncio
import socket
import time
from functools import partial

import pytest

from stream.edge.sip.udp import UdpServer, bound
from tests.support.sip import counted, message, responder
from tests.support.waiting import until

HOST = "127.0.0.1"
SENT = 2_000


async def test_datagrams_that_the_kernel_dropped_are_counted():
    """Each message is answered or counted, also those that found the socket's buffer full."""
    here = responder(strangers_per_s=1e6)
    door = bound(HOST, 0, socket.SOCK_DGRAM)
    door.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16_384)
    server = UdpServer(door, here)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.connect(door.getsockname())
        for turn in range(SENT):  # nobody reads yet
            client.send(message(changed={"Call-ID": f"c{turn}"}))
        server.start()
        try:
            await until(lambda: _dealt_with(here) == SENT, "every datagram is dealt with")
            lost = counted(here)["overflow"]
            assert lost > SENT // 2
            await asyncio.to_thread(client.send, message())
            await until(lambda: _dealt_with(here) == SENT + 1, "one more is answered")
        finally:
            server.stop()
    assert counted(here) == {"overflow": lost}


async def test_what_waited_too_long_is_counted_and_not_answered():
    """A switch has let the call go on by then; what comes after it is answered."""
    here = responder(strangers_per_s=1e6)
    door, ahead_s = bound(HOST, 0, socket.SOCK_DGRAM), [0.0]
    server = UdpServer(door, here, lambda: time.time() + ahead_s[0])
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.connect(door.getsockname())
        server.start()
        try:
            for turn, (ahead_s[0], lost) in enumerate(((-3600, 0), (3600, 1), (-3600, 1)), 1):
                await asyncio.to_thread(client.send, message(changed={"Call-ID": f"c{turn}"}))
                await until(partial(_all_dealt_with, here, turn), "it is dealt with")
                assert counted(here).get("overflow", 0) == lost
                assert not server._is_late, "none waits"
        finally:
            server.stop()


async def test_after_a_fault_of_ours_the_socket_is_still_read(monkeypatch):
    """Also where the batch had waited for its turn: the process lived and answered nobody."""
    here, faults = responder(strangers_per_s=1e6), []
    answers = here.answers

    def broken(messages, transport, now_s):
        if any(b"broken" in data for data, _ in messages):
            raise OverflowError("a fault of ours")
        return answers(messages, transport, now_s)

    monkeypatch.setattr(here, "answers", broken)
    asyncio.get_running_loop().set_exception_handler(lambda _, told: faults.append(told))
    door = bound(HOST, 0, socket.SOCK_DGRAM)
    server = UdpServer(door, here)
    server._answered_s = asyncio.get_running_loop().time() + 0.05  # the first one waits
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.connect(door.getsockname())
        server.start()
        try:
            await asyncio.to_thread(client.send, message(changed={"Call-ID": "broken"}))
            await until(lambda: bool(faults), "the fault")
            await asyncio.to_thread(client.send, message())
            await until(lambda: _dealt_with(here) == 1, "the next one is answered")
        finally:
            server.stop()
    assert isinstance(faults[0]["exception"], OverflowError)


@pytest.mark.parametrize(
    ("here", "asked"), [("0.0.0.0", "127.0.0.2"), ("::", "127.0.0.2"), ("::", "::1"), (HOST, HOST)]
)
async def test_an_answer_leaves_from_the_address_that_was_asked(here: str, asked: str) -> None:
    """A switch drops one from another address of the machine, and lets the call go on unasked."""
    door = bound(here, 0, socket.SOCK_DGRAM)
    server = UdpServer(door, responder(strangers_per_s=1e6))
    family = socket.AF_INET6 if ":" in asked else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as client:
        client.setblocking(False)
        client.connect((asked, door.getsockname()[1]))  # so it hears of this address alone
        server.start()
        try:
            client.send(message(changed={"Via": "SIP/2.0/UDP c;rport;branch=z9hG4bKa"}))
            answer = await asyncio.get_running_loop().sock_recv(client, 4096)
        finally:
            server.stop()
    assert answer.startswith(b"SIP/2.0 404 ")


def test_after_a_late_one_only_fresh_ones_are_answered():
    """Else each would be answered just before it is late, as long as too many come."""
    ages = {0.0: False, 0.9: False, 1.1: True, 0.8: True, 0.2: True, 0.05: False, 0.95: False}
    with bound(HOST, 0, socket.SOCK_DGRAM) as door:
        server = UdpServer(door, responder())
        assert {age_s: server._too_late(age_s) for age_s in ages} == ages


def _all_dealt_with(here, count):
    return _dealt_with(here) == count


def _dealt_with(here):
    """Messages that were answered or counted."""
    (answers,) = here.metrics.answers.collect()
    answered = sum(one.value for one in answers.samples if one.name.endswith("_total"))
    return round(answered) + sum(counted(here).values())
