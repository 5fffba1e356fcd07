"""Rebuilds that come by themselves, in processes of their own."""

import asyncio

import pytest

from stream.lists.store.rebuild import Rebuild, RebuildSettings, keep_rebuilt
from stream.lists.store.settings import ListStoreSettings
from stream.ops.tasks import cancelled
from tests.support.builders import entry
from tests.support.lists import BASE, BY, NAME, add, held_numbers, running, until
from tests.support.waiting import REDIS_S

OTHER = "XX/other"


@pytest.fixture
def arguments(redis_url: str, tmp_path) -> tuple[str, ...]:
    config = tmp_path / "ringfence.toml"
    config.write_text(
        f'[redis]\nurl = "{redis_url}"\ntimeout_s = {REDIS_S}\n'
        f'[lists]\nstate_dir = "{tmp_path}/state"\n'
    )
    return ("--config", str(config))


async def test_too_many_changes_become_a_base(register, redis_url, worker, load, arguments):
    """Above the limit a list is rebuilt by a process; what it lists stays enforced all the while.

    A list that cannot be rebuilt (its circle has no key here) is told of, and delays nobody.
    """
    told: list[Rebuild] = []
    await load(register, BASE[:20])
    await add(register, *BASE[20:32])
    await register.create(OTHER, "asean", BY)
    await register.add(OTHER, [entry(number) for number in BASE[:11]], BY)
    settings = RebuildSettings(10, arguments, look_s=0.05)
    async with running(worker, loaded=False):
        await until(lambda: worker.listed(BASE[31]))
        task = asyncio.create_task(
            keep_rebuilt(ListStoreSettings(redis_url), settings, told.append)
        )
        try:
            await until(lambda: {t.name for t in told} == {NAME, OTHER})
        finally:
            await cancelled(task)
        done = next(t for t in told if t.name == NAME)
        assert (done.code, done.changes) == (0, 12)
        failed = next(t for t in told if t.name == OTHER)
        assert failed.code == 2
        assert "circles.asean" in failed.said
        assert (await register.state(NAME)).head.changes == 0
        assert await held_numbers(register) == set(BASE[:32])
        made = await anext(e async for e in register.past.audit() if e.op == "base")
        assert (made.actor, made.reason) == ("ringfence", "more than 10 changes")
