"""Each feed file that is shipped, run: its transport pointed at something here, its list filled."""

import gzip
import hashlib
import json
import re
import shutil
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from aiohttp import web
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from stream.config.feed_files import FeedContext, read_feed
from stream.core.model.errors import FeedDown
from stream.feeds.feed import VersionRecord
from stream.feeds.feed_sources import KINDS
from stream.feeds.follow.feed_follower import Follower, HandedIn
from stream.kafka.settings import KafkaSettings
from stream.lists.store.heads import By
from stream.lists.store.list_content import entries_of
from tests.integration.transports.test_taxii import BULK, PASSWORD
from tests.integration.transports.test_taxii import server as taxii
from tests.support.exchange import lab
from tests.support.feeds import CONTEXT, kh, workplace
from tests.support.lists import opened
from tests.support.remote_servers import running_s3, running_sftp
from tests.support.scripted_web import ok, scripted_web
from tests.unit.config.test_feed_files import EXAMPLES, SECRETS

__all__ = ["taxii"]  # a fixture
GOLDEN = Path(__file__).parents[1] / "golden" / "feeds"
BY_NAME = {path.stem: path for path in EXAMPLES}


class Server:
    """A partner's web server: wants a login, answers with one file, and knows its ETag."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []
        self.body = b""

    async def answer(self, request: web.Request) -> web.Response:
        self.asked.append((request.path_qs, request.headers.get("Authorization", "")))
        if request.headers.get("If-None-Match") == '"1"':
            return web.Response(status=304)
        return web.Response(body=self.body, headers={"ETag": '"1"'})


@pytest.fixture
async def server(unused_tcp_port: int) -> AsyncIterator[tuple[Server, str]]:
    server, app = Server(), web.Application()
    app.router.add_get("/{tail:.*}", server.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", unused_tcp_port).start()
    yield server, f"http://127.0.0.1:{unused_tcp_port}"
    await runner.cleanup()


class Example:
    """A shipped feed file whose place is here instead of at the partner's; else it is as it is.

    But for the lifetime of its reports: the samples are of November 2026.
    """

    def __init__(self, name: str, tmp_path: Path, url: str, *places: tuple[str, str]) -> None:
        text = BY_NAME[name].read_text()
        for pattern, place in (("/srv/feeds", str(tmp_path)), ("(?m)^expires_in.*", ""), *places):
            text = re.sub(pattern, place, text)
        text = f'expires_in = "36500d"\n{text}'
        self.path = tmp_path / f"{name}.toml"
        self.path.write_text(text)
        self.folder, self.url = tmp_path, url

    async def pulls(
        self, environ: Mapping[str, str] = SECRETS, context: FeedContext = CONTEXT
    ) -> VersionRecord | None:
        setup = read_feed(self.path, environ, context)
        async with workplace(self.folder / "state", self.url) as place:
            return await Follower(setup, place, quiet=True).pull()

    async def accepted(
        self, environ: Mapping[str, str] = SECRETS, context: FeedContext = CONTEXT
    ) -> int:
        """Pull it; how many numbers it has on its list."""
        record = await self.pulls(environ, context)
        assert record is not None
        assert record.verdict == "accepted", record.findings
        async with opened(self.url) as register:
            assert (await register.heads()).lists
        return record.numbers


def changes_of(*changes: Mapping[str, object], whole: bool = False) -> bytes:
    """A change file as another Ringfence writes it."""
    header = {"format": "ringfence-changes", "version": 1, "list": "KH/scam", "whole": whole}
    lines = [json.dumps(one) for one in ({**header, "from": 7, "to": 9}, *changes)]
    text = "".join(f"{line}\n" for line in lines)
    end = {"sha256": hashlib.sha256(text.encode()).hexdigest(), "lines": len(lines)}
    return f"{text}{json.dumps(end)}\n".encode()


async def test_a_text_file(tmp_path, redis_url):
    """config/feeds/text-file.toml: one number a line, national ones too."""
    (tmp_path / "kh-scam.txt").write_text("\n".join([*kh(1, 2), "023 900 124 # national"]))
    assert await Example("text-file", tmp_path, redis_url).accepted() == 3


async def test_a_list_that_is_handed_in(tmp_path, redis_url):
    """config/feeds/push.toml: nothing is fetched; what is handed in waits for another person."""
    example = Example("push", tmp_path, redis_url)
    setup = read_feed(example.path, {}, CONTEXT)
    file = tmp_path / "kh.csv"
    file.write_text("number\n" + "\n".join(kh(1, 2)))
    by = By("http:KH", "weekly")
    async with workplace(tmp_path / "state", redis_url) as place:
        with pytest.raises(FeedDown, match="handed in"):
            await Follower(setup, place, quiet=True).pull()
        of_file = replace(setup, source=setup.source.of_file(file))
        record = await Follower(of_file, place, quiet=True, sent=HandedIn("kh.csv", by)).pull()
        assert record is not None
        assert (record.verdict, record.reason, record.sent_by) == (
            "held",
            "second_person",
            "http:KH",
        )
        assert (record.origin, record.remember) == ("kh.csv", {})


async def test_a_spreadsheets_csv_in_a_drop_folder(tmp_path, redis_url):
    """config/feeds/spreadsheet-folder.toml: Thai headers, words and national numbers.

    The file moves to done/ with its report beside it.
    """
    (tmp_path / "police").mkdir()
    sheet = tmp_path / "police" / "november.csv"
    shutil.copy(GOLDEN / "csv" / "spreadsheet-thai" / "input.csv", sheet)
    example = Example("spreadsheet-folder", tmp_path, redis_url, ("settle_s = 2", "settle_s = 0"))
    assert await example.accepted() >= 2
    async with opened(redis_url) as register:
        _, columns = await entries_of(register, "TH/national", b"")
    assert 66890000001 in columns.number.tolist()
    done = tmp_path / "police" / "done"
    assert (done / "november.csv").exists()
    assert any(path.suffix == ".json" for path in done.iterdir())
    assert not sheet.exists()


async def test_a_workbook_in_a_drop_folder(tmp_path, redis_url):
    """config/feeds/workbook-folder.toml: the police's XLSX, read within the limits of a feed."""
    (tmp_path / "police").mkdir()
    sheet = tmp_path / "police" / "november.xlsx"
    shutil.copy(GOLDEN / "workbook" / "police-xlsx" / "input.xlsx", sheet)
    example = Example("workbook-folder", tmp_path, redis_url, ("settle_s = 2", "settle_s = 0"))
    record = await example.pulls()
    assert record is not None
    assert (record.good, record.cleaned) == (8, {"lost_zero": 1, "digits": 1, "apostrophe": 1})
    rejects = (tmp_path / "state").glob("feeds/*/versions/*/rejects.csv")
    assert ",B6" in next(rejects).read_text()


@pytest.mark.parametrize(
    ("name", "sample", "login"),
    [
        ("jsonl-http", "jsonl/nested/input.jsonl", "Bearer"),
        ("json-http", "json/wrapped/input.json", ""),
        ("misp-http", "misp/pymisp-response/input.json", SECRETS["MISP_KEY"]),
        ("phoneblock-http", "phoneblock/whole/input.json", "Bearer"),
        ("ftc-http", "ftc/day/input.csv", ""),
    ],
)
async def test_feeds_of_web_servers(name, sample, login, tmp_path, redis_url, server):
    """JSON lines, MISP, PhoneBlock and the FTC over HTTP, with the login that each wants."""
    partner, url = server
    partner.body = (GOLDEN / sample).read_bytes()
    example = Example(name, tmp_path, redis_url, (r"https://[^/\"]+(?=[^\"]*\"\n)(?<!gov)", url))
    text = example.path.read_text()
    example.path.write_text(re.sub(r'(?m)^url = "https?://[^/"]+', f'url = "{url}', text))
    assert await example.accepted() > 0
    assert partner.asked[-1][1].startswith(login)
    assert await example.pulls() is None or name == "phoneblock-http"


async def test_a_phone_book_in_xml(tmp_path, redis_url):
    """config/feeds/xml-file.toml: a phone book, its contacts by their path."""
    shutil.copy(GOLDEN / "xml" / "phonebook" / "input.xml", tmp_path / "phonebook.xml")
    assert await Example("xml-file", tmp_path, redis_url).accepted() == 2


async def test_a_misp_feed_in_an_archive(tmp_path, redis_url):
    """config/feeds/misp-feed-file.toml: a MISP feed's folder, as a zip."""
    folder = GOLDEN / "misp-feed" / "folder" / "input"
    shutil.make_archive(str(tmp_path / "misp-feed"), "zip", folder)
    assert await Example("misp-feed-file", tmp_path, redis_url).accepted() > 0


async def test_a_bare_filter(tmp_path, redis_url):
    """config/feeds/pybloom-file.toml: a file that pybloom-live wrote, proved by a sample."""
    shutil.copy(GOLDEN / "pybloom" / "plain" / "input.bloom", tmp_path / "vn.bloom")
    assert await Example("pybloom-file", tmp_path, redis_url).accepted() > 0


async def test_change_files_of_another_ringfence(tmp_path, redis_url):
    """config/feeds/ringfence-folder.toml: each change file adds and takes off, in their order."""
    inbox = tmp_path / "kh-changes"
    inbox.mkdir()
    add = [{"op": "add", "number": number, "source": "desk"} for number in kh(1, 2)]
    (inbox / "1.jsonl").write_bytes(changes_of(*add))
    example = Example("ringfence-folder", tmp_path, redis_url)
    assert await example.accepted() == 2
    (inbox / "2.jsonl").write_bytes(
        changes_of({"op": "remove", "number": kh(1)[0], "source": "desk"})
    )
    assert await example.accepted() == 1


@pytest.mark.apache_kafka
async def test_a_compacted_topic(tmp_path, redis_url, kafka):
    """config/feeds/kafka.toml: key and value list a number, a tombstone takes it off."""
    reached = partial(KafkaSettings, kafka.bootstrap, "tests")
    context = FeedContext(CONTEXT.own, CONTEXT.home, CONTEXT.prefixes, reached)
    example = Example("kafka", tmp_path, redis_url, ("scam.numbers", f"scam.{tmp_path.name}"))
    topic = f"scam.{tmp_path.name}"

    async def say(*records: tuple[str, bytes | None]) -> None:
        producer = AIOKafkaProducer(bootstrap_servers=kafka.bootstrap)
        await producer.start()
        for key, value in records:
            await producer.send_and_wait(topic, value, key.encode())
        await producer.stop()

    report = b'{"category": "loan", "source": "operator-1"}'
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap)
    await admin.start()
    await admin.create_topics([NewTopic(topic, 1, 1, topic_configs={"cleanup.policy": "compact"})])
    await admin.close()
    await say(*((number, report) for number in kh(1, 2, 3)))
    assert await example.accepted(context=context) == 3
    await say((kh(1)[0], None))
    assert await example.accepted(context=context) == 2


async def test_a_taxii_collection(tmp_path, redis_url, taxii):
    """config/feeds/stix-taxii.toml: a collection of medallion's, page by page, with a login."""
    places = (
        ("https://taxii.example/api1/", f"{taxii}/scams/"),
        ("91a7b528-80eb-42ed-a74d-c6fbd5a26116", BULK),
    )
    example = Example("stix-taxii", tmp_path, redis_url, *places)
    assert await example.accepted({"TAXII_PASSWORD": PASSWORD}) == 90
    assert await example.pulls({"TAXII_PASSWORD": PASSWORD}) is None


async def test_a_misp_feed_on_a_web_server(tmp_path, redis_url):
    """config/feeds/misp-feed-http.toml: the folder that PyMISP wrote, fetched once."""
    folder = GOLDEN / "misp-feed" / "folder" / "input"
    answers = {f"/feed/{path.name}": ok(path.read_bytes()) for path in folder.iterdir()}
    async with scripted_web(answers) as partner:
        example = Example(
            "misp-feed-http", tmp_path, redis_url, ("https://misp.example/", partner.url("/"))
        )
        assert await example.accepted() > 0
        assert await example.pulls() is None


async def test_a_signed_repository(tmp_path, urls):
    """config/feeds/tuf.toml: a neighbour's repository, its list whole and then what changed."""
    async with lab(tmp_path, urls) as world:
        await world.kh.add(*kh(1, 2))
        await world.kh.publishes()
        places = (
            ("https://lists.trc.example", world.url),
            ("/etc/ringfence/roots/kh.json", str(world.kh.root)),
        )
        example = Example("tuf", tmp_path, urls[1], *places)
        assert await example.accepted() == 2
        await world.kh.remove(*kh(1))
        await world.kh.publishes()
        assert await example.accepted() == 1
        assert await example.pulls() is None


async def test_a_bucket(tmp_path, redis_url):
    """config/feeds/s3.toml: the newest object below a prefix, packed, on moto's S3."""
    with running_s3() as server:
        bucket = server.bucket("kh-lists")
        server.put(bucket, "scam/1.txt", f"{kh(9)[0]}\n".encode())
        text = "\n".join(kh(1, 2, 3)).encode()
        server.put(bucket, "scam/2.txt.gz", gzip.compress(text))
        endpoint = (r'# endpoint = "[^"]+"', f'endpoint = "{server.endpoint}"')
        example = Example("s3", tmp_path, redis_url, endpoint, ("# path_style", "path_style"))
        assert await example.accepted() == 3
        assert await example.pulls() is None


async def test_an_sftp_server(tmp_path, redis_url):
    """config/feeds/sftp.toml: the newest file of a folder, with our key and the host's."""
    root = tmp_path / "files"
    (root / "outgoing").mkdir(parents=True)
    (root / "outgoing" / "kh.txt").write_text("\n".join(kh(1, 2)))
    with running_sftp(root) as server:
        places = (
            ("sftp://ringfence@sftp.trc.example/", server.url("/")),
            (r'"SHA256:[^"]+"', f'"{server.fingerprint}"'),
            ("/etc/ringfence/sftp/id_ed25519", server.key_file(tmp_path)),
            ("settle_s = 5", "settle_s = 0"),
        )
        example = Example("sftp", tmp_path, redis_url, *places)
        assert await example.accepted() == 2
        assert await example.pulls() is None


def test_every_kind_of_transport_is_run_here():
    """No transport is shipped whose example was never run."""
    others = {"kafka", "misp-feed", "push", "s3", "sftp", "taxii", "tuf"}
    assert set(KINDS) == {"file", "folder", "http", *others}
