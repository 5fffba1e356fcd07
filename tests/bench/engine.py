"""Ringfence as a peer of the Kafka benches: `ringfence run`, started as an operator would."""

import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

from stream.lab.embedded.guarded_server import free_ports
from stream.ops.kernels import FOLDER
from tests.bench.lab import Lab, Work
from tests.bench.process import ROOT, Process, python
from tests.support.engine import merged, toml

RINGFENCE = "Ringfence"
READY_S = 300.0

# Nobody listens on port 1: the engine starts from its last good snapshots and says so.
NO_REDIS = "redis://127.0.0.1:1/0"


@dataclass(frozen=True, slots=True)
class Setup:
    """Parts only of Ringfence: snapshots, a list store, called numbers, other settings as TOML."""

    state: Path
    redis_url: str = NO_REDIS
    check_callee: bool = False
    more: dict[str, dict[str, object]] = field(default_factory=dict)


def ringfence(
    lab: Lab, work: Work, setup: Setup, *, workers: int = 1, cores: tuple[int, ...] = ()
) -> tuple[Process, int]:
    """The engine on `cores` (default: the engine's); and the port where /ready is."""
    config, port = configured(lab, work, setup)
    command = python("stream", "run", "--config", str(config), "--workers", str(workers))
    log = config.with_suffix(".log")
    return Process(RINGFENCE, command, cores or [lab.cores.engine], log), port


def configured(lab: Lab, work: Work, setup: Setup) -> tuple[Path, int]:
    """The configuration of an engine, its kernels compiled; and its port."""
    name, (port,) = lab.new_name("ringfence"), free_ports(1)
    config = lab.run / f"{name}.toml"
    config.write_text(_config(lab, work, setup, work.group or name, port))
    if setup.state not in lab.warm:
        warm(lab, setup.state, config)
    return config, port


def warm(lab: Lab, state: Path, config: Path) -> None:
    """Compile the kernels as `make setup` does, or take over what that compiled."""
    if (compiled := ROOT / "state" / FOLDER).exists():
        shutil.copytree(compiled, state / FOLDER, dirs_exist_ok=True)
    subprocess.run(python("stream", "warm", "--config", str(config)), cwd=ROOT, check=False)
    lab.warm.add(state)


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
    return toml(merged(tables, setup.more))
