"""From the register to a repository: what is new of shared lists is signed and lies there.

A change is out as soon as it is signed: the register's stream of changes says which list has one.
Those that come within `GATHER_S` go out together, since each edition is a signature of three roles
and four small files that are synced to the disk.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from stream.core.faults import (
    ExchangeFault,
    Fault,
    ListUnknown,
    RegisterDown,
    RegisterUnsafe,
    SnapshotUnreadable,
)
from stream.exchange import files
from stream.exchange.keys import KeyRing
from stream.exchange.offer import Edition, Offer, edition_of
from stream.exchange.repository import publish, resign
from stream.exchange.signing import Validity, role_of
from stream.lists.connection import RegisterSettings
from stream.lists.published import LATEST_BYTES_MAX, Latest, latest_target, read_latest
from stream.lists.store import Register
from stream.ops.clock import monotonic_s, now_s
from stream.ops.retry import Backoff

GATHER_S: Final = 0.2
BLOCK_MS: Final = 1000
RESIGN_S: Final = 60.0
"""How often it is looked whether a signature needs to be renewed, and old files to go."""
KEPT_S: Final = 3600
"""Files that nothing leads to any more stay so long for whoever is fetching them: at a change every
second that is some 20,000 small files."""
LOOK_S: Final = 30.0
"""How often all lists are looked at, changed or not: one that failed is tried again by then."""


@dataclass(frozen=True, slots=True)
class Outlet:
    """One repository, `folder`, and the keys with which its lists are signed."""

    folder: Path
    ring: KeyRing = field(repr=False)
    validity: Validity = field(default_factory=Validity)

    def before(self, name: str) -> Latest | None:
        """What was published last of a list. Raises ExchangeFault."""
        role = role_of(name)
        published = files.read(self.folder)
        if role not in published.roles:
            text = f"{self.folder} has no role for {name}: `ringfence exchange add-list {name}`"
            raise ExchangeFault(text)
        target = published.read_role(role).targets.get(latest_target(name))
        if target is None:
            return None
        if target.length > LATEST_BYTES_MAX:
            raise ExchangeFault(f"{target.path} has {target.length:,} bytes: it is none of ours")
        try:
            return read_latest(files.place_of(self.folder, target).read_bytes(), name)
        except (OSError, SnapshotUnreadable):
            return None  # it is made anew, and followers take the whole list

    def read(self, name: str, target: str) -> bytes:
        """A target of a list that was published before. Raises ExchangeFault."""
        published = files.read(self.folder)
        found = published.read_role(role_of(name)).targets.get(target)
        if found is None:
            raise ExchangeFault(f"{target} is not published any more")
        try:
            return files.place_of(self.folder, found).read_bytes()
        except OSError as error:
            raise ExchangeFault(f"{target} can not be read: {error.strerror}") from error

    async def bring_out(self, register: Register, offer: Offer) -> Edition | None:
        """Publish what is new of a list; None: nothing was.

        Raises ExchangeFault, ListUnknown, RegisterDown and SnapshotUnreadable; what was published
        before stays.
        """
        name = offer.name
        before = await asyncio.to_thread(self.before, name)
        edition = await edition_of(
            register, offer, before, lambda target: self.read(name, target), now_s()
        )
        if edition is not None:
            await asyncio.to_thread(self._write, name, edition)
        return edition

    def _write(self, name: str, edition: Edition) -> None:
        above = f"{name}/"
        parts = {target.removeprefix(above): data for target, data in edition.parts.items()}
        publish(
            self.folder,
            self.ring,
            name,
            parts,
            self.validity,
            now_s(),
            keep=lambda below: f"{above}{below}" in edition.kept,
        )

    def renew(self) -> list[str]:
        """Sign again what needs it; which roles. Old files go. Raises ExchangeFault."""
        due = resign(self.folder, self.ring, self.validity, now_s())
        files.prune(self.folder, files.read(self.folder), KEPT_S)
        return due


Tell = Callable[[str, Edition | Fault | None], None]
"""Called with a list and what came of it; None: its signatures were renewed, the name is a role."""


async def keep_published(
    outlet: Outlet, offers: Sequence[Offer], settings: RegisterSettings, tell: Tell
) -> None:
    """Publish lists as they change, and renew signatures, until cancelled.

    An outage of the register is waited out; what can not be published is told and tried again.
    """
    backoff = Backoff(1.0, 30.0)
    while True:
        try:
            async with await Register.connect(settings, BLOCK_MS) as register:
                backoff.reset()
                await _Loop(outlet, {offer.name: offer for offer in offers}, register, tell).run()
        except (RegisterDown, RegisterUnsafe) as fault:
            tell("", fault)
        await asyncio.sleep(backoff.next_s())


@dataclass(slots=True)
class _Loop:
    """One connection's worth of following the register."""

    outlet: Outlet
    offers: Mapping[str, Offer]
    register: Register
    tell: Tell
    resigned_s: float = 0.0
    looked_s: float = 0.0

    async def run(self) -> None:
        """Until the register fails."""
        last_id = (await self.register.heads()).last_id
        await self._bring_out(self.offers)
        while True:
            await self._renew()
            steps = await self.register.follow(last_id, BLOCK_MS)
            changed = {step.name for step in steps} & self.offers.keys()
            if changed:
                await asyncio.sleep(GATHER_S)
            if steps:
                last_id = steps[-1].id
            if monotonic_s() - self.looked_s > LOOK_S:
                changed = set(self.offers)
            await self._bring_out(changed)

    async def _bring_out(self, names: Sequence[str] | set[str] | Mapping[str, Offer]) -> None:
        if len(names) == len(self.offers):
            self.looked_s = monotonic_s()
        for name in sorted(names):
            try:
                edition = await self.outlet.bring_out(self.register, self.offers[name])
            except (ExchangeFault, ListUnknown, SnapshotUnreadable) as fault:
                self.tell(name, fault)
                continue
            if edition is not None:
                self.tell(name, edition)

    async def _renew(self) -> None:
        if self.resigned_s and monotonic_s() - self.resigned_s < RESIGN_S:
            return
        self.resigned_s = monotonic_s()
        try:
            for role in await asyncio.to_thread(self.outlet.renew):
                self.tell(role, None)
        except ExchangeFault as fault:
            self.tell("", fault)
