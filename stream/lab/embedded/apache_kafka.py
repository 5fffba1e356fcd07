"""Apache Kafka, one node in KRaft mode: broker and controller in one Java process.

Maven fetches the jars once per user (54 MB, about 7 s) into a cache folder, and they are used from
there afterwards. Maven checks their checksums. No installation, no root. A first broker leaves its
classes beside them, as Java has them in memory (49 MB, about 8 s): each later start takes 1.6 s of
CPU instead of 2.7.
"""

import fcntl
import os
import re
import shutil
import subprocess
import tempfile
import uuid
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from stream.lab.embedded.guarded_server import (
    Say,
    Server,
    StartFailed,
    Unavailable,
    answers_metadata,
    free_ports,
    ignore,
    new_folder,
)

VERSION = "4.1.1"
BROKER = "kafka_2.13"
"""The artefact in Maven, which brings all that a broker needs."""
LOG_VERSION = "1.7.36"
JAVA_MIN = 17
INSTALL = "apt-get install default-jre-headless maven"
FETCH_S_MAX, ARCHIVE_S_MAX = 600, 60
JVM = ("-Xms256m", "-Xmx1g", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn")

POM = """\
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>ringfence</groupId><artifactId>embedded-kafka</artifactId><version>1</version>
  <packaging>pom</packaging>
  <dependencies>
    <dependency>
      <groupId>org.apache.kafka</groupId><artifactId>{artifact}</artifactId>
      <version>{version}</version>
    </dependency>
    <!-- Without a back end for its log, a broker that fails to start does so in silence. -->
    <dependency>
      <groupId>org.slf4j</groupId><artifactId>slf4j-simple</artifactId>
      <version>{log_version}</version>
    </dependency>
  </dependencies>
</project>
"""

# Small and quick on purpose: one partition for Kafka's own topics, transactions and sessions that
# end within seconds, so that a restart in a test is a matter of seconds too.
SETTINGS = """\
process.roles=broker,controller
node.id=1
controller.quorum.bootstrap.servers=127.0.0.1:{controller_port}
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}
controller.listener.names=CONTROLLER
log.dirs={folder}/data
auto.create.topics.enable=false
num.partitions=1
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
transaction.abort.timed.out.transaction.cleanup.interval.ms=500
broker.session.timeout.ms=3000
broker.heartbeat.interval.ms=500
"""


def title() -> str:
    """Return its name and version."""
    return f"Apache Kafka {VERSION}"


def jar_names(artifact: str = BROKER) -> tuple[str, str]:
    """Return the names of two jars that stand for all."""
    return f"{artifact}-{VERSION}.jar", f"slf4j-simple-{LOG_VERSION}.jar"


def available(artifact: str = BROKER) -> Path | None:
    """The folder of the jars, None if they are yet to be fetched; Unavailable if nothing helps."""
    java = shutil.which("java")
    if java is None:
        raise Unavailable(f"no Java: {INSTALL}")
    shown = subprocess.run([java, "-version"], capture_output=True, text=True, check=False).stderr
    found = re.search(r'version "(\d+)', shown)
    if found is None or int(found[1]) < JAVA_MIN:
        version = found[1] if found else "of unknown version"
        raise Unavailable(f"Java {version} is too old, Kafka needs {JAVA_MIN}: {INSTALL}")
    libs = _cache(artifact) / "libs"
    if _complete(libs, artifact):
        return libs
    if shutil.which("mvn") is None:
        raise Unavailable(f"no Maven to fetch Kafka's jars with: {INSTALL}")
    return None


def jars(say: Say = ignore, artifact: str = BROKER) -> Path:
    """Return the folder of Kafka's jars, fetched now if need be; safe when several ask at once."""
    libs = available(artifact)
    if libs is not None:
        return libs
    cache = _cache(artifact)
    cache.parent.mkdir(parents=True, exist_ok=True)
    with _locked(cache.with_suffix(".lock")):
        libs = available(artifact)  # somebody else may have fetched them while we waited
        if libs is None:
            say(f"Fetching {title()} by Maven, once for this user ...")
            _fetch(cache, artifact)
    return cache / "libs"


def java(libs: Path, *flags: str) -> list[str]:
    """Return how a command begins that runs a class of the jars, with its classes if it has them.

    Java passes over an archive that is not there, is empty, or was made by another Java.
    """
    return ["java", *flags, f"-XX:SharedArchiveFile={_classes(libs)}", "-cp", f"{libs}/*"]


def server(say: Say = ignore) -> Server:
    """Return a formatted Kafka that is not started yet; Unavailable with the reason."""
    libs = jars(say)
    archive = _classes(libs)
    if not archive.exists() and os.access(archive.parent, os.W_OK):
        with _locked(archive.with_suffix(".lock")):
            if not archive.exists():
                say(f"Keeping the classes of {title()}, once for this user ...")
                _keep_classes(libs, archive)
    return _server(libs, java(libs, *JVM))


def _server(libs: Path, start: list[str]) -> Server:
    port, controller_port = free_ports(2)
    folder = new_folder("kafka")
    settings = folder / "server.properties"
    settings.write_text(SETTINGS.format(port=port, controller_port=controller_port, folder=folder))
    try:
        _format(libs, settings)
        command = [*start, "kafka.Kafka", str(settings)]
        return Server(title(), port, folder, command, answers_metadata)
    except BaseException:  # Ctrl-C included: no guard watches the folder yet
        shutil.rmtree(folder, ignore_errors=True)
        raise


def _classes(libs: Path) -> Path:
    return libs.parent / "classes.jsa"


def _keep_classes(libs: Path, archive: Path) -> None:
    """Start and stop a broker that leaves its classes in `archive`.

    Where it cannot, `archive` is empty: nothing depends on it, and no later start tries again.
    """
    aside = archive.with_suffix(".new")
    start = ["java", *JVM, f"-XX:ArchiveClassesAtExit={aside}", "-cp", f"{libs}/*"]
    with suppress(StartFailed), _server(libs, start) as broker:
        broker.start()
        broker.stop(ARCHIVE_S_MAX)
    aside.touch()
    aside.replace(archive)


def _format(libs: Path, settings: Path) -> None:
    """Write a new cluster's first metadata into the data folder (about 1 s of Java)."""
    cluster_id = urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
    quick = ["-Xmx128m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"]
    tool = ["kafka.tools.StorageTool", "format", "--standalone"]
    done = subprocess.run(
        [*java(libs, *quick), *tool, f"--cluster-id={cluster_id}", f"--config={settings}"],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise StartFailed(f"{title()} could not format its folder: {done.stderr[-600:]}")


def _complete(libs: Path, artifact: str) -> bool:
    """Return whether the jars are there. The folder is renamed as a whole: two names are enough."""
    return all((libs / jar).exists() for jar in jar_names(artifact))


def _cache(artifact: str) -> Path:
    """Per user, as the XDG rules say."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    name = "kafka" if artifact == BROKER else artifact
    return Path(base) / "ringfence" / f"{name}-{VERSION}"


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold an exclusive lock among processes; it goes with the process that holds it."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _fetch(cache: Path, artifact: str) -> None:
    """Let Maven copy the jars into a folder beside the cache, then rename: all of them or none."""
    with tempfile.TemporaryDirectory(dir=cache.parent, prefix="fetch-") as name:
        aside = Path(name) / "kafka"
        (aside / "libs").mkdir(parents=True)
        pom = POM.format(artifact=artifact, version=VERSION, log_version=LOG_VERSION)
        (aside / "pom.xml").write_text(pom)
        maven = ["mvn", "-q", "-B", "--strict-checksums", "-f", str(aside / "pom.xml")]
        goal = ["dependency:copy-dependencies", f"-DoutputDirectory={aside / 'libs'}"]
        try:
            done = subprocess.run(
                [*maven, *goal], capture_output=True, text=True, check=False, timeout=FETCH_S_MAX
            )
        except subprocess.TimeoutExpired as error:
            raise Unavailable(f"Maven did not fetch {title()} in {FETCH_S_MAX} s") from error
        if done.returncode or not _complete(aside / "libs", artifact):
            said = (done.stdout + done.stderr).strip().splitlines() or ["nothing"]
            raise Unavailable(f"Maven could not fetch {title()}: {said[0][:300]}")
        shutil.rmtree(cache, ignore_errors=True)
        aside.rename(cache)
