"""Metadata made and signed: pure but for the keys, which are given, and time, which is an argument.

Roles, as design.md section 6 wants them: people sign root and targets with keys that lie in a safe.
Keys of the machine sign each list, snapshot and timestamp. An attacker with those of the machine
can publish a wrong list until root or targets take the key away, and no longer.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final, TypeVar

from securesystemslib.signer import CryptoSigner
from tuf.api.exceptions import UnsignedMetadataError
from tuf.api.metadata import (
    DelegatedRole,
    Delegations,
    Key,
    Metadata,
    Role,
    Root,
    Snapshot,
    TargetFile,
    Targets,
    Timestamp,
)

from stream.core.model.errors import ExchangeFault
from stream.exchange.repository_files import PublishedMetadata, meta_of
from stream.exchange.signing_keys import KeyRing
from stream.feeds.tuf.tuf_client import HUB, SIGNED_AT

UNSIGNED: Final = UnsignedMetadataError
ONLINE: Final = ("snapshot", "timestamp")
OFFLINE: Final = ("root", "targets")
"""Top-level roles: the former by keys of the machine, the latter by keys of people."""
S = TypeVar("S", Root, Timestamp, Snapshot, Targets)


@dataclass(frozen=True, slots=True)
class Validity:
    """The lifetimes of signatures by role, in seconds."""

    root_s: int = 365 * 86_400
    targets_s: int = 365 * 86_400
    list_s: int = 30 * 86_400
    snapshot_s: int = 7 * 86_400
    timestamp_s: int = 6 * 3600


@dataclass(frozen=True, slots=True)
class Signatory:
    """The keys at hand, the lifetimes of their signatures, and the moment of signing."""

    ring: KeyRing
    validity: Validity
    now_s: int


def role_of(list_name: str) -> str:
    """Return the role that signs a list: `KH~scam`, since a file's name cannot have a slash."""
    return list_name.replace("/", "~")


def paths_of(prefix: str) -> list[str]:
    """Return the patterns of all targets one or two folders deep below `prefix`."""
    return [f"{prefix}/*", f"{prefix}/*/*"]


def copied(data: bytes, kind: type[S]) -> Metadata[S]:
    """Decode metadata to be altered."""
    metadata = Metadata[S].from_bytes(data)
    assert metadata.signed.type == kind.type
    return metadata


def renew(metadata: Metadata[S], now_s: int, valid_s: int) -> None:
    """Make it the next version, good for `valid_s` from now on; no signature yet."""
    metadata.signed.version += 1  # clients refuse a version that is not above the last one
    metadata.signed.expires = moment(now_s + valid_s)
    metadata.signatures.clear()


def moment(at_s: int) -> datetime:
    """Return seconds since the epoch as TUF wants them."""
    return datetime.fromtimestamp(at_s, UTC)


def sign(
    metadata: Metadata[S], role: Role, ring: KeyRing, name: str, also: Iterable[str] = ()
) -> bytes:
    """Return the file signed by every key of `role` at hand, and by those of `also` at hand.

    Raises ExchangeFault where they are fewer than its threshold.
    """
    signers: list[CryptoSigner] = ring.signers(role.keyids)
    if len(signers) < role.threshold:
        text = f"{name} needs {role.threshold} signatures and only {len(signers)} of its"
        text += f" {len(role.keyids)} keys are at hand"
        raise ExchangeFault(f"{text}; name the folders of the others with --keys")
    for signer in (*signers, *ring.signers(set(also) - set(role.keyids))):
        metadata.sign(signer, append=True)
    return metadata.to_bytes()


def first(
    by: Signatory, keys: Mapping[str, Sequence[Key]], threshold: int, *, hub: bool = False
) -> PublishedMetadata:
    """Return the first version of a repository; `keys` by top-level role.

    `threshold` is that of people's roles: a machine signs its own alone. Raises ExchangeFault.
    """
    root = Root(consistent_snapshot=True, expires=moment(by.now_s + by.validity.root_s))
    if hub:
        root.unrecognized_fields[HUB] = True
    for role, some in keys.items():
        for key in some:
            root.add_key(key, role)
        root.roles[role].threshold = threshold if role in OFFLINE else 1
    targets = Metadata(Targets(expires=moment(by.now_s + by.validity.targets_s)))
    draft = PublishedMetadata(
        sign(Metadata(root), root.roles["root"], by.ring, "root"),
        Metadata(Timestamp()).to_bytes(),
        Metadata(Snapshot()).to_bytes(),
        sign(targets, root.roles["targets"], by.ring, "targets"),
        {},
    )
    return stamped(draft, by, first_ever=True)


def stamped(
    published: PublishedMetadata,
    by: Signatory,
    *,
    first_ever: bool = False,
    also: Iterable[str] = (),
) -> PublishedMetadata:
    """Return the same with a new snapshot and a new timestamp. Raises ExchangeFault."""
    root = published.read_root()
    snapshot = copied(published.snapshot, Snapshot)
    renew(snapshot, by.now_s, by.validity.snapshot_s)
    # An entry of a snapshot stays in all later ones: clients take its disappearance for an attack.
    snapshot.signed.meta["targets.json"] = meta_of(published.targets)
    for role, data in published.roles.items():
        snapshot.signed.meta[f"{role}.json"] = meta_of(data)
    if first_ever:
        snapshot.signed.version = 1
    data = sign(snapshot, root.roles["snapshot"], by.ring, "snapshot", also)
    return timestamped(replace(published, snapshot=data), by, first_ever=first_ever, also=also)


def timestamped(
    published: PublishedMetadata,
    by: Signatory,
    *,
    first_ever: bool = False,
    also: Iterable[str] = (),
) -> PublishedMetadata:
    """Return the same with a new timestamp. Raises ExchangeFault."""
    root = published.read_root()
    timestamp = copied(published.timestamp, Timestamp)
    renew(timestamp, by.now_s, by.validity.timestamp_s)
    if first_ever:
        timestamp.signed.version = 1
    timestamp.signed.snapshot_meta = meta_of(published.snapshot)
    timestamp.signed.unrecognized_fields[SIGNED_AT] = by.now_s
    data = sign(timestamp, root.roles["timestamp"], by.ring, "timestamp", also)
    return replace(published, timestamp=data)


def delegated(
    published: PublishedMetadata, by: Signatory, role: DelegatedRole, keys: Iterable[Key]
) -> PublishedMetadata:
    """Return the same with `role` given to `keys`, in place of one of its name."""
    targets = copied(published.targets, Targets)
    renew(targets, by.now_s, by.validity.targets_s)
    now = targets.signed.delegations or Delegations({}, {})
    roles = {**(now.roles or {}), role.name: role}
    known = {**now.keys, **{key.keyid: key for key in keys}}
    used = {keyid for one in roles.values() for keyid in one.keyids}
    targets.signed.delegations = Delegations(
        {keyid: key for keyid, key in known.items() if keyid in used}, roles
    )
    root = published.read_root()
    return replace(published, targets=sign(targets, root.roles["targets"], by.ring, "targets"))


def list_signed(
    published: PublishedMetadata, by: Signatory, list_name: str, targets: Mapping[str, TargetFile]
) -> PublishedMetadata:
    """Return the same with these targets for a list; snapshot and timestamp are not renewed yet."""
    role = role_of(list_name)
    before = published.roles.get(role)
    metadata = copied(before, Targets) if before is not None else Metadata(Targets())
    if before is not None:
        renew(metadata, by.now_s, by.validity.list_s)
    else:
        metadata.signed.expires = moment(by.now_s + by.validity.list_s)
    metadata.signed.targets = dict(targets)
    wanted = delegation_of(published, role)
    return published.with_role(role, sign(metadata, wanted, by.ring, list_name))


def delegation(published: PublishedMetadata, role: str) -> DelegatedRole | None:
    """Return the role that may sign a list; None: there is none."""
    delegations = published.read_targets().delegations
    return (delegations.roles or {}).get(role) if delegations is not None else None


def delegation_of(published: PublishedMetadata, role: str) -> DelegatedRole:
    """Return the role that may sign a list. Raises ExchangeFault."""
    found = delegation(published, role)
    if found is None:
        name = role.replace("~", "/")
        text = f"no list {name} in this repository: `ringfence exchange add-list {name}` adds it"
        raise ExchangeFault(text)
    return found
