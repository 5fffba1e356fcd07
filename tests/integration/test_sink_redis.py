"""`ringfence sink redis` on real servers: keys as decided, gone as unblocked, back when lost."""

import asyncio
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis

from stream.core.model.allowlist import AllowEntry
from stream.edge.sinks.proxy_keys import Put
from stream.edge.sinks.proxy_redis import ProxiesDown, ProxyRedis
from stream.lab.embedded.guarded_server import (
    Server,
    Unavailable,
    answers_ping,
    free_ports,
    new_folder,
)
from stream.lab.embedded.redis_program import redis_program, valkey_program
from stream.lists.store.heads import Removal
from stream.lists.store.settings import ListStoreSettings
from tests.support.builders import entry, fingerprint_of
from tests.support.lists import BY, NAME, ONE, TWO
from tests.support.sinks import Lab, block

pytestmark = [
    pytest.mark.expects_errors("Group Coordinator")  # of a broker that has just started
]
THREE = "+66812345673"


@pytest.fixture(scope="module")
def forgetful() -> Iterator[Server]:
    """A Redis as proxies often have it: nothing on disk, so a restart begins empty."""
    try:
        path, title = redis_program()
    except Unavailable:
        path, title = valkey_program()
    (port,) = free_ports(1)
    words = ("--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no")
    server = Server(title, port, new_folder("proxies"), [path, *words], answers_ping)
    server.start()
    try:
        yield server
    finally:
        server.close()


@pytest.fixture
def url(forgetful: Server) -> str:
    url = f"redis://127.0.0.1:{forgetful.port}/0"
    with redis.Redis.from_url(url) as client:
        client.flushall()
    return url


@pytest.fixture
def lab(tmp_path: Path, kafka, redis_url: str, url: str) -> Callable[[str], Lab]:
    def made(more: str = "") -> Lab:
        (port,) = free_ports(1)
        return Lab(tmp_path, kafka, redis_url, url, port, more)

    return made


async def listed(lab: Lab, *numbers: str, **fields) -> None:
    async with lab.list_store() as register:
        now_s = int(time.time())
        await register.add(NAME, [entry(n, reported_at_s=now_s, **fields) for n in numbers], BY)


async def unlisted(lab: Lab, number: str) -> None:
    async with lab.list_store() as register:
        await register.remove(NAME, [Removal(fingerprint_of(number), number)], BY)


async def test_a_decision_becomes_a_key_and_an_unblock_takes_it_away(lab) -> None:
    """Fields and life as the contract says; off the list or on the allowlist the key goes, and an
    older decision that comes again does not bring it back.
    """
    here = lab()
    await here.start()
    await listed(here, ONE, TWO)
    async with here.sink():
        await here.send([block(ONE, decision_id="D1"), block(TWO), block(THREE)])
        await here.until(lambda: here.numbers() == {ONE, TWO})
        held = here.key(ONE)
        assert (held["action"], held["list"], held["reason"]) == ("block", NAME, "loan")
        assert held["decision_id"] == "D1"
        assert 3500 < here.redis.ttl(f"bl:{ONE}") <= 3600
        await unlisted(here, ONE)
        await here.until(lambda: here.numbers() == {TWO})
        await here.send([block(ONE, decision_id="D1")])
        async with here.list_store() as register:
            await register.allow_add([AllowEntry(TWO, "ours", "x", int(time.time()))], BY)
        await here.until(lambda: here.numbers() == set())
        await listed(here, THREE)
        await here.send([block(ONE), block(TWO), block(THREE, generation=99)])
        await here.until(lambda: here.numbers() == {THREE})
        await here.until(lambda: here.redis.hget("bl:meta", "built_at"))


async def test_a_worker_that_knows_more_is_believed(lab) -> None:
    """A block by a newer generation than the sink has is a key at once, and stays until the
    sink's own lists are as new and say otherwise.
    """
    here = lab()
    await here.start()
    await listed(here, TWO)
    async with here.sink():
        await here.send([block(ONE, generation=9), block(THREE), block(TWO)])
        await here.until(lambda: here.numbers() == {ONE, TWO})
        await here.until(lambda: here.redis.hget("bl:meta", "count") == "2")
        async with here.list_store() as register:
            while (await register.heads()).lists[NAME].generation < 9:
                await listed(here, THREE)
                await unlisted(here, THREE)
        await here.until(lambda: here.numbers() == {TWO})


async def test_a_worker_that_has_not_heard_of_a_deletion_is_not_believed(lab) -> None:
    """It started from its disk. The key of its block stayed until it expired."""
    here = lab()
    await here.start()
    await listed(here, ONE)
    async with here.list_store() as register, here.sink():
        await here.send([block(ONE)])
        await here.until(lambda: here.numbers() == {ONE})
        await register.delete(NAME, BY)
        await here.until(lambda: not here.numbers())
        await here.send([block(ONE), block(THREE, generation=99)])
        await here.until(lambda: here.numbers() == {THREE})


async def test_a_redis_that_was_away_misses_nothing(lab, forgetful: Server) -> None:
    """Decisions made while it was away are keys afterwards, and one that begins again empty gets
    the old ones too, from the topic.
    """
    here = lab()
    await here.start()
    numbers = [f"+66812346{n:03d}" for n in range(300)]
    await listed(here, *numbers)
    async with here.sink():
        await here.send([block(number) for number in numbers[:150]])
        await here.until(lambda: here.numbers() == set(numbers[:150]))
        forgetful.kill()
        await here.send([block(number) for number in numbers[150:]])
        await unlisted(here, numbers[0])
        forgetful.start()
        await here.until(lambda: here.numbers() == set(numbers[1:]))
        await here.until(lambda: here.redis.hget("bl:meta", "count") == "299")
        here.redis.flushall()
        await here.until(lambda: here.numbers() == set(numbers[1:]))


async def test_a_killed_sink_loses_nothing(lab) -> None:
    """Kill -9 in the middle of a load; the next one goes on from what was committed, which is
    nothing that Redis does not have.
    """
    here = lab('ops.kernels = "off"')
    await here.start()
    numbers = [f"+6681{n:07d}" for n in range(2000)]
    await listed(here, *numbers)
    command = ("sink", "redis")
    with here.deployment.engine(command=command, port=here.port) as sink:
        await here.until(lambda: here.redis.hget("bl:meta", "built_at"))
        values = [block(number) for number in numbers for _ in range(5)]
        sending = asyncio.create_task(here.send(values))
        await here.until(here.numbers)
        sink.process.kill()
        sink.process.wait()
        await sending
        assert numbers[0] not in sink.log()
    build = here.redis.hget("bl:meta", "build")
    async with here.sink():
        await here.until(lambda: here.numbers() == set(numbers))
        assert here.redis.hget("bl:meta", "build") == build, "nothing had to be rebuilt"
        await here.until(lambda: here.redis.hget("bl:meta", "count") == str(len(numbers)))


async def test_preloaded_numbers_are_there_before_they_call(lab) -> None:
    """Numbers, prefixes and their exceptions are keys without a call, follow the list, and stop
    at the cap, which is reported.
    """
    here = lab("sinks.redis.preload = true\nsinks.redis.keys_max = 100")
    await here.start()
    await listed(here, ONE, "+66899999*")
    spared = "+66899999001"
    async with here.list_store() as register:
        await register.allow_add([AllowEntry(spared, "ours", "x", int(time.time()))], BY)
    async with here.sink() as run:
        await here.until(lambda: here.numbers() == {ONE, "+66899999*", spared})
        assert here.key(spared)["action"] == "allow"
        assert here.key(ONE)["decided_at"] == "0"
        # What a proxy asks: one EXISTS for the number and its prefixes of the lengths in bl:meta.
        await here.until(lambda: here.redis.hget("bl:meta", "prefix_digits") == "8")
        assert here.redis.exists("bl:+66899999123", "bl:+66899999*") == 1
        assert here.redis.exists("bl:+66812345679", "bl:+66812345*") == 0
        await listed(here, TWO)
        await here.until(lambda: TWO in here.numbers())
        await unlisted(here, TWO)
        await unlisted(here, "+66899999*")
        await here.until(lambda: here.numbers() == {ONE})
        await listed(here, *(f"+66812347{n:03d}" for n in range(120)))
        await here.until(lambda: len(here.numbers()) == 90)
        await here.until(lambda: run._redis_metrics.capped._value.get() > 0)


async def test_a_decided_key_ends_with_an_entry_that_was_given_an_earlier_end(lab) -> None:
    """A preloading sink moves the end of a key that a call decided, and keeps its decision."""
    here = lab("sinks.redis.preload = true")
    await here.start()
    await listed(here, ONE)
    async with here.sink():
        await here.send([block(ONE, decision_id="D1")])
        await here.until(lambda: here.key(ONE).get("decision_id") == "D1")
        ends_s = int(time.time()) + 600
        await listed(here, ONE, expires_at_s=ends_s)
        await here.until(lambda: here.redis.expiretime(f"bl:{ONE}") == ends_s)
        held = here.key(ONE)
        assert (held["expires_at"], held["decision_id"]) == (str(ends_s), "D1")


async def test_the_newer_decision_stays(url: str) -> None:
    """Any writer, in any order: a key without a call's decision only sets a decided key's end."""
    until_s = int(time.time()) + 100
    old = Put(ONE, "block", "loan", NAME, "OLD", until_s, 1000)
    new = old._replace(decision_id="NEW", decided_at_ms=2000, expires_at_s=until_s + 1)
    preloaded = old._replace(decision_id="NONE", decided_at_ms=0, expires_at_s=until_s + 50)
    with redis.Redis.from_url(url, decode_responses=True) as raw:
        async with ProxyRedis(ListStoreSettings(url)) as proxies:
            await proxies.put([new, old._replace(text=TWO)])
            await proxies.put([old, new._replace(text=TWO)])
            assert [raw.hget(f"bl:{n}", "decision_id") for n in (ONE, TWO)] == ["NEW", "NEW"]
            await proxies.put([preloaded])
            assert raw.hget(f"bl:{ONE}", "decision_id") == "NEW"
            assert raw.expiretime(f"bl:{ONE}") == until_s + 50
            await proxies.put([preloaded._replace(expires_at_s=until_s - 50)])
            assert raw.hget(f"bl:{ONE}", "expires_at") == str(until_s - 50)
            assert raw.expiretime(f"bl:{ONE}") == until_s - 50
            assert {held.text async for held in proxies.load()} == {ONE, TWO}
            assert raw.object("encoding", f"bl:{ONE}") == "listpack"
            await proxies.drop([ONE, TWO])
            assert not raw.keys("bl:+*")
        async with ProxyRedis(ListStoreSettings("redis://127.0.0.1:1/0", timeout_s=0.2)) as nobody:
            with pytest.raises(ProxiesDown):
                await nobody.standing()


async def test_what_was_deleted_counts_as_lost_at_any_moment(url: str) -> None:
    """A sink that had not noticed yet can neither call partitions read nor the keys complete."""
    with redis.Redis.from_url(url, decode_responses=True) as raw:
        async with ProxyRedis(ListStoreSettings(url)) as proxies:
            before = await proxies.standing()
            await proxies.complete("b", before.run, before.data)
            assert await proxies.has_read(before.data, (0, 1)) == {0, 1}
            standing = await proxies.standing()
            assert (standing.whole, standing.partitions) == (True, frozenset({0, 1}))
            raw.flushall()
            with pytest.raises(ProxiesDown, match="lost its keys"):
                await proxies.has_read(before.data, (0,))
            assert not raw.exists("bl:read")
            await proxies.complete("b", before.run, before.data)
            standing = await proxies.standing()
            assert (standing.whole, standing.partitions) == (False, frozenset())
            raw.hdel("bl:meta", "data")  # as a sink of 0.1 writes it
            standing = await proxies.standing()
            assert (standing.whole, standing.older) == (True, True)
