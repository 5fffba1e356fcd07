"""The whole product as its user runs it: a settings file, commands, and engine processes."""

import json
import os
import re
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from types import MappingProxyType
from typing import Any, Self
from uuid import uuid4

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from stream.lab.embedded.choose import EmbeddedBroker
from stream.lab.embedded.guarded_server import free_ports
from tests.plugins.run_broker import RunBroker
from tests.support.commands import Operator
from tests.support.forked import Forked
from tests.support.waiting import HANGS_S

ROOT = Path(__file__).parents[2]
KERNELS_DIR = ROOT / "state" / "kernels"
"""Kernels that the tests compiled, in their process: an engine need not do it again."""
LISTED = "+66812345678"
WAIT_S = HANGS_S
POLL_S, POLL_S_MAX = 0.1, 0.5
"""Each look at /metrics costs the engine and the test some 10 ms of CPU."""
_numbers = count()


def process(
    *words: str, env: Mapping[str, str] | None = None, wait_s: float = WAIT_S, tree: Path = ROOT
) -> "subprocess.CompletedProcess[str]":
    """Run a command to its end in a process of its own, for tests of what only that shows.

    `tree` has the version that runs.
    """
    return subprocess.run(
        [sys.executable, "-m", "stream", *words],
        cwd=tree,
        env={**os.environ, "PYTHONPATH": str(tree), "COLUMNS": "200", **(env or {})},
        capture_output=True,
        text=True,
        check=False,
        timeout=wait_s,
    )


def pause_s(waited_s: float) -> float:
    """Return seconds until the next look, after a wait of `waited_s`: a look costs 20 ms of CPU,
    and what took long may be seen a tenth of that later.
    """
    return min(max(waited_s / 10, POLL_S), POLL_S_MAX)


def toml(tables: Mapping[str, Mapping[str, object]]) -> str:
    """Tables of plain values as TOML: JSON's texts, numbers, booleans and arrays are TOML's."""
    lines: list[str] = []
    for name, values in tables.items():
        lines += [f"[{name}]", *(f'"{key}" = {json.dumps(one)}' for key, one in values.items())]
    return "\n".join(lines) + "\n"


def merged(
    base: Mapping[str, Mapping[str, object]], changes: Mapping[str, Mapping[str, object]]
) -> dict[str, dict[str, object]]:
    """`base` with `changes` laid over it, table by table."""
    names: Sequence[str] = [*base, *(name for name in changes if name not in base)]
    return {name: {**base.get(name, {}), **changes.get(name, {})} for name in names}


def sampled(text: str, name: str, labels: Mapping[str, str]) -> float:
    """The sum of a metric in the text of /metrics, over all samples that have `labels`.

    Not by prometheus_client's parser: it takes 30 ms for a page, and tests look ten times a second.
    """
    wanted = [re.compile(rf'[{{,]{key}="{re.escape(value)}"') for key, value in labels.items()]
    found = re.findall(rf"^{re.escape(name)}(|\{{.*\}}) (\S+)$", text, re.MULTILINE)
    return sum(float(value) for held, value in found if all(one.search(held) for one in wanted))


class Watched:
    """A `ringfence` process that runs on, watched as an operator does: log, /ready, /metrics.

    It is started as often as wanted, and killed where its context is left. Its pages are at `port`,
    or, for 0, where its log says.
    """

    def __init__(self, config: Path, *command: str, port: int = 0) -> None:
        self.config = config
        self.command = [sys.executable, "-m", "stream", *command, "--config", str(config)]
        self.port = port
        self.tree: Path | None = None
        """Another version's tree to start; None: this one's."""
        self.env: dict[str, str] = {}
        """Added to its environment."""
        self._number = next(_numbers)
        self._starts = 0
        self._process: subprocess.Popen[bytes] | Forked | None = None

    @property
    def process(self) -> "subprocess.Popen[bytes] | Forked":
        """The process of now, or the last one."""
        assert self._process is not None, "it was never started"
        return self._process

    @property
    def _log(self) -> Path:
        return self.config.with_suffix(f".{self._number}.{self._starts}.log")

    def start(self) -> None:
        """Start it, and wait for nothing."""
        assert self._process is None or self._process.poll() is not None, "it still runs"
        self._starts += 1
        with self._log.open("wb") as log:
            if self._is_plain():
                self._process = Forked(self.command[3:], self._log)
                return
            self._process = subprocess.Popen(
                self.command,
                cwd=self.tree or ROOT,
                env={**os.environ, "PYTHONPATH": str(self.tree or ROOT), **self.env},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=log,
            )

    def _is_plain(self) -> bool:
        """Return whether it can be forked: this version, without an environment of its own. `feeds`
        cannot, as it starts a server from which it forks processes itself.
        """
        return self.command[2] == "stream" and not (
            self.env or self.tree or self.command[3] == "feeds"
        )

    def kill(self) -> None:
        """End it by SIGKILL."""
        self.process.kill()
        self.process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            self.kill()

    def page(self, path: str) -> tuple[int, str]:
        """Status and body of a health page; status 0: nobody answers."""
        port = self.port or self._logged_port()
        if not port:
            return 0, ""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()
        except OSError:
            return 0, ""

    def _logged_port(self) -> int:
        found = re.search(r"http://[\d.]+:(\d+)/metrics", self.log())
        return int(found[1]) if found else 0

    def metric(self, name: str, **labels: str) -> float:
        """The sum of a metric over all label sets that contain `labels`; 0 where there is none."""
        return sampled(self.page("/metrics")[1], name, labels)

    def metrics(self) -> str:
        """All of /metrics that is ours and not 0."""
        lines = self.page("/metrics")[1].splitlines()
        return "\n".join(
            line for line in lines if line.startswith("ringfence_") and not line.endswith(" 0.0")
        )

    def log(self) -> str:
        """All that this start logged."""
        return self._log.read_text(errors="replace")

    def said(self, pattern: str) -> list[str]:
        """The log lines of this start that match."""
        return [line for line in self.log().splitlines() if re.search(pattern, line)]

    def events(self) -> list[dict[str, Any]]:
        """This start's log, line by line: all of it has to be JSON."""
        return [json.loads(line) for line in self.log().splitlines()]

    def last_words(self) -> str:
        """The end of its log."""
        return self.log()[-4000:]


class Engine(Watched):
    """A process that its test waits for, and does nothing else meanwhile."""

    def until(self, what: Callable[[], object], wait_s: float = WAIT_S) -> None:
        """Wait for `what` to be true; fails with the log."""
        began = time.monotonic()
        while not what():
            waited_s = time.monotonic() - began
            assert waited_s < wait_s, f"it did not come true:\n{self.last_words()}"
            assert self.process.poll() is None, f"it ended:\n{self.last_words()}"
            time.sleep(pause_s(waited_s))

    def until_ready(self) -> None:
        """Wait for /ready."""
        self.until(lambda: self.page("/ready")[0] == 200)

    def stop(self) -> int:
        """End it by SIGTERM; its exit code."""
        self.process.terminate()
        return self.process.wait(WAIT_S)


class Deployment(Operator):
    """A settings file of its own topics, group, list store and state, and who types commands there.

    `kafka` is a broker of the tests, or an address where nobody need listen. `dialects` names each
    topic of calls by what follows the name of the first.
    """

    def __init__(
        self,
        folder: Path,
        kafka: RunBroker | EmbeddedBroker | str,
        redis_url: str,
        more: str = "",
        dialects: Mapping[str, str] = MappingProxyType({"": "ringfence"}),
    ) -> None:
        name = uuid4().hex[:8]
        self.folder = folder
        self.bootstrap = kafka if isinstance(kafka, str) else kafka.bootstrap
        idempotent = isinstance(kafka, str) or kafka.supports_transactions
        self.calls, self.decisions = f"calls-{name}", f"decisions-{name}"
        topics = ", ".join(f'"{self.calls}{end}" = "{one}"' for end, one in dialects.items())
        self.port = free_ports(1)[0]
        super().__init__(folder / "mine.toml")
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
topics = {{ {topics} }}
"""
        )

    def made(self, *lists: str) -> Self:
        """Make its topics, and lists that hold the number LISTED."""
        self.types("topics", "create")
        for name in lists:
            self.types("lists", "create", name)
            self.types("lists", "add", name, LISTED)
        return self

    @contextmanager
    def engine(
        self, *words: str, command: tuple[str, ...] = ("run",), port: int = 0
    ) -> Iterator[Engine]:
        """A running `ringfence run WORDS`; another `command` has its pages at `port`."""
        with Engine(self.config, *command, *words, port=port or self.port) as engine:
            engine.start()
            yield engine

    async def send(self, values: Sequence[bytes]) -> None:
        """Put records on the calls topic."""
        async with AIOKafkaProducer(bootstrap_servers=self.bootstrap, acks="all") as producer:
            for value in values:
                await producer.send(self.calls, value)

    async def decided(self, count: int) -> list[dict[str, Any]]:
        """The decisions topic, once it has `count` decisions."""
        async with AIOKafkaConsumer(
            bootstrap_servers=self.bootstrap, auto_offset_reset="earliest", group_id=None
        ) as consumer:
            consumer.assign([TopicPartition(self.decisions, number) for number in range(4)])
            found: list[dict[str, Any]] = []
            end = time.monotonic() + WAIT_S
            while len(found) < count:
                assert time.monotonic() < end, f"{len(found)} decisions of {count}"
                for records in (await consumer.getmany(timeout_ms=200)).values():
                    found += [json.loads(record.value or b"null") for record in records]
            return found


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
