"""SIP over UDP: what the kernel drops is counted."""

import asyncio
import socket

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


def _dealt_with(here):
    """Messages that were answered or counted."""
    (answers,) = here.metrics.answers.collect()
    answered = sum(one.value for one in answers.samples if one.name.endswith("_total"))
    return round(answered) + sum(counted(here).values())
