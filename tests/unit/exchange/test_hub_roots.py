"""A hub that says that other keys are a country's: whoever follows the country is not fooled."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from tuf.api.metadata import DelegatedRole, Root, Targets

from stream.cli.exchange.exchange_follow import follow
from stream.core.model.errors import FeedDown, FeedFault
from stream.exchange import repository, repository_files, signing
from stream.exchange.mirror import COUNTRIES, Hub
from stream.exchange.signing_keys import KeyRing
from stream.feeds.tuf.tuf_client import TufClient, TufLimits
from tests.support.repositories import VALIDITY, Country

LATEST = "KH/scam/latest.json"


class Scene:
    """KH, a hub that carries it, and a partner who has KH's own root and follows it there."""

    def __init__(self, home: Path, *, marked: bool = True) -> None:
        self.home = home
        self.kh = Country(home / "kh")
        self.kh.publish()
        self.ring = KeyRing([home / "hub-keys", home / "stick"])
        folder, now_s = home / "hub", self.kh.now_s
        self.root = repository.init(
            folder, self.ring, [home / "stick"], 1, VALIDITY, now_s, hub=marked
        ).root
        self.hub = Hub(folder, self.ring, home / "hub-state", VALIDITY, TufLimits())
        self.hub.add("KH", str(self.kh.folder), self.kh.root, now_s)
        self.carried = folder / COUNTRIES / "KH"

    def follows(self, url: Path, root: bytes, state: str) -> bytes:
        """What a feed does at each look."""
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
    now_s = scene.kh.now_s
    published = repository_files.read(scene.hub.folder)
    published = signing.delegated(published, scene.ring, role, [key], VALIDITY, now_s)
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
    published = signing.list_signed(
        published, scene.ring, "KH/scam", {LATEST: target}, VALIDITY, now_s
    )
    repository_files.write(
        scene.hub.folder, signing.stamped(published, scene.ring, VALIDITY, now_s)
    )
    old = scene.ring.named("root-1")
    assert old is not None
    new = scene.ring.new("root-2")
    repository.replace_key(scene.hub.folder, scene.ring, old.keyid, new, VALIDITY, now_s)
    for state in ("th", "th"):
        with pytest.raises(FeedDown, match="is a hub's"):
            scene.follows(scene.hub.folder, scene.root, state)
