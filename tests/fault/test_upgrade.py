"""An upgrade from the version before, and the way back, while calls and lists go on."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import redis

from stream.lists.store.list_store import ListStore
from stream.lists.store.settings import ListStoreSettings
from stream.ops import stored_format
from stream.ops.tasks import cancelled
from tests.fault.engine import Engine
from tests.fault.site import LIST, Site
from tests.fault.traffic import Load, decides, judge
from tests.support.builders import entry
from tests.support.engine import WAIT_S, process
from tests.support.lists import BY, removal
from tests.support.old_version import unpacked

PER_S = 1000
NOT_CALLED = "+66212345678"
"""No call has it, so that it may come and go while calls are judged."""


@contextlib.asynccontextmanager
async def changing(site: Site) -> AsyncIterator[None]:
    """Change the list all the time, by the version under test."""

    async def change() -> None:
        settings = ListStoreSettings(site.redis_url, timeout_s=WAIT_S)
        async with await ListStore.connect(settings) as store:
            while True:
                await store.add(LIST, [entry(NOT_CALLED)], BY)
                await store.remove(LIST, [removal(NOT_CALLED)], BY)
                await asyncio.sleep(0.05)

    task = asyncio.create_task(change())
    try:
        yield
        assert not task.done(), "the list could not be changed any more"
    finally:
        await cancelled(task, again_s=0.2)


async def _rolls(engines: dict[str, Engine], tree: Path | None) -> None:
    """Restart one engine after the other in the version of `tree`; None: in this one."""
    for engine in engines.values():
        assert await engine.stop() == 0, engine.last_words()
        engine.tree = tree
        await engine.ready()
        await decides(engine, 3)
        assert engine.errors() == []


@pytest.mark.campaign
@pytest.mark.apache_kafka
@pytest.mark.needs_git
async def test_workers_go_up_and_back_and_lose_nothing(
    site: Site, tmp_path: Path, measured
) -> None:
    """Two workers of the version before are replaced one after the other by this one, and back,
    under load and while the list changes: every record has its one right answer. The list store
    and the state directories get their numbers, and the older version goes on with them.
    """
    old = unpacked(tmp_path)
    await site.make_topics()
    await site.make_list()
    engines = {
        name: site.engine(
            name=name,
            calls={"instance_id": name},
            lists={"state_dir": str(tmp_path / name), "reconcile_s": 0.3},
        )
        for name in ("one", "two")
    }
    with contextlib.ExitStack() as stack:
        for engine in engines.values():
            stack.enter_context(engine)
            engine.tree = old
            await engine.ready()
        with redis.Redis.from_url(site.redis_url) as client:
            client.hdel("rf:register", "format")  # as the first versions left it
        async with Load(site, PER_S) as load, changing(site):
            for engine in engines.values():
                await decides(engine, 3)
            assert not [name for name in engines if _mark(tmp_path / name)]
            await _rolls(engines, None)
            await engines["two"].until(
                lambda: all(_mark(tmp_path / name) for name in engines), "to number its state"
            )
            async with await ListStore.connect(ListStoreSettings(site.redis_url)) as store:
                await store.create("TH/after", "plain", BY)
            await _rolls(engines, old)
            await load.end()
        for engine in engines.values():
            await site.drained(engine)
        verdict = await judge(site, load.sent)
    measured(f"up and back under {PER_S:,} calls/s: {verdict}")
    assert verdict.nothing_lost, verdict
    with redis.Redis.from_url(site.redis_url, decode_responses=True) as client:
        assert client.hget("rf:register", "format") == str(stored_format.LIST_STORE)
    # The older commands work on what the newer version left behind.
    config = str(engines["one"].config)
    done = process("lists", "show", "TH/after", "--json", "--config", config, tree=old)
    assert json.loads(done.stdout)["list"] == "TH/after", done.stderr


@pytest.mark.apache_kafka
async def test_a_worker_does_not_start_on_what_a_newer_version_wrote(site: Site) -> None:
    """Exit code 3 for a state directory and for a list store, with place and number; a restart by
    a supervisor would not help. Nothing of either is changed.
    """
    mark = site.state_dir / stored_format.FILE
    mark.parent.mkdir()
    mark.write_text('{"format":2,"ringfence":"9.0"}')
    with site.engine() as engine, redis.Redis.from_url(site.redis_url) as client:
        engine.start()
        assert await engine.exit_code() == 3
        assert engine.said(f"{site.state_dir} has format 2, and Ringfence .* reads up to 1")
        assert list(site.state_dir.iterdir()) == [mark]
        mark.unlink()
        client.hset("rf:register", "format", 2)
        before = {key: client.dump(key) for key in client.keys("*")}
        engine.start()
        assert await engine.exit_code() == 3
        assert engine.said("the list store .rf:register in Redis. has format 2, .* up to 1")
        assert {key: client.dump(key) for key in client.keys("*")} == before


def _mark(state_dir: Path) -> bool:
    return (state_dir / stored_format.FILE).exists()
