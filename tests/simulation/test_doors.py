"""The doors of a history: they answer, and each way to answer wrongly is seen."""

import gc
from collections.abc import Iterator
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from tests.simulation.clients import ANSWER_S, Line
from tests.simulation.doors import DoorFaults, DoorPlan, Taken
from tests.simulation.history import History
from tests.simulation.http_clients import HttpClients
from tests.simulation.listing import ListFaults
from tests.simulation.plan import Plan, Swarm
from tests.simulation.sip_clients import SipClients, Transaction
from tests.simulation.world import left_in_the_middle

BLOCKED, FREE = "+447700900101", "+447700900102"


def test_both_doors_answer_all_who_ask():
    """Datagrams are lost and doubled; nothing else is wrong, so each door lives once."""
    plan = Plan.of(2)
    assert plan.lists is not None
    plan = replace(
        plan,
        swarm=Swarm(),
        lists=replace(plan.lists, faults=ListFaults()),
        doors=DoorPlan(DoorFaults(), conversations=30, lost=0.3, twice=0.3),
    )
    with left_in_the_middle():  # a history keeps its processes until it is collected
        history = History(plan)
        history.run()
        found = history.doors
        assert found is not None
        assert [door.lives for door in found.doors] == [1, 1]
        assert min(clients.answers for clients in found.clients) > len(found.numbers)
        del history, found
        gc.collect()


class Asked:
    """A door that blocks one number, and clients of it; what is wrong is in `bugs`."""

    def __init__(self, made: type[HttpClients] | type[SipClients]) -> None:
        self.bugs: list[str] = []
        self.now_s = 10.0
        self.taken = [Taken(10.0, frozenset({BLOCKED}), True)]
        loop = SimpleNamespace(time=lambda: self.now_s)
        world = SimpleNamespace(rng=None, loop=loop)
        door = SimpleNamespace(name="door", between=self.between)
        self.clients: Any = made(world, door, [BLOCKED, FREE], self.bugs.append)

    def between(self, first_s: float, last_s: float) -> Iterator[Taken]:
        """Return the records that the intake took."""
        return (one for one in self.taken if first_s <= one.at_s <= last_s)

    def http(self, number: str, status: int, said: str) -> list[str]:
        """Ask by HTTP, and be answered so."""
        line = Line(self.clients)
        asked = self.clients._lookup(number)
        asked.sent_s = self.now_s
        line.waiting.append(asked)
        line.data_received(b"HTTP/1.1 %d X\r\nContent-Length: %d\r\n\r\n" % (status, len(said)))
        line.data_received(said.encode())
        return self.bugs

    def sip(self, number: str, *answers: tuple[int, str]) -> list[str]:
        """Ask by SIP over UDP, and be answered so, with these tags."""
        asked = self.clients.invite(number, ("192.0.2.1", 5060), "UDP")
        asked.sent_s = self.now_s
        begun = {asked.names[0]: Transaction(asked, self.now_s)}
        for code, tag in answers:
            head = f"SIP/2.0 {code} X\r\nTo: <sip:x>;tag={tag}\r\nCall-ID: {asked.names[0]}\r\n\r\n"
            self.clients.came(SimpleNamespace(begun=begun), head.encode())
        return self.bugs


SAID = '{"call_id": "door-1", "verdict": "%s", "fail_open": %s}'


@pytest.mark.parametrize(
    ("number", "status", "said", "word"),
    [
        (BLOCKED, 200, SAID % ("block", "false"), ""),
        (FREE, 200, SAID % ("allow", "false"), ""),
        (BLOCKED, 200, SAID % ("allow", "false"), "may be"),
        (FREE, 200, SAID % ("block", "false"), "may be"),
        (FREE, 200, SAID % ("allow", "true"), "may be"),
        (FREE, 200, SAID.replace("door-1", "door-2") % ("allow", "false"), "were asked"),
        (FREE, 500, "{}", "500"),
    ],
)
def test_each_wrong_answer_by_http_is_seen(number, status, said, word):
    """A verdict that no list in force gives, another call's answer, a fault of ours."""
    bugs = Asked(HttpClients).http(number, status, said)
    assert bool(bugs) == bool(word)
    assert word in "".join(bugs)


@pytest.mark.parametrize(("full_s", "word"), [(8.0, ""), (6.0, "is not")])
def test_a_door_says_that_it_is_full_only_while_it_is(full_s, word):
    """The moment of connecting counts: the answer may reach the client late (seed 10035)."""
    asked = Asked(HttpClients)
    line = Line(asked.clients)
    line.connection_made(SimpleNamespace())
    asked.clients._full_s = full_s
    asked.now_s += 60.0
    said = b'{"type":"urn:ringfence:problem:too-many-connections"}'
    line.data_received(b"HTTP/1.1 503 X\r\nContent-Length: %d\r\n\r\n%b" % (len(said), said))
    assert bool(asked.bugs) == bool(word)
    assert word in "".join(asked.bugs)


def test_an_answer_that_nobody_asked_for_is_seen():
    """A second one to one request."""
    asked = Asked(HttpClients)
    line = Line(asked.clients)
    line.data_received(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
    assert "nobody asked" in asked.bugs[0]


def test_who_waits_for_longer_than_faults_explain_is_seen():
    """A fault explains a wait until it is over, and a while after it; a host without power all.

    Nobody waits before the door has the request: on a slow link a large one takes its time.
    """
    asked = Asked(HttpClients)
    line = Line(asked.clients)
    line.transport = SimpleNamespace(peer=SimpleNamespace(silent=True), arrives_s=0.0)
    line.waiting.append(asked.clients._lookup(FREE))
    line.waiting[0].sent_s = asked.now_s
    asked.clients._lines.append(line)
    asked.now_s += ANSWER_S + 1
    asked.clients.check(quiet_s=asked.now_s)
    asked.clients.check(quiet_s=0.0)
    assert not asked.bugs
    line.transport.peer.silent = False
    line.transport.arrives_s = asked.now_s - 1
    asked.clients.check(quiet_s=0.0)
    assert not asked.bugs
    line.transport.arrives_s = 0.0
    asked.clients.check(quiet_s=0.0)
    assert "waits" in asked.bugs[0]


@pytest.mark.parametrize(
    ("number", "answers", "word"),
    [
        (BLOCKED, [(603, "a"), (603, "a")], ""),
        (FREE, [(404, "a")], ""),
        (BLOCKED, [(404, "a")], "may be"),
        (FREE, [(603, "a")], "may be"),
        (FREE, [(404, "a"), (404, "b")], "several tags"),
        (FREE, [(500, "a")], "500"),
    ],
)
def test_each_wrong_answer_by_sip_is_seen(number, answers, word):
    """A verdict that no list in force gives, a second answer of its own, a fault of ours."""
    bugs = Asked(SipClients).sip(number, *answers)
    assert bool(bugs) == bool(word)
    assert word in "".join(bugs)


def test_an_answer_to_what_gets_none_is_seen():
    """ACK and CANCEL get none, nor does a call of which nobody asked."""
    asked = Asked(SipClients)
    caller = SimpleNamespace(begun={})
    asked.clients.came(caller, b"SIP/2.0 481 X\r\nCall-ID: other\r\nCSeq: 1 CANCEL\r\n\r\n")
    assert "gets no answer" in asked.bugs[0]
