"""Publish shared lists: sign the changes of the list store into a repository.

A change is out as soon as it is signed: the list store's stream of changes says which list has one.
Those that come within `gather_s` go out together. Each edition costs the signatures of three roles,
and four small files that are synced to the disk.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Final, Protocol

from tuf.api.exceptions import LengthOrHashMismatchError

from stream.core.model.errors import (
    ConfigInvalid,
    ExchangeFault,
    Fault,
    ListStoreBehind,
    ListStoreDown,
    ListStoreRefuses,
    ListStoreUnsafe,
    ListUnknown,
    SecretUnsafe,
    SnapshotUnreadable,
)
from stream.exchange import repository_files
from stream.exchange.edition import Edition, Offer, edition_of
from stream.exchange.repository import publish, resign
from stream.exchange.signing import Signatory, Validity, role_of
from stream.exchange.signing_keys import KeyRing
from stream.feeds.formats.rows import InputUnreadable
from stream.lists.snapshot.repository_layout import (
    LATEST_BYTES_MAX,
    Latest,
    latest_target,
    read_latest,
)
from stream.lists.store.heads import unknown
from stream.lists.store.list_store import ListStore
from stream.lists.store.settings import ListStoreSettings
from stream.ops.clock import monotonic_s, now_ms, now_s
from stream.ops.retry import Backoff


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishPace:
    """Intervals of a publisher's work, in seconds.

    Changes that come within `gather_s` go out together. Every `look_s` all lists are looked at,
    changed or not, so one that failed is tried again by then. Every `resign_s` signatures are
    renewed where that is due. Files that nothing leads to any more stay for `kept_s`: a partner may
    be fetching them. `block_ms`: one wait for a change.
    """

    gather_s: float = 0.2
    look_s: float = 30.0
    resign_s: float = 60.0
    kept_s: float = 3600.0
    block_ms: int = 1000


@dataclass(frozen=True, slots=True)
class ListPublisher:
    """One repository, `folder`, and the keys with which its lists are signed."""

    folder: Path
    ring: KeyRing = field(repr=False)
    validity: Validity = field(default_factory=Validity)

    def before(self, name: str) -> Latest | None:
        """Return what was published last of a list. Raises ExchangeFault."""
        role = role_of(name)
        published = repository_files.read(self.folder)
        if role not in published.roles:
            text = f"{self.folder} has no role for {name}: `ringfence exchange add-list {name}`"
            raise ExchangeFault(text)
        target = published.read_role(role).targets.get(latest_target(name))
        if target is None:
            return None
        if target.length > LATEST_BYTES_MAX:
            raise ExchangeFault(f"{target.path} has {target.length:,} bytes: it is none of ours")
        try:
            return read_latest(repository_files.place_of(self.folder, target).read_bytes(), name)
        except (OSError, SnapshotUnreadable):
            return None  # a new one is made, and followers take the whole list

    def read(self, name: str, target: str) -> bytes:
        """Return the content of a list's target that was published before.

        Raises ExchangeFault, and InputUnreadable for a file that is missing or damaged.
        """
        published = repository_files.read(self.folder)
        found = published.read_role(role_of(name)).targets.get(target)
        if found is None:
            raise ExchangeFault(f"{target} is not published any more")
        place = repository_files.place_of(self.folder, found)
        try:
            data = place.read_bytes()
            found.verify_length_and_hashes(data)
        except OSError as error:
            raise InputUnreadable(f"{place} cannot be read: {error.strerror}") from error
        except LengthOrHashMismatchError as error:
            raise InputUnreadable(f"{place} is not the file that was signed") from error
        return data

    async def bring_out(
        self, store: ListStore, offer: Offer, *, restart: bool = False, proved: bool = False
    ) -> Edition | None:
        """Publish what is new of a list; None: nothing was.

        `restart`: partners take this whole list, whatever was published before. `proved` is as in
        `edition_of`. Raises ExchangeFault, ListUnknown, ListStoreDown, ListStoreBehind and
        SnapshotUnreadable; what was published before stays.
        """
        name = offer.name
        before = await asyncio.to_thread(self.before, name)
        edition = await edition_of(
            store,
            offer,
            None if restart else before,
            lambda target: self.read(name, target),
            now_ms(),
            proved=proved,
        )
        if edition is not None:
            await asyncio.to_thread(self._write, name, edition)
        return edition

    def _write(self, name: str, edition: Edition) -> None:
        above = f"{name}/"
        parts = {target.removeprefix(above): data for target, data in edition.parts.items()}
        kept = edition.kept
        publish(self.folder, self._by(), name, parts, keep=lambda below: f"{above}{below}" in kept)

    def _by(self) -> Signatory:
        return Signatory(self.ring, self.validity, now_s())

    def withdraw(self, name: str) -> None:
        """Publish nothing of a list any more. Raises ExchangeFault."""
        role = role_of(name)
        published = repository_files.read(self.folder)
        if role in published.roles and published.read_role(role).targets:
            publish(self.folder, self._by(), name, {})

    def renew(self, kept_s: float) -> list[str]:
        """Sign again what is due, and return the roles; delete old files. Raises ExchangeFault."""
        due = resign(self.folder, self._by())
        with repository_files.alone(self.folder):  # another writer may rename its files meanwhile
            repository_files.prune(self.folder, repository_files.read(self.folder), kept_s)
        return due


class PublishTrouble(StrEnum):
    """Reasons for a list not published or a signature not renewed: a closed list."""

    LIST_STORE = "register"
    """Redis does not answer."""
    LIST_STORE_UNSAFE = "register_unsafe"
    """Redis could lose entries as it is set up."""
    BEHIND = "behind"
    """Redis is older than what was published from it."""
    NO_LIST = "no_list"
    """The list store has no such list."""
    NO_KEY = "no_key"
    """A circle's key is not here, or a file with a secret cannot be used."""
    UNREADABLE = "unreadable"
    """The content of the list in the list store cannot be read."""
    REPOSITORY = "repository"
    """The repository or the disk: a role, a key or space is missing, or the list cannot be shared
    as it is to be."""


_TROUBLES: Final[Mapping[type[Fault], PublishTrouble]] = {
    ListStoreDown: PublishTrouble.LIST_STORE,
    ListStoreUnsafe: PublishTrouble.LIST_STORE_UNSAFE,
    ListStoreBehind: PublishTrouble.BEHIND,
    ListUnknown: PublishTrouble.NO_LIST,
    ConfigInvalid: PublishTrouble.NO_KEY,
    SecretUnsafe: PublishTrouble.NO_KEY,
    SnapshotUnreadable: PublishTrouble.UNREADABLE,
    ExchangeFault: PublishTrouble.REPOSITORY,
}
# The list store's outages are not among them: they end the connection, not one list's turn.
_OF_LISTS: Final = (
    ConfigInvalid,
    ExchangeFault,
    ListUnknown,
    ListStoreBehind,
    SecretUnsafe,
    SnapshotUnreadable,
)


def trouble_of(fault: Fault) -> PublishTrouble:
    """Return the trouble that a fault of `keep_published` is."""
    return next(trouble for kind, trouble in _TROUBLES.items() if isinstance(fault, kind))


@dataclass(frozen=True, slots=True)
class Renewed:
    """Signatures of these roles were renewed; (): none was due."""

    roles: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Withdrawn:
    """No agreement shares the list (any more): nothing of it is published."""


@dataclass(frozen=True, slots=True)
class Well:
    """The list store answers (again), or the list is published as it should be."""


Told = Edition | Fault | Renewed | Withdrawn | Well
Tell = Callable[[str, Told], None]
"""Called with a list ("": the list store, or all of the repository) and what came of it."""


class Offers(Protocol):
    """The lists to publish and how each is shared; that may change while the publisher runs."""

    @property
    def names(self) -> frozenset[str]:
        """The lists."""
        ...

    def look(self) -> bool:
        """Return whether that changed, so that every list has to be looked at. Blocks."""
        ...

    def offer(self, name: str, circle: str) -> Offer | None:
        """Return how a list that is hashed in `circle` is shared now; None: it is not.

        Raises ConfigInvalid where that circle has no key.
        """
        ...


async def keep_published(
    outlet: ListPublisher,
    offers: Offers,
    settings: ListStoreSettings,
    pace: PublishPace,
    tell: Tell,
) -> None:
    """Publish lists as they change, and renew signatures, until cancelled.

    It waits out an outage of the list store, and still renews signatures. A list that cannot be
    published is reported and tried again. Raises ListStoreRefuses if the list store does not let us
    in at the start.
    """
    backoff, starting = Backoff(1.0, 30.0), True
    renewing = _Renewing(outlet, pace, tell)
    while True:
        try:
            async with await ListStore.connect(settings, pace.block_ms) as store:
                backoff.reset()
                tell("", Well())
                await _Loop(outlet, offers, store, pace, tell, renewing).run()
        except (ListStoreDown, ListStoreUnsafe) as fault:
            if starting and isinstance(fault, ListStoreRefuses):
                raise
            tell("", fault)
        starting = False
        await renewing.if_due()
        await backoff.pause()


@dataclass(slots=True)
class _Renewing:
    """Renews signatures that are due, and looks for them now and then."""

    outlet: ListPublisher
    pace: PublishPace
    tell: Tell
    looked_s: float = 0.0

    async def if_due(self) -> None:
        if self.looked_s and monotonic_s() - self.looked_s < self.pace.resign_s:
            return
        self.looked_s = monotonic_s()
        try:
            roles = await asyncio.to_thread(self.outlet.renew, self.pace.kept_s)
        except (ExchangeFault, SecretUnsafe) as fault:
            self.tell("", fault)
            return
        self.tell("", Renewed(tuple(roles)))


@dataclass(slots=True)
class _Loop:
    """Follows the list store over one connection.

    `proved` are lists whose published content was seen in the list store. It can go back only while
    we are not connected.
    """

    outlet: ListPublisher
    offers: Offers
    store: ListStore
    pace: PublishPace
    tell: Tell
    renewing: _Renewing
    proved: set[str] = field(default_factory=set)
    looked_s: float = 0.0

    async def run(self) -> None:
        """Publish until the list store fails."""
        last_id = (await self.store.heads()).last_id
        await asyncio.to_thread(self.offers.look)
        await self._bring_out(self.offers.names)
        while True:
            await self.renewing.if_due()
            read = await self.store.follow(last_id, self.pace.block_ms)
            changed = self.offers.names & {*read.skipped, *(step.name for step in read.steps)}
            if changed:  # more may come at once: one signature for all of them
                await asyncio.sleep(self.pace.gather_s)
            last_id = read.last_id
            if await asyncio.to_thread(self.offers.look) or self._is_time():
                changed = self.offers.names
            if changed:
                await self._bring_out(changed)

    def _is_time(self) -> bool:
        return monotonic_s() - self.looked_s > self.pace.look_s

    async def _bring_out(self, names: frozenset[str]) -> None:
        if names == self.offers.names:
            self.looked_s = monotonic_s()
        heads = (await self.store.heads()).lists
        for name in sorted(names):
            try:
                if name not in heads:
                    raise ListUnknown(unknown(name))
                told = await self._of(name, heads[name].circle)
            except _OF_LISTS as fault:
                told = fault
            self.tell(name, told)

    async def _of(self, name: str, circle: str) -> Told:
        offer = self.offers.offer(name, circle)
        if offer is None:
            await asyncio.to_thread(self.outlet.withdraw, name)
            return Withdrawn()
        edition = await self.outlet.bring_out(self.store, offer, proved=name in self.proved)
        self.proved.add(name)
        return edition or Well()
