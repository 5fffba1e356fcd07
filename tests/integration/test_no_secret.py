"""Neither private keys nor a circle's key are in anything that two countries and a hub leave."""

import asyncio
import os
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path

import redis
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from tests.integration.test_exchange_lists_cli import Operators
from tests.integration.test_publishing import Running, kept, seen
from tests.support.commands import Operator
from tests.support.exchange import LIST
from tests.support.feeds import kh

SECRET_FILES = {".pem", ".key"}


class Scene:
    """KH, TH and a hub; `said` is all that commands printed, faults among it."""

    def __init__(self, folder: Path, urls: list[str]) -> None:
        self.folder, self.urls = folder, urls
        self.operators = Operators(folder, urls)
        circles = folder / "circles"
        for config in (self.operators.kh.config, self.operators.th.config):
            text = config.read_text()
            if "[exchange]" not in text:
                text += "[exchange]\n"
            config.write_text(
                f'{text}circles_dir = "{circles}"\nstate_dir = "{folder}/{config.stem}-seen"\n'
            )
        self.hub = folder / "hub.toml"
        self.hub.write_text(
            f'[exchange]\ndir = "{folder}/hub/r"\nkeys_dir = "{folder}/hub/keys"\n'
            f'state_dir = "{folder}/hub/state"\ncircles_dir = "{folder}/hub/circles"\n'
        )
        self.said: list[str] = []

    def types(self, config: Path, *words: object) -> None:
        """Whatever comes of it is printed."""
        self.said.append(Operator(config).invokes(*map(str, words)).output)

    def secrets(self) -> Iterator[bytes]:
        """Every secret of all of them, in every form that one could slip out in."""
        for path in self.folder.rglob("*.pem"):
            data = path.read_bytes()
            yield data.splitlines()[1]
            raw = load_pem_private_key(data, None).private_bytes(
                Encoding.Raw, PrivateFormat.Raw, NoEncryption()
            )
            yield from (raw, raw.hex().encode(), b64encode(raw).rstrip(b"="))
        for path in self.folder.rglob("*.key"):
            raw = bytes.fromhex(path.read_text())
            yield from (raw, raw.hex().encode(), b64encode(raw).rstrip(b"="), repr(raw).encode())

    def artefacts(self) -> Iterator[tuple[str, bytes]]:
        """Each file, all that was said, and each value of both registers."""
        for path in self.folder.rglob("*"):
            if path.is_file() and path.suffix not in SECRET_FILES:
                yield str(path), path.read_bytes()
        yield "what was said", "\n".join(self.said).encode()
        for url in self.urls:
            with redis.Redis.from_url(url) as raw:
                assert raw.dbsize()
            for key, value in kept(url).items():
                yield key.decode(), value


def played(scene: Scene) -> None:
    """A list of a circle is listed, carried, followed, moved to the next epoch, and asked about."""
    kh_, th = scene.operators.kh.config, scene.operators.th.config
    hub, folder = scene.hub, scene.folder
    repository, root = scene.operators.repository, scene.operators.root
    for words in (
        ("circle", "rotate", "asean"),
        ("circle", "ls"),
        ("lists", "rekey", LIST, "--circle", "asean@2"),
        ("exchange", "publish", LIST, "--json"),
        ("exchange", "status", "--json"),
        ("exchange", "key", "ls", "--json"),
        ("exchange", "bundle", folder / "kh.tar"),
        ("check-config",),
        ("lists", "export", LIST),
        ("audit",),
    ):
        scene.types(kh_, *words)
    scene.types(hub, "exchange", "hub", "init", "--offline", folder / "hub-stick")
    keys = ("--root", root, "--keys", folder / "hub-stick")
    scene.types(hub, "exchange", "hub", "add", "KH", repository, *keys)
    scene.types(hub, "exchange", "hub", "sync")
    carried = folder / "hub" / "r" / "countries" / "KH"
    assert (carried / "metadata" / "timestamp.json").is_file()
    into = ("--into", folder / "island", "--root", root)
    scene.types(th, "exchange", "import-bundle", folder / "kh.tar", *into)
    scene.types(th, "exchange", "verify", carried, "--root", root, "--json")
    contact = ("--contact", "noc@trc.example")
    scene.types(th, "exchange", "follow", carried, LIST, "--root", root, *contact)
    for asked in (
        ("feeds", "pull", "kh-scam"),
        ("feeds", "show", "kh-scam"),
        ("why", *kh(1), "--json"),
        ("check-config",),
    ):
        scene.types(th, *asked)
    assert LIST in scene.said[-2]
    (bad,) = folder.glob("circles/asean@2.key")
    bad.chmod(0o644)
    scene.types(th, "why", *kh(1))
    assert "others may read this secret" in scene.said[-1] + scene.said[-2]
    bad.chmod(0o600)


async def test_no_secret_gets_out(tmp_path: Path, urls: list[str]) -> None:
    """Not into repositories, hubs, bundles, state, registers, logs, metrics, or what is printed."""
    scene = Scene(tmp_path, urls)
    kh_ = scene.operators.kh.config
    for words in (
        ("circle", "create", "asean"),
        ("lists", "create", LIST, "--circle", "asean"),
        ("lists", "add", LIST, *kh(1, 2), "--reason", "a test"),
    ):
        await asyncio.to_thread(scene.types, kh_, *words)
    running = Running(scene.operators)
    kh_.write_text(
        kh_.read_text().replace(f'dir = "{running.folder}"', 'dir = ""')
        + '[ops]\nlog_level = "DEBUG"\n'
    )
    running.start()
    try:
        await seen(running.latest)
        scene.said.append((await asyncio.to_thread(running.page, "/metrics"))[1])
        scene.said.append((await asyncio.to_thread(running.page, "/ready"))[1])
    finally:
        code = await asyncio.to_thread(running.stop)
    assert code == os.EX_OK
    await asyncio.to_thread(played, scene)
    secrets = set(scene.secrets())
    assert len(secrets) > 40
    looked_at = 0
    for place, data in scene.artefacts():
        assert not any(secret in data for secret in secrets), place
        looked_at += 1
    assert looked_at > 100


def test_the_search_would_find_one(tmp_path: Path, urls: list[str]) -> None:
    """A secret that was planted is found, wherever it is."""
    scene = Scene(tmp_path, urls)
    scene.types(scene.operators.kh.config, "circle", "create", "asean")
    scene.types(scene.operators.kh.config, "lists", "create", LIST)
    scene.types(scene.operators.th.config, "lists", "create", LIST)
    key = bytes.fromhex((tmp_path / "circles" / "asean.key").read_text())
    (tmp_path / "planted.log").write_text(f"{key!r}")
    found = {
        place for place, data in scene.artefacts() for secret in scene.secrets() if secret in data
    }
    assert found == {str(tmp_path / "planted.log")}
