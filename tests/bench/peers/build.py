"""Builds the peers that are not Python: `python -m tests.bench.peers.build`, or `make bench-peers`.

Needs Java 17, Maven and Go 1.26; their packages come from Maven Central and the Go module proxy,
at the versions of pom.xml and go.mod. What is built lies in build/peers and is built again when its
sources changed. Exits with 1 if something is missing or does not build.
"""

import shutil
import subprocess
import sys
from pathlib import Path

SOURCES = Path(__file__).parent
BUILT = SOURCES.parents[2] / "build" / "peers"
JVM = ("kafka_streams", "flink", "java_loop")
GO = "franz_go"


def java(name: str, main_class: str) -> list[str]:
    """The start of the command line of the peer `name` on the JVM, at Java's own defaults."""
    return ["java", "-cp", str(BUILT / name / "libs" / "*"), main_class]


def go() -> str:
    """The program of the peer in Go."""
    return str(BUILT / GO / GO)


def not_built() -> list[str]:
    """The peers that cannot be run on this machine."""
    names = [
        name
        for name in JVM
        if shutil.which("java") is None or not (BUILT / name / "libs" / f"{name}-1.jar").exists()
    ]
    return names + ([] if Path(go()).exists() else [GO])


def main() -> int:
    """Build all; the exit code."""
    missing = [tool for tool in ("java", "mvn", "go") if shutil.which(tool) is None]
    if missing:
        print(f"The peers are built by java, mvn and go; not found: {', '.join(missing)}")
        return 1
    print("Building the peers: Kafka Streams, Flink, Java loop, franz-go", flush=True)
    plain = ["mvn", "--quiet", "--batch-mode", "-Dstyle.color=never"]
    maven = [*plain, f"-Dpeers.folder={BUILT}", "package"]
    build = ["go", "build", "-o", go(), "."]
    for command, folder in ((maven, SOURCES), (build, SOURCES / GO)):
        if subprocess.run(command, cwd=folder, check=False).returncode:
            print(f"{command[0]} failed in {folder.name}; it needs its package registry")
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
