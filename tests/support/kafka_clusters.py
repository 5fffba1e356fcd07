"""Apache Kafka as operators run it: three brokers, or one that asks who is there.

`stream.lab.embedded` has one broker without any of it; these are variants of its settings. A
setting that is given twice counts as it is given last.
"""

import shutil
import socket
import struct
import subprocess
import uuid
from base64 import urlsafe_b64encode
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from stream.lab.embedded import apache_kafka
from stream.lab.embedded.guarded_server import Server, answers_metadata, free_ports, new_folder
from tests.support import kafka_versions

JVM = (
    *("-Xms96m", "-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"),
    "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
)
NODES = (1, 2, 3)
QUORUM = """\
controller.quorum.bootstrap.servers=
controller.quorum.voters={voters}
node.id={node}
default.replication.factor=3
min.insync.replicas=2
offsets.topic.replication.factor=3
transaction.state.log.replication.factor=3
transaction.state.log.min.isr=2
log.message.timestamp.type=LogAppendTime
auto.leader.rebalance.enable=false
"""
_ELECT_LEADERS, _REASSIGN = (43, 2), (45, 0)
_PREFERRED = 0


def _id() -> str:
    return urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")


def server(folder: Path, port: int) -> Server:
    """A broker that is not started yet, with the settings that lie in its folder."""
    if kafka_versions.by_zookeeper():
        return kafka_versions.BesideZookeeper(port, folder, JVM)
    settings = str(folder / "server.properties")
    command = [*apache_kafka.java(apache_kafka.jars(), *JVM), "kafka.Kafka", settings]
    return Server(apache_kafka.title(), port, folder, command, answers_metadata)


def formatted(folder: Path, *words: str) -> None:
    """Write a new cluster's first metadata; with a ZooKeeper a broker does so itself."""
    if kafka_versions.by_zookeeper():
        return
    java = apache_kafka.java(apache_kafka.jars(), *JVM)
    tool = ["kafka.tools.StorageTool", "format", f"--cluster-id={_id()}"]
    subprocess.run(
        [*java, *tool, f"--config={folder / 'server.properties'}", *words],
        check=True,
        capture_output=True,
    )


@dataclass(frozen=True, slots=True)
class Cluster:
    """Three nodes, each a broker and a controller; by number."""

    servers: Mapping[int, Server]

    @property
    def bootstrap(self) -> str:
        """Addresses of all."""
        return ",".join(f"127.0.0.1:{one.port}" for one in self.servers.values())

    def elect_preferred(self, topic: str, partitions: Sequence[int]) -> None:
        """Let the first replica of each partition lead it, as `kafka-leader-election.sh` does."""
        numbers = _many([struct.pack(">i", one) for one in partitions])
        body = struct.pack(">b", _PREFERRED) + _many([_text(topic) + numbers + b"\0"])
        self._ask(_ELECT_LEADERS, body + struct.pack(">i", 10_000) + b"\0")

    def reassign(self, topic: str, replicas: Mapping[int, Sequence[int]]) -> None:
        """Give partitions to other replicas, as `kafka-reassign-partitions.sh` does."""
        moves = [
            struct.pack(">i", one) + _many([struct.pack(">i", node) for node in nodes]) + b"\0"
            for one, nodes in replicas.items()
        ]
        body = struct.pack(">i", 10_000) + _many([_text(topic) + _many(moves) + b"\0"])
        self._ask(_REASSIGN, body + b"\0")

    def _ask(self, api: tuple[int, int], body: bytes) -> None:
        """Ask the first broker that runs, which passes it on to the controller."""
        port = next(one.port for one in self.servers.values() if one.is_running())
        # Both in the flexible encoding: request header 2, no client id, no tags.
        message = struct.pack(">hhihb", *api, 1, -1, 0) + body
        with socket.create_connection(("127.0.0.1", port), 15) as connection:
            connection.sendall(struct.pack(">i", len(message)) + message)
            with connection.makefile("rb") as answers:
                (size,) = struct.unpack(">i", answers.read(4))
                answer = answers.read(size)
        # Correlation id, tags, throttle time; then the error of the whole.
        (error,) = struct.unpack_from(">h", answer, 9)
        assert error == 0, f"request {api[0]} was refused: {answer!r}"


def _text(text: str) -> bytes:
    return bytes([len(text) + 1]) + text.encode()


def _many(items: Sequence[bytes]) -> bytes:
    return bytes([len(items) + 1]) + b"".join(items)


@contextmanager
def three_brokers() -> Iterator[Cluster]:
    """A running cluster; topics with three replicas of which two must have what is acknowledged."""
    ports = free_ports(2 * len(NODES))
    voters = ",".join(f"{node}@127.0.0.1:{ports[2 * node - 1]}" for node in NODES)
    with ExitStack() as stack:
        folders = {node: new_folder(f"kafka-{node}") for node in NODES}
        for folder in folders.values():
            stack.callback(shutil.rmtree, folder, ignore_errors=True)
        for node, folder in folders.items():
            port, controller_port = ports[2 * node - 2 : 2 * node]
            base = apache_kafka.SETTINGS.format(
                port=port, controller_port=controller_port, folder=folder
            )
            text = base + QUORUM.format(voters=voters, node=node)
            (folder / "server.properties").write_text(text)
        # What `format` writes differs by the node's number and the folder's id alone.
        formatted(folders[1])
        for node in NODES[1:]:
            shutil.copytree(folders[1] / "data", folders[node] / "data")
            named = folders[node] / "data" / "meta.properties"
            lines = [line.partition("=") for line in named.read_text().splitlines()]
            told = {key: value for key, equals, value in lines if equals}
            told.update({"node.id": str(node), "directory.id": _id()})
            named.write_text("".join(f"{key}={value}\n" for key, value in told.items()))
        servers = {node: server(folders[node], ports[2 * node - 2]) for node in NODES}
        for one in servers.values():
            stack.enter_context(one)
        _start(list(servers.values()))
        yield Cluster(servers)


def _start(servers: Sequence[Server]) -> None:
    """All at once: none is ready before a second one is."""
    with ThreadPoolExecutor(len(servers)) as pool:
        list(pool.map(Server.start, servers))
