"""`ringfence ingest` from S3 and SFTP on a real Kafka: killed, cut off, and refused."""

import gzip
import json
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from stream.config.settings import load
from stream.kafka.topics import ensure_topics
from stream.lab.embedded.guarded_server import free_ports
from tests.integration.test_ingest import call, taken
from tests.support.engine import ROOT, Deployment
from tests.support.remote_servers import (
    AWS,
    PASSWORD,
    REGION,
    S3Server,
    SftpServer,
    running_s3,
    running_sftp,
)
from tests.support.topics import read

BER = ROOT / "tests" / "golden" / "ber" / "ts32297.ber"
MORE = """
[switches.bkk]
time_zone = "Asia/Bangkok"

[ingest]
state_dir = "{0}"
look_s = 0.02
remote_look_s = 0.1
settle_s = 0.3

[ingest.s3]
endpoint = "{1}"
region = "{2}"
path_style = true

[ingest.sftp]
host_keys = ["{3}"]
"""


@pytest.fixture
def s3() -> Iterator[S3Server]:
    with running_s3() as server:
        yield server


@pytest.fixture
def sftp(tmp_path: Path) -> Iterator[SftpServer]:
    (tmp_path / "files" / "cdr").mkdir(parents=True)
    with running_sftp(tmp_path / "files") as server:
        yield server


@pytest.fixture
async def here(
    tmp_path: Path,
    kafka,
    redis_url: str,
    s3: S3Server,
    sftp: SftpServer,
    monkeypatch: pytest.MonkeyPatch,
) -> Deployment:
    """A deployment whose variables hold the credentials."""
    for name, value in {**AWS, "RINGFENCE_INGEST_SFTP_PASSWORD": PASSWORD}.items():
        monkeypatch.setenv(name, value)
    more = MORE.format(tmp_path / "places", s3.endpoint, REGION, sftp.fingerprint)
    site = Deployment(
        tmp_path, kafka, redis_url, more, {"": "asterisk-csv:bkk", ".msc": "3gpp-ber"}
    )
    settings = load([site.config], {})
    await ensure_topics(settings.kafka_client(), settings.calls.names(1), lambda _: None)
    return site


async def test_every_object_comes_once_over_kills(here: Deployment, s3: S3Server) -> None:
    """Packed and plain objects, over kill -9 and objects that come later: each record is in Kafka;
    what came twice bears one mark. `--dry-run` keeps nothing, and a second run sends nothing.
    """
    bucket = s3.bucket("cdr")
    lines = [call(number) for number in range(9000)]
    s3.put(bucket, "bkk/1.csv", b"".join(lines[:3000]))
    s3.put(bucket, "bkk/2.csv.gz", gzip.compress(b"".join(lines[3000:6000])))
    address = f"s3://{bucket}/bkk/"
    dialect = ("--dialect", "asterisk-csv")
    dry = here.invokes("ingest", address, *dialect, "--dry-run", "--json")
    assert dry.code == 0, dry.output
    assert json.loads(dry.out)["calls"] == 6000
    port = free_ports(1)[0]
    words = (*dialect, "--follow", "--port", str(port))
    with here.engine(*words, command=("ingest", address), port=port) as first:
        taken(first, 2000)
        first.kill()
    with here.engine(*words, command=("ingest", address), port=port) as second:
        second.until_ready()
        s3.put(bucket, "bkk/later/3.csv.gz", gzip.compress(b"".join(lines[6000:])))
        second.until(
            lambda: second.metric("ringfence_ingest_files_total", happening="finished") > 0
        )
        taken(second, 3000)
        second.until(lambda: second.metric("ringfence_ingest_behind_bytes") == 0)
        assert second.stop() == 0
        for secret in (PASSWORD, *AWS.values()):
            assert secret == "true" or secret not in second.log()
    again = here.invokes("ingest", address, *dialect, "--json")
    assert again.code == 0, again.output
    records = await read(here.bootstrap, here.calls)
    assert Counter({record.value for record in records}) == Counter(
        line.rstrip(b"\n") for line in lines
    )
    marks = {(record.value, dict(record.headers)["rf_record"]) for record in records}
    assert len(marks) == len(lines)


async def test_files_come_over_sftp_though_it_breaks_off(
    here: Deployment, sftp: SftpServer
) -> None:
    """A server that ends its connections is asked again; binary records come packed too; a wrong
    host key gets no login.
    """
    folder = sftp.root / "cdr"
    lines = [call(number) for number in range(2000)]
    (folder / "1.csv").write_bytes(b"".join(lines[:1000]))
    os.utime(folder / "1.csv", (1_700_000_000, 1_700_000_000))
    port = free_ports(1)[0]
    words = ("--dialect", "asterisk-csv", "--follow", "--port", str(port))
    with here.engine(*words, command=("ingest", sftp.url("/cdr/")), port=port) as engine:
        taken(engine, 1000)
        sftp.disconnect()
        (folder / "2.csv.part").write_bytes(b"".join(lines[1000:]))
        (folder / "2.csv.part").rename(folder / "2.csv")
        taken(engine, 2000)
        assert engine.stop() == 0
        assert PASSWORD not in engine.log()
    records = await read(here.bootstrap, here.calls)
    assert Counter(record.value for record in records) == Counter(
        line.rstrip(b"\n") for line in lines
    )
    (sftp.root / "msc").mkdir()
    (sftp.root / "msc" / "ts32297.ber.gz").write_bytes(gzip.compress(BER.read_bytes()))
    os.utime(sftp.root / "msc" / "ts32297.ber.gz", (1_700_000_000, 1_700_000_000))
    binary = here.invokes("ingest", sftp.url("/msc/"), "--dialect", "3gpp-ber", "--json")
    assert binary.code == 0, binary.output
    assert json.loads(binary.out)["calls"] == 3
    assert len(await read(here.bootstrap, f"{here.calls}.msc")) == 3
    sftp.sessions = 0
    settings = here.config.read_text().replace(sftp.fingerprint, "SHA256:b3RoZXI")
    here.config.write_text(settings)
    wrong = here.invokes("ingest", sftp.url("/cdr/"), "--dialect", "asterisk-csv")
    assert wrong.code == 1, wrong.output
    assert (sftp.fingerprint in wrong.output, sftp.sessions) == (True, 0)
