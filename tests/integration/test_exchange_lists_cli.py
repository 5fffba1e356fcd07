"""`ringfence exchange publish` in one country, `feeds pull` and `why` in another."""

import asyncio
import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest
import redis

from stream.core.model.errors import ExchangeFault
from stream.exchange.publisher import ListPublisher
from stream.exchange.signing_keys import KeyRing
from tests.support.commands import Operator
from tests.support.engine import Engine
from tests.support.feeds import kh
from tests.support.repositories import Country
from tests.support.waiting import HANGS_S, REDIS_S, until


class Operators:
    """Operators who type commands in KH and in TH."""

    def __init__(self, folder: Path, urls: list[str]) -> None:
        for url in urls:
            with redis.Redis.from_url(url) as client:
                client.flushdb()
        kh = Country(folder / "kh")
        self.repository = kh.folder
        root, feeds = folder / "kh.root.json", folder / "feeds"
        root.write_bytes(kh.root)
        feeds.mkdir()
        self.root = root
        self.kh, self.th = (Operator(folder / f"{home}.toml") for home in ("kh", "th"))
        self.kh.config.write_text(
            f'[redis]\nurl = "{urls[0]}"\ntimeout_s = {REDIS_S}\n'
            f'[lists]\nstate_dir = "{folder}/kh-state"\n'
            f'[exchange]\ndir = "{kh.folder}"\nkeys_dir = "{kh.home / "keys"}"\nhttp_port = 0\n'
        )
        self.th.config.write_text(
            f'[redis]\nurl = "{urls[1]}"\ntimeout_s = {REDIS_S}\n'
            f'[lists]\nstate_dir = "{folder}/th-state"\n'
            f'[feeds]\ndir = "{feeds}"\n'
        )


@pytest.fixture
def operators(tmp_path, urls) -> Operators:
    return Operators(tmp_path, urls)


def test_a_number_is_listed_published_and_explained_abroad(operators):
    """By commands alone: listed in KH, published as a hash, fetched in TH, told by its number."""
    one = kh(1)[0]
    operators.kh.types("lists", "create", "KH/scam")
    operators.kh.types("lists", "add", "KH/scam", one, "--reason", "a test")
    said = operators.kh.types("exchange", "publish", "KH/scam")
    assert "shared as fingerprints" in said
    assert "nothing new" in operators.kh.types("exchange", "publish", "KH/scam")
    how = ("--root", str(operators.root), "--contact", "noc@trc.example")
    where = ("exchange", "follow", str(operators.repository), "KH/scam", *how)
    said = operators.th.types(*where)
    assert hashlib.sha256(operators.root.read_bytes()).hexdigest() in said
    assert "is there already" in operators.th.types(*where, code=1)
    operators.th.types("feeds", "pull", "kh-scam")
    told = operators.th.asks("why", one)
    assert [held["list"] for held in told["lists"]] == ["KH/scam"]
    operators.kh.types("lists", "remove", "KH/scam", one, "--reason", "an appeal")
    (edition,) = operators.kh.asks("exchange", "publish", "KH/scam")
    assert (edition["whole"], edition["rows"]) == (False, 1)
    operators.th.types("feeds", "pull", "kh-scam")
    operators.th.types("why", one, code=1)


def test_a_list_without_a_role_is_not_published(operators):
    """Publishing a list that the repository has no role for prints the command for the role."""
    operators.kh.types("lists", "create", "KH/other")
    said = operators.kh.types("exchange", "publish", "KH/other", code=1)
    assert "exchange add-list KH/other" in said


def test_a_key_by_which_a_list_is_hashed_is_not_retired(operators, tmp_path):
    """After a restart nobody could read that list; once it has moved the key goes."""
    kh, folder = operators.kh, tmp_path / "circles"
    kh.config.write_text(f'{kh.config.read_text()}circles_dir = "{folder}"\n')
    kh.types("circle", "create", "asean")
    kh.types("lists", "create", "KH/scam", "--circle", "asean")
    kh.types("circle", "rotate", "asean")
    said = kh.types("circle", "retire", "asean", code=1)
    assert "KH/scam is hashed by it" in said
    assert (folder / "asean.key").exists()
    kh.types("lists", "rekey", "KH/scam", "--circle", "asean@2", "--reason", "rotated")
    kh.types("circle", "retire", "asean")
    assert not (folder / "asean.key").exists()
    kh.types("circle", "retire", "asean@2", "--force")
    assert not (folder / "asean@2.key").exists()


async def test_a_change_goes_out_by_itself(operators):
    """`exchange run` publishes what is listed while it runs, and ends in order when told to."""
    await asyncio.to_thread(operators.kh.types, "lists", "create", "KH/scam")
    newest = operators.repository / "metadata" / "timestamp.json"
    before = newest.read_bytes()
    with Engine(operators.kh.config, "exchange", "run") as process:
        process.start()
        await changed(newest, before)
        before = newest.read_bytes()
        await asyncio.to_thread(
            operators.kh.types, "lists", "add", "KH/scam", kh(1)[0], "--reason", "a test"
        )
        await changed(newest, before)
        assert await asyncio.to_thread(process.stop) == os.EX_OK, process.last_words()
    latest = ListPublisher(operators.repository, KeyRing([])).before("KH/scam")
    assert latest is not None
    assert (latest.numbers, len(latest.changes)) == (1, 1)


async def changed(path: Path, before: bytes) -> None:
    await until(lambda: path.read_bytes() != before, "something to be published")


def test_a_list_of_a_circle_needs_its_key(operators):
    """Without the circle's key its hashes would match nobody; with it the list is followed."""
    circles = f'circles_dir = "{operators.repository.parent / "circles"}"\n'
    operators.kh.config.write_text(f"{operators.kh.config.read_text()}{circles}")
    operators.kh.types("circle", "create", "asean")
    operators.kh.types("lists", "create", "KH/scam", "--circle", "asean")
    operators.kh.types("lists", "add", "KH/scam", *kh(1), "--reason", "a test")
    operators.kh.types("exchange", "publish", "KH/scam")
    how = ("--root", str(operators.root), "--contact", "noc@trc.example")
    where = ("exchange", "follow", str(operators.repository), "KH/scam", *how)
    with pytest.raises(ExchangeFault, match="whose key is not here"):
        operators.th.types(*where)
    operators.th.config.write_text(f"{operators.th.config.read_text()}[exchange]\n{circles}")
    operators.th.types(*where)
    operators.th.types("feeds", "pull", "kh-scam")
    operators.th.types("why", *kh(1))
    operators.th.types("why", *kh(2), code=1)
    said = operators.kh.types("circle", "rotate", "asean")
    assert "lists rekey OWNER/NAME --circle asean@2" in said
    moved = ("lists", "rekey", "KH/scam", "--circle", "asean@2")
    assert "1 numbers, hashed in asean@2 now" in operators.kh.types(*moved)
    assert "of circle asean@2 already" in operators.kh.types(*moved, code=1)
    operators.kh.types("exchange", "publish", "KH/scam")
    operators.th.types("feeds", "pull", "kh-scam")
    assert operators.th.asks("why", *kh(1))["lists"][0]["list"] == "KH/scam"


def cramped(config: Path, *words: str) -> tuple[int, str]:
    """A command on a machine whose disk takes no file above 40 kB; exit code and what was said."""
    command = [sys.executable, "-m", "stream", *words, "--config", str(config)]
    done = subprocess.run(
        ["bash", "-c", 'ulimit -f 40; exec "$@"', "-", *command],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=HANGS_S,
        check=False,
    )
    return done.returncode, " ".join(done.stdout.split())


def test_a_disk_that_is_full_leaves_what_was_good(operators):
    """The kernel refuses the bytes, at the owner's and at the partner's: told, and nothing lost."""
    operators.kh.types("lists", "create", "KH/scam")
    operators.kh.types("lists", "add", "KH/scam", *kh(1), "--reason", "a test")
    operators.kh.types("exchange", "publish", "KH/scam")
    how = ("--root", str(operators.root), "--contact", "noc@trc.example")
    operators.th.types("exchange", "follow", str(operators.repository), "KH/scam", *how)
    operators.th.types("feeds", "pull", "kh-scam")
    operators.kh.types("lists", "add", "KH/scam", *kh(2), "--reason", "a test")
    anew = ("exchange", "publish", "KH/scam", "--anew")
    before = operators.kh.asks("exchange", "status")
    code, said = cramped(operators.kh.config, *anew)
    assert (code, "File too large; what was published stays" in said) == (1, True), said
    assert operators.kh.asks("exchange", "status") == before
    operators.kh.types(*anew)
    code, said = cramped(operators.th.config, "feeds", "pull", "kh-scam")
    assert (code, "The last good list stays" in said) == (1, True), said
    operators.th.types("why", *kh(1))
    operators.th.types("why", *kh(2), code=1)
    operators.th.types("feeds", "pull", "kh-scam")
    operators.th.types("why", *kh(2))
