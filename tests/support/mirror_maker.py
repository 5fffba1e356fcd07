"""MirrorMaker 2 of Apache Kafka: topics and positions of one cluster, copied to another one.

`PROPERTIES` are those that docs/how-to/operate/two-sites.md gives, with one replica of each topic
and with intervals of a second.
"""

from collections.abc import Sequence
from pathlib import Path

from stream.lab.embedded import apache_kafka
from stream.lab.embedded.guarded_server import Server, free_ports, new_folder
from tests.support.kafka_clusters import JVM

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "how-to" / "operate" / "two-sites.md"
_SMALL = """
replication.factor = 1
checkpoints.topic.replication.factor = 1
heartbeats.topic.replication.factor = 1
offset-syncs.topic.replication.factor = 1
offset.storage.replication.factor = 1
status.storage.replication.factor = 1
config.storage.replication.factor = 1
emit.checkpoints.interval.seconds = 1
south.offset.flush.interval.ms = 1000
sync.group.offsets.interval.seconds = 1
refresh.topics.interval.seconds = 2
refresh.groups.interval.seconds = 2
"""


def mirror(source: str, target: str, topics: Sequence[str], groups: Sequence[str]) -> Server:
    """Return one that is not started yet. It says nothing when it is ready: look at the topics."""
    libs = apache_kafka.jars(artifact="connect-mirror")
    folder = new_folder("mirror")
    text = properties(PAGE.read_text())
    given = {
        "NORTH": source,
        "SOUTH": target,
        "TOPICS": ", ".join(topics),
        "GROUPS": ", ".join(groups),
    }
    for name, value in given.items():
        text = text.replace(f"<{name}>", value)
    path = folder / "mm2.properties"
    path.write_text(text + _SMALL)
    main = "org.apache.kafka.connect.mirror.MirrorMaker"
    command = ["java", *JVM, "-cp", f"{libs}/*", main, str(path), "--clusters", "south"]
    return Server("MirrorMaker 2", free_ports(1)[0], folder, command, lambda _: True)


def properties(page: str) -> str:
    """Return the file of properties on the page."""
    return page.partition("`mm2.properties`:\n\n```properties\n")[2].partition("```")[0]
