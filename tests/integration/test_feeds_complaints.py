"""Complaints by users of other lists (field.md, section 4, B and C), each as a test."""

from pathlib import Path

import pytest

from stream.core.model.allowlist import AllowEntry
from stream.feeds.gate import GateReason
from stream.lists.store.heads import By
from stream.lists.store.list_content import entries_of
from tests.support.builders import entry
from tests.support.feeds import LIST, OPERATOR, Partner, kh
from tests.support.lists import Worker, enforced, running

BASE = kh(*range(200))


@pytest.fixture
def partner(tmp_path: Path, redis_url: str) -> Partner:
    return Partner(tmp_path, redis_url)


async def numbers(partner: Partner) -> list[str]:
    _, columns = await entries_of(partner.register, LIST, b"")
    return [f"+{digits}" for digits in columns.number.tolist()]


async def test_a_hundred_thousand_duplicate_decisions(partner):
    """Crowdsec 827: what one source says again and again of a number is one report of it."""
    async with partner:
        record = await partner.said([*BASE, *BASE, *BASE])
        assert (record.good, record.numbers) == (600, 200)
        assert sorted(await numbers(partner)) == BASE


async def test_fifteen_thousand_deletes_and_adds_resent(partner):
    """Crowdsec 2450: a list that is sent in another order is another file and no change at all."""
    async with partner:
        await partner.said(BASE)
        before = (await partner.register.state(LIST)).head.generation
        record = await partner.said(BASE[::-1])
        assert (record.verdict, record.gained, record.lost, record.updated) == ("accepted", 0, 0, 0)
        assert (await partner.register.state(LIST)).head.generation == before


async def test_a_full_sync_that_drops_an_origin(partner):
    """cs-firewall-bouncer 506: a whole version of one feed touches no other source's reports."""
    async with partner:
        await partner.said(BASE)
        await partner.register.add(LIST, [entry(BASE[0], source="police")], By("police"))
        await partner.said(BASE[1:])
        assert BASE[0] in await numbers(partner)


async def test_increments_that_bypass_the_size_cap(partner):
    """crowdsec-unifi-bouncer 39: an increment is held by the same limits as a whole version."""
    async with partner:
        await partner.said(BASE)
        record = await partner.said(kh(*range(10_000, 11_500)), whole=False)
        assert (record.verdict, record.reason) == ("held", GateReason.GROWN)
        assert len(await numbers(partner)) == 200


async def test_a_file_read_as_nothing_during_a_save(partner, redis_url, tmp_path):
    """Rspamd 6263: 0 bytes leave what is enforced as it is, in a worker that follows."""
    async with partner:
        await partner.said(BASE)
        worker = Worker(redis_url, tmp_path / "worker")
        async with running(worker):
            assert worker.lists(BASE[0]) == {LIST}
            partner.says_bytes(b"")
            assert (await partner.pull()).reason == GateReason.EMPTY
            await partner.said(BASE[1:])
            await enforced_off(worker, BASE[0])
            assert worker.lists(BASE[1]) == {LIST}


async def enforced_off(worker: Worker, number: str) -> None:
    await enforced(worker, number, listed=False)


async def test_an_exception_that_the_next_refresh_undoes(partner):
    """Firehol 369: a local exception stands however often the partner lists the number."""
    async with partner:
        await partner.said(BASE)
        clinic = AllowEntry(BASE[0], "a clinic now", "somchai", 0)
        await partner.register.allow_add([clinic], OPERATOR)
        record = await partner.said([*BASE, *kh(999)])
        assert (record.verdict, record.reason) == ("held", GateReason.ALLOW_LISTED)
        await partner.release()
        _, allowed = await partner.register.allow_all()
        assert [one.text for one in allowed] == [BASE[0]]


async def test_a_list_cut_in_the_middle(partner):
    """Half a list, cut amid a number, is held as shrunk; nothing of it goes live."""
    async with partner:
        await partner.said(BASE)
        data = partner.path.read_bytes()
        partner.says_bytes(data[: len(data) // 2])
        assert (await partner.pull()).reason == GateReason.SHRUNK
        assert sorted(await numbers(partner)) == BASE
