"""The named alternatives as peers of the Kafka benches: what they are called, how they are started.

The plain loop is always there; the others if `make bench-peers` has built them. Each has ONE list,
but the franz-go loop with 64 filters. None confirms a hit, so a false positive of its filter (1e-4)
blocks an innocent caller; what a filter's hash is differs from peer to peer and is the peer's own.
"""

import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.bench import snapshots
from tests.bench.lab import LONG, MIDDLE, SHORT, Lab, Work
from tests.bench.machine import on_core
from tests.bench.peers import build
from tests.bench.process import Process, python
from tests.bench.traffic import list_numbers

PLAIN_LOOP = "plain loop, 1 list"
KAFKA_STREAMS = "Kafka Streams, 1 list"
FLINK = "Flink, 1 list"
JAVA_LOOP = "Java loop, 1 list"
GO_WHOLE = "franz-go, whole parse, 1 list"
GO_EARLY = "franz-go, stops at the caller, 1 list"
GO_MANY = "franz-go, stops at the caller, {} filters"
CPP_WHOLE = "C++ loop, whole parse, 1 list"
CPP_EARLY = "C++ loop, stops at the caller, 1 list"
RUST_WHOLE = "Rust loop, whole parse, 1 list"
RUST_EARLY = "Rust loop, stops at the caller, 1 list"


@dataclass(frozen=True, slots=True)
class Peer:
    """One peer. `slow`: it gets the shorter topic, where its figure is as good as on the longer."""

    name: str
    start: Callable[[Work], Process]
    slow: bool = False

    def calls(self, *, emit_all: bool) -> str:
        """Which of the filled topics it reads."""
        if self.slow:
            return SHORT
        return MIDDLE if emit_all else LONG


def plain_loop(lab: Lab) -> Peer:
    """aiokafka, json, pybloom-live."""
    command = python("tests.bench.peers.plain_loop")
    return _peer(lab, PLAIN_LOOP, command, [snapshots.bloom_file(lab)], slow=True)


def others(lab: Lab) -> list[Peer]:
    """All but the plain loop, as far as they are built on this machine."""
    left_out = build.not_built() if lab.with_peers else build.OTHERS
    jvm = {
        "kafka_streams": (KAFKA_STREAMS, "bench.KafkaStreamsPeer"),
        "flink": (FLINK, "bench.FlinkPeer"),
        "java_loop": (JAVA_LOOP, "bench.JavaLoop"),
    }
    peers = [
        _peer(lab, title, build.java(name, main_class), [numbers_file(lab, 0)])
        for name, (title, main_class) in jvm.items()
        if name not in left_out
    ]
    if build.GO not in left_out:
        peers += _franz_go(lab)
    for name, parser, title in (
        (build.CPP, "dom", CPP_WHOLE),
        (build.CPP, "ondemand", CPP_EARLY),
        (build.RUST, "whole", RUST_WHOLE),
        (build.RUST, "lazy", RUST_EARLY),
    ):
        if name not in left_out:
            command = [build.program(name), "--parser", parser]
            peers.append(_peer(lab, title, command, [numbers_file(lab, 0)]))
    return peers


def franz_go(lab: Lab) -> list[Peer]:
    """The quickest of the alternatives, if it is built."""
    return [peer for peer in others(lab) if peer.name == GO_EARLY]


def numbers_file(lab: Lab, index: int) -> Path:
    """The numbers of list `index`, one a line, as a partner who has no filters would send them."""

    def made() -> bytes:
        numbers = list_numbers(index, lab.scale.numbers).tolist()
        return b"".join(b"+%d\n" % digits for digits in numbers)

    return lab.cached(f"numbers-{index:02d}.txt", made)


def _franz_go(lab: Lab) -> list[Peer]:
    lists = [numbers_file(lab, index) for index in range(lab.scale.lists)]
    with on_core(lab.cores.engine):  # once; they are kept beside the lists
        subprocess.run([build.program(build.GO), "--build", *_lists(lists)], check=True)
    whole = [build.program(build.GO), "--parser", "goccy"]
    early = [build.program(build.GO), "--parser", "jsonparser"]
    return [
        _peer(lab, GO_WHOLE, whole, lists[:1]),
        _peer(lab, GO_EARLY, early, lists[:1]),
        _peer(lab, GO_MANY.format(len(lists)), early, lists, slow=True),
    ]


def _peer(
    lab: Lab, title: str, command: Sequence[str], lists: Sequence[Path], *, slow: bool = False
) -> Peer:
    """A peer with the command line that all of them share."""

    def start(work: Work) -> Process:
        name = lab.new_name("peer")
        words = {
            "bootstrap": lab.broker.bootstrap,
            "calls": work.calls,
            "decisions": work.decisions,
            "group": work.group or name,
        }
        options = [word for key, value in words.items() for word in (f"--{key}", value)]
        whole = [*command, *options, *_lists(lists)]
        if work.emit_all:
            whole.append("--all")
        return Process(title, whole, [lab.cores.engine], lab.run / f"{name}.log")

    return Peer(title, start, slow)


def _lists(lists: Sequence[Path]) -> list[str]:
    return [word for path in lists for word in ("--list", str(path))]
