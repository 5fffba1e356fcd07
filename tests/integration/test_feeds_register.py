"""Versions of a feed on real Redis: what goes live, what waits, and what stays of others."""

import io
import os
from dataclasses import replace
from pathlib import Path

import pytest
from pybloom_live.pybloom import BloomFilter

from stream.core.model.allowlist import AllowEntry
from stream.core.model.errors import ChangeConflict
from stream.feeds.gate import GateReason
from stream.lists.store.audit_entries import AuditEntry
from stream.lists.store.heads import By
from stream.lists.store.list_content import entries_of
from stream.lists.store.rewrite import rollback
from tests.support.builders import entry
from tests.support.feeds import DAY_S, LIST, OPERATOR, Partner, kh

BASE = kh(*range(100))


async def held(partner: Partner) -> dict[str, set[str]]:
    """Each number on the list, and the sources that report it."""
    _, columns = await entries_of(partner.register, LIST, b"")
    found: dict[str, set[str]] = {}
    for row in range(len(columns)):
        one = columns.entry(row)
        found.setdefault(str(one.number), set()).add(one.source)
    return found


async def audit(partner: Partner) -> list[AuditEntry]:
    found = [entry async for entry in partner.register.past.audit()]
    return [one for one in found if one.op.startswith("feed_")][::-1]


@pytest.fixture
def partner(tmp_path: Path, redis_url: str) -> Partner:
    return Partner(tmp_path, redis_url)


async def test_a_first_version_fills_its_list(partner):
    """The list is made, and holds what the partner says, by the feed's name."""
    async with partner:
        record = await partner.said(BASE)
        assert (record.verdict, record.gained, record.numbers) == ("accepted", 100, 100)
        assert await held(partner) == {number: {"kh-scam"} for number in BASE}
        assert [one.op for one in await audit(partner)] == ["feed_accepted"]


async def test_only_the_difference_is_written(partner):
    """A version that differs in two numbers makes two changes, whatever the list's size."""
    async with partner:
        await partner.said(kh(*range(6000)))
        before = (await partner.register.state(LIST)).head
        record = await partner.said(kh(*range(1, 6001)))
        after = (await partner.register.state(LIST)).head
        assert (record.gained, record.lost, record.rebuilt) == (1, 1, False)
        assert (after.base, after.changes, after.generation) == (
            before.base,
            2,
            before.generation + 2,
        )


async def test_the_same_again_changes_nothing(partner):
    """A giant list that is resent as it was writes nothing but when it was last heard of."""
    async with partner:
        await partner.said(BASE)
        before = (await partner.register.state(LIST)).head
        record = await partner.pull()
        assert record.verdict == "same"
        assert (await partner.register.state(LIST)).head == before
        assert len(await audit(partner)) == 1
        assert (await partner.state()).confirmed_at_s == partner.now_s


async def test_others_reports_stay(partner):
    """Another source's reports on a number stay, whether the feed names the number or not."""
    async with partner:
        await partner.said(BASE)
        by = By("police")
        both = [entry(BASE[0], source="police"), entry(kh(7777)[0], source="police")]
        await partner.register.add(LIST, both, by)
        await partner.said(BASE[1:])
        found = await held(partner)
        assert found[BASE[0]] == {"police"}
        assert found[kh(7777)[0]] == {"police"}
        assert len(found) == 101


async def test_an_empty_file_during_a_save_is_held(partner):
    """0 bytes, read while the partner was saving, empty no list; the next version goes live."""
    async with partner:
        await partner.said(BASE)
        record = await partner.said([])
        assert (record.verdict, record.reason) == ("held", GateReason.EMPTY)
        assert len(await held(partner)) == 100
        record = await partner.said(BASE[:-1])
        assert record.verdict == "accepted"
        assert (await partner.state()).held is None


async def test_a_shrunk_version_waits_for_a_person(partner):
    """Half a list waits; released it goes live, by the name and reason of who released it."""
    async with partner:
        await partner.said(BASE)
        record = await partner.said(BASE[:50])
        assert (record.verdict, record.reason) == ("held", GateReason.SHRUNK)
        assert len(await held(partner)) == 100
        record = await partner.release()
        assert (record.verdict, record.by, record.why) == ("accepted", "somchai", "looked at it")
        assert len(await held(partner)) == 50
        last = (await audit(partner))[-1]
        assert (last.actor, last.reason) == (OPERATOR.actor, OPERATOR.reason)


async def test_a_refused_version_is_not_asked_again(partner):
    """The same bytes that a person refused are fetched again and stay refused, without a word."""
    async with partner:
        await partner.said(BASE)
        await partner.said(BASE[:50])
        await partner.refuse()
        told = len(await audit(partner))
        record = await partner.pull()
        assert (record.verdict, record.by) == ("refused", "somchai")
        assert len(await audit(partner)) == told
        assert (await partner.state()).held is None


async def test_a_newer_version_takes_a_held_ones_place(partner):
    """While a version waits, the newest one that has to wait is the one that waits."""
    async with partner:
        await partner.said(BASE)
        first = await partner.said(BASE[:50])
        second = await partner.said(BASE[:40])
        state = await partner.state()
        assert state.held is not None
        assert (state.held.id, first.verdict) == (second.id, "held")
        await partner.release()
        assert len(await held(partner)) == 40


async def test_an_older_version_is_refused(partner):
    """A list that its owner made before the one that is live never replaces it."""
    async with partner:
        await partner.said(BASE)
        record = await partner.said(BASE[:-1], as_of_s=partner.now_s - DAY_S)
        assert (record.verdict, record.reason) == ("refused", GateReason.OLDER)


async def test_an_older_version_with_a_new_date_is_assessed_again(partner):
    """The same bytes go live once their owner dates them later. Until then nothing is logged."""
    async with partner:
        await partner.said(BASE)
        old_s = partner.now_s - DAY_S
        assert (await partner.said(BASE[:-1], as_of_s=old_s)).reason == GateReason.OLDER
        assert (await partner.pull(as_of_s=old_s)).reason == GateReason.OLDER
        assert [one.op for one in await audit(partner)] == ["feed_accepted", "feed_refused"]
        assert (await partner.pull()).verdict == "accepted"


async def test_a_date_in_the_future_refuses_nothing_later(partner):
    """A version from the future counts as made when it came; older ones are refused as before."""
    async with partner:
        assert (await partner.said(BASE, as_of_s=partner.now_s + 365 * DAY_S)).verdict == "accepted"
        came_s = partner.now_s
        record = await partner.said(BASE[:-1], as_of_s=came_s - 1)
        assert record.findings == ("older: made 1 s before the accepted version",)
        assert (await partner.said(BASE[:-2], as_of_s=came_s)).verdict == "accepted"


async def test_a_date_of_a_clock_that_was_ahead_refuses_nothing(partner):
    """A version that came while our clock was ahead says nothing about the age of others."""
    async with partner:
        partner.now_s += 30 * DAY_S
        await partner.said(BASE)
        partner.now_s -= 30 * DAY_S
        assert (await partner.said(BASE[:-1])).verdict == "accepted"


async def test_what_was_over_by_a_clock_that_was_ahead_is_assessed_again(tmp_path, redis_url):
    """Once the clock is right the same bytes go live; they are told once while it is not."""
    async with Partner(tmp_path, redis_url, form="csv") as partner:
        rows = ["number,reported_at", *(f"{number},{partner.now_s}" for number in BASE)]
        partner.now_s += 30 * DAY_S
        assert (await partner.said(rows)).reason == GateReason.EXPIRED
        assert (await partner.pull()).reason == GateReason.EXPIRED
        assert [one.op for one in await audit(partner)] == ["feed_refused"]
        partner.now_s -= 30 * DAY_S
        assert (await partner.pull()).verdict == "accepted"


async def test_a_number_whose_report_is_over_is_no_loss(tmp_path, redis_url):
    """A partner sends all that it ever reported, once a week: what is over meanwhile holds nothing.

    A version that loses what is live waits, also where most of the last one is over.
    """
    async with Partner(tmp_path, redis_url, form="csv") as partner:
        first_s = partner.now_s

        def rows(days: int) -> list[str]:
            dated = [f"{kh(n)[0]},{first_s + n * DAY_S // 20}" for n in range(days * 20)]
            return ["number,reported_at", *dated]

        for week in range(3):
            partner.now_s = first_s + (10 + 7 * week) * DAY_S
            record = await partner.said(rows(10 + 7 * week))
            assert (record.verdict, record.gained) == ("accepted", 140 if week else 199)
        partner.now_s += 7 * DAY_S
        record = await partner.said(["number,reported_at", f"{kh(9)[0]},{partner.now_s}"])
        assert record.findings == ("shrunk: 59 of 59 numbers would go",)


async def test_what_may_not_be_listed_is_held_and_some_of_it_never_goes_live(partner):
    """Another country's, an allowed and our own numbers hold a version; ours never go live."""
    async with partner:
        hospital = AllowEntry(kh(5)[0], "hospital", "somchai", 0)
        await partner.register.allow_add([hospital], OPERATOR)
        own, thai = "+85523888123", "+66812345678"
        record = await partner.said([*BASE, own, thai])
        assert record.verdict == "held"
        found = {finding.partition(":")[0] for finding in record.findings}
        assert found == {"country_not_allowed", "allow_listed", "own_service_number"}
        await partner.release()
        on_list = await held(partner)
        assert thai in on_list
        assert own not in on_list


async def test_a_number_put_right_stays_off_our_own_list_and_holds_nobodys(partner):
    """Our own feed cannot bring it back, not even released; a partner's list may go on naming it,
    and neither version waits for a person.
    """
    async with partner:
        right = AllowEntry(BASE[0], "a clinic", "malee", 0, appeal="A-1")
        await partner.register.allow_add([right], OPERATOR)
        theirs = await partner.said(BASE)
        assert (theirs.verdict, theirs.dropped) == ("accepted", {})
        assert BASE[0] in await held(partner)
        partner.around = replace(partner.around, home="KH")
        ours = await partner.said([*BASE, *kh(300)])
        assert (ours.verdict, ours.dropped, ours.lost) == ("accepted", {"redressed": 1}, 1)
        assert BASE[0] not in await held(partner)


async def test_a_number_for_help_holds_a_version_and_is_never_listed(tmp_path, redis_url):
    """Thailand's 191 on a list is found even though a short number could not be listed at all."""
    async with Partner(tmp_path, redis_url, 'region = "TH"\nmay_list = ["*"]') as partner:
        record = await partner.said([*BASE, "191", "+66191"])
        assert (record.verdict, record.reason) == ("held", GateReason.EMERGENCY_NUMBER)
        await partner.release()
        assert set(await held(partner)) == set(BASE)


@pytest.mark.parametrize(("future", "rows"), [("clamp", 2), ("reject", 1)])
async def test_a_partners_clock_that_is_ahead(tmp_path, redis_url, future, rows):
    """Reports from the future count as made now, or are rejected, as configured; either counted."""
    extra = f'future = "{future}"\nmay_list = ["*"]'
    async with Partner(tmp_path, redis_url, extra, form="csv") as partner:
        head, now = "number,reported_at", partner.now_s
        ahead, fine = f"{BASE[0]},{now + 9_000}", f"{BASE[1]},{now - 60}"
        record = await partner.said([head, ahead, fine])
        assert (record.verdict, record.numbers) == ("accepted", rows)
        counted = record.adjusted if future == "clamp" else record.rejected
        assert counted == {"future": 1}
        _, columns = await entries_of(partner.register, LIST, b"")
        assert columns.reported_at.max() <= partner.now_s


async def test_rows_may_be_dropped_instead(tmp_path, redis_url):
    """Where the feed file says drop, the other rows go live and the dropped ones are counted."""
    extra = '[gate]\ncountry_not_allowed = "drop"'
    async with Partner(tmp_path, redis_url, tail=extra) as partner:
        record = await partner.said([*BASE, "+66812345678"])
        assert (record.verdict, record.dropped) == ("accepted", {"country_not_allowed": 1})
        assert len(await held(partner)) == 100


async def test_reports_without_dates_are_renewed(partner):
    """A number that stays on a partner's list does not expire, nor is it written at each fetch."""
    async with partner:
        await partner.said(BASE)
        partner.now_s += DAY_S // 2
        assert (await partner.pull()).verdict == "same"
        partner.now_s += DAY_S
        record = await partner.pull()
        assert (record.verdict, record.updated) == ("accepted", 100)
        _, columns = await entries_of(partner.register, LIST, b"")
        assert set(columns.expires_at.tolist()) == {partner.now_s + 10 * DAY_S}


async def test_a_clock_that_was_ahead_lets_no_report_live_on(partner):
    """Reports that were dated by a clock days ahead are dated again once it is right."""
    async with partner:
        partner.now_s += 30 * DAY_S
        await partner.said(BASE)
        partner.now_s -= 30 * DAY_S
        record = await partner.pull(as_of_s=None)
        assert (record.verdict, record.updated) == ("accepted", 100)
        _, columns = await entries_of(partner.register, LIST, b"")
        assert set(columns.expires_at.tolist()) == {partner.now_s + 10 * DAY_S}


async def test_a_renewal_that_the_gate_stops_is_told_once(partner):
    """A number that was allowed since holds the renewal of its version; that is reported once."""
    async with partner:
        await partner.said(BASE)
        hospital = AllowEntry(BASE[0], "hospital", "somchai", 0)
        await partner.register.allow_add([hospital], OPERATOR)
        partner.now_s += 2 * DAY_S
        assert (await partner.pull()).verdict == "held"
        assert (await partner.pull()).verdict == "held"
        assert [one.op for one in await audit(partner)] == ["feed_accepted", "feed_held"]


async def test_a_renewal_of_the_live_version_leaves_the_waiting_one(partner):
    """A drop folder's live version is renewed each day: what waits for a person still waits."""
    async with partner:
        await partner.said(BASE)
        waiting = await partner.said(BASE[:50])
        partner.now_s += DAY_S
        assert (await partner.said(BASE)).verdict == "accepted"
        assert (await partner.state()).held == waiting
        assert (await partner.release()).lost == 50
        assert (await partner.state()).held is None


async def test_a_renewal_that_is_held_leaves_the_waiting_one(partner):
    """It is logged once. It waits itself once the version that waited is decided."""
    async with partner:
        await partner.said(BASE)
        waiting = await partner.said(BASE[:50])
        hospital = AllowEntry(BASE[0], "hospital", "somchai", 0)
        await partner.register.allow_add([hospital], OPERATOR)
        partner.now_s += DAY_S
        renewal = await partner.said(BASE)
        assert (renewal.verdict, renewal.reason) == ("held", GateReason.ALLOW_LISTED)
        assert await partner.pull() == renewal
        assert (await partner.state()).held == waiting
        told = [one.op for one in await audit(partner)]
        assert told == ["feed_accepted", "feed_held", "feed_held"]
        await partner.refuse()
        renewal = await partner.pull()
        assert (await partner.state()).held == renewal
        assert (await partner.release()).sha256 == renewal.sha256
        assert (await partner.state()).held is None


async def test_a_damaged_file_of_a_waiting_version_comes_again(partner):
    """It is not let in as it is; pulled again it is whole, and waits on."""
    async with partner:
        await partner.said(BASE)
        waiting = await partner.said(BASE[:50])
        os.truncate(partner.versions.place(waiting.id) / "file", 70)
        assert partner.versions.file(waiting) is None
        assert await partner.pull() == waiting
        assert partner.versions.file(waiting) is not None
        assert (await partner.release()).numbers == 50


async def test_an_increment_adds_and_retracts(tmp_path, redis_url):
    """An increment changes what it names; a tombstone takes off, the rest of the list stays."""
    async with Partner(tmp_path, redis_url) as partner:
        await partner.said(BASE)
        record = await partner.said(kh(200, 201), whole=False)
        assert (record.gained, record.lost, record.numbers) == (2, 0, 102)
        again = await partner.said([*kh(200, 201), *kh(202)], whole=False)
        assert (again.gained, again.updated, again.numbers) == (1, 0, 103)
        assert len(await held(partner)) == 103


async def test_changes_since_a_version_that_the_store_lost_are_fetched_again(tmp_path, redis_url):
    """Else those before them are missing from the list for good.

    Seed 230005727: the store failed over while changes were fetched, and the replica lacked the
    version before them.
    """
    async with Partner(tmp_path, redis_url) as partner:
        await partner.said(BASE)
        told = dict((await partner.state()).remembered)
        with pytest.raises(ChangeConflict, match="fetched again"):
            await partner.said(kh(200, 201), whole=False, since={**told, "generation": "12"})
        assert len(await held(partner)) == 100
        assert (await partner.said(kh(200, 201), whole=False, since=told)).gained == 2
        whole = await partner.said(BASE, since={**told, "generation": "12"})
        assert whole.lost == 2


async def test_a_large_difference_becomes_a_base(partner):
    """More than a few thousand changes are one new base, with others' reports in it."""
    async with partner:
        await partner.said(BASE)
        await partner.register.add(LIST, [entry(BASE[0], source="police")], By("police"))
        record = await partner.said(kh(*range(6000)))
        assert record.reason == GateReason.GROWN
        record = await partner.release()
        assert record.rebuilt
        found = await held(partner)
        assert len(found) == 6000
        assert found[BASE[0]] == {"kh-scam", "police"}


async def test_a_bare_filter_is_a_list_of_its_own(tmp_path, redis_url):
    """A pybloom-live file becomes its list whole; one of half the size waits; rows make no list."""
    async with Partner(tmp_path, redis_url, form="pybloom") as partner:
        partner.says_bytes(bloom_of(kh(*range(2000))))
        record = await partner.pull()
        assert (record.verdict, record.numbers, record.rebuilt) == ("accepted", 2000, True)
        assert (await partner.register.state(LIST)).head.count == 2000
        partner.says_bytes(bloom_of(kh(*range(1000))))
        assert (await partner.pull()).reason == GateReason.SHRUNK
        partner.says_bytes(bloom_of(kh(*range(5000, 7000))))
        assert (await partner.pull()).reason == GateReason.NOT_THE_FORMAT


def bloom_of(numbers: list[str]) -> bytes:
    """Return the bytes that a partner's pybloom-live writes."""
    made = BloomFilter(capacity=40_000, error_rate=1e-4)
    for number in numbers:
        made.add(number)
    file = io.BytesIO()
    made.tofile(file)
    return file.getvalue()


async def test_a_live_version_that_was_refused_and_rolled_back_stays_away(partner):
    """Its bytes come again, and its renewal is due; neither brings it back. The next one goes live.

    It stays so where another version is refused in between.
    """
    async with partner:
        await partner.said(BASE)
        good = (await partner.register.state(LIST)).head.generation
        poisoned = [*BASE, *kh(500, 501)]
        live = await partner.said(poisoned)
        assert live.verdict == "accepted"
        refused = await partner.applier.refuse(live, OPERATOR)
        assert (refused.verdict, refused.by) == ("refused", OPERATOR.actor)
        assert len(await held(partner)) == 102  # the numbers go by the rollback alone
        await rollback(partner.register, LIST, good, b"", OPERATOR, partner.now_s)
        assert (await partner.pull()).by == OPERATOR.actor
        partner.now_s += 2 * DAY_S
        assert (await partner.pull()).by == OPERATOR.actor
        assert (await partner.said(["no number"])).verdict == "held"
        assert (await partner.said(BASE, as_of_s=1)).reason == GateReason.OLDER
        assert (await partner.said(poisoned)).by == OPERATOR.actor
        assert len(await held(partner)) == 100
        assert (await partner.said(BASE[1:])).verdict == "accepted"
        assert len(await held(partner)) == 99


async def test_refusing_the_live_version_keeps_the_one_that_waits(partner):
    """A person refuses what is live; what waits is another version, and waits on."""
    async with partner:
        await partner.said(BASE)
        waits = await partner.said(BASE[:50])
        live = (await partner.state()).accepted
        assert live is not None
        await partner.applier.refuse(live, OPERATOR)
        assert (await partner.state()).held == waits
        assert (await partner.release()).verdict == "accepted"
        assert len(await held(partner)) == 50
