"""Report to partners what we did by their lists: one signed document a list and day.

Documents are targets of our own repository, below a role of their own (`TH/enforcement`), which
`ringfence exchange add-list TH/enforcement` makes. A document is published again when it says
something else than before.
"""

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Final

import msgspec

from stream.appeals.appeal_store import AppealStore
from stream.core.model.agreement import Agreement, Agreements, is_country, owner_of
from stream.core.model.appeal import Appeal, sightings
from stream.core.model.appeal import figures as appealed
from stream.core.model.enforcement_document import (
    FOLDER,
    SIGHTINGS_MAX,
    Enforcement,
    Sighting,
    read,
    target_of,
    written,
)
from stream.core.model.errors import DocumentUnreadable
from stream.exchange import repository_files
from stream.exchange.repository import publish, resign
from stream.exchange.signing import Signatory, Validity, delegation_of, role_of
from stream.exchange.signing_keys import KeyRing
from stream.lists.store.enforcement_counts import DAY_S, REBUILT_DAYS, day_of
from stream.lists.store.enforcement_store import EnforcementStore

STALER_S: Final = 60
STALER: Final = 0.1
"""An age that grew by less than both is published with the next change only. Else each renewal of
the age would be signed."""
PUBLISHED_DAYS: Final = 40
"""Documents stay in the repository so long: a month, and the days until its report is due."""


@dataclass(frozen=True, slots=True)
class DocumentSettings:
    """The country that enforces, its repository in `folder`, and the keys that sign there."""

    country: str
    folder: Path
    ring: KeyRing = field(repr=False)
    validity: Validity
    agreements: Callable[[], Agreements]


@dataclass(frozen=True, slots=True)
class Writer:
    """Writes the documents of our country into its repository."""

    settings: DocumentSettings
    store: EnforcementStore
    appeals: AppealStore

    async def document(
        self,
        list_name: str,
        day: date,
        agreements: list[Agreement],
        appeals: Sequence[Appeal],
        now_ms: int,
    ) -> Enforcement:
        """Return what a list did on a day, as known now; `appeals` are all on it."""
        figures = await self.store.figures(list_name, day)
        begin_s = _begin_s(day)
        span = list_name, begin_s, min(begin_s + DAY_S, now_ms // 1000 + 1)
        seen = {*await self.store.sightings(list_name, day), *sightings(appeals, *span)}
        target_s = min((one.response_target_s for one in agreements), default=None)
        return Enforcement(
            country=self.settings.country,
            list=list_name,
            day=day,
            made_at=datetime.fromtimestamp(now_ms / 1000, UTC),
            agreements=tuple(sorted(one.id for one in agreements)),
            target_s=target_s,
            by_category=dict(figures.by_category) if figures.counted else None,
            in_force=figures.in_force(target_s),
            first_stopped=figures.first_stopped(),
            sightings=tuple(sorted(seen, key=_order))[:SIGHTINGS_MAX],
            appeals=appealed(appeals, *span, target_s),
            versions=figures.versions(),
        )

    async def publish(self, now_ms: int) -> list[Enforcement]:
        """Sign and publish what is new of today and the days before; the documents that are.

        Signatures of the repository are renewed where it is due: a country may publish no list.

        Raises ExchangeFault, ListStoreDown; what was published before stays.
        """
        today = day_of(now_ms)
        by = Signatory(self.settings.ring, self.settings.validity, now_ms // 1000)
        before = await asyncio.to_thread(self._published)
        feeds, agreements = await self.store.feeds(), self.settings.agreements()
        fresh: dict[str, Enforcement] = {}
        appeals: dict[str, Sequence[Appeal]] = {}
        for back in range(REBUILT_DAYS):
            day = today - timedelta(days=back)
            for name, held in acting(self.settings.country, feeds, agreements, day).items():
                if name not in appeals:
                    appeals[name] = await self.appeals.about(name)
                document = await self.document(name, day, held, appeals[name], now_ms)
                target = target_of(self.settings.country, name, day)
                old = before.get(target)
                worth = old is not None or any(_said(document)) or (held and not back)
                if not worth or _same(document, old):
                    continue
                fresh[target] = _newer(document, old)
        # Stored before they are published: a document that partners have is always among ours.
        for document in fresh.values():
            await self.store.keep(document, written(document), None)
        if fresh:
            await asyncio.to_thread(self._write, fresh, today, by)
        await asyncio.to_thread(resign, self.settings.folder, by)
        return list(fresh.values())

    def _published(self) -> dict[str, Enforcement]:
        """Return our own documents in the repository; a damaged one is left out and made again."""
        role, found = role_of(f"{self.settings.country}/{FOLDER}"), {}
        published = repository_files.read(self.settings.folder)
        delegation_of(published, role)
        for name, target in published.read_role(role).targets.items():
            try:
                found[name] = read(
                    repository_files.place_of(self.settings.folder, target).read_bytes(), name
                )
            except (OSError, DocumentUnreadable):
                continue
        return found

    def _write(self, fresh: Mapping[str, Enforcement], today: date, by: Signatory) -> None:
        above = f"{self.settings.country}/{FOLDER}"
        parts = {name.removeprefix(f"{above}/"): written(one) for name, one in fresh.items()}
        oldest = (today - timedelta(days=PUBLISHED_DAYS)).isoformat()
        publish(
            self.settings.folder,
            by,
            above,
            parts,
            keep=lambda below: below.rpartition("/")[2] >= oldest,
        )


def acting(
    country: str, feeds: Iterable[str], agreements: Agreements, day: date
) -> dict[str, list[Agreement]]:
    """Return partners' lists that act in `country`, or did on that day, with their agreements.

    `feeds` are the lists that feeds bring here.
    """
    begin_s = _begin_s(day)
    found: dict[str, list[Agreement]] = {
        name: [] for name in feeds if is_country(owner_of(name)) and owner_of(name) != country
    }
    for agreement in agreements.held:
        if agreement.valid_from_s < begin_s + DAY_S and begin_s < agreement.valid_until_s:
            for clause in agreement.clauses:
                if country in clause.to:
                    found.setdefault(clause.list, []).append(agreement)
    return found


def _newer(document: Enforcement, old: Enforcement | None) -> Enforcement:
    """Return the document, made after the one whose place it takes, whatever the clock says."""
    if old is None or document.made_at > old.made_at:
        return document
    made_at = old.made_at + timedelta(milliseconds=1)
    return msgspec.structs.replace(document, made_at=made_at)


def _begin_s(day: date) -> int:
    return int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp())


def _order(sighting: Sighting) -> tuple[datetime, str]:
    return sighting.seen_at, sighting.fingerprint


def _same(document: Enforcement, old: Enforcement | None) -> bool:
    """Return whether both say the same; a list a little older is not worth a signature."""
    if old is None:
        return False
    mine, theirs = document.versions, old.versions
    if mine is not None and theirs is not None:
        now_s, then_s = mine.stale_s_max, theirs.stale_s_max
        if (
            now_s is not None
            and then_s is not None
            and now_s - then_s < max(STALER_S, then_s * STALER)
        ):
            mine = msgspec.structs.replace(mine, stale_s_max=then_s)
    return msgspec.structs.replace(document, made_at=old.made_at, versions=mine) == old


def _said(document: Enforcement) -> Iterator[object]:
    """Yield the parts of a document; all are empty where a list did nothing that day."""
    yield document.by_category
    yield document.in_force
    yield document.first_stopped
    yield document.sightings
    if document.appeals is not None:
        yield document.appeals.received or document.appeals.redressed or document.appeals.rejected
    if document.versions is not None:
        yield document.versions.accepted or document.versions.held or document.versions.refused
