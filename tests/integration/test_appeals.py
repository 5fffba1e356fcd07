"""Appeals on a real Redis: atomic steps, their audit, and what an answer does to calls."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from stream.appeals import actions as watch_module
from stream.appeals import appeal_store as book_module
from stream.appeals.actions import (
    AppealContext,
    forward,
    keep_watch,
    open_appeal,
    receive,
    redress,
    settle,
)
from stream.appeals.appeal_store import AppealCounts, AppealStore
from stream.config.settings import load
from stream.core.model.agreement import Agreements, Shared
from stream.core.model.allowlist import AllowEntry
from stream.core.model.appeal import Appeal, AppealState, NamedList, Received, sightings
from stream.core.model.entry import NEVER, Category
from stream.core.model.errors import AppealRefused, AppealUnknown, Fault
from stream.lists.store.audit_entries import Verification
from stream.lists.store.heads import By
from stream.lists.store.list_store import AUDIT_MAX, ListStore
from stream.lists.store.settings import ListStoreSettings
from stream.ops.tasks import cancelled
from stream.services.feeds import FeedsService
from tests.support.agreements import agreement
from tests.support.builders import NOW_S, entry, fingerprint_of
from tests.support.enforcement import world
from tests.support.exchange import LIST
from tests.support.feeds import kh
from tests.support.lists import BY, ONE, TWO, Worker, running, until

SCAM, OURS = "KH/scam", "TH/national"
CLERK = By("malee", "a clinic's number")
FAR_S = 4_000_000_000
KEYS = {"plain": b"", "asean": bytes(range(32))}
DESK = AppealContext(
    "TH", KEYS, Agreements((agreement("th-kh", [SCAM], response_target_s=600),)), 7200
)


@pytest.fixture
async def book(redis_url: str) -> AsyncIterator[AppealStore]:
    async with AppealStore.open(ListStoreSettings(redis_url), kept_days=730) as book:
        yield book


async def appealed(register: ListStore, book: AppealStore, number: str, *lists: str) -> Appeal:
    named = [NamedList(list=name, fingerprint="") for name in lists]
    appeal, _ = await open_appeal(register, book, DESK, number, named, BY)
    return appeal


async def test_an_appeal_is_written_down_whole_and_found_again(register, book, raw) -> None:
    """By id, state, list and decision; with its deadline, fingerprints and an audit entry."""
    await register.create(SCAM, "asean", BY)
    named = [
        NamedList(list=SCAM, fingerprint="", agreement="th-kh"),
        NamedList(list=OURS, fingerprint=""),
    ]
    appeal, new = await open_appeal(
        register, book, DESK, ONE, named, BY, decision_id="ECNTF3KFSK3JD", appellant="a@b.example"
    )
    assert new
    assert appeal.deadline_at_s == appeal.received_at_s + 600
    assert [int(one.fingerprint, 16) for one in appeal.lists] == [
        fingerprint_of(ONE, KEYS["asean"]), fingerprint_of(ONE),
    ]  # fmt: skip
    assert await book.get(appeal.id) == appeal
    assert await book.of_decision("ECNTF3KFSK3JD") == appeal
    assert await book.in_state(AppealState.RECEIVED) == (appeal,)
    assert await book.about(SCAM) == await book.about(OURS) == (appeal,)
    assert await book.about(SCAM, since_s=appeal.received_at_s + 1) == ()
    told = await anext(register.past.audit())
    assert (told.op, told.actor, told.reason) == ("appeal_received", "somchai", "a test")
    assert (told.list_name, told.detail) == (SCAM, f"{appeal.id} +6681***5671 {SCAM}, {OURS}")
    with pytest.raises(AppealUnknown, match="no appeal A-0"):
        await book.get("A-0")
    assert not any(ONE in str(fields) for _, fields in raw.xrange("rf:audit"))


async def test_a_second_appeal_on_a_number_is_the_first_until_it_is_answered(
    register, book
) -> None:
    """A repeated appeal finds the open one; after the answer a new one can be made."""
    first = await appealed(register, book, ONE, OURS)
    again, new = await open_appeal(register, book, DESK, ONE, [], BY)
    assert (again, new) == (first, False)
    await book.step(first.id, AppealState.REJECTED, By("malee", "it called 300 people"))
    assert (await appealed(register, book, ONE, OURS)).id != first.id


async def test_a_redressed_number_is_allowed_in_running_workers(
    register, book, worker: Worker
) -> None:
    """The allow entry is live in a worker at once, and a partner's list may go on naming it."""
    await register.create(SCAM, "plain", BY)
    await register.add(SCAM, [entry(ONE)], BY)
    async with running(worker):
        assert worker.lists(ONE) == {SCAM}
        appeal = await appealed(register, book, ONE, SCAM)
        done = await redress(register, book, DESK, appeal.id, CLERK)
        assert (done.number, done.taken_off) == (ONE, ())
        await until(lambda: worker.refresher.current.allow.find(ONE, NOW_S) is not None)
        allowed = worker.refresher.current.allow.find(ONE, NOW_S)
        assert allowed is not None
        assert (allowed.appeal, allowed.actor) == (appeal.id, "malee")
        await register.add(SCAM, [entry(ONE, confidence=99)], BY)
        assert worker.refresher.current.allow.find(ONE, NOW_S) is not None
    ops = [told.op async for told in register.past.audit()]
    assert ops[1:3] == ["appeal_redressed", "allow"]
    at_s = done.appeal.history[-1].at_s
    (sighted,) = sightings(await book.about(SCAM), SCAM, at_s, at_s + 1)
    assert (int(sighted.fingerprint, 16), sighted.appeal_id) == (fingerprint_of(ONE), appeal.id)


async def test_of_our_own_list_the_number_goes_for_good(register, book) -> None:
    """It is taken off, and out of a prefix by a word of its own; a second answer is refused."""
    await register.add(OURS, [entry(ONE), entry(ONE, source="police")], BY)
    await register.add(OURS, [entry(f"{ONE[:-3]}*")], BY)
    appeal = await appealed(register, book, ONE, OURS)
    done = await redress(register, book, DESK, appeal.id, CLERK)
    assert done.taken_off == (OURS,)
    own = fingerprint_of(ONE)
    (word,) = (await register.reports(OURS, [own]))[own]
    assert (word.category, word.source, word.confidence) == (Category.LEGITIMATE, "redress", 100)
    with pytest.raises(AppealRefused, match="is redressed: it was answered already"):
        await redress(register, book, DESK, appeal.id, CLERK)


async def test_a_partners_sighting_is_an_appeal_that_its_owner_answers(register, book) -> None:
    """Known once however often it is reported; the number is found by its fingerprint."""
    await register.add(OURS, [entry(ONE)], BY)
    desk = replace(DESK, agreements=Agreements((agreement("x", [OURS], to=("KH",)),)))
    said = Received(
        partner="KH", appeal_id="A-7", list=OURS, fingerprint=f"{fingerprint_of(ONE):016x}"
    )
    appeal, new = await receive(book, desk, said, By("KH"))
    assert new
    assert (appeal.number, appeal.partner, appeal.partner_appeal) == (None, "KH", "A-7")
    done = await redress(register, book, desk, appeal.id, CLERK)
    assert (done.number, done.taken_off) == (ONE, (OURS,))
    assert sightings([done.appeal], OURS, 0, 1 << 40) == ()
    again, new = await receive(book, desk, said, By("KH"))
    assert (again.id, new) == (appeal.id, False)
    _, allowed = await register.allow_all()
    assert [one.text for one in allowed] == [ONE]


async def test_a_partner_blocked_by_our_prefix_is_let_out_of_it(register, book) -> None:
    """Its fingerprint is on no list: the number is found among those that our prefixes cover."""
    clinic = "+85523900123"
    await register.create("KH/range", "asean", BY)
    await register.add("KH/range", [entry("+8552390*", KEYS["asean"])], BY)
    desk = replace(DESK, home="KH")
    said = Received(
        partner="TH",
        appeal_id="A-9",
        list="KH/range",
        fingerprint=f"{fingerprint_of(clinic, KEYS['asean']):016x}",
    )
    appeal, _ = await receive(book, desk, said, By("TH"))
    done = await redress(register, book, desk, appeal.id, CLERK)
    assert (done.number, done.taken_off) == (clinic, ("KH/range",))
    own = fingerprint_of(clinic, KEYS["asean"])
    (word,) = (await register.reports("KH/range", [own]))[own]
    assert word.category is Category.LEGITIMATE


async def test_a_circles_next_key_loses_no_appeal(register, book) -> None:
    """A partner's fingerprint by the last key finds its number on a list that has the next one; an
    appeal of ours tells the owner the number's fingerprint as it is when the block is put right.
    """
    keys = {**KEYS, "asean@2": bytes(32)}
    await register.create("TH/moved", "asean@2", BY)
    await register.add("TH/moved", [entry(ONE, keys["asean@2"])], BY)
    desk = replace(DESK, keys=keys)
    old = f"{fingerprint_of(ONE, keys['asean']):016x}"
    said = Received(partner="KH", appeal_id="A-3", list="TH/moved", fingerprint=old)
    appeal, _ = await receive(book, desk, said, By("KH"))
    done = await redress(register, book, desk, appeal.id, CLERK)
    assert (done.number, done.taken_off) == (ONE, ("TH/moved",))
    assert done.appeal.lists == appeal.lists
    await register.create(SCAM, "asean@2", BY)
    early = replace(desk, keys=KEYS)
    ours, _ = await open_appeal(
        register, book, early, TWO, [NamedList(list=SCAM, fingerprint=old)], BY
    )
    assert ours.lists[0].fingerprint == ""
    right = (await redress(register, book, desk, ours.id, CLERK)).appeal
    assert int(right.lists[0].fingerprint, 16) == fingerprint_of(TWO, keys["asean@2"])


async def test_an_answer_without_the_key_of_our_list_changes_nothing(register, book) -> None:
    """Our list would go on naming the number at every partner, while the appeal is answered."""
    await register.create("TH/hashed", "asean", BY)
    listed = entry(ONE, KEYS["asean"])
    await register.add("TH/hashed", [listed], BY)
    here = replace(DESK, keys={"plain": b""})
    said = Received(
        partner="KH", appeal_id="A-5", list="TH/hashed", fingerprint=f"{listed.fingerprint:016x}"
    )
    theirs, _ = await receive(book, here, said, By("KH"))
    own = await appealed(register, book, ONE, "TH/hashed")
    for appeal in (theirs, own):
        with pytest.raises(AppealRefused, match="the key of circle asean, by which TH/hashed"):
            await redress(register, book, here, appeal.id, CLERK)
        assert (await book.get(appeal.id)).open
        done = await redress(register, book, DESK, appeal.id, CLERK)
        assert done.taken_off == (("TH/hashed",) if appeal is theirs else ())


async def test_a_sighting_of_what_nobody_listed_can_only_be_rejected(register, book) -> None:
    """Its number is not known here, so nothing can be lifted, and the message says so."""
    said = Received(partner="KH", appeal_id="A-7", list=OURS, fingerprint="00" * 8)
    appeal, _ = await receive(book, DESK, said, By("KH"))
    with pytest.raises(AppealRefused, match="no list here holds its fingerprint"):
        await redress(register, book, DESK, appeal.id, CLERK)
    await book.step(appeal.id, AppealState.REJECTED, By("malee", "we do not list it"))


async def test_an_owner_answers_a_forwarded_appeal_by_what_it_publishes(register, book) -> None:
    """Once no list named holds the number any more the appeal is closed, by the owner."""
    await register.create(SCAM, "plain", BY)
    await register.add(SCAM, [entry(ONE), entry(TWO)], BY)
    one, two = [await appealed(register, book, number, SCAM) for number in (ONE, TWO)]
    ours = await appealed(register, book, "+66812340000", OURS)
    await forward(book, DESK, one.id, CLERK)
    await forward(book, DESK, two.id, CLERK)
    with pytest.raises(AppealRefused, match="it is ours to answer"):
        await forward(book, DESK, ours.id, CLERK)
    assert await settle(register, book, DESK) == ()
    await register.add(SCAM, [entry(ONE, category=Category.LEGITIMATE)], BY)
    assert await settle(register, book, DESK) == (one.id,)
    assert (await book.get(one.id)).history[-1].actor == "owner:KH"
    standing = await book.standing()
    assert standing.by_state[AppealState.PENDING_OWNER] == 1
    assert (standing.by_state[AppealState.REDRESSED], standing.overdue) == (1, 0)


async def test_a_prefix_as_long_as_the_number_holds_it(register, book) -> None:
    """A forwarded appeal stays open while it is listed; ours takes the number out of it."""
    for name in (SCAM, OURS):
        await register.create(name, "plain", BY)
        await register.add(name, [entry(f"{ONE}*")], BY)
    asked = await appealed(register, book, ONE, SCAM)
    await forward(book, DESK, asked.id, CLERK)
    assert await settle(register, book, DESK) == ()
    await book.step(asked.id, AppealState.REJECTED, CLERK)
    again = await appealed(register, book, ONE, OURS)
    assert (await redress(register, book, DESK, again.id, CLERK)).taken_off == (OURS,)


async def test_two_who_answer_at_once_make_one_answer(register, book) -> None:
    """The book is changed by compare-and-set: the second finds the appeal answered."""
    appeal = await appealed(register, book, ONE, OURS)
    answers = await asyncio.gather(
        *(book.step(appeal.id, AppealState.REJECTED, By(f"clerk {n}", "no")) for n in range(8)),
        return_exceptions=True,
    )
    assert sum(isinstance(answer, Appeal) for answer in answers) == 1
    assert sum(isinstance(answer, AppealRefused) for answer in answers) == 7
    assert (await book.get(appeal.id)).version == 2


async def test_the_book_stays_small(register, book, monkeypatch, raw) -> None:
    """Too many open ones are refused in words; of answered ones the oldest are forgotten."""
    monkeypatch.setattr(book_module, "OPEN_MAX", 3)
    monkeypatch.setattr(book_module, "CLOSED_MAX", 2)
    numbers = [f"+6681234567{n}" for n in range(4)]
    held = [await appealed(register, book, number, OURS) for number in numbers[:3]]
    with pytest.raises(AppealRefused, match="3 appeals are open: answer some"):
        await appealed(register, book, numbers[3], OURS)
    for one in held:
        await book.step(one.id, AppealState.REJECTED, By("malee", "no"))
    assert {one.id for one in await book.about(OURS)} == {held[1].id, held[2].id}
    with pytest.raises(AppealUnknown):
        await book.get(held[0].id)
    assert raw.hlen("rf:appeals:subjects") == 0
    with pytest.raises(
        AppealRefused, match="the comment has 1,001 characters; at most 1000 are kept"
    ):
        await open_appeal(register, book, DESK, numbers[3], [], By("x", "x" * 1001))


async def test_answers_are_forgotten_after_their_time(register, redis_url) -> None:
    """Answered appeals hold numbers: they go after `kept_days`, at the next step of any."""
    async with AppealStore.open(ListStoreSettings(redis_url), kept_days=0) as book:
        first = await appealed(register, book, ONE, OURS)
        await book.step(first.id, AppealState.REJECTED, By("malee", "no"))
        assert await book.about(OURS) == ()


async def test_the_audit_stays_one_chain_over_appeals(register, book) -> None:
    """Steps of appeals, and the allow entries that they write, are links like all others."""
    appeal = await appealed(register, book, ONE, OURS)
    await register.add(OURS, [entry(ONE)], BY)
    await redress(register, book, DESK, appeal.id, CLERK)
    head = await register.past.audit_head()
    found = Verification(head, AUDIT_MAX)
    async for identity, fields in register.past.audit_items(head.last_id):
        found.take(identity, fields)
    found.finish()
    assert found.troubles == []
    assert head.count == found.last > 4


async def test_an_allow_entry_says_which_appeal_it_answers(register) -> None:
    """So that the gate tells a redressed number from a hospital's."""
    entries = [AllowEntry(ONE, "x", "a", 1, appeal="A-1"), AllowEntry(TWO, "y", "b", 2)]
    await register.allow_add(entries, BY)
    _, held = await register.allow_all()
    assert sorted(held, key=lambda one: one.text) == entries


@pytest.mark.parametrize(
    ("before_s", "asked_s", "until_s"),
    [
        (NEVER, FAR_S, NEVER),
        (FAR_S + 1, FAR_S, FAR_S + 1),
        (1, FAR_S, FAR_S),
        (FAR_S, NEVER, NEVER),
    ],
)
async def test_a_redress_shortens_no_allow_entry(register, book, before_s, asked_s, until_s):
    """A hospital that is allowed for good stays so, though its appeal asks for some days."""
    await register.create(OURS, "plain", BY)
    await register.allow_add([AllowEntry(ONE, "hospital", "a", 1, before_s)], BY)
    appeal = await appealed(register, book, ONE, OURS)
    done = await redress(register, book, DESK, appeal.id, CLERK, asked_s)
    _, (held,) = await register.allow_all()
    assert (held.expires_at_s, held.appeal, done.until_s) == (until_s, appeal.id, until_s)


async def test_what_waits_is_counted_and_an_outage_told_once(
    register, book, redis_url, monkeypatch
) -> None:
    """`feeds run` shows open and overdue appeals; while Redis is away it keeps its last figures."""
    monkeypatch.setattr(watch_module, "LOOK_S", 0.02)
    await appealed(register, book, ONE, OURS)
    late = replace(DESK, answer_s=-1)
    await open_appeal(register, book, late, TWO, [], BY)
    run = FeedsService(load([], {}), {})
    faults: list[Fault] = []

    def tell(standing: AppealCounts | None, closed: tuple[str, ...], fault: Fault | None) -> None:
        run._appeals(standing, closed, fault)
        if fault is not None:
            faults.append(fault)

    def value(name: str, **labels: str) -> float | None:
        return run.registry.get_sample_value(name, labels)

    away = ListStoreSettings("redis://127.0.0.1:1/0", timeout_s=0.2)
    for settings in (ListStoreSettings(redis_url), away):
        watching = asyncio.create_task(keep_watch(settings, DESK, 730, tell))
        if settings is away:
            await until(lambda: bool(faults))
            await asyncio.sleep(0.2)
        else:
            await until(lambda: value("ringfence_appeals_overdue") == 1)
        await cancelled(watching)
        assert value("ringfence_appeals", state="received") == 2
        assert value("ringfence_appeals", state="pending_owner") == 0
    assert len(faults) == 1


async def test_each_forwarded_appeal_is_looked_at_in_its_turn(
    register, book, redis_url, monkeypatch
) -> None:
    """With more of them than one turn looks at, an old one is closed too."""
    monkeypatch.setattr(watch_module, "LOOK_S", 0.02)
    monkeypatch.setattr(watch_module, "LOOKED_AT", 1)
    await register.create(SCAM, "plain", BY)
    numbers = [f"+4477009001{place:02}" for place in range(4)]
    await register.add(SCAM, [entry(number) for number in numbers], BY)
    made = {(await appealed(register, book, number, SCAM)).id: number for number in numbers}
    for one in made:
        await forward(book, DESK, one, CLERK)
    last = (await book.in_state(AppealState.PENDING_OWNER))[-1].id
    await register.add(SCAM, [entry(made[last], category=Category.LEGITIMATE)], BY)
    found: list[str] = []
    settings = ListStoreSettings(redis_url)
    watching = asyncio.create_task(
        keep_watch(settings, DESK, 730, lambda _, closed, __: found.extend(closed))
    )
    await until(lambda: found == [last])
    await cancelled(watching)


CLINIC, SCHOOL, GANG = kh(1, 2, 3)


async def test_a_wrong_block_is_lifted_where_it_is_seen_and_then_everywhere(
    tmp_path, urls, kafka
) -> None:
    """TH puts one block right and asks KH about another. KH hears of the first with TH's document,
    by fingerprint, of the second by mail; what KH publishes then lifts both in TH's copy, and
    closes what TH had asked. What KH was told nothing of stays.
    """
    agreements = Agreements((agreement("th-kh", [LIST], response_target_s=600),))
    th_desk, kh_desk = (
        AppealContext(home, {"plain": b""}, agreements, 7200) for home in ("TH", "KH")
    )
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
