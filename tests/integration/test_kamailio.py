"""Kamailio as our configuration sets it up, at work: sipp calls, Ringfence and Redis decide.

RINGFENCE_KAMAILIO_CALLS=10000 makes more calls than the 500 of `make test`.
"""

import asyncio
import json
import os
import re
import signal
import time
from collections import Counter
from collections.abc import Iterator
from functools import partial

import pytest
import redis

from stream.core.model.allowlist import AllowEntry
from stream.lab.embedded.choose import RedisServer
from stream.lab.embedded.guarded_server import Server, free_ports
from stream.lists.store.heads import Removal
from stream.lists.store.list_store import ListStore
from stream.lists.store.settings import ListStoreSettings
from tests.support.builders import entry, fingerprint_of
from tests.support.kamailio import REDIS_MS, Border, Calls, border_on, hanging, kamailio
from tests.support.lists import BY, NAME
from tests.support.topics import read
from tests.support.waiting import until_now

pytestmark = [
    pytest.mark.needs_kamailio,
    pytest.mark.needs_sipp,
    pytest.mark.expects_errors("Group Coordinator"),  # of a broker that has just started
]
CALLS = int(os.environ.get("RINGFENCE_KAMAILIO_CALLS", "500"))
RATE = 150
CALLED = "0212345678"
FREE = "+999000001"
LISTED = [f"+855239001{n:02d}" for n in range(25)]
PREFIX, INSIDE, SPARED = "+8552391*", "+85523910001", "+85523910002"
REASON = re.compile(
    r'SIP;cause=603;text="v=analytics1;url=https://redress\.example/d/([A-Z0-9]+)";location=TN'
)
ADDED_MS = 10 * REDIS_MS
"""A hanging Redis costs a call a few waits: for an answer, for a connection, for its SELECT."""


@pytest.fixture(scope="module")
def border(
    tmp_path_factory: pytest.TempPathFactory, own_broker, redis_server: RedisServer
) -> Iterator[Border]:
    """A border whose list has 25 numbers and a prefix with one exception."""
    url = redis_server.url(redis_server.databases - 1)
    with redis.Redis.from_url(url) as client:
        client.flushdb()
    now_s = int(time.time())

    async def listed() -> None:
        async with await ListStore.connect(ListStoreSettings(url)) as register:
            await register.create(NAME, "plain", BY)
            texts = [*LISTED, PREFIX]
            await register.add(NAME, [entry(text, reported_at_s=now_s) for text in texts], BY)
            await register.allow_add([AllowEntry(SPARED, "ours", "x", now_s)], BY)

    asyncio.run(listed())
    folder = tmp_path_factory.mktemp("border")
    with border_on(folder, own_broker.bootstrap, url) as made:
        yield made


until = partial(until_now, what="what the border does")


def keys(border: Border) -> set[str]:
    with redis.Redis(port=border.redis.port, decode_responses=True) as client:
        return {name[3:] for name in client.scan_iter("bl:+*", count=1000)}


def records_of(border: Border) -> tuple[Counter[str], Counter[str]]:
    """Count the attempts and CDRs of each caller in Kafka."""
    topic = asyncio.run(read(border.deployment.bootstrap, border.deployment.calls))
    found = [json.loads(record.value) for record in topic]
    ends = [record["src_user"] for record in found if "duration" in record]
    return Counter(record["src_user"] for record in found if "duration" not in record), Counter(
        ends
    )


def mixed(series: str, calls: int = CALLS) -> list[tuple[str, str]]:
    """`calls` calls, of which every 20th is of a listed number, the rest each of another."""
    return [
        (LISTED[n // 20 % len(LISTED)] if n % 20 == 0 else f"+999{series}{n:06d}", CALLED)
        for n in range(calls)
    ]


def waits(calls: Calls) -> str:
    """Percentiles of what callers waited for."""
    held = calls.waits_ms
    middle, high = held[len(held) // 2], held[len(held) * 99 // 100]
    return f"p50 {middle:.1f} ms, p99 {high:.1f} ms, most {held[-1]:.1f} ms"


def test_what_calls_bring_about_stops_the_next_ones(border: Border, measured) -> None:
    """Attempts and CDRs flow in and are decided; then listed callers, and they alone, get 603
    with the address of a decision that is on the topic. Nobody waits for Ringfence.
    """
    first = border.call(mixed("0"), RATE)
    assert len(first.made) == CALLS
    until(lambda: set(LISTED) <= keys(border))
    second = border.call(mixed("1"), RATE)
    assert set(second.blocked) == set(LISTED)
    assert Counter(call.status for call in second.made) == {200: CALLS * 19 // 20, 603: CALLS // 20}
    decided = [
        json.loads(one.value)
        for one in asyncio.run(read(border.deployment.bootstrap, border.deployment.decisions))
    ]
    known = {decision["decision_id"]: decision["number"] for decision in decided}
    for caller, reason in second.blocked.items():
        found = REASON.fullmatch(reason)
        assert found is not None, reason
        assert known[found[1]] == caller
    connected = Counter(call.caller for call in first.made + second.made if call.status == 200)
    # At least once: what was not acknowledged in time came twice.
    until(
        lambda: records_of(border)[0] >= Counter(call.caller for call in first.made + second.made)
    )
    until(lambda: records_of(border)[1] >= connected)
    assert border.counted("blocked") >= CALLS // 20
    assert border.counted("lost") == 0
    measured(f"{2 * CALLS} calls at {RATE}/s through Kamailio, INVITE to answer: {waits(second)}")


def test_prefixes_exceptions_and_emergency_calls(border: Border) -> None:
    """A listed prefix blocks, not whom we allow inside it; a listed caller reaches emergency
    numbers in every form; forms of numbers make no difference, and strange ones do no harm.
    """
    until(lambda: {PREFIX, SPARED} <= keys(border))
    listed, national = LISTED[0], "0" + LISTED[0][4:]
    blocked = [(INSIDE, CALLED), (listed, CALLED), (f"00{listed[1:]}", CALLED)]
    free = [
        (SPARED, CALLED),
        (national, CALLED),  # another number: national numbers are Thai here
        *((listed, number) for number in ("191", "1669", "+66191", "112", "00661669", "#31#112")),
        *(
            (listed, number)
            for number in ("%2331%23191", "*671669", "%2331%231669%23", "+8561195", "sos")
        ),
        ("anonymous", CALLED),
        ("%25s%25n", CALLED),
        ("+%s%s%n", CALLED),
        ("bl:*", CALLED),
        ("+1" + "2" * 40, CALLED),
    ]
    until(lambda: listed in keys(border))
    calls = border.call(blocked + free)
    assert [call.status for call in calls.made if (call.caller, call.called) in blocked] == [
        603
    ] * 3
    assert sorted(calls.blocked) == sorted(caller for caller, _ in blocked)
    assert len(calls.made) == len(blocked + free)


def test_the_shortest_prefix_of_the_settings_blocks(border: Border) -> None:
    """`[lists] prefix_digits_min` allows two digits."""
    with redis.Redis(port=border.redis.port) as client:
        client.hset("bl:+99*", mapping={"action": "block", "decision_id": "D"})
        try:
            assert border.invite(f"<sip:{FREE}@c>;tag=1", CALLED) == 603
        finally:
            client.delete("bl:+99*")
    assert border.invite(f"<sip:{FREE}@c>;tag=1", CALLED) != 603


def test_our_own_numbers_are_found_in_their_usual_mistakes(border: Border) -> None:
    """Our country's code without +, and with the national prefix behind it, as lists read them."""
    with redis.Redis(port=border.redis.port) as client:
        client.hset("bl:+66800000000", mapping={"action": "block", "decision_id": "D"})
        try:
            for user in (
                *("0800000000", "66800000000", "0066800000000", "+660800000000"),
                *("+66(0)800000000", "+66-0-80-000-0000", "660800000000"),
            ):
                assert border.invite(f"<sip:{user}@c>;tag=1", CALLED) == 603, user
        finally:
            client.delete("bl:+66800000000")
    for user in ("800000000", "85580000000", "+660", "66"):
        assert border.invite(f"<sip:{user}@c>;tag=1", CALLED) != 603, user


def test_an_unblock_takes_effect(border: Border) -> None:
    """Off the list the next call connects, without anything told to Kamailio."""
    number = LISTED[-1]
    until(lambda: number in keys(border))
    assert set(border.call([(number, CALLED)]).blocked) == {number}

    async def unlisted() -> None:
        async with border.lists() as register:
            await register.remove(NAME, [Removal(fingerprint_of(number), number)], BY)

    asyncio.run(unlisted())
    until(lambda: number not in keys(border))
    assert not border.call([(number, CALLED)]).blocked


@pytest.fixture(scope="module")
def hasty(border: Border) -> Iterator[Server]:
    """Another Kamailio, which waits for Redis as little as operators let it."""
    (port,) = free_ports(1)
    with kamailio(border, border.door, port, redis_ms=REDIS_MS) as other:
        other.start()
        try:
            yield other
        finally:
            other.stop()


@pytest.mark.parametrize("how", ["hangs", "is gone"])
def test_without_redis_every_call_goes_on(
    border: Border, hasty: Server, how: str, measured
) -> None:
    """Listed or not, within a few of the waits that are configured; and when it is back, listed
    callers are stopped again.
    """
    port = hasty.port
    pairs = mixed("2", 100)
    until(lambda: LISTED[0] in keys(border))
    until(lambda: border.call([(LISTED[0], CALLED)], port=port).blocked)
    before, unasked = border.call(pairs, port=port), border.counted("unasked", hasty)
    if how == "hangs":
        with hanging(border.redis.pid):
            calls = border.call(pairs, port=port)
    else:
        border.redis.kill()
        calls = border.call(pairs, port=port)
        border.redis.start()
    assert not calls.blocked
    assert len(calls.made) == len(pairs)
    assert border.counted("unasked", hasty) >= unasked + len(pairs)
    measured(f"Redis {how}: {waits(calls)} (with it: {waits(before)})")
    # Generous: what a machine without CPU adds comes on top of what is configured.
    assert calls.waits_ms[-1] < ADDED_MS + 5_000
    until(lambda: border.call([(LISTED[0], CALLED)], port=port).blocked)


@pytest.mark.parametrize("who", ["Ringfence", "Kafka"])
def test_without_ringfence_or_kafka_nothing_waits_and_nothing_is_lost(
    border: Border, own_broker, who: str, measured
) -> None:
    """Keys go on to be obeyed, all others connect, and the records come when it is back."""
    series = {"Ringfence": "3", "Kafka": "4"}[who]
    pairs = mixed(series, 100)
    listed = {caller for caller, _ in pairs if caller in LISTED}
    until(lambda: listed <= keys(border))
    engines = (border.engine, border.serve, border.sink)
    stopped = [each.process.pid for each in engines] if who == "Ringfence" else [own_broker.pid]
    with hanging(*stopped):
        calls = border.call(pairs)
    assert set(calls.blocked) == listed
    assert len(calls.made) == len(pairs)
    measured(f"{who} hangs: {waits(calls)}")
    mine = {caller for caller, _ in pairs} - set(LISTED)

    def all_there() -> bool:
        attempts, ends = records_of(border)
        return mine <= set(attempts) and mine <= set(ends)

    until(all_there)
    assert border.counted("lost") == 0


def test_an_old_key_is_told(border: Border) -> None:
    """Kamailio raises its alarm when no process confirms any more that the keys are right."""
    until(lambda: border.counted("keys_old") == 0)
    border.sink.process.send_signal(signal.SIGSTOP)
    try:
        with redis.Redis(port=border.redis.port) as client:
            client.hset("bl:meta", "built_at", int(time.time()) - 100)
            until(lambda: border.counted("keys_old") == 1)
            client.hset("bl:meta", "built_at", int(time.time()))
    finally:
        border.sink.process.send_signal(signal.SIGCONT)
    until(lambda: border.counted("keys_old") == 0)
    assert "keys in Redis are old or missing" in (border.kamailio.folder / "server.log").read_text()


@pytest.fixture(scope="module")
def trusting(border: Border) -> Iterator[int]:
    """The port of another Kamailio, which believes what 127.0.0.2 asserts."""
    (port,) = free_ports(1)
    switches = ('RINGFENCE_TRUSTED="127.0.0.2,198.51.100.0/24"', "RINGFENCE_BARE_E164")
    with kamailio(border, border.door, port, *switches) as other:
        other.start()
        try:
            yield port
        finally:
            other.stop()


def called_once(border: Border) -> str:
    """A listed number that has called, so that there is a key of it."""
    border.call([(LISTED[0], CALLED)])
    until(lambda: LISTED[0] in keys(border))
    return LISTED[0]


def test_nobody_is_spared_by_what_he_asserts(border: Border, trusting: int) -> None:
    """Of a stranger From and every identity that he adds are looked up; of a trunk that is trusted
    P-Asserted-Identity alone, all its values.
    """
    listed = called_once(border)
    free, both = f"<sip:{FREE}@c>", f"P-Asserted-Identity: <sip:{FREE}@c>, <tel:{listed}>"
    for port in (border.kamailio_port, trusting):
        said = f"P-Asserted-Identity: {free}"
        assert border.invite(f"<sip:{listed}@c>;tag=1", CALLED, header=said, port=port) == 603
        assert border.invite(f"{free};tag=1", CALLED, header=said, port=port) != 603
        for header in (
            f'P-Asserted-Identity: "a" <sip:{listed}@c>',
            f"P-Asserted-Identity: tel:{listed}",
            f"P-Asserted-Identity: {free}\r\nP-Asserted-Identity: <tel:{listed}>",
            f"P-Preferred-Identity: <sip:{listed}@c>",
            f"Remote-Party-ID: <sip:{listed}@c>;party=calling",
            both,
        ):
            assert border.invite(f"{free};tag=1", CALLED, header=header, port=port) == 603, header
        called = f"Remote-Party-ID: <sip:{listed}@c>;party=called"
        assert border.invite(f"{free};tag=1", CALLED, header=called, port=port) != 603
    peer, said = "127.0.0.2", f"P-Asserted-Identity: {free}"
    forged = f"<sip:{listed}@c>;tag=1"
    assert border.invite(forged, CALLED, header=said, port=trusting, host=peer) != 603
    assert border.invite(forged, CALLED, port=trusting, host=peer) == 603
    assert border.invite(forged, CALLED, header=both, port=trusting, host=peer) == 603
    assert border.invite(forged, CALLED, header=said, host=peer) == 603
    whole = {FREE, listed}
    until(lambda: whole <= set(records_of(border)[0]))


def test_no_number_is_hidden_behind_others(border: Border) -> None:
    """Each value of each field is looked up, but for a called party; too many are refused, as the
    listed one may be the last. None of this stops an emergency call.
    """
    listed = called_once(border)
    mine, called = f"<sip:{listed}@c>", f"<sip:{CALLED}@c>;party=called"
    free = [f"<sip:+999{number:09d}@c>" for number in range(13)]
    asserted, preferred = "P-Asserted-Identity: ", "P-Preferred-Identity: "
    remote = "Remote-Party-ID: "

    def answer(*lines: str, to: str = CALLED) -> int:
        return border.invite(f"<sip:{FREE}@c>;tag=1", to, header="\r\n".join(lines))

    for lines in (
        (f"{remote}{called}", f"{remote}{mine};party=calling"),
        (f"{remote}{mine};party=calling, {called}",),
        (f"{remote}{called}, {mine}",),
        (f'{remote}{mine}, "a;party=called" {free[0]}',),
        (f"{remote}<sip:{listed}@c;party=called>",),
        (f'{remote}{mine};x="y;party=called"',),
        (f"{asserted}{mine};party=called",),
        (f"{asserted}< sip:{listed}@c >",),
        (f"{preferred}{free[0]}", f"{preferred}{mine}"),
        (*(f"{asserted}{one}" for one in free[:10]), f"{asserted}{mine}"),
        (asserted + ", ".join([*free[:10], mine]),),
    ):
        assert answer(*lines) == 603, lines
    for lines in (
        (asserted + ", ".join([*free, mine]),),
        (*(f"{asserted}{one}" for one in free), f"{asserted}{mine}"),
    ):
        assert answer(*lines) == 400, lines
        assert answer(*lines, to="191") not in (400, 603)
    assert answer(f'{remote}"a" {mine};screen=yes; party=called') not in (400, 603)
    assert answer(f"{remote}sip:{listed}@c;party=called") not in (400, 603)


def test_a_called_address_without_a_user_is_no_emergency_number(border: Border) -> None:
    """The switch may take the called number from To, and a listed caller is stopped."""
    listed = called_once(border)
    assert border.invite(f"<sip:{listed}@c>;tag=1", "") == 603


def test_forms_that_hide_a_number_are_found_or_refused(border: Border) -> None:
    """Escapes, blanks, digits of other scripts, a context; what Kamailio cannot read is 400."""
    listed = called_once(border)
    digits = listed[1:]
    wide = "".join(chr(0xFF10 + int(digit)) for digit in digits)
    thai = "".join(chr(0x0E50 + int(digit)) for digit in digits)
    for user in (
        f"%2B{digits}",
        "%2B" + "".join(f"%3{digit}" for digit in digits),
        f"+{digits[:3]}\u00a0{digits[3:]}",
        f"+{digits[:3]}%C2%A0{digits[3:]}",
        f"+{digits[:3]}\u200b\u2011{digits[3:]}",
        f"+{wide}",
        f"\uff0b{thai}",
        f"+{digits};npdi;rn=+66800000000",
        f"{digits[3:]};phone-context=+{digits[:3]}",
        *(f"+{digits[:3]}(0){digits[3:]}", f"x+{digits}", f"++{digits}", f"+{digits}%23"),
        *(f"+{digits},9", f"+{digits}x+1"),
    ):
        assert border.invite(f"<sip:{user}@c>;tag=1", CALLED) == 603, user
    for caller in (
        f"<tel:{listed};isub=12>;tag=1",
        f"tel:{digits[3:]};phone-context=+{digits[:3]};tag=1",
        f"<sip:{listed}>;tag=1",
        f'"<sip:{FREE}@c>" <sip:{listed}@c>;tag=1',
    ):
        assert border.invite(caller, CALLED) == 603, caller
    for caller in (f"a;b <sip:{listed}@c>;tag=1", f"<sip:{listed}%00@c>;tag=1"):
        assert border.invite(caller, CALLED) == 400, caller
    assert border.invite(f"<sip:{listed}%00@c>;tag=1", "191") not in (400, 603)
    for caller in ("<sip:alice@c>;tag=1", "<sip:\u0e2a\u0e21@c>;tag=1", f"<sip:{FREE}@c>;tag=1"):
        assert border.invite(caller, CALLED) not in (400, 603)
    for called in ("%31%39%31", "1-9-1", "\u0e51\u0e59\u0e51"):
        assert border.invite(f"<sip:{listed}@c>;tag=1", called) != 603


def test_numbers_without_a_plus_and_trust_in_everybody(border: Border, trusting: int) -> None:
    """With its other switches on, Kamailio looks at 85523900101 as at +85523900101, and at
    P-Asserted-Identity before From, for any sender.
    """
    listed = called_once(border)
    pairs = [(listed[1:], CALLED), ("999000001", CALLED)]
    assert set(border.call(pairs, port=trusting).blocked) == {listed[1:]}
    (port,) = free_ports(1)
    with kamailio(border, border.door, port, "RINGFENCE_TRUST_PAI") as other:
        other.start()
        try:
            said = f"P-Asserted-Identity: <sip:{listed}@carrier.example>"
            pairs = [(FREE, CALLED), ("anonymous", CALLED)]
            assert set(border.call(pairs, header=said, port=port).blocked) == dict(pairs).keys()
            said = f"P-Asserted-Identity: <sip:{FREE}@carrier.example>"
            assert not border.call([(listed, CALLED)], header=said, port=port).blocked
        finally:
            other.stop()
