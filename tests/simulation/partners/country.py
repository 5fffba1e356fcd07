"""A country that shares a list: its list store, people who change it, and `ringfence exchange run`.

A person replaces its keys, amid all that.

What the exchange publishes lies in a folder, as it does on a disk: a web server reads it at each
request, also amid a publication. An attacker has kept every publication, and may serve them.
"""

import asyncio
import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any
from unittest.mock import patch

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import Metadata, Root, Targets

from stream.config.settings import Settings
from stream.core.model.agreement import Shared
from stream.core.model.errors import Fault
from stream.exchange import repository, repository_files
from stream.exchange.publisher import ListPublisher
from stream.exchange.signing import Signatory, Validity
from stream.exchange.signing_keys import KeyRing
from stream.feeds.feed import VersionRecord
from stream.services.exchange import CurrentOffers, _Publishing
from tests.simulation.loop import Process
from tests.simulation.partners.hosts import with_store
from tests.simulation.partners.plan import OF_REPOSITORIES
from tests.simulation.partners.publications import NUMBERS, OURS, Publication, Publications
from tests.simulation.partners.web import Content
from tests.simulation.publisher import Publisher
from tests.simulation.store.database import Args
from tests.simulation.store.ensemble import Ensemble, StorePace
from tests.simulation.store.node import Node
from tests.simulation.store.published import Book
from tests.simulation.worker import Hosted, settings_for
from tests.simulation.world import World

LIST = "KH/scam"
_KINDS = {"add": 6, "retract": 3, "remove": 3, "import_": 1, "rebuild": 1}
_VALIDITY = Validity(timestamp_s=60, snapshot_s=600)
"""Short, so that what is held back expires within a history."""
LATE_S = 60.0
"""From the moment of a look at the metadata until a version of then is accepted."""


@dataclass
class _Archive:
    """All that was published at one moment: files by their path."""

    files: dict[str, bytes]
    generation: str
    expires_s: float


class ExchangeHost(Hosted):
    """One host with `exchange run`."""

    outlet: ListPublisher

    def _made(self) -> _Publishing:
        offers = CurrentOffers(self.settings, self.outlet, (LIST,), Shared.NUMBERS)
        return _Publishing(self.settings, self.outlet, offers)


class SignedPartner:
    """The country, its repository, and the web server's view of it. `mood` is the server's."""

    HOST, NAME, PREFIX = "192.0.2.10", "kh", "kh-"

    def __init__(self, world: World, folder: Path, bug: Callable[[str], None]) -> None:
        self.world, self.folder, self._bug = world, folder / "repository", bug
        self.said = Publications("kh-scam", LIST, _name_of, forgets=False)
        self.book = Book()
        self.store = Ensemble(
            world.network, StorePace(), 1, 0, committed=self._took, prefix=self.PREFIX
        )
        self.mood: Callable[[], str] = lambda: ""
        self._steps = 0
        self._archives: list[_Archive] = []
        self._since = ""
        self._kept: _Archive | None = None
        self._signed: object = None
        """Root's version and the timestamp that were seen to be signed."""
        self._expires: dict[str, float] = {}
        """Until when each generation's timestamps were good."""
        self._home = folder
        self._keys = keys = (folder / "keys", folder / "offline")
        self.person: Process | None = None
        """The process of the person that replaces a key now, or did last."""
        by = Signatory(KeyRing(keys), _VALIDITY, int(world.loop.wall_s))
        first = repository.init(self.folder, by, [folder / "offline"], 1)
        repository.add_list(self.folder, by, LIST)
        (folder / "root.json").write_bytes(first.root)
        self.host = ExchangeHost(world, self.NAME, self._settings(), bug)
        self.host.outlet = ListPublisher(self.folder, KeyRing(keys[:1]), _VALIDITY)
        self.publisher = Publisher(
            world,
            self._settings().list_store(),
            self.book,
            [*NUMBERS, OURS],
            folder,
            bug,
            set(),
            lists=(LIST,),
            kinds=_KINDS,
        )

    def _settings(self) -> Settings:
        settings = with_store(settings_for("", self._home / "state"), self.store)
        exchange = replace(
            settings.exchange, dir=str(self.folder), resign_s=5.0, look_s=5.0, kept_hours=0.01
        )
        return replace(settings, exchange=exchange)

    def feed_file(self) -> str:
        """Return the feed's file of a country that follows it."""
        root = self._home / "root.json"
        return _FEED.format(url=f"http://{self.HOST}", root=root)

    async def start(self) -> None:
        """Make the list, and begin to publish."""
        await self.store.start()
        await self.publisher.begin()
        await self.clean()
        self.host.start()

    @property
    def clean_now(self) -> bool:
        """True if the list has numbers, and none that a partner's gate does not let through."""
        return bool(self.said.versions) and self.said.versions[-1].good

    async def clean(self) -> None:
        """Take off what no partner's gate lets through, as a person does once asked."""
        await self.publisher.take_off(LIST, [OURS])
        if not self.clean_now:
            await self.publisher.begin()

    async def rotate(self) -> None:
        """Let a person replace one of the keys. The command may be killed in the middle."""
        self.person = person = self.world.process(self.NAME)
        over = asyncio.Event()
        person.ends[lambda _: over.set()] = None
        person.run(asyncio.to_thread(self._rotate)).add_done_callback(lambda _: over.set())
        await over.wait()

    def _rotate(self) -> None:
        """Do as `ringfence exchange key rotate` does, and delete the old key. Blocks."""
        rng, ring = self.world.rng, KeyRing(self._keys)
        by = Signatory(ring, _VALIDITY, int(self.world.loop.wall_s))
        with suppress(Fault):
            old = rng.choice(list(ring.held()))
            stem = old.name.rpartition("-")[0]
            new = ring.new(ring.next_name(stem), old.path.parent)
            try:
                roles = repository.replace_key(self.folder, by, old.keyid, new)
            except Fault:
                new.path.unlink()
                raise
            self.world.loop.note(new.name, "signs for", ", ".join(roles))
            old.path.unlink()

    def _took(self, node: Node, effects: tuple[Args, ...]) -> None:
        self.book.took(node, effects)
        steps = list(self.book.versions.get(LIST, {}).values())
        for step in steps[self._steps :]:
            numbers, name = frozenset(step.content or ()), f"generation {step.generation}"
            # A generation that is reserved, or a base of the same, is published with what follows.
            self.said.add(Publication(numbers, frozenset({name}), self.world.loop.time()))
        self._steps = len(steps)

    # What its web server answers.

    def content(self, path: str) -> Content | None:
        """Return a file of the repository, or what an attacker has in its place."""
        self._keep()
        mood, name = self.mood(), path.lstrip("/")
        if mood != self._since:
            self._since = mood
            self._kept = self._archives[-1] if self._archives else None
        if mood in OF_REPOSITORIES and self._archives:
            data = getattr(self, f"_{mood}")(name)
        else:
            data = self._read(name)
        return Content(data) if data is not None else None

    def _read(self, name: str) -> bytes | None:
        try:
            return (self.folder / name).read_bytes()
        except OSError:
            return None

    def _keep(self) -> None:
        """Keep what is published now, if it is new."""
        stamp = self._read("metadata/timestamp.json")
        name = "metadata/timestamp.json"
        if stamp is None or (self._archives and self._archives[-1].files[name] == stamp):
            return
        files = {
            str(path.relative_to(self.folder)): path.read_bytes()
            for path in self.folder.rglob("*")
            if path.is_file() and not path.name.endswith(".writing")
        }
        # What is written after this stamp is not of it: nobody can ask for it by these.
        archive = _Archive(files, *_led_to(files))
        self._archives.append(archive)
        if archive.generation:
            self._expires[archive.generation] = archive.expires_s

    def _older(self, name: str) -> bytes | None:
        """Serve a publication of before, whole."""
        return self._archives[max(len(self._archives) - 4, 0)].files.get(name)

    def _held_back(self, name: str) -> bytes | None:
        """Serve what there was when the mood began, for as long as it lasts."""
        return (self._kept or self._archives[-1]).files.get(name)

    def _mixed(self, name: str) -> bytes | None:
        """Serve files of several publications, each whole: one of before under a newer name."""
        version, _, rest = name.removeprefix("metadata/").partition(".")
        if version.isdecimal() and int(version) > 1 and self.world.rng.random() < 0.5:
            older = f"metadata/{int(version) - 1}.{rest}"
            return self._archives[-1].files.get(older) or self._read(name)
        return self._read(name)

    def _restamped(self, name: str) -> bytes | None:
        """Say that metadata are newer and good for a day more, under the signature of before."""
        data = self._held_back(name)
        if data is None or not name.startswith("metadata/") or ".root." in name:
            return data
        said: dict[str, Any] = json.loads(data)
        said["signed"]["version"] += 1
        said["signed"]["expires"] = said["signed"]["expires"].replace("2026", "2027")
        return json.dumps(said).encode()

    # What must hold.

    def torn(self) -> str:
        """Return what is missing of the publication that lies in the folder; "": nothing."""
        stamp = self._read("metadata/timestamp.json")
        for name, wanted in _files_of(stamp, self._read) if stamp is not None else ():
            data = self._read(name)
            if data is None or hashlib.sha256(data).hexdigest() != wanted:
                return f"{name} is {'not there' if data is None else 'another one'}"
        return self._unsigned() if stamp is not None else "no timestamp"

    def _unsigned(self) -> str:
        """Return what a partner that begins now would refuse; "": every file is signed."""
        newest = repository_files.newest_root(self.folder)
        seen = (newest, self._read("metadata/timestamp.json"))
        if seen == self._signed:
            return ""
        names = [f"{version}.root.json" for version in range(1, newest + 1)]
        roots = [Metadata[Root].from_bytes(self._read(f"metadata/{one}") or b"") for one in names]
        published = repository_files.read(self.folder)
        try:
            for before, root in pairwise([roots[0], *roots]):
                for one in (before, root):
                    one.signed.verify_delegate("root", root.signed_bytes, root.signatures)
            for role in ("timestamp", "snapshot", "targets"):
                said = Metadata.from_bytes(getattr(published, role))
                roots[-1].signed.verify_delegate(role, said.signed_bytes, said.signatures)
            targets = published.read_targets()
            for role, data in published.roles.items():
                listed = Metadata[Targets].from_bytes(data)
                targets.verify_delegate(role, listed.signed_bytes, listed.signatures)
        except RepositoryError as error:
            return str(error)
        self._signed = seen
        return ""

    def expired(self, record: VersionRecord, now_s: float) -> bool:
        """Return whether nothing vouched for a version any more by `now_s`."""
        generation = record.remember.get("generation", "")
        return now_s > self._expires.get(generation, now_s) + LATE_S


def keys_by(world: World) -> AbstractContextManager[object]:
    """Within the block, make keys by the seed's chance."""
    return patch.object(
        Ed25519PrivateKey,
        "generate",
        lambda: Ed25519PrivateKey.from_private_bytes(world.rng.randbytes(32)),
    )


def _name_of(record: VersionRecord) -> str:
    """Return the name by which a version is known to its country."""
    return f"generation {record.remember.get('generation')}"


def _files_of(stamp: bytes, read: Callable[[str], bytes | None]) -> Iterator[tuple[str, str]]:
    """Yield the files to which a timestamp leads, each with its SHA-256."""
    for meta in json.loads(stamp)["signed"]["meta"].values():
        name = f"metadata/{meta['version']}.snapshot.json"
        yield name, meta["hashes"]["sha256"]
        snapshot = json.loads(read(name) or b'{"signed": {"meta": {}}}')
        for role, one in snapshot["signed"]["meta"].items():
            name = f"metadata/{one['version']}.{role}"
            yield name, one["hashes"]["sha256"]
            targets = json.loads(read(name) or b'{"signed": {}}')["signed"].get("targets", {})
            for path, target in targets.items():
                digest = target["hashes"]["sha256"]
                head, _, last = path.rpartition("/")
                yield f"targets/{head}/{digest}.{last}", digest


def _led_to(files: dict[str, bytes]) -> tuple[str, float]:
    """Return the generation of the list in a publication, and when its timestamp expires."""
    stamp = files["metadata/timestamp.json"]
    expires = datetime.fromisoformat(json.loads(stamp)["signed"]["expires"]).timestamp()
    for name, _ in _files_of(stamp, files.get):
        if name.endswith(".latest.json") and name in files:
            return str(json.loads(files[name])["generation"]), expires
    return "", expires


_FEED = """
list = "KH/scam"
format = "snapshot"
sources = "both"
may_list = ["*"]
[owner]
name = "KH"
contact = "noc@trc.example"
[from]
kind = "tuf"
url = "{url}"
root = "{root}"
targets = "KH/scam"
answer_s = 5
deadline_s = 20
[schedule]
every = "3s"
[gate]
shrink_percent_max = 100
looks_like_ids = "pass"
"""
