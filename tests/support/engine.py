"""The whole product as its user runs it: a settings file, commands, and engine processes."""

import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from stream.lab.embedded.choose import EmbeddedBroker
from stream.lab.embedded.guarded_server import free_ports
from tests.support.waiting import HANGS_S

ROOT = Path(__file__).parents[2]
KERNELS_DIR = ROOT / "state" / "kernels"
"""What the tests compiled, in their process: an engine need not do it again."""
LISTED = "+66812345678"
WAIT_S = HANGS_S


@dataclass(frozen=True, slots=True)
class Done:
    """What a command did."""

    code: int
    out: str
    err: str


class Engine:
    """One `ringfence run` process and what it says."""

    def __init__(self, process: "subprocess.Popen[bytes]", port: int, log: Path) -> None:
        self.process = process
        self.port = port
        self._log = log

    def page(self, path: str) -> tuple[int, str]:
        """Status and body of a health page; status 0: nobody answers."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=5) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except OSError:
            return 0, ""

    def value(self, name: str) -> float:
        """The sum of a metric's samples; `name` may begin a label set: `x_total{topic="a"`."""
        text = self.page("/metrics")[1]
        found = re.findall(rf"^{re.escape(name)}[^ ]* ([^ ]+)$", text, re.MULTILINE)
        return sum(map(float, found))

    def until(self, what: Callable[[], object], wait_s: float = WAIT_S) -> None:
        """Wait for `what` to be true; fails with the log."""
        end = time.monotonic() + wait_s
        while not what():
            assert time.monotonic() < end, f"it did not come true:\n{self.log()[-4000:]}"
            assert self.process.poll() is None, f"it ended:\n{self.log()[-4000:]}"
            time.sleep(0.1)

    def until_ready(self, wait_s: float = WAIT_S) -> None:
        """Wait for /ready."""
        self.until(lambda: self.page("/ready")[0] == 200, wait_s)

    def log(self) -> str:
        """All that it logged."""
        return self._log.read_text()

    def events(self) -> list[dict[str, Any]]:
        """The log's lines."""
        return [json.loads(line) for line in self.log().splitlines()]

    def stop(self, number: int = signal.SIGTERM, wait_s: float = WAIT_S) -> int:
        """Tell it to stop; its exit code."""
        self.process.send_signal(number)
        return self.process.wait(wait_s)


class Deployment:
    """A settings file of its own topics, group, register and state directory.

    `kafka` is a broker of the tests, or an address where nobody need listen.
    """

    def __init__(
        self, folder: Path, kafka: EmbeddedBroker | str, redis_url: str, more: str = ""
    ) -> None:
        name = uuid4().hex[:8]
        self.folder = folder
        self.bootstrap = kafka if isinstance(kafka, str) else kafka.bootstrap
        idempotent = isinstance(kafka, str) or kafka.supports_transactions
        self.calls, self.decisions = f"calls-{name}", f"decisions-{name}"
        self.port = free_ports(1)[0]
        self.config = folder / "mine.toml"
        self.config.write_text(
            f"""
kafka.bootstrap_servers = "{self.bootstrap}"
kafka.idempotent = {str(idempotent).lower()}
redis.url = "{redis_url}"
ops.http_port = {self.port}
lists.state_dir = "{folder / "state"}"
ops.kernels_dir = "{KERNELS_DIR}"
lists.reconcile_s = 0.5
trunks.intl-1 = {{ country = "TH", ingress = "international" }}
{more}
[calls]
group_id = "group-{name}"
decisions_topic = "{self.decisions}"
rejected_topic = "rejected-{name}"
partitions = 4
instance_id = "test"
topics = {{ {self.calls} = "ringfence" }}
"""
        )

    def command(self, *words: str, wait_s: float = WAIT_S) -> Done:
        """Run `ringfence WORDS --config ...` to its end."""
        done = subprocess.run(
            [sys.executable, "-m", "stream", *words, "--config", str(self.config)],
            capture_output=True,
            text=True,
            timeout=wait_s,
            check=False,
            cwd=ROOT,
            env={**os.environ, "COLUMNS": "200", "NO_COLOR": "1"},
        )
        return Done(done.returncode, done.stdout, done.stderr)

    @contextmanager
    def engine(
        self, *words: str, command: tuple[str, ...] = ("run",), port: int = 0
    ) -> Iterator[Engine]:
        """A running `ringfence run WORDS`; killed at the end if it still runs.

        Another `command` that runs on has its pages at `port`.
        """
        log = self.folder / f"log-{uuid4().hex[:6]}"
        with log.open("wb") as file:
            process = subprocess.Popen(
                [sys.executable, "-m", "stream", *command, *words, "--config", str(self.config)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=file,
                cwd=ROOT,
            )
        engine = Engine(process, port or self.port, log)
        try:
            yield engine
        finally:
            with suppress(ProcessLookupError):
                process.kill()
            process.wait()

    async def send(self, values: Sequence[bytes]) -> None:
        """Put records on the calls topic."""
        producer = AIOKafkaProducer(bootstrap_servers=self.bootstrap, acks="all")
        await producer.start()
        try:
            for value in values:
                await producer.send(self.calls, value)
        finally:
            await producer.stop()

    async def decided(self, count: int) -> list[dict[str, Any]]:
        """The decisions topic, once it has `count` decisions."""
        consumer = AIOKafkaConsumer(
            bootstrap_servers=self.bootstrap, auto_offset_reset="earliest", group_id=None
        )
        await consumer.start()
        try:
            consumer.assign([TopicPartition(self.decisions, number) for number in range(4)])
            found: list[dict[str, Any]] = []
            end = time.monotonic() + WAIT_S
            while len(found) < count:
                assert time.monotonic() < end, f"{len(found)} decisions of {count}"
                for records in (await consumer.getmany(timeout_ms=200)).values():
                    found += [json.loads(record.value or b"null") for record in records]
            return found
        finally:
            await consumer.stop()


def records(count: int, *, every: int = 10, series: str = "a") -> list[bytes]:
    """`count` calls, of which each `every`-th comes from the listed number."""
    return [
        json.dumps(
            {
                "call_id": f"{series}-{index}",
                "caller": LISTED if index % every == 0 else f"+6689{index:07d}",
                "callee": "+6621234567",
                "trunk": "intl-1",
            }
        ).encode()
        for index in range(count)
    ]
