"""The model of the list store answers as Redis does: the same commands run on both."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest
from redis.asyncio import Redis
from redis.exceptions import ResponseError

from stream.core.model.allowlist import AllowEntry
from stream.core.model.errors import ListStoreDown
from stream.edge.sinks.proxy_keys import ALLOW, BLOCK, Put
from stream.edge.sinks.proxy_redis import ProxiesDown, ProxyRedis
from stream.lists.store.heads import By, Removal, Retraction
from stream.lists.store.list_store import ListStore
from stream.lists.store.rewrite import rebuild, rollback
from stream.lists.store.settings import ListStoreSettings
from tests.simulation.network import Weather
from tests.simulation.store.ensemble import MASTER, Ensemble, StorePace
from tests.simulation.world import World
from tests.support.builders import NOW_S, entry, fingerprint_of

BY = By("somchai", "a test")
NAME = "TH/national"
ONE, TWO = "+447700900101", "+447700900102"

STRINGS = """
SET k v | GET k | GET none | SET k w NX | SET n x NX | GET n | GETRANGE k 0 -1 | GETRANGE k 0 0
GETRANGE none 0 5 | SET k long-value EX 100 | GETRANGE k 2 6 | GETRANGE k 5 100 | EXISTS k none k
TYPE k | TYPE none | DEL k none | GET k | SET p v PX 100000 | PERSIST p | PERSIST p | PTTL p
PTTL none | EXPIRE none 5 | EXPIRE p 100 | PERSIST p | RENAME p q | GET q | RENAME p q | UNLINK q
PEXPIREAT none 5 | SET e v | PEXPIREAT e 1 | GET e | SET z v | PEXPIRE z 100000 | SET z w | PTTL z
EXPIREAT none 5 | SET e v | EXPIREAT e 1 | GET e | EXPIREAT z 99999999999 | PERSIST z
"""
HASHES = """
HSET h a 1 b 2 | HSET h a 3 c 4 | HGET h a | HGET h none | HGET none a | HMGET h a none b
HGETALL h | HGETALL none | HSETNX h a 9 | HSETNX h d 9 | HEXISTS h a | HEXISTS h none | HLEN h
HKEYS h | HINCRBY h a 5 | HINCRBY h new -2 | HSET h t text | HINCRBY h t 1 | HDEL h a none
HSCAN h 0 COUNT 500 | HDEL h b c d new t | EXISTS h | HLEN none | HKEYS none | HSET h a
SET s v | HGET s a | HSET s a 1 | HGETALL s | GET h
"""
SETS_AND_LISTS = """
SADD s a | SADD s a b | SMEMBERS none | SISMEMBER s a | SISMEMBER s c | SREM s a c | SMEMBERS s
SREM s b | EXISTS s | LPUSH l a | LPUSH l b c | LRANGE l 0 -1 | LRANGE l 0 0 | LRANGE l -2 -1
LRANGE l 5 9 | LREM l 1 b | LRANGE l 0 -1 | LREM l 1 none | LREM l 1 a | LREM l 1 c | EXISTS l
LRANGE none 0 -1 | SET k v | LPUSH k a | SADD k a
"""
SORTED_SETS = """
ZADD z 5 a 3 b 5.5 c | ZADD z NX 9 a 1 d | ZADD z GT 4 a 7 b | TYPE z | ZREM z a none
ZREMRANGEBYSCORE z -inf 1 | ZADD z 1 x 2 y | ZREMRANGEBYRANK z 0 -3 | ZREM z b
ZREMRANGEBYRANK z 0 -1 | EXISTS z | ZREMRANGEBYRANK none 0 -100 | SET s v | ZADD s 1 a | ZCARD s
ZADD z 5 a 3 b 5.5 c 5 d | ZCARD z | ZCARD none | ZCOUNT z -inf 5 | ZCOUNT z 3.5 +inf
ZCOUNT none 0 9 | ZRANGE z 0 -1 | ZRANGE z 1 2 | ZRANGE z -2 -1 REV | ZRANGE none 0 -1
ZRANGE z 5 +inf BYSCORE | ZRANGE z +inf 4 BYSCORE REV LIMIT 0 2 | ZRANGE z 5 3 BYSCORE
ZRANGE z -inf +inf BYSCORE LIMIT 1 -1 | ZRANGE z +inf -inf REV BYSCORE LIMIT 2 5
"""
STREAMS = """
XADD x 5-1 a 1 | XADD x 5-2 b 2 | XADD x 5-2 c 3 | XADD x 4-0 c 3 | XADD x 7 c 3 d 4 | XLEN x
XRANGE x - + | XRANGE x (5-1 + | XRANGE x (5-1 + COUNT 1 | XRANGE x 5 5 | XREVRANGE x + - COUNT 1
XREVRANGE x + - | XREVRANGE x (7 - | XREAD COUNT 1 STREAMS x 0-0 | XREAD STREAMS x 5-2
XREAD STREAMS x 7-0 | XREAD STREAMS none 0-0 | XREAD COUNT 5 BLOCK 1 STREAMS x 7-0
XADD x MAXLEN 2 8-0 e 5 | XRANGE x - + | XADD x MAXLEN ~ 2 9-0 f 6 | XLEN x | XTRIM x MINID 8
XRANGE x - + | XLEN none | XRANGE none - + | XADD n 0-0 a 1 | EXISTS n | TYPE x | XREVRANGE none + -
XTRIM x MAXLEN 0 | XLEN x | XADD x 3-0 a 1
"""
TRANSACTIONS = """
MULTI | SET a 1 | HGET a x | GET a | EXEC | GET a | EXEC | WAIT 0 10 | SELECT 0 | PING | NOSUCH a
EVALSHA 0123456789012345678901234567890123456789 0
"""
SCRIPTS = [
    "return {1, 'two', false, 3.9, {'four'}}",
    "return {1, nil, 3}",
    "return redis.call('SET', 'k', 'v')",
    "return redis.call('GET', KEYS[1])",
    "return {KEYS[1], ARGV[1], ARGV[2]}",
    "return redis.call('HGET', 'k', 'a')",
    "local answer = redis.pcall('HGET', 'k', 'a') return type(answer.err)",
    "return redis.error_reply('a blob is gone')",
    "return redis.call('HMGET', 'none', 'a', 'b')",
    "return type(redis.call('GET', 'none'))",
    "return redis.call('TYPE', 'k').ok",
    "return redis.sha1hex('a' .. 1)",
    "return tostring(redis.call('HINCRBY', 'h', 'n', 12))",
    "return redis.call('HSET', 'h', 'n', 3.0, 'm', 1e15, 'f', 0.5) + #redis.call('HGETALL', 'h')",
    "return redis.call('HGETALL', 'h')",
    "return unpack({7, 8})",
    "return true",
    "return string.match('12 add x', '^(%d+) (%a+)')",
    "return math.floor(redis.call('TIME')[1] / 1e9)",
    "return redis.call('XADD', 's', '5-0', 'list', 'a', 'n', 1)",
    "return redis.call('XREVRANGE', 's', '+', '-', 'COUNT', 1)",
    "redis.call('SET', 'half', 'done') return redis.call('HGET', 'half', 'x')",
    "return redis.call('GET', 'half')",
    "return cmsgpack.unpack('\\147\\1\\163abc\\206\\0\\1\\0\\0')",
    "return redis.call('SCAN', '0', 'MATCH', 'hal*', 'COUNT', '500')[2]",
]


def on_model(body: Callable[[str], Awaitable[Any]], **how: Any) -> Any:
    """Run `body` on a server of the model."""

    async def main(world: World) -> Any:
        store = Ensemble(world.network, StorePace(), servers=1, sentinels=0)
        await store.start()
        return await body(store.url)

    return World(1, Weather(**how)).run(main)


async def replies(url: str, commands: Sequence[Sequence[str]]) -> list[Any]:
    """Give commands on one connection; what is answered, errors by their first word."""
    connection = Redis.from_url(url, single_connection_client=True)
    await connection.initialize()
    found: list[Any] = []
    assert connection.connection is not None
    for command in commands:
        await connection.connection.send_command(*command)
        try:
            found.append((command, await connection.connection.read_response()))
        except ResponseError as error:
            found.append((command, f"error: {type(error).__name__} {str(error)[:9]}"))
    await connection.aclose()
    return [(command, _plain(reply)) for command, reply in found]


def _plain(reply: Any) -> Any:
    if isinstance(reply, ResponseError):  # inside the answer to EXEC
        return f"error: {str(reply)[:9]}"
    if isinstance(reply, list):
        return [_plain(one) for one in reply]
    return reply


@pytest.mark.parametrize(
    "script", [STRINGS, HASHES, SETS_AND_LISTS, SORTED_SETS, STREAMS, TRANSACTIONS], ids=str.split
)
def test_each_command_is_answered_as_redis_answers_it(redis_url, script):
    """Answers, and errors by their kind, of each command that we use."""
    lines = [line for row in script.strip().splitlines() for line in row.split(" | ")]
    commands = [line.split() for line in lines]
    real = asyncio.run(replies(redis_url, commands))
    assert on_model(lambda url: replies(url, commands)) == real


def test_each_value_of_a_script_is_answered_as_redis_answers_it(redis_url):
    """Nil, numbers, tables, statuses and errors, in and out; a script that fails changes half."""
    commands = [["EVAL", script, "1", "k", "x", "y"] for script in SCRIPTS]
    real = asyncio.run(replies(redis_url, commands))
    assert on_model(lambda url: replies(url, commands)) == real


async def used(url: str) -> list[Any]:
    """Use the list store as publishers do; what it says after each step."""
    found: list[Any] = []
    async with await ListStore.connect(ListStoreSettings(url, require_aof=False)) as store:

        async def look() -> None:
            heads = await store.heads()
            found.append([(h.generation, h.base, h.count, h.chain) for h in heads.lists.values()])
            found.append((heads.allow, dict(heads.deleted)))
            found.extend([await _state(store, name) for name in heads.lists])

        await store.create(NAME, "plain", BY)
        await store.add(NAME, [entry(ONE), entry(TWO), entry(ONE, source="other")], BY)
        await look()
        await rebuild(store, NAME, b"", BY, NOW_S)
        await store.retract(NAME, [Retraction(fingerprint_of(ONE), ONE, "other")], BY)
        await look()
        await store.remove(NAME, [Removal(fingerprint_of(TWO), TWO)], BY)
        await store.allow_add([AllowEntry(TWO, "a hospital", "somchai", NOW_S)], BY)
        await look()
        bases = await store.past.bases(NAME)
        found.append([(base.generation, base.published) for base in bases])
        await rollback(store, NAME, bases[0].published, b"", BY, NOW_S)
        await look()
        found.append(await store.allow_remove([TWO, ONE], BY))
        found.append(await store.sweep(NAME))
        found.append(await store.allow_pass(9, BY))
        found.append(await store.allow_all())
        steps = await store.past.steps(NAME)
        found.append([(step.generation, step.op, step.payload, step.chain) for step in steps])
        found.append([(one.op, one.number, one.count) async for one in store.past.audit()])
        await store.delete(NAME, BY)
        await look()
        await store.create(NAME, "plain", BY)
        await look()
        async with store.putting_back():
            found.append(await store.last_steps(2) != ())
        await store.check_primary()
        assert abs(await store.clock_ahead_s(time.time)) < 5
    return found


async def _state(store: ListStore, name: str) -> Any:
    state = await store.state(name)
    return [(one.generation, one.change) for one in state.changes]


def test_the_products_scripts_do_the_same_on_both(redis_url):
    """Each change to lists leaves the same generations, chains, contents and audit entries."""
    assert on_model(used) == asyncio.run(used(redis_url))


async def keyed(url: str) -> list[Any]:
    """Write the proxies' keys as a sink does; what is there after each step."""
    found: list[Any] = []
    until_s = int(time.time()) + 1000
    async with ProxyRedis(ListStoreSettings(url)) as proxies:

        async def look() -> None:
            held = sorted([one async for one in proxies.load()])
            found.append([one._replace(expires_at_s=one.expires_at_s - until_s) for one in held])

        first = await proxies.standing()
        run = first.run
        for decided_ms in (7, 5, 0, 9):
            both = (ONE, TWO) if decided_ms else (ONE,)
            ends_s = until_s + decided_ms
            await proxies.put(
                [Put(one, BLOCK, "call_centre", NAME, "A", ends_s, decided_ms) for one in both]
            )
            await look()
        await proxies.put([Put(ONE, ALLOW, "", "", "", until_s + 50, 0)])
        await proxies.drop([TWO, "+447700900199"])
        await look()
        found.append(await proxies.beat("b1", run, 5, 1, "", 2))
        await proxies.complete("b1", run, first.data)
        found.append(await proxies.beat("b1", run, 6, 1, "7 8", 2))
        found.append(await proxies.beat("b1", "another", 7, 1, "", 2))
        standing = await proxies.standing()
        found.append((standing.whole, {**standing.meta, "redis": "", "data": ""}))
        found.append(sorted(await proxies.has_read(first.data, (0, 2))))
        found.append(sorted((await proxies.standing()).partitions))
        with pytest.raises(ProxiesDown) as lost:
            await proxies.has_read(f"{first.data[:-1]}-", (1,))
        found.append(str(lost.value))
        await proxies.begin()
        found.append((await proxies.standing()).whole)
    return found


def test_keys_of_proxies_are_the_same_on_both(redis_url):
    """An older decision leaves a newer one; an exception replaces any; `bl:meta` is of one run."""
    assert on_model(keyed) == asyncio.run(keyed(redis_url))


def settings(store: Ensemble) -> ListStoreSettings:
    """Settings of a client of the model's sentinels."""
    return ListStoreSettings("redis:///0", sentinels=store.addresses, sentinel_master=MASTER)


async def added(store: Ensemble, *numbers: str, **fields: Any) -> int:
    """Put numbers on the list; its generation then."""
    chosen = settings(store)
    for name, value in fields.items():
        object.__setattr__(chosen, name, value)
    async with await ListStore.connect(chosen) as lists:
        await lists.create(NAME, "plain", BY)
        return (await lists.add(NAME, [entry(one) for one in numbers], BY)).generation


async def generation(store: Ensemble) -> int:
    """Return the list's generation, once a primary answers."""
    while True:
        try:
            async with await ListStore.connect(settings(store)) as lists:
                head = (await lists.heads()).lists.get(NAME)
                return head.generation if head else 0
        except ListStoreDown:
            await asyncio.sleep(0.2)


@pytest.mark.parametrize(("waits", "kept"), [(0, False), (1, True)])
def test_a_fail_over_loses_what_no_replica_has(waits, kept):
    """An answer comes before the replicas have a change, unless they are waited for."""

    async def main(world: World) -> tuple[int, int]:
        store = Ensemble(world.network, StorePace(lag_s=0.5))
        await store.start()
        await asyncio.sleep(1)
        before = await added(store, ONE, wait_replicas=waits, wait_ms=1900)
        store.kill(store.primary)
        return before, await generation(store)

    before, after = World(3).run(main)
    assert (after == before) is kept


def test_a_primary_out_of_sight_loses_what_it_took():
    """It goes on until it is in sight again; then it follows, and has what the next one has."""

    async def main(world: World) -> list[Any]:
        store = Ensemble(world.network, StorePace())
        await store.start()
        await asyncio.sleep(1)
        await added(store, ONE)
        await asyncio.sleep(0.1)
        old = store.primary
        links = store.split(old)
        lists = await ListStore.connect(ListStoreSettings(f"redis://redis-{old}:6379/0"))
        await lists.add(NAME, [entry(TWO)], BY)
        parted = (await lists.heads()).lists[NAME].generation
        await lists.close()
        await asyncio.sleep(10)
        for link in links:
            world.network.heal(*link)
        await asyncio.sleep(5)
        follows = store.nodes[old].primary_host == store.nodes[store.primary].host
        same = store.nodes[old].database.keys == store.nodes[store.primary].database.keys
        return [parted, old != store.primary, follows, same, await generation(store)]

    assert World(1).run(main) == [3, True, True, True, 2]


def test_a_restart_keeps_what_was_answered():
    """A killed server that comes back within the sentinels' patience is the primary still."""

    async def main(world: World) -> tuple[int, int, int]:
        store = Ensemble(world.network, StorePace())
        await store.start()
        await asyncio.sleep(1)
        before = await added(store, ONE)
        store.kill(0)
        await store.start_server(0)
        return before, await generation(store), store.primary

    assert World(1).run(main) == (2, 2, 0)
