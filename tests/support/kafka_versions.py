"""Apache Kafka of another version: `RINGFENCE_TEST_KAFKA` names it, and `make matrix` sets it.

Tests write their brokers' settings for KRaft. Versions that came before it run beside a ZooKeeper,
which is among their jars.
"""

import os
import re
import shutil
import socket
import time
from pathlib import Path

from stream.lab.embedded import apache_kafka
from stream.lab.embedded.guarded_server import (
    Say,
    Server,
    StartFailed,
    answers_metadata,
    free_ports,
    ignore,
    new_folder,
)

VARIABLE = "RINGFENCE_TEST_KAFKA"
KRAFT_SINCE = (3, 9)
"""The first version that takes the settings as they are."""
_FORGETS_S = 30.0
"""ZooKeeper forgets a killed broker after its session; until then another one cannot begin."""
_OF_KRAFT = r"process\.roles|node\.id|controller\.|share\.|broker\.(session|heartbeat)\."
_BY_ZOOKEEPER = """\
broker.id=1
zookeeper.connect=127.0.0.1:{port}
zookeeper.session.timeout.ms=6000
"""
_ZOOKEEPER = """\
dataDir={folder}/data
clientPort={port}
clientPortAddress=127.0.0.1
tickTime=500
admin.enableServer=false
maxClientCnxns=0
"""


def use_wanted() -> None:
    """Let embedded brokers be of the version that the environment names."""
    if version := os.environ.get(VARIABLE):
        apache_kafka.VERSION = version
        if by_zookeeper():
            apache_kafka.server = _server


def by_zookeeper() -> bool:
    """Return whether the version in use needs a ZooKeeper."""
    return tuple(int(part) for part in apache_kafka.VERSION.split(".")[:2]) < KRAFT_SINCE


def for_zookeeper(settings: str) -> str:
    """Return settings for KRaft as a broker takes them that has a ZooKeeper."""
    kept = [line for line in settings.splitlines() if not re.match(_OF_KRAFT, line)]
    text = re.sub(r",CONTROLLER:[^,\n]*|CONTROLLER:PLAINTEXT,", "", "\n".join(kept) + "\n")
    return text.replace(
        "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "kafka.security.authorizer.AclAuthorizer",
    )


class BesideZookeeper(Server):
    """A broker with a ZooKeeper of its own, which outlives its restarts."""

    def __init__(self, port: int, folder: Path, jvm: tuple[str, ...]) -> None:
        libs, settings = apache_kafka.jars(), folder / "server.properties"
        (keeper_port,) = free_ports(1)
        keeper = new_folder("zookeeper")
        (keeper / "zoo.cfg").write_text(_ZOOKEEPER.format(folder=keeper, port=keeper_port))
        given = for_zookeeper(settings.read_text())
        settings.write_text(given + _BY_ZOOKEEPER.format(port=keeper_port))
        java = ["java", *jvm, "-cp", f"{libs}/*"]
        main = "org.apache.zookeeper.server.ZooKeeperServerMain"
        command = [*java, main, str(keeper / "zoo.cfg")]
        self._zookeeper = Server("ZooKeeper", keeper_port, keeper, command, _listens)
        broker = [*java, "kafka.Kafka", str(settings)]
        super().__init__(apache_kafka.title(), port, folder, broker, answers_metadata)

    def start(self) -> None:
        """Start both; again while ZooKeeper still knows the broker that was killed."""
        self._zookeeper.start()
        until_s = time.monotonic() + _FORGETS_S
        while True:
            try:
                super().start()
            except StartFailed as failed:
                if "NodeExists" not in str(failed) or time.monotonic() > until_s:
                    raise
            else:
                return

    def close(self) -> None:
        """End both."""
        super().close()
        self._zookeeper.close()


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1.0).close()
    except OSError:
        return False
    return True


def _server(say: Say = ignore) -> Server:
    """Stand in for `apache_kafka.server`."""
    apache_kafka.jars(say)
    port, unused = free_ports(2)
    folder = new_folder("kafka")
    text = apache_kafka.SETTINGS.format(port=port, controller_port=unused, folder=folder)
    (folder / "server.properties").write_text(text)
    try:
        return BesideZookeeper(port, folder, apache_kafka.JVM)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
