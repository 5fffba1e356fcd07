"""A hub carries the repositories of countries: each whole, as it is, and all by delegation.

`countries/KH/` is KH's repository byte for byte, to be followed with KH's own root: there the hub
can do nothing but be late. The hub's own root leads to the same files by delegation (`KH/*`,
terminating, signed by KH's own keys): one root for all countries, for who trusts the hub to say
which keys are whose.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec
from tuf.api.metadata import DelegatedRole, Metadata, Targets

from stream.core.model import names
from stream.core.model.errors import UNREADABLE, ExchangeFault, Fault, FeedDown
from stream.exchange import repository_files, signing
from stream.exchange.mirror import PRUNE_S, carry, is_carried
from stream.exchange.repository_files import Published
from stream.exchange.signing import Validity
from stream.exchange.signing_keys import KeyRing
from stream.feeds.tuf.tuf_client import TufClient, TufLimits

COUNTRIES: Final = "countries"


class Member(msgspec.Struct, frozen=True):
    """A country of the hub: where it publishes, and its first root, trusted when it joined."""

    owner: str
    url: str
    root: str


@dataclass(frozen=True, slots=True)
class Hub:
    """A hub's folder, its keys, and what it remembers of its members (`state`)."""

    folder: Path
    ring: KeyRing
    state: Path
    validity: Validity
    limits: TufLimits

    def members(self) -> list[Member]:
        """The countries that have joined. Raises ExchangeFault."""
        found = []
        for path in sorted((self.state / "members").glob("*.json")):
            try:
                found.append(msgspec.json.decode(path.read_bytes(), type=Member))
            except (OSError, *UNREADABLE) as error:
                raise ExchangeFault(f"{path} cannot be read: {error}") from error
        return found

    def add(self, owner: str, url: str, root: bytes, now_s: int) -> Published:
        """A country joins: its repository is verified, delegated to, and carried.

        Needs the keys of the hub's targets. Raises FeedDown, ExchangeFault; then nothing stays.
        """
        if (wrong := names.wrong(names.Kind.OWNER, owner)) is not None:
            raise ExchangeFault(f"{owner!r} is no owner: it {wrong}")
        path = self.state / "members" / f"{owner}.json"
        if path.exists():
            raise ExchangeFault(f"{owner} has joined already; remove {path} to let it join anew")
        member = Member(owner, url, root.decode())
        published = self._carried(member, now_s)
        repository_files.put(path, msgspec.json.encode(member))
        return published

    def sync(self, now_s: int) -> dict[str, Fault | None]:
        """Fetch what is new of every member; one that fails keeps its last good version.

        What went wrong, by owner. The timestamp is renewed where it is due.
        """
        outcome: dict[str, Fault | None] = {}
        for member in self.members():
            try:
                self._carried(member, now_s)
                outcome[member.owner] = None
            except (FeedDown, ExchangeFault) as fault:
                outcome[member.owner] = fault
        return outcome

    def _carried(self, member: Member, now_s: int) -> Published:
        """Nobody else does so meanwhile: what was seen of a member belongs to one process."""
        place = self.folder / COUNTRIES / member.owner
        seen, root = self.state / "seen" / member.owner, member.root.encode()
        with repository_files.alone(self.state):
            client = TufClient(member.url, seen, root, self.limits)
            try:
                repository = client.refresh()
                if not is_carried(repository, place):
                    repository.only_of(member.owner)
                    carry(repository, place)
            finally:
                client.close()
            return self._delegated(member.owner, repository_files.read(place), now_s)

    def _delegated(self, owner: str, theirs: Published, now_s: int) -> Published:
        """The hub's own metadata with a country's newest in them."""
        with repository_files.alone(self.folder):
            published = repository_files.read(self.folder)
            trusted = theirs.read_root()
            role = trusted.roles["targets"]
            wanted = DelegatedRole(
                owner, role.keyids, role.threshold, terminating=True, paths=_below(owner)
            )
            targets = Metadata[Targets].from_bytes(published.targets).signed
            known = targets.delegations.roles if targets.delegations is not None else None
            if (known or {}).get(owner) != wanted:
                keys = [trusted.keys[keyid] for keyid in role.keyids]
                published = signing.delegated(
                    published, self.ring, wanted, keys, self.validity, now_s
                )
            for name, data in {owner: theirs.targets, **theirs.roles}.items():
                published = published.with_role(name, data)
            for target in theirs.all_targets().values():
                repository_files.link(
                    repository_files.place_of(self.folder / COUNTRIES / owner, target),
                    repository_files.place_of(self.folder, target),
                )
            if published == repository_files.read(self.folder):
                return published
            new = signing.stamped(published, self.ring, self.validity, now_s)
            repository_files.write(self.folder, new)
            repository_files.prune(self.folder, new, PRUNE_S)
            return new


def _below(owner: str) -> list[str]:
    return [f"{owner}/*/*", f"{owner}/*/*/*"]
