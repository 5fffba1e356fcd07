"""The attack table: what is refused, and the sentence that an operator reads about it."""

import shutil
import socket
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from tuf.api.metadata import DelegatedRole, Metadata, Snapshot, TargetFile, Targets

from stream.core.model.errors import FeedDown, FeedFault
from stream.exchange import repository, repository_files, signing
from stream.feeds.tuf.tuf_client import TufClient, TufLimits
from stream.feeds.tuf.tuf_errors import ADVICE
from stream.feeds.tuf.tuf_fetcher import FetchLimits
from tests.support.repositories import VALIDITY, Country, Lying, serving

LATEST = "KH/scam/latest.json"


def current(kh: Country, role: str) -> Path:
    """The file that partners are led to."""
    names = [name for name, _ in repository_files.names_of(kh.read())]
    return kh.folder / "metadata" / next(name for name in names if name.endswith(f"{role}.json"))


def older_version(kh: Country) -> None:
    old = kh.home / "old"
    shutil.copytree(kh.folder, old)
    kh.publish({"latest.json": b"new"})
    kh.client(kh.home / "state").refresh()
    shutil.rmtree(kh.folder)
    shutil.move(old, kh.folder)


def role_disappears(kh: Country) -> None:
    kh.client(kh.home / "state").refresh()
    published = kh.read()
    snapshot = signing.copied(published.snapshot, Snapshot)
    del snapshot.signed.meta["KH~scam.json"]
    signing.renew(snapshot, kh.now_s, VALIDITY.snapshot_s)
    role = published.read_root().roles["snapshot"]
    data = signing.sign(snapshot, role, kh.ring, "snapshot")
    new = replace(published, snapshot=data, roles={})
    repository_files.write(kh.folder, signing.timestamped(new, kh.by))


def frozen(kh: Country) -> None:
    long_ago = replace(kh.by, now_s=kh.now_s - VALIDITY.timestamp_s - 3600)
    repository_files.write(kh.folder, signing.stamped(kh.read(), long_ago))


def list_of_another_version(kh: Country) -> None:
    old = current(kh, "KH~scam").read_bytes()
    kh.publish({"latest.json": b'{"generation":2}'})
    current(kh, "KH~scam").write_bytes(old)


def snapshot_of_another_version(kh: Country) -> None:
    old = current(kh, "snapshot").read_bytes()
    kh.publish({"latest.json": b"new"})
    version = Metadata[Snapshot].from_bytes(kh.read().snapshot).signed.version
    (kh.folder / "metadata" / f"{version}.snapshot.json").write_bytes(old)


def altered_after_signing(kh: Country) -> None:
    path = kh.folder / "metadata" / "timestamp.json"
    metadata = Metadata.from_file(str(path))
    metadata.signed.version += 1
    metadata.to_file(str(path))


def one_of_two_signed(kh: Country) -> None:
    published = kh.read()
    targets = signing.copied(published.targets, Targets)
    signing.renew(targets, kh.now_s, VALIDITY.targets_s)
    one = kh.ring.named("targets-1")
    assert one is not None
    targets.sign(one.signer)
    kh.stamp(replace(published, targets=targets.to_bytes()))


def removed_key(name: str, kh: Country) -> None:
    old = kh.ring.named(name)
    assert old is not None
    new = kh.ring.new(kh.ring.next_name(name.rpartition("-")[0]))
    repository.replace_key(kh.folder, kh.by, old.keyid, new)
    published = kh.read()
    if name.startswith("timestamp"):
        timestamp = Metadata.from_bytes(published.timestamp)
        timestamp.signed.version += 1
        timestamp.sign(old.signer)
        timestamp.to_file(str(kh.folder / "metadata" / "timestamp.json"))
        return
    role = signing.copied(published.roles["KH~scam"], Targets)
    signing.renew(role, kh.now_s, VALIDITY.list_s)
    role.sign(old.signer)
    kh.stamp(published.with_role("KH~scam", role.to_bytes()))


def signed_target(kh: Country, name: str, target: TargetFile) -> None:
    """A target that KH's key signs, whatever it says."""
    published = kh.read()
    targets = {**published.read_role("KH~scam").targets, name: target}
    kh.stamp(signing.list_signed(published, kh.by, "KH/scam", targets))


def other_length(change: int, kh: Country) -> None:
    target = kh.read().read_role("KH~scam").targets[LATEST]
    lying = TargetFile(target.length + change, target.hashes, LATEST)
    signed_target(kh, LATEST, lying)


def other_bytes(kh: Country) -> None:
    target = kh.read().read_role("KH~scam").targets[LATEST]
    place = repository_files.place_of(kh.folder, target)
    place.write_bytes(place.read_bytes().replace(b"1", b"2"))


def leads_elsewhere(kh: Country) -> None:
    name = "KH/scam/../../../.ssh/authorized_keys"
    signed_target(kh, name, TargetFile.from_data(name, b"x", ["sha256"]))


def role_leads_elsewhere(kh: Country) -> None:
    key = kh.ring.new("x-1").signer.public_key
    role = DelegatedRole("KH~/../../x", [key.keyid], 1, terminating=True, paths=["KH/x/*"])
    kh.stamp(signing.delegated(kh.read(), kh.by, role, [key]))


def role_named(name: Any, paths: Any, kh: Country) -> None:
    """JSON that is signed, though a role's name in it is no text."""
    published = kh.read()
    key = kh.ring.new("x-1").signer.public_key
    targets = Metadata[Targets].from_bytes(published.targets)
    below = targets.signed.delegations
    assert below is not None
    assert below.roles is not None
    odd = DelegatedRole(name, [key.keyid], 1, terminating=True, paths=paths)
    below.keys[key.keyid] = key
    below.roles = {"x": odd, **below.roles}
    targets.signed.version += 1
    targets.signatures.clear()
    for signer in kh.ring.signers(one.keyid for one in kh.ring.held()):
        targets.sign(signer, append=True)
    kh.stamp(replace(published, targets=targets.to_bytes()))


def hash_leads_elsewhere(kh: Country) -> None:
    name = "KH/scam/other"
    signed_target(kh, name, TargetFile(1, {"sha256": "../../../x"}, name))


def of_another_country(kh: Country) -> None:
    kh.client(kh.home / "state").refresh()
    name = "TH/national/latest.json"
    signed_target(kh, name, TargetFile.from_data(name, b"x", ["sha256"]))


def no_timestamp(kh: Country) -> None:
    (kh.folder / "metadata" / "timestamp.json").unlink()


def no_list(kh: Country) -> None:
    current(kh, "KH~scam").unlink()


def holds(data: bytes, role: str, kh: Country) -> None:
    current(kh, role).write_bytes(data)


ATTACKS: dict[str, tuple[Callable[[Country], None], FeedFault, str]] = {
    "rollback": (older_version, FeedFault.ROLLBACK, "must be >="),
    "a list that disappears": (role_disappears, FeedFault.ROLLBACK, "missing info"),
    "freeze": (frozen, FeedFault.EXPIRED, "timestamp.json is expired"),
    "mix and match: a list": (list_of_another_version, FeedFault.MIXED, "length|hash"),
    "mix and match: snapshot": (snapshot_of_another_version, FeedFault.MIXED, "length|hash"),
    "wrong signature": (altered_after_signing, FeedFault.WRONG_SIGNATURE, "0/1 keys"),
    "threshold not met": (one_of_two_signed, FeedFault.THRESHOLD, "1/2 keys"),
    "a removed key signs a list": (
        partial(removed_key, "KH~scam-1"),
        FeedFault.UNKNOWN_KEY,
        "0/1 keys",
    ),
    "a removed key signs the timestamp": (
        partial(removed_key, "timestamp-1"),
        FeedFault.UNKNOWN_KEY,
        "0/1 keys",
    ),
    "a target longer than signed": (
        partial(other_length, -1),
        FeedFault.WRONG_LENGTH,
        "signed length",
    ),
    "a target shorter than signed": (
        partial(other_length, 1),
        FeedFault.WRONG_LENGTH,
        "not the file that was signed",
    ),
    "a target with other bytes": (other_bytes, FeedFault.CHECKSUM, "not the file that was signed"),
    "path traversal": (leads_elsewhere, FeedFault.BAD_NAME, "authorized_keys"),
    "path traversal in a role's name": (role_leads_elsewhere, FeedFault.BAD_NAME, "KH~/../../x"),
    "a role whose name is no text": (
        partial(role_named, True, ["KH/x/*"]),
        FeedFault.BAD_NAME,
        "a role is named 'True'",
    ),
    "paths that are no list": (
        partial(role_named, "KH~x", {"KH/x/*": 1}),
        FeedFault.MALFORMED,
        "the paths of role KH~x are no list",
    ),
    "path traversal in a hash": (hash_leads_elsewhere, FeedFault.MALFORMED, "no SHA-256"),
    "another country's list": (of_another_country, FeedFault.NOT_THEIRS, "TH/national"),
    "no timestamp": (no_timestamp, FeedFault.MISSING, "HTTP 404|is not there"),
    "a role that is not there": (no_list, FeedFault.MISSING, "HTTP 404|is not there"),
    "an error page": (partial(holds, b"<html>", "timestamp"), FeedFault.MALFORMED, "metadata"),
    "deep JSON": (partial(holds, b"[" * 9000, "timestamp"), FeedFault.MALFORMED, "metadata"),
    "another type": (
        partial(holds, b'{"signatures":[],"signed":{}}', "timestamp"),
        FeedFault.MALFORMED,
        "metadata",
    ),
    "huge metadata": (partial(holds, b" " * 20_000, "timestamp"), FeedFault.TOO_LARGE, "16,384"),
    "a list's huge metadata": (
        partial(holds, b" " * 600_000, "KH~scam"),
        FeedFault.TOO_LARGE,
        "more than",
    ),
}


def taken(kh: Country, url: str) -> None:
    """The actions of a partner who follows all of it."""
    client = kh.client(kh.home / "state", url)
    try:
        seen = client.refresh()
        for targets in seen.roles().values():
            seen.only_of("KH")
            for name in targets:
                seen.download(name, kh.home / "target")
    finally:
        client.close()


def taken_over_http(kh: Country) -> None:
    with serving(kh.folder) as url:
        taken(kh, url)


@pytest.mark.parametrize("attack", ATTACKS)
def test_an_attack_is_refused_and_explained(kh: Country, attack: str) -> None:
    """Each ends in its reason, one clear sentence of what was found, and what to do."""
    alter, reason, words = ATTACKS[attack]
    alter(kh)
    with pytest.raises(FeedDown, match=words) as caught:
        taken_over_http(kh)
    assert caught.value.reason is reason, caught.value.detail
    assert caught.value.detail.endswith(ADVICE[reason])


@pytest.mark.parametrize(
    "attack", ["rollback", "freeze", "no timestamp", "a target with other bytes"]
)
def test_a_folder_is_believed_no_more_than_a_server(kh: Country, attack: str) -> None:
    """A bundle on a disk is refused for the same reasons."""
    alter, reason, words = ATTACKS[attack]
    alter(kh)
    with pytest.raises(FeedDown, match=words) as caught:
        taken(kh, str(kh.folder))
    assert caught.value.reason is reason, caught.value.detail


def test_a_role_without_a_name_signs_no_list(kh: Country) -> None:
    """python-tuf finds it for the list, and cannot make a file's name of 5."""
    role_named(5, ["KH/scam/*"], kh)
    client = kh.client(kh.home / "state")
    with pytest.raises(
        FeedDown, match=f"who signs {LATEST}: its metadata cannot be used"
    ) as caught:
        client.refresh().find(LATEST)
    client.close()
    assert caught.value.reason is FeedFault.MALFORMED


def test_every_reason_says_what_to_do() -> None:
    """The advice is whole sentences, short enough to be read at night."""
    for reason, advice in ADVICE.items():
        assert advice.endswith("."), reason
        assert len(advice) < 200, reason


def endless(name: str, handler: Lying) -> bool:
    if name not in handler.path:
        return False
    handler.send_response(200)
    handler.end_headers()
    try:
        while True:
            handler.wfile.write(b" " * 65_536)
    except OSError:
        return True


def dripping(name: str, wait_s: float, handler: Lying) -> bool:
    if name not in handler.path:
        return False
    handler.send_response(200)
    handler.end_headers()
    try:
        for _ in range(100):
            handler.wfile.write(b" ")
            time.sleep(wait_s)
    except OSError:
        pass
    return True


def everything(kh: Country, client: TufClient) -> None:
    seen = client.refresh()
    seen.download(LATEST, kh.home / "latest")
    seen.download("KH/scam/1/filter.bloom", kh.home / "filter")


def broken_off(handler: Lying) -> bool:
    """The first answer for the filter ends in its middle."""
    if "filter.bloom" not in handler.path or handler.headers.get("Range"):
        return False
    handler.send_response(200)
    handler.send_header("Content-Length", "4000")
    handler.end_headers()
    handler.wfile.write(b"bits" * 500)
    handler.wfile.flush()
    handler.close_connection = True
    return True


@pytest.mark.parametrize(
    ("say", "reason"),
    [
        (partial(endless, "timestamp"), FeedFault.TOO_LARGE),
        (partial(endless, "KH~scam"), FeedFault.TOO_LARGE),
        (partial(endless, "latest.json"), FeedFault.WRONG_LENGTH),
        (partial(dripping, "timestamp", 0.02), FeedFault.TOO_SLOW),
        (partial(dripping, "filter.bloom", 0.02), FeedFault.TOO_SLOW),
        (partial(dripping, "timestamp", 2.0), FeedFault.TIMEOUT),
    ],
)
def test_a_server_can_neither_flood_nor_stall(
    kh: Country, say: Callable[[Lying], bool], reason: FeedFault
) -> None:
    """Endless data end at the size that is due, and what drips or is silent is given up."""
    limits = TufLimits(fetch=FetchLimits(answer_s=0.5, slow_window_s=0.1))
    with serving(kh.folder, partial(Lying, say=say)) as url:
        client = kh.client(kh.home / "state", url, limits)
        with pytest.raises(FeedDown) as caught:
            everything(kh, client)
        client.close()
    assert caught.value.reason is reason, caught.value.detail


def test_a_server_that_is_not_there_is_no_slow_one(kh: Country) -> None:
    """A closed port is `down`, with what the system says of it."""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        client = kh.client(kh.home / "state", f"http://127.0.0.1:{closed.getsockname()[1]}")
        with pytest.raises(FeedDown, match="Connection refused") as caught:
            client.refresh()
        client.close()
    assert caught.value.reason is FeedFault.DOWN


def test_a_download_that_broke_off_goes_on(kh: Country) -> None:
    """The received part is kept, only the rest is requested, and the whole is verified."""
    with serving(kh.folder, partial(Lying, say=broken_off)) as url:
        client = kh.client(kh.home / "state", url)
        with pytest.raises(FeedDown) as caught:
            client.refresh().download("KH/scam/1/filter.bloom", kh.home / "filter")
        assert caught.value.reason is FeedFault.DOWN
        assert [path.stat().st_size for path in (kh.home / "state/partial").iterdir()] == [2000]
        client.refresh().download("KH/scam/1/filter.bloom", kh.home / "filter")
        client.close()
    assert (kh.home / "filter").read_bytes() == b"bits" * 1000
    assert not list((kh.home / "state" / "partial").iterdir())
