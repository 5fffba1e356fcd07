"""Publishing beside agreements and a list store that both change: publications and messages."""

import asyncio
import json
import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import redis

from stream.core.model.errors import ListStoreBehind
from stream.exchange import edition as offers
from stream.exchange import repository_files
from stream.exchange.publisher import ListPublisher
from stream.exchange.signing_keys import KeyRing
from stream.lists.snapshot.repository_layout import Latest, change_target
from tests.integration.test_exchange_lists_cli import Operators
from tests.support.engine import Engine
from tests.support.exchange import LIST, lab
from tests.support.feeds import kh
from tests.support.waiting import until

AGREEMENT = """
title = "An agreement"
kind = "memorandum"
valid_from = 2020-01-01
valid_until = {until}
[parties.KH]
roles = ["owner"]
contact = "noc@kh.example"
[parties.TH]
roles = ["enforcer"]
contact = "noc@th.example"
[lists."KH/scam"]
action = "block"
shares = "{shares}"
"""


def kept(url: str) -> dict[bytes, bytes]:
    """All that Redis holds, as a backup has it."""
    with redis.Redis.from_url(url) as raw:
        return {key: raw.dump(key) for key in raw.scan_iter()}


def restored(url: str, backup: dict[bytes, bytes]) -> None:
    """Redis as it was."""
    with redis.Redis.from_url(url) as raw:
        raw.flushdb()
        for key, value in backup.items():
            raw.restore(key, 0, value)


async def test_a_register_that_went_back_publishes_nothing(tmp_path, urls):
    """An older copy of Redis is noticed, at once and after it went on; partners keep what is good.

    The way out is a newer copy, or the owner's word: then partners take that list whole.
    """
    async with lab(tmp_path, urls) as world:
        await world.kh.add(*kh(1, 2))
        await world.kh.publishes()
        old = await asyncio.to_thread(kept, urls[0])
        await world.kh.add(*kh(3))
        await world.kh.publishes()
        new = await asyncio.to_thread(kept, urls[0])
        await world.th.accepts()
        await asyncio.to_thread(restored, urls[0], old)
        with pytest.raises(ListStoreBehind, match="at generation 3 only: an older copy"):
            await world.kh.publishes()
        await world.kh.add(*kh(4))
        with pytest.raises(ListStoreBehind, match="another way"):
            await world.kh.publishes()
        await world.kh.add(*kh(5))
        with pytest.raises(ListStoreBehind, match=r"went on.*lists repair KH/scam.*--anew"):
            await world.kh.publishes()
        assert await world.th.pulls() is None
        await asyncio.to_thread(restored, urls[0], new)
        assert await world.kh.publishes() is None
        await asyncio.to_thread(restored, urls[0], old)
        edition = await world.kh.publishes(anew=True)
        assert edition is not None
        assert edition.whole
        assert (await world.th.accepts()).whole
        assert not await world.th.holds(*kh(3))
        await world.kh.add(*kh(6))
        edition = await world.kh.publishes()
        assert edition is not None
        assert not edition.whole


@pytest.mark.parametrize("damage", [lambda path: path.write_bytes(b"nulls"), Path.unlink])
async def test_a_damaged_change_file_leads_to_the_whole_list(
    tmp_path, urls, monkeypatch, caplog, damage
):
    """A publisher that can no longer read a published change file publishes the list without it."""
    monkeypatch.setattr(offers, "FILES_MAX", 4)
    async with lab(tmp_path, urls) as world:
        await world.kh.add(*kh(0))
        await world.kh.publishes()
        await world.th.accepts()
        for number in kh(1, 2, 3, 4):
            await world.kh.add(number)
            await world.kh.publishes()
        latest = world.kh.outlet.before(LIST)
        assert latest is not None
        name = change_target(LIST, *latest.changes[0])
        found = repository_files.read(world.kh.folder).all_targets()[name]
        damaged = repository_files.place_of(world.kh.folder, found)
        damage(damaged)
        await world.kh.add(*kh(5))
        edition = await world.kh.publishes()
        assert edition is not None
        assert (edition.whole, edition.latest.changes) == (True, ())
        assert damaged.name in caplog.text
        assert (await world.th.accepts()).whole
        assert await world.th.holds(*kh(*range(6)))
        await world.kh.add(*kh(6))
        await world.kh.publishes()
        assert not (await world.th.accepts()).whole


async def seen(true: Callable[[], object]) -> None:
    """Wait for what another process does, looking a few times a second."""
    await until(lambda: asyncio.to_thread(true), "what another process does", 0.05)


class Running(Engine):
    """`exchange run` in a country that has a folder of agreements."""

    def __init__(self, operators: Operators) -> None:
        self.operators = operators
        self.folder = operators.repository.parent / "agreements"
        self.folder.mkdir()
        text = operators.kh.config.read_text()
        operators.kh.config.write_text(
            f'{text}look_s = 1\n[agreements]\ndir = "{self.folder}"\nreload_s = 0.1\n'
        )
        super().__init__(operators.kh.config, "exchange", "run")

    def agrees(self, until_s: datetime, shares: str = "numbers") -> None:
        """Write the agreement; it is seen whole or not at all."""
        new = self.folder / "th-kh.new"
        new.write_text(AGREEMENT.format(until=until_s.isoformat(), shares=shares))
        new.replace(self.folder / "th-kh.toml")

    def latest(self) -> Latest | None:
        """Return the targets that partners are led to."""
        return ListPublisher(self.operators.repository, KeyRing([])).before(LIST)


async def test_a_list_is_published_as_long_as_an_agreement_shares_it(tmp_path, urls):
    """Agreements begin, change and end while `exchange run` runs; its pages say how it stands."""
    operators = Operators(tmp_path, urls)
    await asyncio.to_thread(operators.kh.types, "lists", "create", LIST)
    add = ("lists", "add", LIST, *kh(1), "--reason", "a test")
    await asyncio.to_thread(operators.kh.types, *add)
    running = Running(operators)
    running.start()
    try:
        await seen(lambda: running.said("no agreement in force"))
        assert running.latest() is None
        later = datetime.now(UTC) + timedelta(days=1)
        running.agrees(later, "fingerprints")
        await seen(lambda: (found := running.latest()) and found.shares == "fingerprints")
        running.agrees(later)
        await seen(lambda: (found := running.latest()) and found.shares == "numbers")
        await seen(lambda: '"ready": true' in running.page("/ready")[1])
        await seen(
            lambda: f'exchange_generation{{list="{LIST}"}} 2.0' in running.page("/metrics")[1]
        )
        shown = running.page("/metrics")[1]
        for role in ("root", "targets", "snapshot", "timestamp", LIST):
            assert f'ringfence_exchange_expires_timestamp_seconds{{role="{role}"}} 1' in shown
        assert f'ringfence_exchange_shared{{list="{LIST}"}} 1.0' in shown
        assert "ringfence_exchange_register_up 1.0" in shown
        (running.folder / "broken.toml").write_text("no agreement")
        await seen(lambda: running.said("the last good ones stay"))
        running.agrees(datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=3))
        await seen(lambda: running.latest() is None)
        shared = f'ringfence_exchange_shared{{list="{LIST}"}} 0.0'
        await seen(lambda: shared in running.page("/metrics")[1])
    finally:
        code = running.stop()
    assert code == os.EX_OK, running.last_words()
    publish = ("exchange", "publish", LIST)
    (running.folder / "broken.toml").unlink()
    refused = await asyncio.to_thread(operators.kh.types, *publish, code=1)
    assert "no agreement in force shares KH/scam" in refused
    shared = await asyncio.to_thread(operators.kh.types, *publish, "--share", "numbers")
    assert "shared as numbers" in shared


async def test_a_running_publisher_that_went_back_says_so(tmp_path, urls):
    """Restored under it, the register is found to be behind: told, counted, not ready, nothing out.

    A list that has no role yet and one whose circle has no key hold up no other.
    """
    operators = Operators(tmp_path, urls)
    await asyncio.to_thread(operators.kh.types, "lists", "create", LIST)
    old = await asyncio.to_thread(kept, urls[0])
    add = ("lists", "add", LIST, *kh(1, 2), "--reason", "a test")
    await asyncio.to_thread(operators.kh.types, *add)
    await asyncio.to_thread(operators.kh.types, "exchange", "publish", LIST)
    await asyncio.to_thread(restored, urls[0], old)
    running = Running(operators)
    running.agrees(datetime.now(UTC) + timedelta(days=1), "fingerprints")
    before = running.latest()
    running.start()
    try:
        await seen(lambda: running.said("an older copy"))
        failures = f'ringfence_exchange_failures_total{{list="{LIST}",reason="behind"}}'
        await seen(lambda: failures in running.page("/metrics")[1])
        assert "an older copy" in json.loads(running.page("/ready")[1])["missing"][0]
        assert running.latest() == before
        anew = ("exchange", "publish", LIST, "--anew")
        await asyncio.to_thread(operators.kh.types, *anew)
        again = "exchange recovered part=KH/scam"
        await seen(lambda: running.said(again))
    finally:
        code = running.stop()
    assert code == os.EX_OK
