"""The peers of the Kafka benches, as processes: `ringfence run`, and the plain loop."""

from dataclasses import dataclass, field
from pathlib import Path

from tests.bench.lab import CALLS, Lab, free_port
from tests.bench.process import Process

RINGFENCE = "Ringfence"
PLAIN_LOOP = "plain loop"
READY_S = 300.0

# Nobody listens on port 1: the engine starts from its last good snapshots and says so.
NO_REDIS = "redis://127.0.0.1:1/0"


@dataclass(frozen=True, slots=True)
class Work:
    """What a peer is to do: which topics, and whether every call gets a decision."""

    calls: str = CALLS
    decisions: str = ""
    emit_all: bool = False


@dataclass(frozen=True, slots=True)
class Setup:
    """What only Ringfence has: snapshots, a register, called numbers, other settings as TOML."""

    state: Path
    redis_url: str = NO_REDIS
    check_callee: bool = False
    more: dict[str, dict[str, object]] = field(default_factory=dict)


def ringfence(lab: Lab, work: Work, setup: Setup) -> tuple[Process, int]:
    """The engine, started as an operator would; and the port where /ready is."""
    group, port = lab.new_name("ringfence"), free_port()
    config = lab.run / f"{group}.toml"
    config.write_text(_config(lab, work, setup, group, port))
    process = Process(
        RINGFENCE,
        "stream",
        ["run", "--config", str(config)],
        lab.cores.engine,
        config.with_suffix(".log"),
    )
    return process, port


def plain_loop(lab: Lab, work: Work, bloom: Path) -> Process:
    """The plain loop with one list, `bloom`."""
    group = lab.new_name("plain")
    arguments = [
        *("--bootstrap", lab.broker.bootstrap, "--calls", work.calls),
        *("--decisions", work.decisions, "--group", group, "--list", str(bloom)),
        *(["--all"] if work.emit_all else []),
    ]
    log = lab.run / f"{group}.log"
    return Process(PLAIN_LOOP, "tests.bench.peers.plain_loop", arguments, lab.cores.engine, log)


def _config(lab: Lab, work: Work, setup: Setup, group: str, port: int) -> str:
    tables: dict[str, dict[str, object]] = {
        "kafka": {"bootstrap_servers": lab.broker.bootstrap},
        "redis": {"url": setup.redis_url},
        "calls": {
            "group_id": group,
            "emit": "all" if work.emit_all else "blocks",
            "check_callee": setup.check_callee,
            "decisions_topic": work.decisions,
            "rejected_topic": f"{work.decisions}.rejected",
        },
        "calls.topics": {work.calls: "ringfence"},
        "lists": {"state_dir": str(setup.state)},
        "ops": {"http_port": port, "log_level": "WARNING"},
    }
    for name, values in setup.more.items():
        tables.setdefault(name, {}).update(values)
    return "\n".join(
        f"[{name}]\n" + "".join(f'"{key}" = {_toml(value)}\n' for key, value in values.items())
        for name, values in tables.items()
    )


def _toml(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f'"{value}"' if isinstance(value, str) else str(value)
