"""Builds the peers that are not Python: `python -m tests.bench.peers.build`, or `make bench-peers`.

Needs Java 17, Maven, Go 1.26, Rust 1.85, CMake and a C++ compiler with librdkafka, simdjson and
xxHash (`apt-get install librdkafka-dev libsimdjson-dev libxxhash-dev`). Packages come from Maven
Central, the Go module proxy and crates.io, at the versions of pom.xml, go.mod and Cargo.lock. All
that is built lies in build/peers and is built again when its sources changed. Exits with 1 if
something is missing or does not build.
"""

import shutil
import subprocess
import sys
from pathlib import Path

SOURCES = Path(__file__).parent
BUILT = SOURCES.parents[2] / "build" / "peers"
JVM = ("kafka_streams", "flink", "java_loop")
GO, CPP, RUST = "franz_go", "cpp_loop", "rust_loop"
OTHERS = (*JVM, GO, CPP, RUST)
TOOLS = ("java", "mvn", "go", "cargo", "cmake", "c++")


def java(name: str, main_class: str) -> list[str]:
    """The start of the command line of the peer `name` on the JVM, at Java's own defaults."""
    return ["java", "-cp", str(BUILT / name / "libs" / "*"), main_class]


def program(name: str) -> str:
    """The program of a peer that runs without a JVM."""
    return str(BUILT / name / ("release/rust_loop" if name == RUST else name))


def not_built() -> list[str]:
    """The peers that cannot be run on this machine."""
    names = [
        name
        for name in JVM
        if shutil.which("java") is None or not (BUILT / name / "libs" / f"{name}-1.jar").exists()
    ]
    return names + [name for name in (GO, CPP, RUST) if not Path(program(name)).exists()]


def main() -> int:
    """Build all; the exit code."""
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    if missing:
        print(f"The peers are built by {', '.join(TOOLS)}; not found: {', '.join(missing)}")
        return 1
    print("Building the peers: Kafka Streams, Flink, Java, franz-go, C++, Rust", flush=True)
    (BUILT / CPP).mkdir(parents=True, exist_ok=True)
    plain = ["mvn", "--quiet", "--batch-mode", "-Dstyle.color=never"]
    cargo = ["cargo", "build", "--quiet", "--release", "--locked"]
    cpp = ["c++", "-std=c++17", "-O3", "-march=native", "-o", program(CPP), "main.cpp"]
    commands = (
        ([*plain, f"-Dpeers.folder={BUILT}", "package"], SOURCES),
        (["go", "build", "-o", program(GO), "."], SOURCES / GO),
        ([*cargo, "--target-dir", str(BUILT / RUST)], SOURCES / RUST),
        ([*cpp, "-lrdkafka", "-lsimdjson", "-lxxhash"], SOURCES / CPP),
    )
    for command, folder in commands:
        if subprocess.run(command, cwd=folder, check=False).returncode:
            print(f"{command[0]} failed in {folder.name}; it needs its packages (see above)")
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
