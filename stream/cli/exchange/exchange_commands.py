"""`ringfence exchange`: our signed repository, its keys, and its verification."""

import os
import time
from pathlib import Path
from typing import Annotated

import typer

from stream.cli.common import own, settings_of
from stream.cli.lazy_group import group
from stream.cli.options import ConfigFiles, Output
from stream.cli.output import (
    NOTHING_DONE,
    STDOUT,
    USAGE,
    Format,
    fail,
    file_or_stdout,
    note,
    print_table,
    render,
    say,
)
from stream.config.settings import Settings
from stream.core.model import names
from stream.core.model.agreement import owner_of
from stream.core.model.errors import ConfigInvalid, ExchangeFault, Fault
from stream.core.model.moments import rfc3339
from stream.exchange import mirror, repository, repository_files
from stream.exchange.repository import RoleStatus, role_statuses
from stream.exchange.signing import Signatory, Validity
from stream.exchange.signing_keys import SEALED_BY, KeyRing
from stream.feeds.tuf.tuf_client import TufLimits
from stream.ops.clock import now_s
from stream.ops.schema.toml import secret

app = group()
key_app = group(help="Manage the private keys that sign.")
app.add_typer(key_app, name="key")

Offline = Annotated[
    list[Path], typer.Option("--offline", help="A folder for one person's root and targets keys.")
]
Threshold = Annotated[int, typer.Option(min=1, max=20, help="How many of these persons must sign.")]

Keys = Annotated[
    list[Path] | None,
    typer.Option(
        "--keys", help="A folder with more private keys, for example on a stick. Repeatable."
    ),
]
RootFile = Annotated[
    Path, typer.Option("--root", help="The owner's root.json, from a trusted source.")
]
Url = Annotated[str, typer.Argument(metavar="URL", help="A repository's address, or a folder.")]
Whole = Annotated[
    bool, typer.Option("--whole/--metadata-only", help="Compare every file, or metadata alone.")
]
SOON_S = 30 * 86_400
"""Signatures by people are urgent so long before: keys on sticks take days to gather."""
_BYTES_MAX = 1 << 20
"""Of a root.json; a larger file is another one."""


def ring_of(settings: Settings, more: list[Path] | None) -> KeyRing:
    """Return the private keys of this machine and of the folders `more`. Raises ConfigInvalid."""
    errors: list[str] = []
    passphrase = secret(SEALED_BY, os.environ, errors)
    if errors:
        raise ConfigInvalid(tuple(errors))
    return KeyRing([Path(settings.exchange.keys_dir), *(more or [])], passphrase)


def validity_of(settings: Settings) -> Validity:
    """Return the validity of each role's signatures."""
    section = settings.exchange
    return Validity(
        root_s=int(section.root_days * 86_400),
        targets_s=int(section.targets_days * 86_400),
        list_s=int(section.list_days * 86_400),
        snapshot_s=int(section.snapshot_days * 86_400),
        timestamp_s=int(section.timestamp_hours * 3600),
    )


def signatory_of(settings: Settings, more: list[Path] | None) -> Signatory:
    """Return the keys at hand, with the lifetimes of the settings, to sign now."""
    return Signatory(ring_of(settings, more), validity_of(settings), now_s())


def folder_of(settings: Settings) -> Path:
    """Return the folder of our repository."""
    return Path(settings.exchange.dir)


def own_exchange(settings: Settings) -> None:
    """End with 2 where this user's files would not be the services'.

    The state directory says whose these are also before the first of our folders is there.
    """
    section = settings.exchange
    own(settings.lists.state_dir, section.dir, section.keys_dir, section.state_dir)


def root_in(path: Path) -> bytes:
    """Return the bytes of a root.json that the operator trusts. Raises ExchangeFault."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ExchangeFault(f"{path} cannot be read: {error.strerror}") from error
    if len(data) > _BYTES_MAX:
        raise ExchangeFault(f"{path} is too large to be a root.json")
    return data


@app.command()
def init(offline: Offline, threshold: Threshold = 1, config: ConfigFiles = None) -> None:
    """Make our repository. People's keys sign root and targets; this machine's keys sign the rest.

    Each --offline is a folder on its own stick, to be locked away afterwards.

    Example: ringfence exchange init --offline stick-a --offline stick-b --threshold 2
    """
    settings = settings_of(config)
    own_exchange(settings)
    folder = folder_of(settings)
    repository.init(folder, signatory_of(settings, offline), offline, threshold)
    say(f"made {folder}: serve it with any web server, or carry it (`ringfence exchange bundle`)")
    say(
        f"partners trust you by {folder / repository_files.METADATA / '1.root.json'}: "
        "give it to them"
    )
    say(f"lock {', '.join(str(path) for path in offline)} away; this machine needs them no more")
    note_closed(folder)


def note_closed(folder: Path) -> None:
    """Warn where a web server cannot get to our published files."""
    if (closed := repository_files.closed_above(folder)) is not None:
        text = f"a web server of another user cannot enter {closed}: `chmod o+x {closed}`"
        note(f"{text}, or a folder like /srv/exchange for [exchange] dir")


@app.command("add-list")
def add_list(
    name: Annotated[str, typer.Argument(metavar="OWNER/NAME", help="The list.")],
    keys: Keys = None,
    config: ConfigFiles = None,
) -> None:
    """Give a list its own role and key in our repository. Needs the targets keys.

    Example: ringfence exchange add-list KH/scam --keys stick-a --keys stick-b
    """
    settings = settings_of(config)
    own_exchange(settings)
    if (wrong := names.wrong(names.NameKind.LIST, name)) is not None:
        fail(f"{name!r} {wrong}", USAGE)
    folder = folder_of(settings)
    owners = {role.partition("~")[0] for role in repository_files.read(folder).roles}
    if owners and owner_of(name) not in owners:
        text = f"{folder} is the repository of {', '.join(sorted(owners))}: a country signs its own"
        fail(f"{text} lists only, and hubs refuse one that signs {name}; nothing changed", USAGE)
    repository.add_list(folder, signatory_of(settings, keys), name)
    say(f"{name} can be published from this machine")


@app.command()
def resign(
    follow: Annotated[
        bool, typer.Option("--follow", help="Repeat every [exchange] resign_s.")
    ] = False,
    config: ConfigFiles = None,
) -> None:
    """Renew this machine's signatures that are past half of their lifetime.

    Example: ringfence exchange resign --follow
    """
    settings = settings_of(config)
    own_exchange(settings)
    ring, validity = ring_of(settings, None), validity_of(settings)
    while True:
        try:
            due = repository.resign(folder_of(settings), Signatory(ring, validity, now_s()))
            if due or not follow:
                say(f"signed again: {', '.join(due)}" if due else "nothing is due")
        except Fault as fault:
            if not follow:
                raise
            note(f"not signed again, it is tried in {settings.exchange.resign_s:g} s: {fault}")
        if not follow:
            return
        time.sleep(settings.exchange.resign_s)


@app.command()
def status(config: ConfigFiles = None, form: Output = Format.TABLE) -> None:
    """Show what is published, by which keys, and what has to be signed again when.

    Exit code 1: something has expired, or expires within 30 days and needs a person.

    Example: ringfence exchange status
    """
    settings = settings_of(config)
    published = repository_files.read(folder_of(settings))
    found = role_statuses(published)
    at_hand = {key.keyid: key.name for key in ring_of(settings, None).held()}
    now = now_s()
    told = [_role_json(one, now) for one in found]
    render(form, told, lambda: _print_roles(found, at_hand, now))
    if any(_urgent(one, at_hand, now) for one in found):
        raise typer.Exit(NOTHING_DONE)


def _urgent(one: RoleStatus, at_hand: dict[str, str], now: int) -> bool:
    by_itself = any(keyid in at_hand for keyid in one.keyids)
    return one.expires_s - now < (0 if by_itself else SOON_S)


def expiry_words(expires_s: int, now: int) -> str:
    """Return `in 29 d`, `in 5 h`, or since when it has expired."""
    left = expires_s - now
    span = f"{abs(left) // 86_400} d" if abs(left) >= 172_800 else f"{abs(left) // 3600} h"
    return f"in {span}" if left > 0 else f"EXPIRED {span} ago"


def _print_roles(found: list[RoleStatus], at_hand: dict[str, str], now: int) -> None:
    rows = []
    for one in found:
        keys = ", ".join(at_hand.get(keyid, keyid[:8]) for keyid in one.keyids)
        needed = f"{one.threshold} of {len(one.keyids)}"
        rows.append((one.role, str(one.version), expiry_words(one.expires_s, now), needed, keys))
    print_table(("role", "version", "expires", "signed by", "keys"), rows)


def _role_json(one: RoleStatus, now: int) -> dict[str, object]:
    return {
        "role": one.role,
        "version": one.version,
        "expires_at": rfc3339(one.expires_s),
        "expired": one.expires_s <= now,
        "threshold": one.threshold,
        "keys": one.keyids,
    }


@app.command()
def verify(
    url: Url,
    root: RootFile,
    state: Annotated[
        Path | None, typer.Option(help="Store seen versions, to detect a rollback.")
    ] = None,
    whole: Whole = True,
    config: ConfigFiles = None,
    form: Output = Format.TABLE,
) -> None:
    """Verify a repository as a partner does. Exit code 1: it cannot be trusted; it says why.

    Example: ringfence exchange verify https://lists.cert.example/kh --root kh.root.json
    """
    settings_of(config)
    report = mirror.verify(url, root_in(root), state, TufLimits(), whole=whole)
    _told(report, form)


@app.command("serve-check")
def serve_check(
    url: Url, whole: Whole = True, config: ConfigFiles = None, form: Output = Format.TABLE
) -> None:
    """Compare the files of a web server or a folder with our repository. Exit code 1: they differ.

    Example: ringfence exchange serve-check https://lists.cert.example/kh
    """
    settings = settings_of(config)
    report = mirror.serve_check(folder_of(settings), url, TufLimits(), whole=whole)
    _told(report, form)


def _told(report: mirror.VerifyReport, form: Format) -> None:
    now = now_s()
    told = {
        "roles": [_role_json(one, now) for one in report.roles],
        "targets": report.targets,
        "bytes": report.size,
        "faults": report.faults,
    }

    def draw() -> None:
        _print_roles(list(report.roles), {}, now)
        say(f"{report.targets:,} files, {report.size:,} bytes")
        for fault in report.faults:
            note(fault)
        if not report.faults:
            say("all of it is as it was signed")

    render(form, told, draw, rows="roles")
    if report.faults:
        raise typer.Exit(NOTHING_DONE)


@app.command("bundle")
def bundle_(
    path: Annotated[Path, typer.Argument(help="The tar to write; `-` writes to stdout.")],
    config: ConfigFiles = None,
) -> None:
    """Write all published files, and nothing else, to a tar: for partners without a network path.

    Example: ringfence exchange bundle kh.tar
    """
    folder = folder_of(settings_of(config))
    with file_or_stdout(path) as file:
        count = mirror.write_bundle(folder, file)
    tell = note if path == STDOUT else say
    tell(f"{path}: {count:,} files; its reader needs our 1.root.json by another way")


@app.command("import-bundle")
def import_bundle(
    path: Path,
    into: Annotated[Path, typer.Option(help="The folder that a feed follows.")],
    root: RootFile,
    config: ConfigFiles = None,
) -> None:
    """Verify a partner's bundle and put it where a feed follows it. Exit code 1: refused; it says
    why.

    Example: ringfence exchange import-bundle kh.tar --into partners/kh --root kh.root.json
    """
    settings = settings_of(config)
    own_exchange(settings)
    state = Path(settings.exchange.state_dir) / "bundles" / into.name
    published = mirror.read_bundle(path, into, root_in(root), state, TufLimits())
    say(f"{into}: {len(published.all_targets()):,} files, verified")


@app.command()
def revoke(
    key: Annotated[str, typer.Argument(metavar="KEY", help="The key's name or id.")],
    keys: Keys = None,
    config: ConfigFiles = None,
) -> None:
    """Remove a key from every role at once. The other keys must meet the thresholds.

    No command adds a key later: `ringfence exchange key rotate` replaces a lost or stolen one.
    A key that is not at hand is named by its whole id, from `ringfence exchange status -o json`.

    Example: ringfence exchange revoke root-2 --keys stick-a --keys stick-b --keys stick-c
    """
    settings = settings_of(config)
    own_exchange(settings)
    by = signatory_of(settings, keys)
    roles = repository.replace_key(folder_of(settings), by, _keyid(by.ring, key), None)
    say(f"{key} signs no more for {', '.join(roles)}; delete its file")


def _keyid(ring: KeyRing, name: str) -> str:
    found = ring.named(name)
    if found is not None:
        return found.keyid
    if len(name) == 64:
        return name
    return fail(f"no key {name} is at hand; write its whole id (`exchange status -o json`)", USAGE)


@key_app.command("create")
def key_create(
    name: Annotated[str, typer.Argument(help="The key's name, e.g. root-4.")],
    into: Annotated[
        Path | None, typer.Option(help="Its folder. Default: [exchange] keys_dir.")
    ] = None,
    config: ConfigFiles = None,
) -> None:
    """Make a private key in a file that only you can read. `RINGFENCE_EXCHANGE_PASSPHRASE` seals
    it.

    Example: ringfence exchange key create root-4 --into stick-d
    """
    settings = settings_of(config)
    own_exchange(settings)
    made = ring_of(settings, None).new(name, into)
    say(f"{name}: {made.path}, id {made.keyid}")


@key_app.command("list")
def key_list(keys: Keys = None, config: ConfigFiles = None, form: Output = Format.TABLE) -> None:
    """List the private keys at hand and what each may sign. Never prints a key.

    Example: ringfence exchange key list --keys stick-a
    """
    settings = settings_of(config)
    found = role_statuses(repository_files.read(folder_of(settings)))
    rows = [
        (key.name, key.keyid, [one.role for one in found if key.keyid in one.keyids])
        for key in ring_of(settings, keys).held()
    ]
    cells = [(name, keyid[:16], ", ".join(roles) or "nothing") for name, keyid, roles in rows]
    told = [{"key": name, "id": keyid, "signs": roles} for name, keyid, roles in rows]
    render(form, told, lambda: print_table(("key", "id", "signs"), cells))


@key_app.command("rotate")
def key_rotate(
    key: Annotated[str, typer.Argument(metavar="KEY", help="The key's name or id.")],
    into: Annotated[Path | None, typer.Option(help="The new key's folder.")] = None,
    keys: Keys = None,
    config: ConfigFiles = None,
) -> None:
    """Replace a key: regularly, or after it was lost or stolen.

    To replace this machine's keys, give the root keys with --keys; for a list's key, give the
    targets keys. A key that was lost is named by its whole id, from `ringfence exchange status -o
    json`; --into names the new key's stick.

    Example: ringfence exchange key rotate timestamp-1 --keys stick-a --keys stick-b
    """
    settings = settings_of(config)
    own_exchange(settings)
    by = signatory_of(settings, keys)
    ring, keyid = by.ring, _keyid(by.ring, key)
    old = ring.named(keyid)
    stem = (old.name.rpartition("-")[0] or "key") if old is not None else _role(settings, keyid)
    new = ring.new(ring.next_name(stem), into or (old.path.parent if old is not None else None))
    # A new key that no role names must not stay: it would look usable.
    try:
        roles = repository.replace_key(folder_of(settings), by, keyid, new)
    except Fault:
        new.path.unlink()
        raise
    ends = f"delete {old.path}" if old is not None else f"the key {keyid[:8]} signs no more"
    say(f"{new.name} signs for {', '.join(roles)}; {ends}")


def _role(settings: Settings, keyid: str) -> str:
    """Return a role that a key signs for, as keys are named; a lost key's file has no name here."""
    found = role_statuses(repository_files.read(folder_of(settings)))
    return next((one.role for one in found if keyid in one.keyids), "key").replace("/", "~")
