"""`ringfence ingest` on a real Kafka: killed, rotated, and with a wrong dialect."""

import json
import os
from collections import Counter
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from stream.config.settings import load
from stream.core.model.errors import ConfigInvalid
from stream.edge.ingest.position_file import PositionFile
from stream.edge.ingest.sender import Sent
from stream.kafka.topics import ensure_topics
from stream.lab.embedded.guarded_server import free_ports
from stream.services.ingest import IngestJob, request_of
from tests.support.engine import ROOT, Deployment, Engine
from tests.support.topics import read

GOLDEN = ROOT / "tests" / "golden" / "cdr"
MORE = """
[switches.bkk]
time_zone = "Asia/Bangkok"

[ingest]
state_dir = "{0}"
look_s = 0.02
settle_s = 0.3
"""


def call(number: int) -> bytes:
    """A line of Master.csv."""
    return (
        b'"","+447700900101","+66812345678","in","","PJSIP/carrier-a-0000002a","","Dial","",'
        b'"2026-11-25 08:02:03","","2026-11-25 08:02:13",10,0,"NO ANSWER","DOCUMENTATION",'
        b'"1795593723.%d"\n' % number
    )


@pytest.fixture
async def here(tmp_path: Path, kafka, redis_url: str) -> Deployment:
    """A deployment with a topic of each dialect that is used here."""
    more = MORE.format(tmp_path / "places")
    dialects = {
        "": "asterisk-csv:bkk",
        ".fs": "freeswitch",
        ".wrong": "asterisk-custom:bkk",
        ".radius": "radius",
    }
    site = Deployment(tmp_path, kafka, redis_url, more, dialects)
    settings = load([site.config], {})
    await ensure_topics(settings.kafka_client(), settings.calls.names(1), lambda _: None)
    return site


def taken(engine: Engine, number: int, dialect: str = "asterisk-csv:bkk") -> None:
    """Wait until a process has sent so many records."""
    labels = {"dialect": dialect, "outcome": "taken"}
    engine.until(lambda: engine.metric("ringfence_ingest_records_total", **labels) >= number)


async def test_every_line_comes_over_kills_and_rotations(here: Deployment) -> None:
    """Over kill -9, a rename, a copy and truncation, a half line: each record is in Kafka, with its
    call's id as key; what came twice bears one mark, and is no more than one batch.
    """
    path = here.folder / "Master.csv"
    port = free_ports(1)[0]
    words = ("--dialect", "asterisk-csv", "--follow", "--port", str(port))
    lines = [call(number) for number in range(3000)]
    path.write_bytes(b"".join(lines[:1000]) + lines[1000][:50])
    with here.engine(*words, command=("ingest", str(path)), port=port) as first:
        taken(first, 1000)
        with path.open("ab") as file:
            file.write(lines[1000][50:] + b"".join(lines[1001:1400]))
        taken(first, 1400)
        first.kill()
    path.rename(path.with_name("Master.csv.1"))
    with path.with_name("Master.csv.1").open("ab") as file:
        file.write(b"".join(lines[1400:1500]))
    path.write_bytes(b"".join(lines[1500:2000]))
    with here.engine(*words, command=("ingest", str(path)), port=port) as second:
        taken(second, 600)
        second.until_ready()
        with path.open("ab") as file:
            file.write(b"".join(lines[2000:2500]))
        path.with_name("Master.csv.2").write_bytes(path.read_bytes())
        os.truncate(path, 0)
        with path.open("ab") as file:
            file.write(b"".join(lines[2500:]))
        taken(second, 1600)
        second.until(lambda: second.metric("ringfence_ingest_behind_bytes") == 0)
        assert second.metric("ringfence_ingest_files_total", happening="lost") == 0
        assert second.stop() == 0
        assert "stopped" in second.log()
    records = await read(here.bootstrap, here.calls)
    wanted = Counter(line.rstrip(b"\n") for line in lines)
    found = Counter(record.value for record in records)
    assert found.keys() == wanted.keys()
    again = len(records) - len(lines)
    marks = {(record.value, dict(record.headers)["rf_record"]) for record in records}
    assert (len(marks), again < 1000) == (len(lines), True)
    assert all(record.key == record.value[-17:-1].rpartition(b'"')[2] for record in records)


def start(number: int) -> bytes:
    """A record of a RADIUS detail file."""
    return (
        b"Wed Nov 25 15:02:03 2026\n\tAcct-Status-Type = Start\n"
        b'\tCalling-Station-Id = "+447700900101"\n\tCalled-Station-Id = "+66812345678"\n'
        b'\tAcct-Session-Id = "%d"\n\tTimestamp = 1795593723\n\n' % number
    )


async def test_records_of_several_lines_come_over_kills_and_rotations(here: Deployment) -> None:
    """A record torn in its middle waits over kill -9, and comes whole and once its rest is there;
    one that a rotation leaves torn comes as it is.
    """
    path = here.folder / "detail"
    port = free_ports(1)[0]
    words = ("--dialect", "radius", "--follow", "--port", str(port))
    records = [start(number) for number in range(600)]
    path.write_bytes(b"".join(records[:200]) + records[200][:90])
    with here.engine(*words, command=("ingest", str(path)), port=port) as first:
        taken(first, 200, "radius")
        first.kill()
    with path.open("ab") as file:
        file.write(records[200][90:] + b"".join(records[201:400]) + records[400][:150])
    with here.engine(*words, command=("ingest", str(path)), port=port) as second:
        taken(second, 200, "radius")
        second.kill()
    path.rename(path.with_name("detail.1"))
    with path.with_name("detail.1").open("ab") as file:
        file.write(records[400][150:] + records[401][:-1])
    path.write_bytes(b"".join(records[402:]))
    with here.engine(*words, command=("ingest", str(path)), port=port) as third:
        taken(third, 200, "radius")
        third.until(lambda: third.metric("ringfence_ingest_behind_bytes") == 0)
        assert third.metric("ringfence_ingest_files_total", happening="lost") == 0
        assert third.stop() == 0
    found = await read(here.bootstrap, f"{here.calls}.radius")
    assert {record.value for record in found} == {record.rstrip() for record in records}
    marks = {(record.value, dict(record.headers)["rf_record"]) for record in found}
    assert len(marks) == len(records)


async def test_files_of_one_call_each_and_a_wrong_dialect(here: Deployment) -> None:
    """Each file of a folder is sent once; records of another dialect are refused, nothing of them
    is sent and the right one is named; `--dry-run` sends nothing.
    """
    folder = here.folder / "json_cdr"
    folder.mkdir()
    for sample in sorted((GOLDEN / "freeswitch").glob("*/input.*")):
        (folder / f"{sample.parent.name}.cdr.json").write_bytes(sample.read_bytes())
    count = len([*folder.iterdir()])
    dry = here.invokes("ingest", "--dialect", "freeswitch", str(folder), "--dry-run", "--json")
    assert dry.code == 0, dry.output
    assert await read(here.bootstrap, f"{here.calls}.fs") == []
    said = json.loads(dry.out)
    assert (said["records"], said["topic"]) == (count, f"{here.calls}.fs")
    for expected in (said["calls"], 0):
        assert (await once(here, "freeswitch", folder)).taken == expected
    assert len(await read(here.bootstrap, f"{here.calls}.fs")) == count
    path = here.folder / "Master.csv"
    path.write_bytes(b"".join(map(call, range(60))))
    with pytest.raises(ConfigInvalid, match="they seem to be in asterisk-csv"):
        await once(here, "asterisk-custom", path)
    assert await read(here.bootstrap, f"{here.calls}.wrong") == []


async def once(here: Deployment, dialect: str, path: Path) -> Sent:
    """Read what is there, as the command does."""
    settings = load([here.config], {})
    request = request_of(settings, path, dialect, None, None)
    with PositionFile(request.state, str(request.path)) as state:
        job = IngestJob(settings, request, state, CollectorRegistry())
        await job.work()
        return job.sent
