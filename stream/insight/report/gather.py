"""Read a report's material from the list store: documents, the audit, feeds and appeals."""

from collections.abc import Iterable, Mapping
from pathlib import Path

import msgspec

from stream.appeals.appeal_store import AppealStore
from stream.config.feed_files import feed_tables
from stream.config.settings import InsightSettings
from stream.core.model.agreement import Agreement, Agreements
from stream.core.model.appeal import OPEN
from stream.core.model.enforcement_document import target_of
from stream.feeds.gate import GateReason
from stream.feeds.state_store import FeedStateStore
from stream.insight.report.pairs import FeedNow, OpenAppeal, ReportMaterial, VersionEvent, covered
from stream.insight.report.period import ReportPeriod, day_of
from stream.insight.report.whole import before_of, days_of
from stream.lists.store.audit_entries import AuditEntry
from stream.lists.store.enforcement_store import EnforcementStore
from stream.lists.store.list_store import ListStore
from stream.lists.store.store_codec import Op

_VERDICTS = ("feed_held", "feed_refused")


async def gathered(
    settings: InsightSettings,
    list_store: ListStore,
    agreement: Agreement,
    known: Agreements,
    period: ReportPeriod,
    now_s: int,
) -> ReportMaterial:
    """Read what is recorded here of an agreement's lists, in a period and in the one before.

    Raises ListStoreDown, ListStoreLost.
    """
    home = settings.calls.home_country
    days = days_of(period, now_s)
    before, today = before_of(period, days), day_of(now_s)
    places = [(clause.list, country) for _, clause, country in covered(agreement, known.held, days)]
    lists = {name for name, _ in places}
    versions, sizes, sizes_before = await _audited(list_store, lists, days, before)
    async with EnforcementStore.open(settings.list_store()) as enforced:
        documents = [
            document
            for name, country in places
            for document in await enforced.documents(name, country, before.first, today)
        ]
        refused = {
            country: await enforced.refused(country)
            for country in sorted({country for _, country in places} - {home})
        }
    return ReportMaterial(
        agreement=agreement,
        known=known.held,
        home=home,
        period=period,
        made_at_s=now_s,
        documents=tuple(documents),
        unread=tuple(_unread(places, refused, days)),
        versions=versions,
        feeds=await _feeds(settings, lists),
        appeals=await _appeals(settings, lists),
        sizes=sizes,
        sizes_before=sizes_before,
    )


def _unread(
    places: Iterable[tuple[str, str]], refused: Mapping[str, Mapping[str, str]], days: ReportPeriod
) -> list[str]:
    """Return the reasons why partners' documents of these lists and days were not taken."""
    found = []
    for name, country in places:
        told = refused.get(country, {})
        targets = [target_of(country, name, day) for day in days.dates()]
        found += [told[target] for target in targets if target in told]
    return found


async def _audited(
    list_store: ListStore, lists: set[str], days: ReportPeriod, before: ReportPeriod
) -> tuple[tuple[VersionEvent, ...], dict[str, int], dict[str, int]]:
    """Versions held or refused on those days; numbers on each list after them, and before them.

    A list without an entry in all that time has now what it had then. Of one whose first entry is
    younger than a period, what it had when the period ended is not known here.
    """
    versions: list[VersionEvent] = []
    sizes: dict[str, int] = {}
    sizes_before: dict[str, int] = {}
    changed: set[str] = set()
    async for entry in list_store.past.audit(before.begin_s * 1000):  # newest first
        name = entry.list_name
        if name not in lists:
            continue
        changed.add(name)
        # Ringfence 0.1.0 wrote a deletion with the count of before.
        count = 0 if entry.op == Op.DELETE else entry.count
        if entry.at_s < before.end_s:
            sizes_before.setdefault(name, count)
        if entry.at_s < days.end_s:
            sizes.setdefault(name, count)
        if entry.op in _VERDICTS and days.begin_s <= entry.at_s < days.end_s:
            verdict = entry.op.removeprefix("feed_")
            versions.append(VersionEvent(entry.at_s, name, verdict, _reason(entry)))
    heads = (await list_store.heads()).lists
    still = {name: heads[name].count for name in lists & heads.keys() - changed}
    return tuple(reversed(versions)), sizes | still, sizes_before | still


class _Detail(msgspec.Struct):
    findings: tuple[str, ...] = ()


def _reason(entry: AuditEntry) -> str:
    """Return the gate's reason in a version's audit entry; what is no reason of ours is "other"."""
    try:
        findings = msgspec.json.decode(entry.detail, type=_Detail).findings
    except (msgspec.MsgspecError, ValueError):
        return "other"
    found = [finding.partition(":")[0] for finding in findings]
    return next((one for one in found if one in {*GateReason}), "other")


async def _feeds(settings: InsightSettings, lists: set[str]) -> tuple[FeedNow, ...] | None:
    """Return the feeds of the lists; None where no feeds are set up."""
    tables = feed_tables(Path(settings.feeds.dir))
    if tables is None:
        return None
    found = []
    async with FeedStateStore.open(settings.list_store()) as states:
        for feed, table in tables.items():
            name = str(table.get("list", ""))
            if name not in lists:
                continue
            state = await states.state(feed)
            held = state.held
            found.append(
                FeedNow(
                    feed=feed,
                    list=name,
                    heard_at_s=state.confirmed_at_s,
                    fault=state.fault,
                    held_at_s=None if held is None else held.decided_at_s,
                    held_reason="" if held is None else held.reason,
                )
            )
    return tuple(found)


async def _appeals(settings: InsightSettings, lists: set[str]) -> tuple[OpenAppeal, ...]:
    """Appeals that wait for their answer, once for each of these lists that they name."""
    found = []
    async with AppealStore.open(settings.list_store(), settings.appeals.kept_days) as appeals:
        for state in sorted(OPEN):
            for appeal in await appeals.in_state(state):
                names = {named.list for named in appeal.lists}
                found += [
                    OpenAppeal(name, appeal.received_at_s, appeal.deadline_at_s, appeal.partner)
                    for name in sorted(names & lists)
                ]
    return tuple(found)
