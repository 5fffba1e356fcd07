"""An answer from memory names the state that it is based on."""

import asyncio
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from stream.calls.lookup import Question
from stream.config.settings import Settings, load
from stream.engine.live_lookup import LiveLookup
from stream.lists.store import redis_keys
from stream.ops.metrics.http_catalogue import ServeMetrics
from stream.ops.tasks import running
from tests.support.builders import entry
from tests.support.lists import BY, NAME, ONE, opened

OTHER = "KH/scam"


@pytest.fixture
def settings(redis_url: str, tmp_path: Path) -> Settings:
    base = load([], {})
    lists = replace(base.lists, state_dir=str(tmp_path), reconcile_s=1.0, changes_block_ms=100)
    return replace(
        base,
        redis=replace(base.redis, url=redis_url),
        lists=lists,
        ops=replace(base.ops, kernels="off"),
    )


async def answers(memory: LiveLookup, **wanted: Any) -> dict[str, Any]:
    """Ask until the answer says so."""
    while True:
        said: dict[str, Any] = json.loads(await memory.lookup.one(Question(caller=ONE), "c"))
        if all(said[name] == value for name, value in wanted.items()):
            return said
        await asyncio.sleep(0.05)


@pytest.mark.expects_errors("snapshot_refused")
async def test_a_list_that_can_not_be_loaded_is_not_followed(
    settings: Settings, redis_url: str, raw: Any
) -> None:
    """`lists_followed` is true only where every list of the register is live: one in a circle
    whose key is not here, or whose base is damaged, makes it false, until it can be read or is
    gone. The other lists go on.
    """
    metrics = ServeMetrics(CollectorRegistry())
    async with opened(redis_url) as register:
        await register.create(NAME, "plain", BY)
        await register.add(NAME, [entry(ONE)], BY)
        memory = LiveLookup(settings, metrics.lookups, metrics.followed, metrics.signatures)
        memory.agreements.start()
        async with running(memory.run(), "memory"), asyncio.timeout(60):
            said = await answers(memory, lists_followed=True)
            assert (said["verdict"], said["fail_open"]) == ("block", False)
            await register.create(OTHER, "asean", BY)
            said = await answers(memory, lists_followed=False)
            assert (said["verdict"], said["fail_open"]) == ("block", False)
            # The fix is to remove it: an entry that was never read is not missed for ever.
            raw.srem(redis_keys.LISTS, OTHER)
            raw.delete(redis_keys.head(OTHER))
            await answers(memory, lists_followed=True)
