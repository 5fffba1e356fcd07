"""A wrong block from the country that sees it to the country that listed it, and back."""

from stream.appeals.actions import Desk, forward, open_appeal, redress, settle
from stream.appeals.appeal_store import AppealStore
from stream.core.model.agreement import Agreements, Shared
from stream.core.model.appeal import AppealState, NamedList
from stream.lists.store.heads import By
from stream.lists.store.list_store import ListStore
from stream.lists.store.settings import ListStoreSettings
from tests.support.agreements import agreement
from tests.support.builders import fingerprint_of
from tests.support.enforcement import world
from tests.support.exchange import LIST
from tests.support.feeds import kh

CLINIC, SCHOOL, GANG = kh(1, 2, 3)
CLERK = By("malee", "a clinic's number")


async def test_a_wrong_block_is_lifted_where_it_is_seen_and_then_everywhere(
    tmp_path, urls, kafka
) -> None:
    """TH puts one block right and asks KH about another. KH hears of the first with TH's document,
    by fingerprint, of the second by mail; what KH publishes then lifts both in TH's copy, and
    closes what TH had asked. What KH was told nothing of stays.
    """
    agreements = Agreements((agreement("th-kh", [LIST], response_target_s=600),))
    th_desk, kh_desk = (Desk(home, {"plain": b""}, agreements, 7200) for home in ("TH", "KH"))
    kh_at, th_at = map(ListStoreSettings, urls)
    fingerprints = [fingerprint_of(number) for number in (CLINIC, SCHOOL, GANG)]
    async with (
        world(tmp_path, urls, kafka, lambda: agreements, Shared.FINGERPRINTS) as both,
        await ListStore.connect(kh_at) as kh_register,
        await ListStore.connect(th_at) as th_register,
        AppealStore.open(kh_at, 30) as kh_book,
        AppealStore.open(th_at, 30) as th_book,
    ):
        await both.lab.kh.add(CLINIC, SCHOOL, GANG)
        await both.lab.kh.publishes()
        await both.lab.th.accepts()
        named = [NamedList(list=LIST, fingerprint="")]
        seen, asked = [
            (await open_appeal(th_register, th_book, th_desk, number, named, CLERK))[0]
            for number in (CLINIC, SCHOOL)
        ]
        await redress(th_register, th_book, th_desk, seen.id, CLERK)
        await forward(th_book, th_desk, asked.id, CLERK)
        async with both.th() as th:
            await th.publish()
        async with both.kh() as owner:
            assert (await owner.read(both.partner)).sightings == 1
        (heard,) = await kh_book.in_state(AppealState.RECEIVED)
        assert (heard.partner, heard.partner_appeal, heard.number) == ("TH", seen.id, None)
        done = await redress(kh_register, kh_book, kh_desk, heard.id, CLERK)
        assert (done.number, done.taken_off) == (CLINIC, (LIST,))
        mailed, _ = await open_appeal(kh_register, kh_book, kh_desk, SCHOOL, named, CLERK)
        await redress(kh_register, kh_book, kh_desk, mailed.id, CLERK)
        assert await settle(th_register, th_book, th_desk) == ()
        await both.lab.kh.publishes()
        await both.lab.th.accepts()
        held = await th_register.reports(LIST, fingerprints)
        assert [bool(held[one]) for one in fingerprints] == [False, False, True]
        assert await settle(th_register, th_book, th_desk) == (asked.id,)
        assert (await th_book.get(asked.id)).history[-1].actor == "owner:KH"
