"""Make a repository, publish lists in it, sign again, change keys.

One at a time (a lock beside the folder); each ends with the new version or changes nothing.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path

import msgspec
from securesystemslib.signer import Key
from tuf.api.metadata import DelegatedRole, Role, Root, Signed, TargetFile, Targets

from stream.core.model.errors import UNREADABLE, ExchangeFault, FeedDown
from stream.exchange import repository_files, signing
from stream.exchange.repository_files import PublishedMetadata
from stream.exchange.signing import OFFLINE, ONLINE, Signatory, role_of
from stream.exchange.signing_keys import HeldKey, KeyRing
from stream.feeds.tuf.tuf_errors import safe_name
from stream.ops.private_files import read_private

_END = b"-----END"
"""The last line of a PEM file: one without it was cut off while it was written."""
_AHEAD_S = 60
"""So far two clocks that sign in turn may differ, without each undoing the other's signatures."""


@dataclass(frozen=True, slots=True)
class RoleStatus:
    """The status of a role: its version, its expiry, and the signatures that it needs."""

    role: str
    version: int
    expires_s: int
    threshold: int
    keyids: tuple[str, ...]


def init(
    folder: Path, by: Signatory, offline: Sequence[Path], threshold: int, *, hub: bool = False
) -> PublishedMetadata:
    """Make a repository: root and targets have one key a folder of `offline`, `threshold` needed.

    Keys of the machine go into the ring's first folder. `hub`: its root says that it owns no list.
    A run that was killed goes on when it is called again in the same way. Raises ExchangeFault,
    SecretUnsafe.
    """
    if not 1 <= threshold <= len(offline):
        text = f"a threshold of {threshold} needs as many offline key folders, not {len(offline)}"
        raise ExchangeFault(f"{text}: one --offline for each person who signs")
    with repository_files.alone(folder):
        note = _note_of(folder)
        if repository_files.newest_root(folder):
            if not note.exists():
                raise ExchangeFault(f"{folder} holds a repository already; nothing was changed")
            if (folder / repository_files.METADATA / "timestamp.json").exists():
                note.unlink()  # nothing was missing but this
                return repository_files.read(folder)
        people = [(f"{role}-{n}", at) for role in OFFLINE for n, at in enumerate(offline, 1)]
        machine = [(f"{role}-1", by.ring.folder) for role in ONLINE]
        keys: dict[str, list[Key]] = {}
        for key in _keys_for(folder, by.ring, [*people, *machine]):
            keys.setdefault(key.name.rpartition("-")[0], []).append(key.signer.public_key)
        published = signing.first(by, keys, threshold, hub=hub)
        repository_files.write_root(folder, 1, published.root)
        repository_files.write(folder, published)
        note.unlink()
        return published


def _note_of(folder: Path) -> Path:
    """Return the path of the note that the repository `folder` is being made."""
    return folder.with_name(f".{folder.name}.making")


def _keys_for(folder: Path, ring: KeyRing, wanted: Sequence[tuple[str, Path]]) -> list[HeldKey]:
    """Make a key for each name and folder of `wanted`, or take that of an unfinished `init`.

    The caller holds the repository's lock. Raises ExchangeFault, SecretUnsafe.
    """
    note = _note_of(folder)
    paths = [ring.place_of(name, place).absolute() for name, place in wanted]
    begun = _begun(note)
    if begun is None:
        for path in paths:
            if path.exists():
                text = f"{path} is there already and is not overwritten: a key of something else?"
                raise ExchangeFault(f"{text} Take another folder; nothing was made")
        repository_files.put(note, msgspec.json.encode([str(path) for path in paths]))
    elif begun != [str(path) for path in paths]:
        made = ", ".join(path for path in begun if Path(path).exists()) or "no key"
        text = f"an init that was broken off has made {made}: give the same --offline folders again"
        raise ExchangeFault(f"{text}, or delete those keys and {note} to begin again")
    return [_key_of(ring, name, place) for name, place in wanted]


def _begun(note: Path) -> list[str] | None:
    try:
        return msgspec.json.decode(note.read_bytes(), type=list[str])
    except FileNotFoundError:
        return None
    except (OSError, *UNREADABLE) as error:
        text = f"{note} cannot be read ({error}): it is left of an init that was broken off"
        raise ExchangeFault(f"{text}; delete it and the keys which that has made") from error


def _key_of(ring: KeyRing, name: str, place: Path) -> HeldKey:
    path = ring.place_of(name, place)
    if path.exists():
        if _END in read_private(path):
            return ring.at(path)
        path.unlink()  # its writer was killed in the middle, and nothing is signed by it
    return ring.new(name, place)


def add_list(folder: Path, by: Signatory, list_name: str) -> PublishedMetadata:
    """Add a role with a new key of the machine for a list.

    Needs the keys of targets. A list that has one keeps it. Raises ExchangeFault.
    """
    role = role_of(list_name)
    below = safe_name_of(list_name)
    with repository_files.alone(folder):
        published = repository_files.read(folder)
        if role in published.roles:
            return published
        held = by.ring.new(by.ring.next_name(role))
        key = held.signer.public_key
        delegation = DelegatedRole(
            role, [key.keyid], 1, terminating=True, paths=signing.paths_of(below)
        )
        try:
            published = signing.delegated(published, by, delegation, [key])
            new = signing.stamped(signing.list_signed(published, by, list_name, {}), by)
        except BaseException:
            held.path.unlink()  # no role names it, and it would look usable
            raise
        repository_files.write(folder, new)
        return new


def publish(
    folder: Path,
    by: Signatory,
    list_name: str,
    parts: Mapping[str, bytes | Path | None],
    *,
    keep: Callable[[str], bool] = lambda _: False,
) -> PublishedMetadata:
    """Publish a list's new version, live when this returns.

    `parts`: name below the list's (`17/filter.bloom`) -> content, or the file that has it; None:
    as it is published already, which costs nothing. Of what was published before stays also what
    `keep` says of such a name; the rest can no longer be found.
    Raises ExchangeFault; the version before then stays.
    """
    with repository_files.alone(folder):
        published = repository_files.read(folder)
        role = role_of(list_name)
        signing.delegation_of(published, role)
        above = f"{list_name}/"
        old = published.read_role(role).targets if role in published.roles else {}
        targets = {name: target for name, target in old.items() if keep(name.removeprefix(above))}
        fresh = {}
        for name, content in parts.items():
            if content is None:
                targets[f"{above}{name}"] = _as_it_is(old, f"{above}{name}")
                continue
            target = described(safe_name_of(f"{above}{name}"), content)
            targets[target.path] = target
            fresh[repository_files.place_of(folder, target)] = content
        new = signing.stamped(signing.list_signed(published, by, list_name, targets), by)
        # The files come before the metadata that lead to them.
        for path, content in fresh.items():
            repository_files.put(path, content)
        repository_files.write(folder, new)
        return new


def _as_it_is(old: Mapping[str, TargetFile], name: str) -> TargetFile:
    if name not in old:
        raise ExchangeFault(f"{name} is not published, so it cannot be kept as it is")
    return old[name]


def described(name: str, content: bytes | Path) -> TargetFile:
    """Return a target's length and SHA-256. Raises ExchangeFault."""
    if isinstance(content, bytes):
        return TargetFile.from_data(name, BytesIO(content), ["sha256"])
    try:
        return TargetFile.from_file(name, str(content), ["sha256"])
    except OSError as error:
        raise ExchangeFault(f"{content} cannot be read: {error.strerror}") from error


def safe_name_of(name: str) -> str:
    """Check a target's name that we give. Raises ExchangeFault."""
    try:
        return safe_name(name)
    except FeedDown as fault:
        raise ExchangeFault(fault.detail) from fault


def resign(folder: Path, by: Signatory) -> list[str]:
    """Sign again what the machine's keys sign and whose time is half over; return those roles.

    What was signed while the clock was ahead is due as well.

    To be called often (`ringfence exchange resign --every`): nothing due costs one look at the
    disk. Old files that nothing leads to go with it. Raises ExchangeFault.
    """
    validity, now_s = by.validity, by.now_s
    with repository_files.alone(folder):
        published = repository_files.read(folder)
        due = []
        for role in published.roles:
            name = role.replace("~", "/")
            mine = signing.delegation(published, role)
            if mine is None or not by.ring.signers(mine.keyids):
                continue  # a country's, in a hub: it signs by itself
            if _is_due(published.read_role(role), validity.list_s, now_s):
                kept = published.read_role(role).targets
                published = signing.list_signed(published, by, name, kept)
                due.append(name)
        if due or _is_due(published.read_snapshot(), validity.snapshot_s, now_s):
            published = signing.stamped(published, by)
            due += ["snapshot", "timestamp"]
        elif _is_due(published.read_timestamp(), validity.timestamp_s, now_s):
            published = signing.timestamped(published, by)
            due.append("timestamp")
        if due:
            repository_files.write(folder, published)
            repository_files.prune(folder, published, repository_files.PRUNE_S)
        return due


def _is_due(signed: Signed, valid_s: int, now_s: int) -> bool:
    left_s = signed.expires.timestamp() - now_s
    # Longer than it may be: signed in the future, which partners refuse until that time.
    return left_s < valid_s / 2 or left_s > valid_s + _AHEAD_S


def replace_key(folder: Path, by: Signatory, keyid: str, successor: HeldKey | None) -> list[str]:
    """Put `successor` in the place of a key, in every role that it signs for; return the roles.

    Without a successor the role has to have enough other keys. They sign again what the key has
    signed, so the key is of no use from now on. Raises ExchangeFault.
    """
    with repository_files.alone(folder):
        published = repository_files.read(folder)
        root = signing.copied(published.root, Root)
        tops = [name for name, role in root.signed.roles.items() if keyid in role.keyids]
        lists = [
            role
            for role in published.roles
            if (found := signing.delegation(published, role)) is not None and keyid in found.keyids
        ]
        if not tops and not lists:
            raise ExchangeFault(f"no role of {folder} is signed by the key {keyid[:16]}")
        for role in lists:
            published = _list_key(published, by, role, keyid, successor)
        if tops:
            _root_key(folder, published, by, keyid, successor, tops)
        else:
            _stamp(folder, published, by)
        return [*tops, *lists]


def _list_key(
    published: PublishedMetadata, by: Signatory, role: str, keyid: str, successor: HeldKey | None
) -> PublishedMetadata:
    old = signing.delegation_of(published, role)
    keyids = [each for each in old.keyids if each != keyid]
    keys = [successor.signer.public_key] if successor is not None else []
    keyids += [key.keyid for key in keys]
    if len(keyids) < old.threshold:
        name = role.replace("~", "/")
        raise ExchangeFault(f"nobody could sign {name} any more: `exchange key rotate` instead")
    new = DelegatedRole(role, keyids, old.threshold, old.terminating, old.paths)
    known = published.read_targets().delegations
    assert known is not None
    held = [known.keys[each] for each in keyids if each in known.keys]
    published = signing.delegated(published, by, new, [*held, *keys])
    kept = published.read_role(role).targets
    return signing.list_signed(published, by, role.replace("~", "/"), kept)


def _root_key(
    folder: Path,
    published: PublishedMetadata,
    by: Signatory,
    keyid: str,
    successor: HeldKey | None,
    tops: Sequence[str],
) -> None:
    """Sign and write a new root.

    Timestamp and snapshot are signed by old and new keys where they are at hand. So a client sees a
    whole repository whether it has the new root already or not.
    """
    old = published.read_root()
    root = signing.copied(published.root, Root)
    signing.renew(root, by.now_s, by.validity.root_s)
    for role in tops:
        root.signed.revoke_key(keyid, role)
        if successor is not None:
            root.signed.add_key(successor.signer.public_key, role)
        if len(root.signed.roles[role].keyids) < root.signed.roles[role].threshold:
            raise ExchangeFault(f"too few keys would be left for {role}: `exchange key rotate`")
    # Clients accept a new root that the old one's keys and its own have signed, each in threshold.
    data = signing.sign(root, root.signed.roles["root"], by.ring, "root", old.roles["root"].keyids)
    try:
        old.verify_delegate("root", root.signed_bytes, root.signatures)
    except signing.UNSIGNED as error:
        text = f"the old root's keys have not signed in threshold ({error}): name their folders"
        raise ExchangeFault(f"{text} with --keys") from error
    new = replace(published, root=data)
    if "targets" in tops:
        targets = signing.copied(published.targets, Targets)
        signing.renew(targets, by.now_s, by.validity.targets_s)
        wanted, before = root.signed.roles["targets"], old.roles["targets"].keyids
        new = replace(new, targets=signing.sign(targets, wanted, by.ring, "targets", before))
    machine = {each for name in ONLINE for each in old.roles[name].keyids}
    repository_files.write(folder, signing.stamped(new, by, also=machine))
    repository_files.write_root(folder, root.signed.version, data)


def _stamp(folder: Path, published: PublishedMetadata, by: Signatory) -> PublishedMetadata:
    new = signing.stamped(published, by)
    repository_files.write(folder, new)
    return new


def role_statuses(published: PublishedMetadata) -> list[RoleStatus]:
    """Return the status of each role, as a partner sees it."""
    root = published.read_root()
    tops: list[tuple[str, Signed]] = [
        ("root", root),
        ("targets", published.read_targets()),
        ("snapshot", published.read_snapshot()),
        ("timestamp", published.read_timestamp()),
    ]
    found = [_standing(name, signed, root.roles[name]) for name, signed in tops]
    for role in published.roles:
        delegation = signing.delegation(published, role)
        if delegation is not None:
            found.append(_standing(role.replace("~", "/"), published.read_role(role), delegation))
    return found


def _standing(name: str, signed: Signed, role: Role) -> RoleStatus:
    at_s = int(signed.expires.timestamp())
    return RoleStatus(name, signed.version, at_s, role.threshold, tuple(role.keyids))
