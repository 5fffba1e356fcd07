"""Enforcement comes back: counted where it happens, told to the list's owner, heard there."""

import asyncio
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
import redis

from stream.appeals.appeal_store import AppealStore
from stream.config.agreement_files import AgreementFolder
from stream.core.model.agreement import Agreements, Shared
from stream.core.model.enforcement_document import (
    CallOutcome,
    Enforcement,
    Sighting,
    target_of,
    written,
)
from stream.core.model.entry import Category
from stream.core.model.errors import FeedDown
from stream.enforcement import rounds
from stream.enforcement.import_documents import Partner
from stream.enforcement.rounds import Enforcing
from stream.exchange import edition as offers
from stream.exchange import repository, repository_files
from stream.lists.snapshot.repository_layout import Latest
from stream.lists.store import enforcement_store as books
from stream.lists.store.enforcement_counts import (
    Cell,
    CountPosition,
    DayCounts,
    DecisionCounts,
    day_of,
)
from stream.lists.store.enforcement_store import EnforcementStore
from stream.lists.store.heads import By
from stream.lists.store.settings import ListStoreSettings
from stream.ops.clock import now_ms, now_s
from tests.support.builders import fingerprint_of
from tests.support.decisions import decision
from tests.support.enforcement import World, world
from tests.support.exchange import LIST, lab
from tests.support.feeds import kh
from tests.support.repositories import Country, hub_at

BY = By("nok", "a hospital")
TOLD = "TH/enforcement/KH-scam"


def agreed() -> Agreements:
    """The example agreements."""
    return AgreementFolder(Path(__file__).parents[2] / "config" / "agreements").start()


def sighting(number: str, appeal_id: str | None = None) -> Sighting:
    at = datetime.fromtimestamp(now_s(), UTC)
    return Sighting(fingerprint=f"{fingerprint_of(number):016x}", seen_at=at, appeal_id=appeal_id)


def everything(folder: Path) -> bytes:
    """All bytes that a country publishes."""
    return b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())


async def test_what_is_stopped_in_th_is_told_in_kh(tmp_path, urls, kafka):
    """Calls, different numbers, and delays since KH's publication; no subscriber's number."""
    async with world(tmp_path, urls, kafka, agreed) as both:
        await both.lab.kh.add(*kh(1))
        await both.lab.kh.publishes()
        await both.lab.th.accepts()
        await both.lab.kh.add(*kh(2, 3))
        await both.lab.kh.publishes()
        await both.lab.th.accepts()
        at_ms = now_ms()
        await both.decide(
            *(decision(one, at_ms=at_ms) for one in kh(1, 2, 2)),
            decision(kh(3)[0], at_ms=at_ms, verdict="flag", rule="list:KH/scam"),
        )
        async with both.th() as th:
            await th.count()
            assert await th.publish()
            assert not await th.publish(), "what says nothing new is not signed again"
        with redis.Redis.from_url(urls[1], decode_responses=True) as raw:
            days = [key for key in raw.scan_iter("rf:enforced:{*") if ":20" in key]
            assert days
            assert all(raw.ttl(key) > 0 for key in days), "counts of a day leave by themselves"
        assert not any(number.encode() in everything(both.repository.folder) for number in kh(1, 2))
        assert b"+66812345678" not in everything(both.repository.folder)
        async with both.kh() as owner:
            found = await owner.read(both.partner)
            assert [one.list for one in found.documents] == [LIST]
            assert not (await owner.read(both.partner)).documents
            (kept,) = await both.kept(owner)
    assert kept == found.documents[0]
    assert (kept.country, kept.target_s) == ("TH", 4 * 3600)
    assert "th-kh" in kept.agreements
    assert kept.by_category is not None
    counts = kept.by_category["call_centre"]
    assert (counts.entries, counts.entries_month) == (3, 3)
    assert (counts.blocked, counts.flagged, counts.simulated) == (3, 1, 0)
    assert kept.in_force is not None
    assert (kept.in_force.count, kept.in_force.late) == (1, 0)
    assert kept.first_stopped is not None
    assert kept.first_stopped.count == 2, "of the first list nobody knows when it was published"
    assert kept.versions is not None
    assert (kept.versions.accepted, kept.versions.held) == (2, 0)
    assert kept.versions.stale_s_max is not None


async def test_a_repeat_of_decisions_counts_once(tmp_path, urls, kafka):
    """Not a decision that was written twice, nor one that two processes read, nor after a crash."""
    async with world(tmp_path, urls, kafka, agreed) as both:
        again = decision(kh(1)[0], at_ms=now_ms(), decision_id="4F7K2M9QX1RZC")
        await both.decide(again, again, decision(kh(2)[0], at_ms=now_ms()))
        async with both.th() as one, both.th() as other:
            await asyncio.gather(one.count(), other.count())
            await both.decide(again, decision(kh(2)[0], at_ms=now_ms()))
            await asyncio.gather(one.count(), other.count())
        async with both.th() as later:
            await later.count()
            figures = await later.enforced.figures(LIST, day_of(now_ms()))
    assert figures.by_category["call_centre"].blocked == 3
    assert figures.by_category["call_centre"].entries == 2


async def test_nobody_counts_from_where_another_went_on(redis_url):
    """Counts and positions move together: a batch that begins where nobody is any more is not
    counted.
    """
    async with books.EnforcementStore.open(ListStoreSettings(redis_url)) as book:
        first = await book.count("decisions/0", CountPosition(), 5, DecisionCounts(ids=[b"a" * 8]))
        assert first == CountPosition(5, 1)
        assert (
            await book.count("decisions/0", CountPosition(), 5, DecisionCounts(ids=[b"a" * 8]))
            is None
        )
        assert await book.progress("decisions/0") == (CountPosition(5, 1), [b"a" * 8])


async def test_the_ids_kept_are_the_last_ones(redis_url, monkeypatch):
    """The memory in which a repeat is recognised is bounded: the oldest ids go."""
    monkeypatch.setattr(books, "SEEN", 4)
    async with books.EnforcementStore.open(ListStoreSettings(redis_url)) as book:
        progress: CountPosition | None = CountPosition()
        for letters in ("abc", "de", "f"):
            assert progress is not None
            ids = [letter.encode() * 8 for letter in letters]
            progress = await book.count("decisions/0", progress, 9, DecisionCounts(ids=ids))
        held, ids = await book.progress("decisions/0")
    assert [one[:1] for one in ids[held.place :] + ids[: held.place]] == [b"c", b"d", b"e", b"f"]


async def test_a_sighting_lowers_confidence_everywhere(tmp_path, urls, kafka):
    """A number that TH finds to be a hospital's is doubted in KH's list, and by that in TH's copy;
    the same sighting counts once.
    """
    async with world(tmp_path, urls, kafka, agreed) as both:
        await both.lab.kh.add(*kh(1, 2))
        await both.lab.kh.publishes()
        await both.lab.th.accepts()
        async with both.th() as th:
            await th.enforced.sighted(LIST, sighting(kh(1)[0], "A-4F7K2M9QX1RZC"), BY)
            await th.enforced.sighted(LIST, sighting(kh(9)[0]), BY)
            await th.publish()
        async with both.kh() as owner:
            found = await owner.read(both.partner)
            assert (found.sightings, found.unlisted) == (1, 1)
        reports = await both.lab.kh.register.reports(LIST, [fingerprint_of(kh(1)[0])])
        (said,) = [one for one in reports[fingerprint_of(kh(1)[0])] if one.source != "test"]
        assert (said.source, said.category, said.confidence) == (
            "sighting/TH",
            Category.LEGITIMATE,
            50,
        )
        async with AppealStore.open(ListStoreSettings(urls[0]), 30) as appeals:
            (appeal,) = await appeals.about(LIST)
        assert (appeal.partner, appeal.partner_appeal) == ("TH", "A-4F7K2M9QX1RZC")
        before = (await both.lab.kh.register.state(LIST)).head.generation
        async with both.th() as th:
            await both.decide(decision(kh(2)[0], at_ms=now_ms()))
            await th.count()
            await th.publish()
        async with both.kh() as owner:
            found = await owner.read(both.partner)
            assert (len(found.documents), found.sightings) == (1, 0)
        assert (await both.lab.kh.register.state(LIST)).head.generation == before
        await both.lab.kh.publishes()
        await both.lab.th.accepts()
        async with both.th() as th:
            copied = await th._store.reports(LIST, [fingerprint_of(kh(1)[0])])
    sources = {one.source: one for one in copied[fingerprint_of(kh(1)[0])]}
    assert sources["kh-scam/sighting/TH"].category is Category.LEGITIMATE


class Told:
    """TH publishes what it likes; KH reads."""

    def __init__(self, both: World) -> None:
        self.both = both

    def document(self, **fields: Any) -> Enforcement:
        made = {
            "country": "TH",
            "list": LIST,
            "day": day_of(now_ms()),
            "made_at": datetime.fromtimestamp(now_s(), UTC),
        }
        return Enforcement(**{**made, **fields})

    def publish(self, data: bytes, target: str) -> None:
        """Signed by TH's keys, whatever it is."""
        th = self.both.repository
        below = target.removeprefix("TH/enforcement/")
        repository.publish(th.folder, th.by, "TH/enforcement", {below: data})

    async def refused(self, data: bytes | None = None, target: str | None = None, **fields) -> str:
        """Why a document was not taken."""
        document = self.document(**fields)
        where = target or target_of("TH", document.list, document.day)
        self.publish(written(document) if data is None else data, where)
        async with self.both.kh() as owner:
            found = await owner.read(self.both.partner)
            assert not found.documents
            (why,) = found.refused.values()
            assert where in await owner.enforced.refused("TH")
            again = await owner.read(self.both.partner)
            assert not again.refused, "what was refused is not looked at again"
        return why


async def test_documents_that_are_refused(tmp_path, urls, kafka, caplog):
    """Malformed, huge, of another country, day or list, of the future: each with what is wrong."""
    today = day_of(now_ms())
    async with world(tmp_path, urls, kafka, agreed) as both:
        told = Told(both)
        assert "malformed" in await told.refused(b"nonsense", f"{TOLD}/{today}.json")
        assert "at most 2,097,152 are taken" in await told.refused(
            b" " * (3 << 20), f"{TOLD}/{today}.json"
        )
        assert "its name does not" in await told.refused(
            country="PH", target=f"{TOLD}/{today}.json"
        )
        assert "its name does not" in await told.refused(target=f"{TOLD}/2026-01-01.json")
        assert "there is no list KH/other here" in await told.refused(list="KH/other")
        ahead = datetime.fromtimestamp(now_s(), UTC) + timedelta(hours=2)
        assert "one of both clocks is wrong" in await told.refused(made_at=ahead)
        many = tuple(sighting(one) for one in kh(1, 2, 3))
        assert "3 numbers are said to be no scammers'" in await told.refused(sightings=many)
        own = await told.refused(list="TH/national", target=f"TH/enforcement/KH-x/{today}.json")
        assert "its name does not" in own


@pytest.mark.parametrize("damage", [Path.unlink, lambda path: path.write_bytes(b"cut")])
async def test_a_document_whose_file_is_damaged_for_a_while_is_read_again(
    tmp_path, urls, kafka, damage
):
    """Its sighting and its appeal come as soon as the web server has the right file again."""
    async with world(tmp_path, urls, kafka, agreed) as both:
        await both.lab.kh.add(*kh(1))
        told, target = Told(both), f"{TOLD}/{day_of(now_ms())}.json"
        said = (sighting(kh(1)[0], "A-4F7K2M9QX1RZC"),)
        told.publish(written(told.document(sightings=said)), target)
        published = repository_files.read(both.repository.folder).all_targets()[target]
        place = repository_files.place_of(both.repository.folder, published)
        good = place.read_bytes()
        damage(place)
        async with both.kh() as owner:
            assert list((await owner.read(both.partner)).refused) == [target]
            assert not (await owner.read(both.partner)).refused, "it is reported once"
            place.write_bytes(good)
            found = await owner.read(both.partner)
            assert (len(found.documents), found.sightings) == (1, 1)
            assert not await owner.enforced.refused("TH")
        async with AppealStore.open(ListStoreSettings(urls[0]), 30) as appeals:
            assert [one.partner for one in await appeals.about(LIST)] == ["TH"]


async def test_a_document_that_we_could_not_take_is_read_again(tmp_path, urls, kafka, monkeypatch):
    """A list was missing, a clock slow, `sightings_max` low: the audit has each refusal once."""
    async with world(tmp_path, urls, kafka, agreed) as both:
        told, day = Told(both), day_of(now_ms())

        async def refused(work: Enforcing, document: Enforcement) -> str:
            told.publish(written(document), target_of("TH", document.list, day))
            (why,) = (await work.read(both.partner)).refused.values()
            assert not (await work.read(both.partner)).refused
            return why

        async def taken(work: Enforcing) -> None:
            found = await work.read(both.partner)
            assert (len(found.documents), found.refused) == (1, {})
            assert not await work.enforced.refused("TH")

        async with both.kh() as owner:
            why = await refused(owner, told.document(list="KH/other"))
            assert "there is no list KH/other here" in why
            await both.lab.kh.register.create("KH/other", "plain", BY)
            await taken(owner)
            at = datetime.fromtimestamp(now_s(), UTC) + timedelta(hours=2)
            why = await refused(owner, told.document(made_at=at))
            assert "one of both clocks is wrong" in why
            monkeypatch.setattr(rounds, "now_s", lambda: now_s() + 7200)
            await taken(owner)
            many = tuple(sighting(one) for one in kh(1, 2, 3))
            why = await refused(
                owner, told.document(made_at=at + timedelta(seconds=1), sightings=many)
            )
            assert "3 numbers are said to be no scammers'" in why
        imports = both.plan("KH", urls[0]).imports
        trusting = replace(imports, terms=replace(imports.terms, at_once=3))
        async with both.kh(imports=trusting) as owner:
            await taken(owner)
        entries = [one.op async for one in both.lab.kh.register.past.audit()]
    assert entries.count("enforcement_refused") == 3


async def test_an_old_telling_is_refused(tmp_path, urls, kafka):
    """A document that was told before does not come back, nor do two of one moment."""
    async with world(tmp_path, urls, kafka, agreed) as both:
        told, target = Told(both), f"{TOLD}/{day_of(now_ms())}.json"
        first = told.document(agreements=("th-kh",))
        newer = msgspec.structs.replace(first, made_at=first.made_at + timedelta(seconds=5))
        told.publish(written(newer), target)
        async with both.kh() as owner:
            assert (await owner.read(both.partner)).documents == (newer,)
        assert "an old one was sent again" in await told.refused(written(first), target)
        other = msgspec.structs.replace(newer, agreements=())
        assert "two at once" in await told.refused(written(other), target)
        async with both.kh() as owner:
            assert list(await both.kept(owner)) == [newer]


async def test_a_country_speaks_for_itself_alone(tmp_path, urls, kafka):
    """TH's repository with a word of PH's in it is not read at all; a forged one neither."""
    async with world(tmp_path, urls, kafka, agreed) as both:
        th, told = both.repository, Told(both)
        told.publish(written(told.document()), f"{TOLD}/{day_of(now_ms())}.json")
        forged = repository_files.read(th.folder)
        (target,) = [
            one for one in forged.all_targets().values() if one.path.startswith(f"{TOLD}/")
        ]
        place = repository_files.place_of(th.folder, target)
        good = place.read_bytes()
        place.write_bytes(good.replace(b"TH", b"PH"))
        async with both.kh() as owner:
            (why,) = (await owner.read(both.partner)).refused.values()
            assert "is not the file that was signed" in why
        place.write_bytes(good)
        repository.add_list(th.folder, th.by, "PH/enforcement")
        async with both.kh() as owner:
            with pytest.raises(FeedDown, match="TH's repository has a role PH~enforcement"):
                await owner.read(both.partner)


async def test_many_numbers_are_estimated(redis_url, monkeypatch):
    """Beyond so many numbers a day they are estimated, in bounded memory."""
    monkeypatch.setattr(books, "EXACT_MAX", 50)
    day = day_of(now_ms())
    cell = Cell(LIST, day, "loan")
    async with books.EnforcementStore.open(ListStoreSettings(redis_url)) as book:
        progress: CountPosition | None = CountPosition()
        for begin in range(0, 200, 40):
            assert progress is not None
            numbers = {fingerprint_of(one) for one in kh(*range(begin, begin + 40))}
            calls = Counter({(cell, CallOutcome.BLOCKED): 40})
            batch = DecisionCounts(calls=calls, numbers={cell: numbers})
            progress = await book.count("decisions/0", progress, begin + 40, batch)
        counts = (await book.figures(LIST, day)).by_category["loan"]
    assert counts.blocked == 200
    assert counts.entries is not None
    assert counts.entries_month is not None
    assert 190 <= counts.entries <= 210
    assert 190 <= counts.entries_month <= 210


async def test_a_country_without_a_role_is_told_the_command(tmp_path, urls, kafka):
    """Without a role for documents, the log says how to make one; counts go on."""
    async with world(tmp_path, urls, kafka, agreed) as both:
        bare = Country(tmp_path / "bare", "TH")  # it has a role for TH/scam alone
        async with both.th(folder=bare.folder) as th:
            with pytest.raises(Exception, match="exchange add-list TH/enforcement"):
                await th.publish()


async def test_documents_come_through_a_hub(tmp_path, urls, kafka):
    """TH's documents are read from a hub's copy by TH's own root, and not by the hub's root."""
    async with world(tmp_path, urls, kafka, agreed) as both:
        th, told = both.repository, Told(both)
        told.publish(written(told.document()), f"{TOLD}/{day_of(now_ms())}.json")
        hub, root = hub_at(tmp_path / "secretariat")
        await asyncio.to_thread(hub.add, "TH", str(th.folder), th.root, now_s())
        (tmp_path / "hub.root.json").write_bytes(root)
        carried = Partner("TH", str(hub.folder / "countries" / "TH"), both.root)
        async with both.kh() as owner:
            by_the_hub = Partner("TH", str(hub.folder), tmp_path / "hub.root.json")
            with pytest.raises(FeedDown, match="is a hub's"):
                await owner.read(by_the_hub)
        async with both.kh(state=tmp_path / "other") as owner:
            assert len((await owner.read(carried)).documents) == 1


async def figures(url: str) -> DayCounts:
    async with EnforcementStore.open(ListStoreSettings(url)) as book:
        return await book.figures(LIST, day_of(now_ms()))


async def test_each_change_that_was_missed_is_measured(tmp_path, urls):
    """A first whole list says nothing of its age; then each change file has its own time."""
    async with lab(tmp_path, urls) as world:
        await world.kh.add(*kh(1))
        await world.kh.publishes()
        assert (await world.th.accepts()).published_ms == ()
        times = []
        for number in kh(2, 3):
            await world.kh.add(number)
            times.append(now_ms())
            await world.kh.publishes()
        record = await world.th.accepts()
        assert len(record.published_ms) == 2
        assert all(at <= said for at, said in zip(times, record.published_ms, strict=True))
        found = await figures(urls[1])
        assert found.followed
        assert not found.counted
        assert found.verdicts == {"accepted": 2}
        in_force = found.in_force(target_s=0)
        assert in_force is not None
        assert (in_force.count, in_force.late) == (2, 2)
        assert in_force.max_s * 1000 <= now_ms() - times[0] + 1
        assert await world.th.pulls() is None
        assert (await figures(urls[1])).verdicts == {"accepted": 2}


async def test_changes_put_together_keep_the_oldest_time(tmp_path, urls, monkeypatch):
    """Change files that became one are as old as the oldest of them: errors make us slower."""
    monkeypatch.setattr(offers, "FILES_MAX", 4)
    async with lab(tmp_path, urls) as world:
        await world.kh.add(*kh(0))
        await world.kh.publishes()
        seen: dict[int, int] = {}
        for number in kh(*range(1, 8)):
            await world.kh.add(number)
            edition = await world.kh.publishes()
            assert edition is not None
            seen[edition.latest.generation] = max(edition.latest.times().values())
        latest = world.kh.outlet.before(LIST)
        assert latest is not None
        assert len(latest.changes) <= 4
        times = latest.times()
        assert list(times) == list(latest.changes)
        for (begin, end), at_ms in times.items():
            assert at_ms == min(said for to, said in seen.items() if begin < to <= end)


async def test_a_gap_is_as_old_as_its_newest_word(tmp_path, urls, monkeypatch):
    """A follower that takes the whole list after a gap knows only when its owner last published."""
    monkeypatch.setattr(offers, "ROWS_FEW", 2)
    async with lab(tmp_path, urls) as world:
        await world.kh.add(*kh(1))
        await world.kh.publishes()
        await world.th.accepts()
        await world.kh.add(*kh(*range(2, 9)))
        edition = await world.kh.publishes()
        assert edition is not None
        record = await world.th.accepts()
        assert record.whole
        assert record.published_ms == (edition.latest.made_at_s * 1000,)


@pytest.mark.parametrize("times", [(), (1,), (1, 2, 3)])
def test_times_that_do_not_fit_are_no_times(times):
    """An older publisher, or a wrong one: its changes are followed and not measured."""
    latest = Latest(
        list=LIST,
        shares=Shared.NUMBERS,
        circle="plain",
        key_id="",
        epoch="e",
        generation=3,
        whole=1,
        parts=(),
        numbers=1,
        changes=((1, 2), (2, 3)),
        changed_at_ms=times,
    )
    assert latest.times() == {}
