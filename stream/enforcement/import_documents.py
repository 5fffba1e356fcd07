"""Read partners' documents about our lists from their repositories, and act on them.

A partner reports for itself only. Its repository may hold nothing of others, and a document counts
for the country, list and day of its name. A number that a partner found to be no scammer's becomes
a report on our list that says so (`Category.LEGITIMATE`, source `sighting/TH`). It lowers the
list's confidence in the number, and the next publication carries that to everybody.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from stream.appeals.actions import AppealContext, receive
from stream.appeals.appeal_store import AppealStore
from stream.core.model.agreement import owner_of
from stream.core.model.appeal import Received
from stream.core.model.enforcement_document import (
    DOCUMENT_BYTES_MAX,
    FOLDER,
    Enforcement,
    Sighting,
    read,
)
from stream.core.model.entry import Category, Entry
from stream.core.model.errors import DocumentNotYet, DocumentUnreadable, FeedDown, FeedFault
from stream.core.model.moments import rfc3339
from stream.exchange import repository_files as files
from stream.feeds.tuf.tuf_client import CLOCK_SLACK_S, Repository, TufClient, trusted_root
from stream.lists.store.enforcement_counts import COUNTS_S
from stream.lists.store.enforcement_store import EnforcementStore
from stream.lists.store.heads import By
from stream.lists.store.list_content import hashed_now
from stream.lists.store.list_store import ListStore

log = logging.getLogger(__name__)

_SHARE_MAX: Final = 0.01
"""Of a good list, less than one number in a hundred is wrong."""
_REMEMBERED_S: Final = 2 * COUNTS_S
"""Longer than a partner's documents stay in its repository."""
_DOCUMENT: Final = frozenset(
    {
        FeedFault.TOO_LARGE,
        FeedFault.CHECKSUM,
        FeedFault.WRONG_LENGTH,
        FeedFault.BAD_NAME,
        FeedFault.MISSING,
    }
)
"""Faults of one document alone; all others concern the whole repository."""


@dataclass(frozen=True, slots=True)
class Partner:
    """A country that enforces our lists; `url` of its repository, `root` its root.json's file."""

    country: str
    url: str
    root: Path


@dataclass(frozen=True, slots=True)
class SightingTerms:
    """The worth of a partner's sighting: `confidence` 0 to 100, for `life_s` seconds.

    A document with more than `at_once` of them, and than 1 % of the list's numbers, is refused.
    """

    confidence: int
    life_s: int
    at_once: int


@dataclass(frozen=True, slots=True)
class Imported:
    """The result of one partner: documents taken, those refused and why, sightings taken over.

    `unlisted`: sightings of numbers that our list does not hold (any more).
    """

    documents: tuple[Enforcement, ...]
    refused: dict[str, str]
    sightings: int
    unlisted: int


@dataclass(frozen=True, slots=True)
class ImportSettings:
    """Our country, `home`, and the folder that remembers partners' repositories, `state`.

    `keys`: those of circles, so that a fingerprint by a former key is known. `appeals` gives the
    context for appeals that come with documents.
    """

    home: str
    state: Path
    terms: SightingTerms
    appeals: Callable[[], AppealContext]
    keys: Mapping[str, bytes] = field(default_factory=dict, repr=False)


@dataclass(slots=True)
class _Found:
    """Files looked at before: name to mark. New ones: SHA-256 and content, or what is wrong."""

    files: dict[str, str]
    fresh: dict[str, tuple[str, bytes | FeedDown]]


@dataclass(frozen=True, slots=True)
class Importer:
    """Reads what partners say of our lists."""

    settings: ImportSettings
    enforced: EnforcementStore
    store: ListStore
    appeals: AppealStore

    async def read(self, partner: Partner, now_s: int) -> Imported:
        """Take what is new of a partner.

        Raises FeedDown, ExchangeFault, ListStoreDown; what was taken by then stays.
        """
        looked_at = dict(await self.enforced.looked_at(partner.country))
        found = await asyncio.to_thread(self._fetched, partner, looked_at)
        refused, documents, sightings, unlisted = {}, [], 0, 0
        for target, (sha256, data) in sorted(found.fresh.items()):
            try:
                document = await self._document(target, data, now_s)
            except DocumentUnreadable as fault:
                mark = _mark(sha256, fault)
                if looked_at.get(target) != mark:
                    refused[target] = str(fault)
                    await self._refuse(partner, target, str(fault))
            else:
                mark = sha256
                taken, unknown = await self._take_over(document, now_s)
                sightings, unlisted = sightings + taken, unlisted + unknown
                await self._keep(document, target, data)
                documents.append(document)
            found.files[target] = mark
        if found.files != looked_at:
            await self.enforced.look(partner.country, found.files)
        return Imported(tuple(documents), refused, sightings, unlisted)

    def _fetched(self, partner: Partner, looked_at: dict[str, str]) -> _Found:
        """Return the documents of our lists that were not looked at yet. Blocks.

        Raises FeedDown, ExchangeFault.
        """
        state = self.settings.state / partner.country
        client = TufClient(partner.url, state, trusted_root(partner.root))
        with files.alone(state):  # `enforcement import` beside `enforcement run`
            try:
                repository = client.refresh()
                repository.owned(f"{partner.country}/{FOLDER}")
                repository.only_of(partner.country)
                return self._new(repository, partner.country, looked_at)
            finally:
                client.close()

    def _new(self, repository: Repository, country: str, looked_at: dict[str, str]) -> _Found:
        found, above = _Found({}, {}), f"{country}/{FOLDER}/{self.settings.home}-"
        for name, target in repository.targets_of(f"{country}~{FOLDER}").items():
            if not name.startswith(above):
                continue
            sha256 = target.hashes["sha256"]
            if looked_at.get(name) == sha256:
                found.files[name] = sha256
                continue
            try:
                found.fresh[name] = sha256, repository.read(name, DOCUMENT_BYTES_MAX)
            except FeedDown as fault:
                if fault.reason not in _DOCUMENT:
                    raise
                found.fresh[name] = sha256, fault
        return found

    async def _document(self, target: str, data: bytes | FeedDown, now_s: int) -> Enforcement:
        """Return a document that was checked. Raises DocumentUnreadable."""
        if isinstance(data, FeedDown):
            raise DocumentNotYet(data.detail)
        document = read(data, target)
        if owner_of(document.list) != self.settings.home:
            raise DocumentUnreadable(f"{target}: speaks of {document.list}, which is not ours")
        head = (await self.store.heads()).lists.get(document.list)
        if head is None:
            raise DocumentNotYet(f"{target}: there is no list {document.list} here")
        at_once = self.settings.terms.at_once
        if len(document.sightings) > max(at_once, head.count * _SHARE_MAX):
            # No figure that changes by itself: each new text goes into the audit.
            text = f"{target}: {len(document.sightings):,} numbers are said to be no scammers', at"
            text += f" most {at_once:,} or 1 % of the list are believed: ask them, and raise"
            raise DocumentNotYet(f"{text} [enforcement] sightings_max if they are")
        if document.made_at.timestamp() - now_s > CLOCK_SLACK_S:
            text = f"{target}: made at {document.made_at}, which is still to come here"
            raise DocumentNotYet(f"{text}: one of both clocks is wrong")
        day = document.day
        for kept in await self.enforced.documents(document.list, document.country, day, day):
            if document.made_at < kept.made_at or (
                document.made_at == kept.made_at and document != kept
            ):
                new, old = (rfc3339(int(one.made_at.timestamp())) for one in (document, kept))
                text = f"{target}: made at {new}, and we have one made at {old}"
                text += ": an old one was sent again, or two at once"
                raise DocumentUnreadable(text)
        return document

    async def _take_over(self, document: Enforcement, now_s: int) -> tuple[int, int]:
        """Let our list say what a partner saw: how many sightings were new, how many unlisted."""
        name, country = document.list, document.country
        marks = [f"{country} {one.fingerprint} {one.appeal_id or ''}" for one in document.sightings]
        known = await self.enforced.taken(name, marks)
        pairs = zip(document.sightings, marks, known, strict=True)
        fresh = [(sighting, mark) for sighting, mark, taken in pairs if not taken]
        fingerprints = [int(sighting.fingerprint, 16) for sighting, _ in fresh]
        if fresh and self.settings.keys:
            # The partner may still follow the epoch of the circle that our list has left.
            now = await hashed_now(self.store, name, fingerprints, self.settings.keys)
            fingerprints = [now.get(one, one) for one in fingerprints]
        reports = await self.store.reports(name, fingerprints) if fresh else {}
        unlisted = 0
        for (sighting, mark), fingerprint in zip(fresh, fingerprints, strict=True):
            held = reports.get(fingerprint, ())
            number = next((one.number for one in held if one.number is not None), None)
            why = f"no scammer's there, by {sighting.appeal_id or 'an operator'}"
            by = By(f"enforcement:{country}", why)
            if not held:
                unlisted += 1
            else:
                entry = self._report(country, sighting, fingerprint, number, now_s)
                await self.store.add(name, [entry], by)
            if sighting.appeal_id is not None:
                said = Received(
                    partner=country,
                    appeal_id=sighting.appeal_id,
                    list=name,
                    fingerprint=sighting.fingerprint,
                )
                appeal, is_new = await receive(self.appeals, self.settings.appeals(), said, by)
                if is_new:
                    log.info("%s appeals on %s: %s, to be answered", country, name, appeal.id)
            # Marked last: after a kill before this the sighting is taken again, which changes
            # nothing.
            await self.enforced.take(name, mark, now_s)
        if fresh:
            await self.enforced.forget_taken(name, now_s - _REMEMBERED_S)
        return len(fresh) - unlisted, unlisted

    def _report(
        self, country: str, sighting: Sighting, fingerprint: int, number: str | None, now_s: int
    ) -> Entry:
        return Entry(
            number=number,
            fingerprint=fingerprint,
            category=Category.LEGITIMATE,
            source=f"sighting/{country}",
            reported_at_s=min(int(sighting.seen_at.timestamp()), now_s),
            expires_at_s=now_s + self.settings.terms.life_s,
            confidence=self.settings.terms.confidence,
        )

    async def _keep(self, document: Enforcement, target: str, data: bytes | FeedDown) -> None:
        assert isinstance(data, bytes), "it was read"
        day, country = document.day, document.country
        known = await self.enforced.documents(document.list, country, day, day)
        # A day's document comes again and again: the audit has its first, and each that mattered.
        matters = not known or known[0].sightings != document.sightings
        made = rfc3339(int(document.made_at.timestamp()))
        by = By(f"enforcement:{country}", f"made {made}, {len(document.sightings)} sightings")
        await self.enforced.keep(document, data, by if matters else None)
        await self.enforced.accept_again(country, target)

    async def _refuse(self, partner: Partner, target: str, why: str) -> None:
        by = By(f"enforcement:{partner.country}", why[:200])
        list_name = target.split("/")[2].replace("-", "/", 1)
        await self.enforced.refuse(partner.country, list_name, target, why, by)


def _mark(sha256: str, fault: DocumentUnreadable) -> str:
    """Return the mark of a refused document: no file's hash while the reason may pass."""
    return f"{sha256} {fault}" if isinstance(fault, DocumentNotYet) else sha256
