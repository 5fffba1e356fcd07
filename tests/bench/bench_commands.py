"""Commands: CPU of light commands until they ask a server, as a ratio to `import redis, typer`.

Each is a process of its own, as typed; its user and system time count, not its wall time. Redis and
Kafka are addresses where nobody listens, so a command ends where it would ask them. All have their
bytecode written by a run before, as an installed program has.

Targets: names alone (`--version`, `--help`, completion) at most as much as the two imports (0.12 s
were measured where those took 0.21 s), commands that ask a server at most 4 times (aim: 0.6 s).
`why` is one of them: it loads what decides a call only when the list store has answered.
"""

import asyncio
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from subprocess import DEVNULL, Popen
from typing import Final

from tests.bench.lab import Lab
from tests.bench.report import Report, Row, Target, ratio

BASE: Final = [sys.executable, "-c", "import redis, typer"]
_PROGRAM: Final = "import sys; sys.argv[0] = 'ringfence'; from stream.__main__ import main; main()"
RINGFENCE: Final = [sys.executable, "-c", _PROGRAM]
"""By its installed name, which completion asks for."""
COMPLETES: Final = {
    "_RINGFENCE_COMPLETE": "complete_bash",
    "COMP_WORDS": "ringfence li",
    "COMP_CWORD": "1",
}
NAMES, ASKS = (1.0, 0.7), (4.0, 2.9)
"""Floor and aim of each kind of command."""
NOBODY: Final = """
[redis]
url = "redis://127.0.0.1:1/0"
[kafka]
bootstrap_servers = "127.0.0.1:1"
[lists]
state_dir = "{state}"
"""


async def run(lab: Lab) -> list[Report]:
    """Run each command in every round, beside the two imports."""
    config = lab.run / "nobody.toml"
    config.write_text(NOBODY.format(state=lab.run / "state"))
    asks = ("--config", str(config), "--timeout", "0.1")
    commands = {
        "--version": (["--version"], {}, NAMES),
        "--help": (["--help"], {}, NAMES),
        "completion": ([], COMPLETES, NAMES),
        "lists show": (["lists", "show", *asks], {}, ASKS),
        "decisions": (["decisions", *asks], {}, ASKS),
        "why": (["why", "+447700900123", *asks], {}, ASKS),
    }
    environ = {name: text for name, text in os.environ.items() if not name.startswith("PYTHONDONT")}
    environ["PYTHONPYCACHEPREFIX"] = str(lab.run / "bytecode")
    base: list[float] = []
    taken: dict[str, list[float]] = {name: [] for name in commands}
    for number in range(lab.scale.rounds + 1):
        cpu_s = await asyncio.to_thread(_cpu_s, BASE, environ)
        base += [cpu_s] if number else []
        for name, (words, more, _) in commands.items():
            cpu_s = await asyncio.to_thread(_cpu_s, [*RINGFENCE, *words], environ | more)
            taken[name] += [cpu_s] if number else []  # the first writes the bytecode
    report = Report("commands")
    report.rows.append(Row("import redis, typer", {"CPU s": base}))
    for name, (_, _, (floor, aim)) in commands.items():
        report.rows.append(Row(f"ringfence {name}", {"CPU s": taken[name]}))
        times = ratio(taken[name], base)
        report.targets.append(Target(f"{name} / two imports", times, "x", floor, aim, less=True))
    return [report]


def _cpu_s(command: Sequence[str], environ: Mapping[str, str]) -> float:
    """User and system time of a process until it ended, whatever it says."""
    root = Path(__file__).parents[2]
    process = Popen(command, cwd=root, env=environ, stdin=DEVNULL, stdout=DEVNULL, stderr=DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return usage.ru_utime + usage.ru_stime
