"""Material of reports in tests: documents of two countries, rich, of one alone, or none."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

from stream.config.agreement_files import read_agreement
from stream.core.model.agreement import Agreement
from stream.core.model.delays import Delays
from stream.core.model.enforcement_document import (
    Appeals,
    Counts,
    Enforcement,
    Sighting,
    VersionCounts,
)
from stream.insight.report.pairs import FeedNow, OpenAppeal, ReportMaterial, VersionEvent
from stream.insight.report.period import ReportPeriod, period_in

AGREEMENTS = Path(__file__).parents[2] / "config/agreements"
NOVEMBER = period_in("2026-11")
FINGERPRINT = "a1b2c3d4e5f60718"


@cache
def shipped(name: str) -> Agreement:
    """One of the agreements that are shipped as examples."""
    return read_agreement(AGREEMENTS / f"{name}.toml")


@cache
def all_shipped() -> tuple[Agreement, ...]:
    """All of them."""
    return tuple(shipped(path.stem) for path in sorted(AGREEMENTS.glob("*.toml")))


def at_s(day: date, hours: float = 0) -> int:
    """A moment of a day in UTC."""
    return int(datetime.combine(day, time(), UTC).timestamp() + hours * 3600)


def document(day: date, country: str = "TH", name: str = "KH/scam", **fields: Any) -> Enforcement:
    """A document that was made an hour after its day; `fields` as in `Enforcement`."""
    made = datetime.combine(day + timedelta(days=1), time(1), UTC)
    return Enforcement(country=country, list=name, day=day, **{"made_at": made, **fields})


def busy(
    days: Iterable[date], country: str, name: str, seed: int, target_s: int = 4 * 3600
) -> Iterator[Enforcement]:
    """Days on which much happened: weekends are calmer, one change in a few hundred is late."""
    random, month, entries = Random(seed), 0, 0
    for day in days:
        if day.month != month:
            month, entries = day.month, 0
        calm = 0.6 if day.weekday() > 4 else 1.0
        blocked = int(random.gauss(430, 60) * calm * (1 + day.day / 60))
        entries += random.randrange(8, 24)
        delays = [random.lognormvariate(0.4, 0.9) for _ in range(random.randrange(20, 60))]
        if day.day in {6, 17}:
            delays += [random.uniform(5, 9) * 3600]
        counts = {
            "call_centre": Counts(
                entries=60, entries_month=entries * 4, blocked=blocked, flagged=blocked // 9
            ),
            "investment": Counts(entries=21, entries_month=entries, blocked=blocked // 4),
            "impersonation": Counts(
                entries=9, entries_month=entries // 2, blocked=blocked // 11, simulated=3
            ),
        }
        wrong = day.day in {5, 12, 19}
        yield document(
            day,
            country,
            name,
            target_s=target_s,
            agreements=("th-kh",),
            by_category=counts,
            in_force=Delays.measured(delays, target_s),
            first_stopped=Delays.measured(
                [random.lognormvariate(8, 1.4) for _ in range(random.randrange(2, 9))]
            ),
            sightings=(
                (Sighting(fingerprint=FINGERPRINT[:-2] + f"{day.day:02x}", seen_at=_noon(day)),)
                if wrong
                else ()
            ),
            appeals=Appeals(
                received=int(wrong) * 2,
                redressed=int(wrong),
                rejected=int(day.day == 12),
                pending=2 if day.day > 20 else 0,
                overdue=1 if day.day > 22 else 0,
                answers=Delays.measured([random.uniform(600, 16_000)], target_s) if wrong else None,
            ),
            versions=VersionCounts(
                accepted=len(delays),
                held=int(day.day == 9),
                refused=int(day.day == 10),
                stale_s_max=int(random.uniform(2, 900)),
            ),
        )


def _noon(day: date) -> datetime:
    return datetime.combine(day, time(12), UTC)


def material(name: str = "th-kh", period: ReportPeriod = NOVEMBER, **fields) -> ReportMaterial:
    """Nothing at all, made by TH on 25 November 2026, unless `fields` say otherwise."""
    whole = {"home": "TH", "made_at_s": at_s(date(2026, 11, 25), 9.2), "known": all_shipped()}
    agreement = next(one for one in all_shipped() if one.id == name)
    return ReportMaterial(**{"agreement": agreement, "period": period, **whole, **fields})


@cache
def rich(*, silent: bool = False) -> ReportMaterial:
    """Two months of TH and KH; `silent`: KH tells nothing."""
    days = [date(2026, 10, 1) + timedelta(days=place) for place in range(55)]
    told = [day for day in days if day not in {date(2026, 11, 14), date(2026, 11, 15)}]
    documents = [*busy(told, "TH", "KH/scam", 7)]
    if not silent:
        documents += busy([day for day in days if day.day != 3], "KH", "TH/national", 11)
    now = at_s(date(2026, 11, 25), 9.2)
    return material(
        documents=tuple(documents),
        versions=(
            VersionEvent(at_s(date(2026, 11, 9), 3), "KH/scam", "held", "grown"),
            VersionEvent(at_s(date(2026, 11, 10), 3), "KH/scam", "refused", "country_not_allowed"),
        ),
        feeds=(
            FeedNow(
                feed="kh-scam",
                list="KH/scam",
                heard_at_s=now - 6 * 3600,
                fault="expired",
                held_at_s=at_s(date(2026, 11, 24), 13),
                held_reason="shrunk",
            ),
        ),
        appeals=(
            OpenAppeal("KH/scam", now - 9 * 3600, now - 5 * 3600),
            OpenAppeal("KH/scam", now - 3600, now + 3 * 3600),
        ),
        sizes={"KH/scam": 12_482, "TH/national": 48_210},
        sizes_before={"KH/scam": 11_907, "TH/national": 47_032},
        unread=("KH/enforcement/TH-national/2026-11-03.json: format 'x', update Ringfence here",),
    )


def at_the_end(held: ReportMaterial) -> ReportMaterial:
    """The same, made once the month was over and told."""
    return replace(held, made_at_s=at_s(date(2026, 12, 4), 8))
