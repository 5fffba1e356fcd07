"""Hubs, bundles, checks of what is served, and a partner who has nothing of ours."""

import io
import os
import shutil
import subprocess
import sys
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from pybloom_live import BloomFilter  # type: ignore[attr-defined]
from tuf.api.metadata import DelegatedRole, Metadata, Root, Targets

from stream.cli.exchange.exchange_lists import follow
from stream.core.model.errors import ExchangeFault, FeedDown, FeedFault
from stream.exchange import mirror, repository, repository_files, signing
from stream.exchange.mirror import COUNTRIES, Hub
from stream.exchange.repository_files import PublishedMetadata
from stream.exchange.signing_keys import KeyRing
from stream.feeds.tuf.tuf_client import TufClient, TufLimits
from stream.lists.snapshot.build import Version, build_snapshot, columns_from
from stream.lists.snapshot.circle_keys import key_id
from tests.support.builders import entry
from tests.support.repositories import VALIDITY, Country, hub_at, serving
from tests.support.waiting import HANGS_S

LIMITS = TufLimits()
EXAMPLE = Path(__file__).parents[3] / "deploy" / "examples" / "read_a_list.py"


@pytest.fixture
def kh(tmp_path: Path) -> Country:
    country = Country(tmp_path / "kh")
    country.publish()
    return country


@pytest.fixture
def hub(tmp_path: Path, kh: Country) -> tuple[Hub, bytes]:
    made, root = hub_at(tmp_path / "secretariat", kh.now_s, marked=False)
    made.add("KH", str(kh.folder), kh.root, kh.now_s)
    return made, root


def theirs(hub: Hub, kh: Country, state: Path) -> TufClient:
    """Follows KH at the hub with KH's own root."""
    return TufClient(str(hub.folder / COUNTRIES / "KH"), state, kh.root)


def test_a_hub_carries_every_byte(kh: Country, hub: tuple[Hub, bytes], tmp_path: Path) -> None:
    """By the country's root and by the hub's the same files are found, as KH signed them."""
    carrier, root = hub
    for client in (
        theirs(carrier, kh, tmp_path / "a"),
        TufClient(str(carrier.folder), tmp_path / "b", root),
    ):
        seen = client.refresh()
        assert seen.read("KH/scam/latest.json", 100) == b'{"generation":1}'
        assert seen.find("KH/scam/1/filter.bloom") is not None
    ours, carried = kh.read(), carrier.folder / COUNTRIES / "KH"
    assert repository_files.read(carried) == ours
    assert repository_files.read(carrier.folder).roles == {"KH": ours.targets, **ours.roles}


def test_news_pass_through_a_hub(kh: Country, hub: tuple[Hub, bytes], tmp_path: Path) -> None:
    """A country's publication is there after the next sync; without changes nothing is written."""
    carrier, root = hub
    clients = [
        theirs(carrier, kh, tmp_path / "a"),
        TufClient(str(carrier.folder), tmp_path / "b", root),
    ]
    for client in clients:
        client.refresh().roles()
    kh.publish({"latest.json": b"2"})
    repository.add_list(kh.folder, kh.by, "KH/banks")
    online = Hub(
        carrier.folder, KeyRing([tmp_path / "secretariat/keys"]), carrier.state, VALIDITY, LIMITS
    )
    assert online.sync(kh.now_s) == {"KH": None}
    for client in clients:
        assert client.refresh().read("KH/scam/latest.json", 100) == b"2"
    before = repository_files.read(carrier.folder)
    assert online.sync(kh.now_s) == {"KH": None}
    assert repository_files.read(carrier.folder) == before


def spoil(folder: Path) -> None:
    """Damage the one filter that is published, as a disk does: its length stays."""
    (found,) = (folder / "targets/KH/scam/1").glob("*.filter.bloom")
    data = found.read_bytes()
    found.write_bytes(bytes(len(data)))
    os.utime(found, (1, 1))


def test_a_copy_that_a_disk_damaged_is_made_again(
    kh: Country, hub: tuple[Hub, bytes], tmp_path: Path
) -> None:
    """A hub serves it whole after the next news, and a bundle that is imported again mends it."""
    carrier, root = hub
    assert carrier.sync(kh.now_s) == {"KH": None}
    spoil(carrier.folder / COUNTRIES / "KH")
    kh.publish({"latest.json": b"2", "1/filter.bloom": None})
    assert carrier.sync(kh.now_s) == {"KH": None}
    for place, trusted in ((carrier.folder / COUNTRIES / "KH", kh.root), (carrier.folder, root)):
        assert mirror.verify(str(place), trusted, None, LIMITS, whole=True).faults == ()
    mirror.write_bundle(kh.folder, tmp_path / "kh.tar")
    into = tmp_path / "partners" / "kh"
    for _ in range(2):
        mirror.read_bundle(tmp_path / "kh.tar", into, kh.root, tmp_path / "state", LIMITS)
        assert mirror.verify(str(into), kh.root, None, LIMITS, whole=True).faults == ()
        spoil(into)


def forged_list(published: PublishedMetadata, kh: Country, carrier: Hub) -> bytes:
    """KH's list, signed by a key of the hub's machine."""
    role = signing.copied(published.roles["KH~scam"], Targets)
    signing.renew(role, kh.now_s, VALIDITY.list_s)
    key = carrier.ring.named("snapshot-1")
    assert key is not None
    role.sign(key.signer)
    return role.to_bytes()


def test_a_hub_can_not_forge_what_a_countrys_root_guards(
    kh: Country, hub: tuple[Hub, bytes], tmp_path: Path
) -> None:
    """A follower by a country's own root takes nothing that the hub signs or alters."""
    carrier, _ = hub
    place = carrier.folder / COUNTRIES / "KH"
    theirs(carrier, kh, tmp_path / "state").refresh()
    published = repository_files.read(place)
    data = forged_list(published, kh, carrier)
    forged = published.with_role("KH~scam", data)
    with pytest.raises(ExchangeFault, match="only 0 of its"):
        signing.stamped(forged, replace(kh.by, ring=carrier.ring))
    version = published.read_snapshot().meta["KH~scam.json"].version
    (place / "metadata" / f"{version}.KH~scam.json").write_bytes(data)
    with pytest.raises(FeedDown) as caught:
        theirs(carrier, kh, tmp_path / "fresh").refresh().roles()
    assert caught.value.reason in {FeedFault.MIXED, FeedFault.TOO_LARGE}


def test_a_hub_can_not_alter_a_list_under_its_own_root(
    kh: Country, hub: tuple[Hub, bytes], tmp_path: Path
) -> None:
    """A list that the hub's machine signs in KH's name is refused: KH's keys have not signed it."""
    carrier, root = hub
    published = repository_files.read(carrier.folder)
    forged = published.with_role("KH~scam", forged_list(published, kh, carrier))
    by = replace(kh.by, ring=carrier.ring)
    repository_files.write(carrier.folder, signing.stamped(forged, by))
    with pytest.raises(FeedDown) as caught:
        TufClient(str(carrier.folder), tmp_path / "s", root).refresh().roles()
    assert caught.value.reason is FeedFault.UNKNOWN_KEY


def test_a_country_speaks_for_nobody_else_in_a_hub(tmp_path: Path) -> None:
    """A repository with a role or a target of another country is not carried."""
    kh = Country(tmp_path / "kh")
    kh.publish()
    repository.add_list(kh.folder, kh.by, "TH/national")
    carrier, _ = hub_at(tmp_path / "secretariat", kh.now_s)
    with pytest.raises(FeedDown, match="TH~national") as caught:
        carrier.add("KH", str(kh.folder), kh.root, kh.now_s)
    assert caught.value.reason is FeedFault.NOT_THEIRS
    assert carrier.members() == []
    assert repository_files.read(carrier.folder).roles == {}


def test_a_delegation_beyond_ones_name_is_never_asked(
    kh: Country, hub: tuple[Hub, bytes], tmp_path: Path
) -> None:
    """Though KH signs that it speaks for TH/*, nobody asks it for a list of TH."""
    carrier, root = hub
    key = kh.ring.new("x-1").signer.public_key
    role = DelegatedRole("KH~x", [key.keyid], 1, terminating=True, paths=["TH/national/*"])
    published = signing.delegated(kh.read(), kh.by, role, [key])
    target = repository.described("TH/national/latest.json", b"x")
    kh.stamp(signing.list_signed(published, kh.by, "KH/x", {target.path: target}))
    assert isinstance(carrier.sync(kh.now_s)["KH"], FeedDown)
    seen = TufClient(str(carrier.folder), tmp_path / "s", root).refresh()
    assert seen.find("TH/national/latest.json") is None


def test_one_country_that_is_down_holds_up_nobody(
    kh: Country, hub: tuple[Hub, bytes], tmp_path: Path
) -> None:
    """The others are carried; what is carried of it stays as it was last good."""
    carrier, _ = hub
    ph = Country(tmp_path / "ph", "PH")
    ph.publish()
    carrier.add("PH", str(ph.folder), ph.root, ph.now_s)
    shutil.rmtree(kh.folder)
    outcome = carrier.sync(ph.now_s)
    assert isinstance(outcome["KH"], FeedDown)
    assert outcome["PH"] is None
    assert theirs(carrier, kh, tmp_path / "a").refresh().find("KH/scam/latest.json")


def test_a_bundle_is_carried_and_followed(kh: Country, tmp_path: Path) -> None:
    """One tar holds all that is published; put beside a feed it is a repository again."""
    count = mirror.write_bundle(kh.folder, tmp_path / "kh.tar")
    into = tmp_path / "partners" / "kh"
    got = mirror.read_bundle(tmp_path / "kh.tar", into, kh.root, tmp_path / "state", LIMITS)
    assert got == kh.read() == repository_files.read(into)
    assert count == len([path for path in into.rglob("*") if path.is_file()])
    secrets = [key.path.read_bytes().splitlines()[1] for key in kh.ring.held()]
    data = (tmp_path / "kh.tar").read_bytes()
    assert not any(secret in data for secret in secrets)
    kh.publish({"latest.json": b"2"})
    mirror.write_bundle(kh.folder, tmp_path / "new.tar")
    mirror.read_bundle(tmp_path / "new.tar", into, kh.root, tmp_path / "state", LIMITS)
    with pytest.raises(FeedDown) as caught:
        mirror.read_bundle(tmp_path / "kh.tar", into, kh.root, tmp_path / "state", LIMITS)
    assert caught.value.reason is FeedFault.ROLLBACK
    assert (
        TufClient(str(into), tmp_path / "s", kh.root).refresh().read("KH/scam/latest.json", 9)
        == b"2"
    )


def repacked(source: Path, path: Path, leave_out: str, add: dict[str, bytes], kind: bytes) -> None:
    with tarfile.open(source) as old, tarfile.open(path, "w") as new:
        for member in old:
            if not leave_out or leave_out not in member.name:
                new.addfile(member, old.extractfile(member))
        for name, data in add.items():
            info = tarfile.TarInfo(name)
            info.size, info.type = len(data), kind
            info.linkname = "/etc/passwd"
            new.addfile(info, io.BytesIO(data))


@pytest.mark.parametrize(
    ("leave_out", "add", "kind", "reason"),
    [
        ("filter.bloom", {}, tarfile.REGTYPE, FeedFault.MISSING),
        ("timestamp", {}, tarfile.REGTYPE, FeedFault.MISSING),
        ("", {"targets/KH/more": b"x"}, tarfile.REGTYPE, FeedFault.NOT_THEIRS),
        ("", {"root-1.pem": b"x"}, tarfile.REGTYPE, FeedFault.NOT_THEIRS),
        ("", {"targets/../../x": b"x"}, tarfile.REGTYPE, FeedFault.BAD_NAME),
        ("", {"/etc/x": b"x"}, tarfile.REGTYPE, FeedFault.BAD_NAME),
        ("", {"targets/link": b""}, tarfile.SYMTYPE, FeedFault.NOT_THEIRS),
        ("", {"targets/sparse": b""}, tarfile.GNUTYPE_SPARSE, FeedFault.NOT_THEIRS),
        ("", {"metadata/timestamp.json": b"x"}, tarfile.REGTYPE, FeedFault.NOT_THEIRS),
    ],
)
def test_a_bundle_with_wrong_files_is_refused(
    kh: Country,
    tmp_path: Path,
    leave_out: str,
    add: dict[str, bytes],
    kind: bytes,
    reason: FeedFault,
) -> None:
    """A file too few, one too many, a link, a name that leads elsewhere: nothing is used."""
    mirror.write_bundle(kh.folder, tmp_path / "kh.tar")
    repacked(tmp_path / "kh.tar", tmp_path / "bad.tar", leave_out, add, kind)
    into = tmp_path / "partners" / "kh"
    with pytest.raises(FeedDown) as caught:
        mirror.read_bundle(tmp_path / "bad.tar", into, kh.root, tmp_path / "state", LIMITS)
    assert caught.value.reason is reason, caught.value.detail
    assert not into.exists()
    assert not list(into.parent.glob(".*.unpacked"))


def test_a_bundle_is_not_unpacked_through_a_link(kh: Country, tmp_path: Path) -> None:
    """A user with write access beside a repository cannot choose the place of a bundle's files."""
    mirror.write_bundle(kh.folder, tmp_path / "kh.tar")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (tmp_path / ".into.unpacked").symlink_to(elsewhere, target_is_directory=True)
    with pytest.raises(ExchangeFault, match=r"\.into\.unpacked: File exists"):
        mirror.read_bundle(tmp_path / "kh.tar", tmp_path / "into", kh.root, tmp_path / "s", LIMITS)
    assert not list(elsewhere.iterdir())


def test_what_is_no_bundle_says_so(kh: Country, tmp_path: Path) -> None:
    """A damaged tar is named."""
    (tmp_path / "x.tar").write_bytes(b"no tar" * 500)
    with pytest.raises(FeedDown, match="is no tar"):
        mirror.read_bundle(tmp_path / "x.tar", tmp_path / "into", kh.root, tmp_path / "s", LIMITS)


def test_a_server_that_gives_something_else_is_found(kh: Country, tmp_path: Path) -> None:
    """serve-check names what is behind and which file is not the one that was published."""
    served = tmp_path / "served"
    shutil.copytree(kh.folder, served)
    with serving(served) as url:
        assert mirror.serve_check(kh.folder, url, LIMITS, whole=True).faults == ()
        kh.publish({"latest.json": b"2"})
        faults = mirror.serve_check(kh.folder, url, LIMITS, whole=True).faults
        assert any("timestamp: version" in fault for fault in faults)
        next(served.rglob("*.filter.bloom")).write_bytes(b"x")
        faults = mirror.serve_check(kh.folder, url, LIMITS, whole=True).faults
        assert any("KH/scam/1/filter.bloom" in fault for fault in faults)


def test_a_partner_with_nothing_of_ours_refuses_what_was_altered(
    kh: Country, tmp_path: Path
) -> None:
    """The example needs no module of ours; it verifies, and uses no altered file."""
    assert "stream" not in EXAMPLE.read_text()
    latest = b'{"generation": 7, "whole": 7, "parts": [], "changes": []}'
    bloom = io.BytesIO()
    BloomFilter(1000, 1e-4).tofile(bloom)
    kh.publish({"latest.json": latest, "7/filter.bloom": bloom.getvalue()})
    (tmp_path / "root.json").write_bytes(kh.root)
    for path in kh.folder.rglob("*.filter.bloom"):
        path.write_bytes(b"x" * path.stat().st_size)
    with serving(kh.folder) as url:
        words = [sys.executable, "-I", str(EXAMPLE), url, "root.json", "KH/scam", "+85523900123"]
        refused = subprocess.run(
            words, cwd=tmp_path, capture_output=True, text=True, timeout=HANGS_S, check=False
        )
    assert refused.returncode != 0
    assert "LengthOrHashMismatchError" in refused.stderr


def test_metadata_of_a_hub_are_the_countrys_own_bytes(kh: Country, hub: tuple[Hub, bytes]) -> None:
    """The role KH in a hub is KH's targets.json, to the last byte."""
    carrier, _ = hub
    data = next((carrier.folder / "metadata").glob("*.KH.json")).read_bytes()
    assert data == kh.read().targets
    assert Metadata.from_bytes(data).signed.type == "targets"


def test_no_artefact_holds_a_secret(kh: Country, hub: tuple[Hub, bytes], tmp_path: Path) -> None:
    """Neither private keys nor a circle's key are in what is served, carried, bundled, kept."""
    carrier, _ = hub
    key = bytes(range(100, 132))
    columns = columns_from([entry("+85523900123", key=key)])
    parts = build_snapshot(Version("KH", "scam", 9, "asean", key, key_id(key)), columns, kh.now_s)
    kh.publish({f"9/{name}": bytes(part) for name, part in parts.items()})
    carrier.sync(kh.now_s)
    theirs(carrier, kh, tmp_path / "follower").refresh().download(
        "KH/scam/9/manifest.json", tmp_path / "manifest.json"
    )
    mirror.write_bundle(kh.folder, tmp_path / "kh.tar")
    held = [*kh.ring.held(), *carrier.ring.held()]
    pems = [each.path.read_bytes() for each in held]
    raw = [
        load_pem_private_key(pem, None).private_bytes(
            Encoding.Raw, PrivateFormat.Raw, NoEncryption()
        )
        for pem in pems
    ]
    secrets = [*raw, *(pem.splitlines()[1] for pem in pems), key]
    forms = [*secrets, *(one.hex().encode() for one in [*raw, key])]
    looked_at = 0
    for path in tmp_path.rglob("*"):
        if path.is_file() and path.suffix != ".pem":
            data = path.read_bytes()
            assert not any(form in data for form in forms), path
            looked_at += 1
    assert looked_at > 50


LATEST = "KH/scam/latest.json"


class Scene:
    """KH, a hub that carries it, and a partner who has KH's own root and follows it there."""

    def __init__(self, home: Path, *, marked: bool = True) -> None:
        self.home = home
        self.kh = Country(home / "kh")
        self.kh.publish()
        self.hub, self.root = hub_at(home / "secretariat", self.kh.now_s, marked=marked)
        self.ring = self.hub.ring
        self.by = replace(self.kh.by, ring=self.ring)
        self.hub.add("KH", str(self.kh.folder), self.kh.root, self.kh.now_s)
        self.carried = self.hub.folder / COUNTRIES / "KH"

    def follows(self, url: Path, root: bytes, state: str) -> bytes:
        """The steps of a feed at each check."""
        seen = TufClient(str(url), self.home / state, root).refresh()
        seen.owned("KH/scam")
        return seen.read(LATEST, 100)


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("new_root", [True, False])
def test_a_hub_that_swaps_a_countrys_keys_is_caught(
    tmp_path: Path, first: bool, new_root: bool
) -> None:
    """By KH's own root nothing is taken that the hub signed in KH's name, at first or later."""
    scene = Scene(tmp_path)
    if not first:
        assert scene.follows(scene.carried, scene.kh.root, "th")
    forged = Country(tmp_path / "forged")
    forged.publish({"latest.json": b"poison"})
    if new_root:
        root = signing.copied(forged.root, Root)
        signing.renew(root, forged.now_s, VALIDITY.root_s)
        data = signing.sign(root, root.signed.roles["root"], forged.ring, "root")
        repository_files.write_root(forged.folder, 2, data)
    shutil.rmtree(scene.carried)
    shutil.copytree(forged.folder, scene.carried)
    with pytest.raises(FeedDown, match="tell the owner") as caught:
        scene.follows(scene.carried, scene.kh.root, "th")
    assert caught.value.reason in {FeedFault.UNKNOWN_KEY, FeedFault.ROLLBACK}


def test_a_list_is_not_followed_by_a_hubs_root(tmp_path: Path) -> None:
    """By its own root a hub could name other keys as KH's: refused, with the way that is safe."""
    scene = Scene(tmp_path)
    (tmp_path / "hub.json").write_bytes(scene.root)
    with pytest.raises(FeedDown, match=r"countries/KH with KH's own root\.json") as caught:
        scene.follows(scene.hub.folder, scene.root, "th")
    assert caught.value.reason is FeedFault.NOT_THEIRS
    with pytest.raises(FeedDown, match="is a hub's"):
        follow(str(scene.hub.folder), "KH/scam", tmp_path / "hub.json", "noc@trc.example")
    assert not (tmp_path / "feeds").exists()


def test_a_hub_that_does_not_say_so_is_told_by_who_delegates(tmp_path: Path) -> None:
    """Between its root and KH's list stands a role of KH: in KH's own repository none does."""
    scene = Scene(tmp_path, marked=False)
    with pytest.raises(FeedDown, match="is a hub's"):
        scene.follows(scene.hub.folder, scene.root, "th")


def test_a_hub_that_poses_as_the_owner_is_known_by_its_root(tmp_path: Path) -> None:
    """It gives KH's list to a key of its own, as KH's repository does: its root says what it is.

    So it does also after the root's keys were changed.
    """
    scene = Scene(tmp_path)
    key = scene.ring.new("KH~scam-1").signer.public_key
    role = DelegatedRole("KH~scam", [key.keyid], 1, True, signing.paths_of("KH/scam"))
    published = repository_files.read(scene.hub.folder)
    published = signing.delegated(published, scene.by, role, [key])
    targets = signing.copied(published.targets, Targets)
    assert targets.signed.delegations is not None
    assert targets.signed.delegations.roles is not None
    del targets.signed.delegations.roles["KH"]
    wanted = published.read_root().roles["targets"]
    data = signing.sign(targets, wanted, scene.ring, "targets")
    published = replace(published, targets=data)
    place = scene.hub.folder / "targets" / "KH" / "scam"
    target = repository.described(LATEST, b"poison")
    repository_files.put(place / f"{target.hashes['sha256']}.latest.json", b"poison")
    published = signing.list_signed(published, scene.by, "KH/scam", {LATEST: target})
    repository_files.write(scene.hub.folder, signing.stamped(published, scene.by))
    old = scene.ring.named("root-1")
    assert old is not None
    new = scene.ring.new("root-2")
    repository.replace_key(scene.hub.folder, scene.by, old.keyid, new)
    for state in ("th", "th"):
        with pytest.raises(FeedDown, match="is a hub's"):
            scene.follows(scene.hub.folder, scene.root, state)
