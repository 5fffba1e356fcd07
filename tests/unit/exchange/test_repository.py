"""A repository that a country makes and publishes: what partners see of it, at every step."""

import os
import shutil
import time
from dataclasses import replace
from pathlib import Path

import pytest
from tuf.api.metadata import Metadata

from stream.core.model.errors import ExchangeFault, FeedDown, FeedFault, SecretUnsafe
from stream.exchange import mirror, repository, repository_files
from stream.exchange.publisher import ListPublisher
from stream.exchange.repository_files import PublishedMetadata
from stream.exchange.signing import Signatory
from stream.exchange.signing_keys import KeyRing
from stream.feeds.tuf.tuf_client import TufClient, TufLimits
from stream.ops.private_files import write_private
from tests.support.repositories import VALIDITY, Country, hub_at


def test_what_is_published_is_found_and_verified(tmp_path: Path) -> None:
    """A partner with the first root reads every part, and the newest after each publication."""
    kh = Country(tmp_path / "kh")
    kh.publish({"latest.json": b"1", "1/manifest.json": b"{}"})
    client = kh.client(tmp_path / "state")
    assert client.refresh().read("KH/scam/latest.json", 100) == b"1"
    kh.publish({"latest.json": b"2", "1/manifest.json": None})
    seen = client.refresh()
    assert seen.read("KH/scam/latest.json", 100) == b"2"
    assert seen.read("KH/scam/1/manifest.json", 100) == b"{}"
    assert seen.find("KH/scam/9/manifest.json") is None


def test_what_is_left_out_can_no_longer_be_found(tmp_path: Path) -> None:
    """A list's old generations go when its owner leaves them out."""
    kh = Country(tmp_path / "kh")
    kh.publish({"latest.json": b"1", "1/a": b"a"})
    repository.publish(kh.folder, kh.by, kh.list, {"latest.json": b"2"})
    seen = kh.client(tmp_path / "state").refresh()
    assert seen.find("KH/scam/1/a") is None
    with pytest.raises(ExchangeFault, match="cannot be kept"):
        kh.publish({"1/a": None})


def test_killed_at_any_write_it_is_the_old_version_or_the_new(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whichever file is the last one written, partners see one whole version."""
    kh = Country(tmp_path / "kh")
    kh.publish({"latest.json": b"old", "1/a": b"a" * 50})
    before = tmp_path / "before"
    shutil.copytree(kh.folder, before)
    put, seen = repository_files.put, []
    for steps in range(12):
        shutil.rmtree(kh.folder)
        shutil.copytree(before, kh.folder)
        left = steps

        def dying(path: Path, content: bytes | Path) -> None:
            nonlocal left
            if left == 0:
                raise KeyboardInterrupt
            left -= 1
            put(path, content)

        monkeypatch.setattr(repository_files, "put", dying)
        try:
            kh.publish({"latest.json": b"new", "2/a": b"b" * 50})
            done = True
        except KeyboardInterrupt:
            done = False
        monkeypatch.setattr(repository_files, "put", put)
        found = kh.client(tmp_path / f"state-{steps}").refresh()
        seen.append(found.read("KH/scam/latest.json", 100))
        assert (found.find("KH/scam/2/a") is not None) == (seen[-1] == b"new")
        if done:
            break
        kh.publish({"latest.json": b"next"})  # and what was half written does no harm
        assert kh.client(tmp_path / f"state-{steps}").refresh().read("KH/scam/latest.json", 9)
    assert seen[0] == b"old"
    assert seen[-1] == b"new"
    assert len(seen) > 5


def test_a_full_disk_leaves_the_old_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where nothing more can be written, the operator reads so and partners see the old list."""
    kh = Country(tmp_path / "kh")
    kh.publish({"latest.json": b"old"})

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(ExchangeFault, match="No space left on device; what was published stays"):
        kh.publish({"latest.json": b"new"})
    monkeypatch.undo()
    seen = kh.client(tmp_path / "state").refresh()
    assert seen.read("KH/scam/latest.json", 100) == b"old"
    assert not list(kh.folder.rglob("*.writing"))


def test_what_is_due_is_signed_again_by_itself(tmp_path: Path) -> None:
    """Half-way to its end a signature is renewed, whatever it is of; before, nothing is written."""
    kh = Country(tmp_path / "kh")
    kh.publish()

    def signed_after(after_s: int) -> list[str]:
        return repository.resign(kh.folder, replace(kh.by, now_s=kh.now_s + after_s))

    assert signed_after(60) == []
    assert signed_after(VALIDITY.timestamp_s // 2 + 60) == ["timestamp"]
    assert signed_after(VALIDITY.list_s // 2 + 60) == ["KH/scam", "snapshot", "timestamp"]
    assert "latest.json" in str(kh.read().read_role("KH~scam").targets)


@pytest.mark.parametrize("ahead_s", [3600, 30 * 86_400])
def test_what_a_clock_ahead_has_signed_is_signed_again_once_it_is_right(
    tmp_path: Path, ahead_s: int
) -> None:
    """Partners refuse signatures of the future: those are due at once, not half-way to an end."""
    real_s = int(time.time())
    kh = Country(tmp_path / "kh", now_s=real_s + ahead_s)
    kh.publish()
    with pytest.raises(FeedDown) as caught:
        kh.client(tmp_path / "state").refresh()
    assert caught.value.reason is FeedFault.CLOCK
    right = replace(kh.by, now_s=real_s)
    assert repository.resign(kh.folder, right) == ["KH/scam", "snapshot", "timestamp"]
    assert repository.resign(kh.folder, right) == []
    assert kh.client(tmp_path / "state").refresh().read("KH/scam/latest.json", 100)


def test_old_files_go_when_nobody_can_need_them(tmp_path: Path) -> None:
    """An unreferenced file is deleted when it is old; roots and published files stay."""
    kh = Country(tmp_path / "kh")
    for text in (b"1", b"2", b"3"):
        kh.publish({"latest.json": text})
    published = kh.read()
    assert repository_files.prune(kh.folder, published, 3600) == 0
    assert repository_files.prune(kh.folder, published, -1) > 4
    assert repository_files.read(kh.folder) == published
    assert kh.client(tmp_path / "state").refresh().read("KH/scam/latest.json", 9) == b"3"


def test_a_file_stays_for_its_readers_however_old_it_is(tmp_path: Path) -> None:
    """A whole list of last week, replaced now, can still be fetched; the time counts from now."""
    kh = Country(tmp_path / "kh")
    kh.publish()
    seen = kh.client(tmp_path / "state").refresh()
    for path in kh.folder.rglob("*.*"):
        os.utime(path, (1, 1))
    repository_files.prune(kh.folder, kh.read(), 3600)
    parts = {"latest.json": b'{"generation":2}', "2/filter.bloom": b"more" * 100}
    published = repository.publish(kh.folder, kh.by, kh.list, parts)
    assert repository_files.prune(kh.folder, published, 3600) == 0
    assert seen.read("KH/scam/1/filter.bloom", 1000) == b"bits" * 100
    assert repository_files.prune(kh.folder, published, -1) > 3


def test_an_old_file_that_cannot_go_is_a_fault_of_the_repository(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another user's file, or one that another process has just renamed: `exchange run` goes on."""
    kh = Country(tmp_path / "kh")
    for text in (b"1", b"2"):
        kh.publish({"latest.json": text})
    outlet = ListPublisher(kh.folder, kh.by.ring)

    def refused(path: Path) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "unlink", refused)
    with pytest.raises(ExchangeFault, match=r"json: Permission denied"):
        outlet.renew(-1)
    monkeypatch.undo()
    assert outlet.renew(-1) == []
    assert len(list((kh.folder / "targets").rglob("*.json"))) == 1


@pytest.mark.parametrize("name", ["timestamp-1", "snapshot-1", "KH~scam-1", "root-1", "targets-1"])
def test_any_key_can_be_replaced_under_a_partner(tmp_path: Path, name: str) -> None:
    """A partner who follows notices nothing; the old key is good for nothing any more."""
    kh = Country(tmp_path / "kh")
    kh.publish()
    client = kh.client(tmp_path / "state")
    client.refresh()
    old = kh.ring.named(name)
    assert old is not None
    stem = name.rpartition("-")[0]
    new = kh.ring.new(kh.ring.next_name(stem), old.path.parent)
    assert repository.replace_key(kh.folder, kh.by, old.keyid, new) == [stem]
    assert client.refresh().read("KH/scam/latest.json", 100)
    assert all(old.keyid not in one.keyids for one in repository.role_statuses(kh.read()))
    kh.publish({"latest.json": b"after"})
    assert client.refresh().read("KH/scam/latest.json", 100) == b"after"


def test_revoking_needs_others_to_be_enough(tmp_path: Path) -> None:
    """One of three root keys can be revoked, one of one cannot: it is replaced instead."""
    kh = Country(tmp_path / "kh")
    third, only = kh.ring.named("root-3"), kh.ring.named("timestamp-1")
    assert third is not None
    assert only is not None
    repository.replace_key(kh.folder, kh.by, third.keyid, None)
    with pytest.raises(ExchangeFault, match="rotate"):
        repository.replace_key(kh.folder, kh.by, only.keyid, None)
    assert [one.keyids for one in repository.role_statuses(kh.read()) if one.role == "timestamp"]


def test_without_the_peoples_keys_nothing_of_theirs_is_signed(tmp_path: Path) -> None:
    """The machine alone cannot add a list; the message says whose keys are missing."""
    kh = Country(tmp_path / "kh")
    alone = replace(kh.by, ring=KeyRing([kh.home / "keys", kh.sticks[0]]))
    with pytest.raises(ExchangeFault, match=r"targets needs 2 signatures and only 1.*--keys"):
        repository.add_list(kh.folder, alone, "KH/banks")
    assert not list((kh.home / "keys").glob("KH~banks*")), "a key of no role looks usable"
    machine = replace(kh.by, ring=KeyRing([kh.home / "keys"]))
    repository.publish(kh.folder, machine, kh.list, {})


def test_private_keys_are_the_owners_alone(tmp_path: Path) -> None:
    """Mode 0600, never overwritten; one that others may read is refused; a passphrase seals."""
    ring = KeyRing([tmp_path / "keys"], "open sesame")
    key = ring.new("root-1")
    assert key.path.stat().st_mode & 0o777 == 0o600
    assert b"ENCRYPTED" in key.path.read_bytes()
    with pytest.raises(SecretUnsafe, match="is not overwritten"):
        ring.new("root-1")
    with pytest.raises(ExchangeFault, match="RINGFENCE_EXCHANGE_PASSPHRASE"):
        list(KeyRing([tmp_path / "keys"]).held())
    with pytest.raises(ExchangeFault, match="passphrase is wrong"):
        list(KeyRing([tmp_path / "keys"], "wrong").held())
    key.path.chmod(0o640)
    with pytest.raises(SecretUnsafe, match=r"mode 0640.*chmod 600"):
        list(KeyRing([tmp_path / "keys"], "open sesame").held())
    assert "private" not in repr(ring).lower()


def test_a_damaged_repository_is_named(tmp_path: Path) -> None:
    """An unreadable file is named, and nothing is written over it."""
    kh = Country(tmp_path / "kh")
    (kh.folder / "metadata" / "timestamp.json").write_bytes(b"{")
    with pytest.raises(ExchangeFault, match="is damaged"):
        kh.publish()
    with pytest.raises(ExchangeFault, match="is no repository"):
        repository_files.read(tmp_path / "nothing")
    with pytest.raises(ExchangeFault, match="holds a repository already"):
        repository.init(kh.folder, kh.by, kh.sticks, 1)


@pytest.mark.parametrize(
    ("role", "old", "new"),
    [
        ("root", b"{", b""),
        ("snapshot", b"{", b""),
        ("targets", b"{", b""),
        ("KH~scam", b"{", b""),
        ("KH~scam", b"latest", b"oldest"),
    ],
)
def test_damaged_metadata_of_a_role_is_a_fault(
    tmp_path: Path, role: str, old: bytes, new: bytes
) -> None:
    """`exchange run` reports it and goes on, and signs nothing that was altered on the disk."""
    kh = Country(tmp_path / "kh")
    kh.publish()
    outlet = ListPublisher(kh.folder, kh.by.ring)
    (*_, path) = sorted((kh.folder / "metadata").glob(f"*.{role}.json"))
    path.write_bytes(path.read_bytes().replace(old, new, 1))
    with pytest.raises(ExchangeFault, match=f"{role}.json"):
        outlet.before(kh.list)
    with pytest.raises(ExchangeFault, match=f"{role}.json"):
        outlet.renew(3600)


def test_names_that_lead_elsewhere_are_not_published(tmp_path: Path) -> None:
    """A part's name stays below its list."""
    kh = Country(tmp_path / "kh")
    for name in ("../../etc/passwd", "a/../../b", "/etc/passwd", "a//b", ".hidden"):
        with pytest.raises(ExchangeFault, match="lead out of its folder"):
            kh.publish({name: b"x"})


def test_a_partner_remembers_and_refuses_older(tmp_path: Path) -> None:
    """Metadata keep the order in which they were signed: versions only rise."""
    kh = Country(tmp_path / "kh")
    kh.publish()
    versions = [one.version for one in repository.role_statuses(kh.read())]
    kh.publish({"latest.json": b"2"})
    assert [one.version for one in repository.role_statuses(kh.read())] == [
        versions[0],
        versions[1],
        *(each + 1 for each in versions[2:]),
    ]
    stamped = Metadata.from_bytes(kh.read().timestamp).signed
    assert stamped.unrecognized_fields["x-ringfence-signed-at"] == kh.now_s
    client = kh.client(tmp_path / "state")
    with pytest.raises(FeedDown) as caught:
        client.refresh().download("KH/scam/none", tmp_path / "none")
    assert caught.value.reason is FeedFault.MISSING


def begun(home: Path) -> PublishedMetadata:
    """An operator's input, repeated if need be."""
    sticks = [home / "a", home / "b"]
    by = Signatory(KeyRing([home / "keys", *sticks]), VALIDITY, int(time.time()))
    return repository.init(home / "r", by, sticks, 2)


def killed_after(steps: int, home: Path, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Begin, and be killed at the next file after so many; a key's is half written then.

    Whether it was done before that.
    """
    put, left = repository_files.put, [steps]

    def dying(path: Path, content: bytes | Path) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise KeyboardInterrupt
        put(path, content)

    def half(path: Path, data: bytes) -> None:
        left[0] -= 1
        write_private(path, data if left[0] >= 0 else data[:20])
        if left[0] < 0:
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(repository_files, "put", dying)
        patched.setattr("stream.exchange.signing_keys.write_private", half)
        try:
            begun(home)
        except KeyboardInterrupt:
            return False
    return True


def test_an_init_that_is_killed_is_done_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wherever it was killed, the same words end in a whole repository, with the keys it made."""
    steps = 0
    while not killed_after(steps, home := tmp_path / f"home-{steps}", monkeypatch):
        made = {path: path.read_bytes() for path in home.rglob("*.pem")}
        published = begun(home)
        whole = {path: data for path, data in made.items() if b"END" in data}
        assert all(path.read_bytes() == data for path, data in whole.items())
        client = TufClient(str(home / "r"), home / "state", published.root)
        assert client.refresh().version == "1"
        assert [path.name for path in home.glob(".r.*")] == [".r.lock"]
        with pytest.raises(ExchangeFault, match="holds a repository already"):
            begun(home)
        steps += 1
    assert steps > 10
    (home / ".r.making").write_text("[]")  # it was killed before its last word
    assert begun(home) == repository_files.read(home / "r")
    assert not (home / ".r.making").exists()


def test_an_init_uses_no_key_that_it_did_not_make(tmp_path: Path) -> None:
    """A key of something else on a stick stays out of it; other folders than before are named."""
    KeyRing([tmp_path / "a"]).new("root-1")
    with pytest.raises(ExchangeFault, match=r"root-1\.pem is there already.*nothing was made"):
        begun(tmp_path)
    assert not (tmp_path / "keys").exists()
    (tmp_path / ".r.making").write_text('["/elsewhere/root-1.pem"]')
    with pytest.raises(ExchangeFault, match="give the same --offline folders again"):
        begun(tmp_path)
    (tmp_path / ".r.making").write_text("no note")
    with pytest.raises(ExchangeFault, match=r"\.r\.making cannot be read"):
        begun(tmp_path)


def test_a_web_server_of_another_user_can_read_what_is_published(tmp_path: Path) -> None:
    """Whatever the umask: files 0644 and folders 0755, in hubs too; private keys stay 0600."""
    before = os.umask(0o077)
    try:
        kh = Country(tmp_path / "kh")
        kh.publish()
        hub, _ = hub_at(tmp_path / "hub", kh.now_s)
        hub.add("KH", str(kh.folder), kh.root, kh.now_s)
        mirror.write_bundle(kh.folder, tmp_path / "kh.tar")
        carried = tmp_path / "carried" / "kh"
        mirror.read_bundle(tmp_path / "kh.tar", carried, kh.root, tmp_path / "s", TufLimits())
    finally:
        os.umask(before)
    for folder in (kh.folder, hub.folder, carried):
        paths = [folder, *folder.rglob("*")]
        modes = {(path.is_dir(), path.stat().st_mode & 0o777) for path in paths}
        assert modes == {(True, 0o755), (False, 0o644)}
    secret = list(tmp_path.rglob("*.pem"))
    assert {path.stat().st_mode & 0o777 for path in secret} == {0o600}
    assert {path.parent.stat().st_mode & 0o777 for path in secret} == {0o700}


def test_a_folder_that_a_web_server_can_not_enter_is_named(tmp_path: Path) -> None:
    """Modes below the repository help nobody where a folder above it is closed."""
    home = tmp_path / "home"
    (home / "exchange").mkdir(parents=True)
    home.chmod(0o700)
    found = repository_files.closed_above(home / "exchange" / "repository")
    assert found is not None
    assert home.is_relative_to(found)
    assert repository_files.closed_above(Path("/exchange")) is None
