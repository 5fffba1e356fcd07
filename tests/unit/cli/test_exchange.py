"""`ringfence exchange` and `ringfence circle`, as operators of two countries type them."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from stream.cli.exchange import hub_commands as command
from stream.cli.exchange.exchange_commands import ring_of
from stream.cli.main import app
from stream.config.settings import load
from stream.core.model.errors import ConfigInvalid, ExchangeFault, FeedDown, SecretUnsafe
from stream.exchange import repository
from stream.exchange.signing import Signatory
from stream.lists.snapshot.circle_keys import CircleKeys, key_id, new_key
from stream.ops.clock import now_s
from tests.support.owners import someone_s
from tests.support.repositories import VALIDITY, serving


class Operator:
    """Types commands in one country's folder, with its settings; never sees a secret."""

    def __init__(self, home: Path) -> None:
        home.mkdir()
        self.home = home
        self.config = home / "mine.toml"
        self.config.write_text(
            f'[exchange]\ndir = "{home}/repository"\nkeys_dir = "{home}/keys"\n'
            f'state_dir = "{home}/state"\ncircles_dir = "{home}/circles"\n'
        )

    def types(self, *words: object, code: int = 0) -> str:
        typed = [*map(str, words), "--config", str(self.config)]
        done = CliRunner().invoke(app, typed, env={"COLUMNS": "200"})
        if done.exception and not isinstance(done.exception, SystemExit):
            raise done.exception
        assert done.exit_code == code, done.output
        for path in self.home.rglob("*.pem"):
            assert path.read_text().splitlines()[1] not in done.output
        for path in self.home.rglob("*.key"):
            assert path.read_text().strip() not in done.output
        return done.output

    def asks(self, *words: object, code: int = 0) -> Any:
        return json.loads(self.types(*words, "--json", code=code))

    @property
    def root(self) -> Path:
        return self.home / "repository" / "metadata" / "1.root.json"


@pytest.fixture
def kh(tmp_path: Path) -> Operator:
    operator = Operator(tmp_path / "kh")
    sticks = [word for name in ("a", "b") for word in ("--offline", operator.home / name)]
    operator.types("exchange", "init", *sticks, "--threshold", 2)
    return operator


def sticks(operator: Operator) -> list[object]:
    return ["--keys", operator.home / "a", "--keys", operator.home / "b"]


def publish(operator: Operator, text: bytes) -> None:
    by = Signatory(ring_of(load([operator.config], {}), None), VALIDITY, now_s())
    repository.publish(operator.home / "repository", by, "KH/scam", {"latest.json": text})


def test_a_country_joins_a_hub_by_commands(kh: Operator, tmp_path: Path) -> None:
    """The ten minutes of joining as a country: init, add-list, publish, hub add, sync, verify."""
    kh.types("exchange", "add-list", "KH/scam", *sticks(kh))
    publish(kh, b"1")
    hub = Operator(tmp_path / "hub")
    stick = hub.home / "stick"
    hub.types("exchange", "hub", "init", "--offline", stick)
    with serving(kh.home / "repository") as url:
        hub.types("exchange", "hub", "add", "KH", url, "--root", kh.root, "--keys", stick)
        publish(kh, b"2")
        assert "KH: carried" in hub.types("exchange", "hub", "sync")
    hub.types("exchange", "hub", "sync", code=1)  # KH's server is gone
    with serving(hub.home / "repository") as url:
        told = hub.types("exchange", "verify", f"{url}/countries/KH", "--root", kh.root)
        assert "all of it is as it was signed" in told
        found = hub.asks("exchange", "verify", url, "--root", hub.root)
        assert (found["targets"], found["faults"]) == (1, [])
        assert hub.asks("exchange", "serve-check", url)["faults"] == []


def test_a_country_gives_no_list_of_another_a_role(kh: Operator) -> None:
    """A hub would refuse all of its repository; what it has stays, and a second list goes in."""
    kh.types("exchange", "add-list", "KH/scam", *sticks(kh))
    told = " ".join(kh.types("exchange", "add-list", "TH/x", *sticks(kh), code=2).split())
    assert "is the repository of KH" in told
    assert not list((kh.home / "keys").glob("TH*"))
    kh.types("exchange", "add-list", "KH/enforcement", *sticks(kh))
    roles = {one["role"] for one in kh.asks("exchange", "status")}
    assert {"KH/scam", "KH/enforcement"} <= roles
    assert "TH/x" not in roles


def test_a_hub_in_trouble_goes_on_by_itself(
    kh: Operator, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A fault of the hub itself is logged once, and its end too; the hub goes on."""
    kh.types("exchange", "add-list", "KH/scam", *sticks(kh))
    publish(kh, b"1")
    hub = Operator(tmp_path / "hub")
    hub.types("exchange", "hub", "init", "--offline", hub.home / "stick")
    keys = ("--root", kh.root, "--keys", hub.home / "stick")
    hub.types("exchange", "hub", "add", "KH", kh.home / "repository", *keys)
    made, told = command.hub_of(load([hub.config], {}), None), dict[str, str]()
    timestamp = hub.home / "repository" / "metadata" / "timestamp.json"
    data = timestamp.read_bytes()
    timestamp.write_bytes(b"{")
    outcomes = [command._synced(made, told) for _ in range(2)]
    timestamp.write_bytes(data)
    outcomes += [command._synced(made, told) for _ in range(2)]
    assert outcomes == [True, True, False, False]
    said = capsys.readouterr()
    assert "is damaged" in said.err
    assert said.out.split("\n") == ["hub: works again", "KH: carried", ""]


@pytest.mark.parametrize(
    "words",
    [
        ("exchange", "init", "--offline", "stick"),
        ("exchange", "hub", "init", "--offline", "stick"),
        ("circle", "create", "asean"),
    ],
)
def test_the_first_keys_are_the_services_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    """Root's keys in a folder that it makes itself: the service could not read them."""
    monkeypatch.chdir(tmp_path)
    one = Operator(tmp_path / "kh")
    state = someone_s(tmp_path / "lists")
    one.config.write_text(one.config.read_text() + f'[lists]\nstate_dir = "{state}"\n')
    assert f"{state} belongs to" in one.types(*words, code=2)
    assert not [*tmp_path.rglob("*.pem"), *tmp_path.rglob("*.key")]


def test_keys_of_circles_count_as_they_come(tmp_path: Path) -> None:
    """A key that is put into the folder is there at once, and one that is no secret is not."""
    keys = CircleKeys({"plain": b"", "asean": b"a" * 32}, tmp_path / "circles")
    assert set(keys) == {"plain", "asean"}
    assert keys.get("asean@2") is None
    new_key(tmp_path / "circles", "asean@2", b"b" * 32)
    new_key(tmp_path / "circles", "asean", b"c" * 32)
    assert dict(keys) == {"plain": b"", "asean": b"a" * 32, "asean@2": b"b" * 32}
    assert len(copy.deepcopy(keys)) == 3
    (tmp_path / "circles" / "asean@2.key").chmod(0o644)
    assert set(keys) == {"plain", "asean"}
    assert "../x" not in keys


def test_a_lost_stick_is_replaced_by_the_ids_of_its_keys(tmp_path: Path) -> None:
    """Two of three people replace its keys, and there are three again; revoked, two would stay."""
    kh = Operator(tmp_path / "kh")
    a, b, c = (kh.home / name for name in "abc")
    offline = [word for one in (a, b, c) for word in ("--offline", one)]
    kh.types("exchange", "init", *offline, "--threshold", 2)
    lost = {role: kh.asks("exchange", "key", "list", "--keys", b) for role in ("root", "targets")}
    for role, keys in lost.items():
        (keyid,) = [key["id"] for key in keys if key["key"] == f"{role}-2"]
        others = ("--keys", a, "--keys", c, "--into", kh.home / "d")
        said = kh.types("exchange", "key", "rotate", keyid, *others)
        assert f"{role}-4 signs for {role}; the key {keyid[:8]} signs no more" in said
        (now,) = [one["keys"] for one in kh.asks("exchange", "status") if one["role"] == role]
        assert len(now) == 3
        assert keyid not in now
    assert sorted(path.name for path in (kh.home / "d").iterdir()) == [
        "root-4.pem",
        "targets-4.pem",
    ]


@pytest.mark.parametrize("name", ["plain", "plain@2"])
def test_the_circle_without_a_key_is_not_rotated(kh: Operator, name: str) -> None:
    """It made a key `plain@2`, and named a last step, `circle retire plain`, that always failed."""
    done = CliRunner().invoke(app, ["circle", "rotate", name, "--config", str(kh.config)])
    assert done.exit_code == 2
    assert "plain has no key to rotate" in done.stderr
    assert not list(kh.home.rglob("plain@*.key"))


def test_a_bundle_goes_from_one_country_to_another(kh: Operator, tmp_path: Path) -> None:
    """bundle, a disk, import-bundle: and a file that was altered on the way is refused."""
    kh.types("exchange", "add-list", "KH/scam", *sticks(kh))
    publish(kh, b"1")
    kh.types("exchange", "bundle", tmp_path / "kh.tar")
    piped = CliRunner().invoke(app, ["exchange", "bundle", "-", "--config", str(kh.config)])
    assert piped.stdout_bytes == (tmp_path / "kh.tar").read_bytes()
    th = Operator(tmp_path / "th")
    words = ["--into", th.home / "partners/kh", "--root", kh.root]
    assert "verified" in th.types("exchange", "import-bundle", tmp_path / "kh.tar", *words)
    data = bytearray((tmp_path / "kh.tar").read_bytes())
    data[data.index(b'"sig":', data.index(b"metadata/timestamp.json")) + 10] ^= 1
    (tmp_path / "bad.tar").write_bytes(data)
    with pytest.raises(FeedDown, match="altered after signing"):
        th.types("exchange", "import-bundle", tmp_path / "bad.tar", *words)


def test_keys_are_listed_rotated_revoked(kh: Operator) -> None:
    """The key that signs data by name and id; a rotated one is out of every role."""
    kh.types("exchange", "add-list", "KH/scam", *sticks(kh))
    signs = {one["key"]: one["signs"] for one in kh.asks("exchange", "key", "ls", *sticks(kh))}
    assert signs["timestamp-1"] == ["timestamp"]
    assert signs["root-1"] == ["root"]
    kh.types("exchange", "key", "rotate", "timestamp-1", *sticks(kh))
    kh.types("exchange", "key", "rotate", "KH~scam-1", *sticks(kh))
    with pytest.raises(ExchangeFault, match="signatures and only 0 of its"):
        kh.types("exchange", "key", "rotate", "snapshot-1")
    assert not (kh.home / "keys" / "snapshot-2.pem").exists()
    kh.types("exchange", "key", "new", "spare-1", "--into", kh.home / "c")
    signs = {one["key"]: one["signs"] for one in kh.asks("exchange", "key", "ls", *sticks(kh))}
    assert (signs["timestamp-1"], signs["timestamp-2"]) == ([], ["timestamp"])
    with pytest.raises(ExchangeFault, match="rotate"):
        kh.types("exchange", "revoke", "timestamp-2", *sticks(kh))
    assert "nothing is due" in kh.types("exchange", "resign")
    roles = {one["role"]: one["threshold"] for one in kh.asks("exchange", "status")}
    assert roles == {"root": 2, "targets": 2, "snapshot": 1, "timestamp": 1, "KH/scam": 1}
    assert "in 36" in kh.types("exchange", "status")


def test_a_circle_has_keys_by_epoch(tmp_path: Path) -> None:
    """Members compare ids; in the overlap both keys are in force; a retired one is forgotten."""
    kh, th = Operator(tmp_path / "kh"), Operator(tmp_path / "th")
    kh.types("circle", "new", "asean")
    th.types("circle", "new", "asean", "--key-file", kh.home / "circles" / "asean.key")
    ids = [{one["circle"]: one["key_id"] for one in each.asks("circle", "ls")} for each in (kh, th)]
    assert ids[0] == ids[1]
    told = kh.types("circle", "rotate", "asean")
    assert "circle create asean@2 --key-file" in told
    keys = load([kh.config], {}).circle_keys()
    assert set(keys) == {"plain", "asean", "asean@2"}
    assert key_id(keys["asean"]) != key_id(keys["asean@2"])
    assert "asean@3" in kh.types("circle", "rotate", "asean")
    kh.types("circle", "retire", "asean", "--force")
    assert set(load([kh.config], {}).circle_keys()) == {"plain", "asean@2", "asean@3"}


def test_a_circles_key_is_a_secret(tmp_path: Path) -> None:
    """A file that others may read, or that holds no key, is an error of the configuration."""
    kh = Operator(tmp_path / "kh")
    kh.types("circle", "new", "asean")
    path = kh.home / "circles" / "asean.key"
    assert path.stat().st_mode & 0o777 == 0o600
    with pytest.raises(SecretUnsafe, match="not overwritten"):
        kh.types("circle", "new", "asean")
    for name in ("plain", "../x", "Ä"):
        with pytest.raises(SecretUnsafe, match="no name for a circle"):
            kh.types("circle", "new", name)
    assert "asean" not in path.read_text()
    path.chmod(0o644)
    with pytest.raises(ConfigInvalid, match=r"circles_dir.*mode 0644"):
        load([kh.config], {})
    path.chmod(0o600)
    path.write_text("12\n")
    with pytest.raises(ConfigInvalid, match="64 hex digits"):
        load([kh.config], {})
