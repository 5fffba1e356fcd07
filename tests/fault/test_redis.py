"""The register gone, emptied or unsafe, at the start and in mid-run: calls go on being blocked."""

import asyncio

import pytest
import redis

from stream.lists.store.list_store import ListStore
from stream.lists.store.settings import ListStoreSettings
from tests.fault.engine import Engine
from tests.fault.site import INNOCENT, LIST, LISTED, Site
from tests.fault.traffic import decided
from tests.support.builders import entry
from tests.support.commands import command
from tests.support.lists import BY
from tests.support.redis_copy import Copy

pytestmark = [
    pytest.mark.apache_kafka,
    pytest.mark.expects_errors("Group Coordinator Request failed"),
]

NEW, NEWER = "+447700900001", "+447700900002"


async def add(site: Site, number: str) -> None:
    """Somebody adds a number to the list."""
    async with await ListStore.connect(ListStoreSettings(site.redis_url)) as register:
        await register.add(LIST, [entry(number)], BY)


async def enforced(site: Site, engine: Engine, number: str) -> None:
    """Wait until the engine blocks a number that was added."""

    async def blocks() -> bool:
        return await decided(site, engine, number) == ["block"]

    await engine.until(blocks, f"to block {number}")


async def test_redis_goes_and_comes(own_site, own_redis):
    """Gone in mid-run: calls go on being decided. Back: changes arrive again, by themselves."""
    with own_site.engine() as engine:
        await engine.ready()
        await asyncio.to_thread(own_redis.kill)
        await engine.logged("register_down")
        assert engine.metric("ringfence_register_up") == 0
        assert engine.readiness()[0] == 200
        assert await decided(own_site, engine, LISTED[0], INNOCENT[0]) == ["block", "allow"]
        await asyncio.to_thread(own_redis.start)
        await engine.until(lambda: engine.metric("ringfence_register_up") == 1, "to find Redis")
        await add(own_site, NEW)
        await enforced(own_site, engine, NEW)
        assert await engine.stop() == 0


async def test_a_start_without_redis(own_site, own_redis):
    """From the last good lists, the newest unblock and add included; Redis may come later."""
    with own_site.engine() as engine:
        await engine.ready()
        await add(own_site, NEW)
        await enforced(own_site, engine, NEW)
        journal = own_site.state_dir / "lists" / LIST / "changes.jsonl"
        await engine.until(
            lambda: journal.exists() and NEW in journal.read_text(), "to write the change down"
        )
        assert await engine.stop() == 0
        await asyncio.to_thread(own_redis.stop)
        await engine.ready()
        assert engine.said("register_down")
        assert await decided(own_site, engine, LISTED[0], NEW, INNOCENT[0]) == [
            *("block", "block", "allow")
        ]
        assert engine.metric("ringfence_register_up") == 0
        await asyncio.to_thread(own_redis.start)
        await add(own_site, NEWER)
        await enforced(own_site, engine, NEWER)
        assert await engine.stop() == 0


async def test_a_first_start_without_redis(own_site, own_redis):
    """Without any list nothing is decided: it says what it waits for, and begins when it is there.

    Told to stop meanwhile it stops at once, in order.
    """
    await asyncio.to_thread(own_redis.stop)
    with own_site.engine() as engine:
        engine.start()
        await engine.logged("register_down")
        await engine.until(lambda: engine.readiness()[0] == 503, "to say that it is not ready")
        assert "lists are not there: the list store does not answer" in engine.readiness()[1]
        assert engine.metric("ringfence_partitions") == 0
        assert await engine.stop() == 0
        engine.start()
        await engine.logged("register_down")
        await asyncio.to_thread(own_redis.start)
        await engine.until(lambda: engine.readiness()[0] == 200, "to be ready")
        assert await decided(own_site, engine, LISTED[0]) == ["block"]


async def test_flushall_in_mid_run(own_site, own_redis):
    """An emptied Redis is noticed, counted and told with what to do; every number stays listed.

    A restart does not change that, nor does a list of the same name that is created there again.
    """
    with own_site.engine() as engine:
        await engine.ready()
        with redis.Redis.from_url(own_site.redis_url) as client:
            client.flushall()
        lost = {"event": "register_lost"}
        await engine.until(
            lambda: engine.metric("ringfence_list_events_total", **lost) == 1, "to notice"
        )
        assert engine.said("register_lost.*is empty.*Restore Redis")
        assert await decided(own_site, engine, LISTED[0], INNOCENT[0]) == ["block", "allow"]
        await own_site.make_list(INNOCENT)
        assert await decided(own_site, engine, LISTED[0], INNOCENT[0]) == ["block", "allow"]
        assert await engine.stop() == 0
        await engine.ready()
        await engine.logged("register_lost.*Restore Redis")
        assert await decided(own_site, engine, LISTED[0], INNOCENT[0]) == ["block", "allow"]


async def test_redis_comes_back_from_an_older_copy(own_site, own_redis, tmp_path):
    """Changes are lost: noticed, enforced on, told by `lists repair`, put back, followed on."""
    with own_site.engine() as engine:
        await engine.ready()
        copy = Copy(own_redis, tmp_path / "copy")
        await add(own_site, NEW)
        await enforced(own_site, engine, NEW)
        journal = own_site.state_dir / "lists" / LIST / "changes.jsonl"
        await engine.until(
            lambda: journal.exists() and NEW in journal.read_text(), "to write the change down"
        )
        await copy.restore()
        await engine.logged(f"register_lost.*lists repair {LIST}")
        assert await decided(own_site, engine, NEW, INNOCENT[0]) == ["block", "allow"]
        words = ["lists", "repair", LIST, "--config", str(engine.config)]
        told = command(*words)
        assert (told.code, "the list store lost changes" in told.output) == (1, True), told.output
        done = command(*words, "--from-state")
        assert done.code == 0, done.output
        await add(own_site, NEWER)
        await enforced(own_site, engine, NEWER)
        assert await decided(own_site, engine, NEW, INNOCENT[0]) == ["block", "allow"]
        assert await engine.stop() == 0


async def test_an_unsafe_redis_at_the_start(own_site):
    """A Redis that may evict entries is refused, with what to set: exit 3. Other settings that it
    is refused for: integration/test_list_store.py.
    """
    with redis.Redis.from_url(own_site.redis_url) as client:
        client.config_set("maxmemory-policy", "allkeys-lru")
    with own_site.engine() as engine:
        engine.start()
        assert await engine.exit_code() == 3
        assert engine.said("ListStoreUnsafe.*noeviction")
