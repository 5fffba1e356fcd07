"""One page's shell: a bash with a folder, ports and servers of its own, one command at a time."""

import contextlib
import os
import pty
import shlex
import signal
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from stream.lab.embedded.guarded_server import free_ports
from tests.conftest import KERNELS_DIR
from tests.docs.not_run import SHIMS

ROOT: Final = Path(__file__).parents[2]
DEADLINE_S: Final = 120.0
PORTS: Final = {
    "ops.http_port": 9464,
    "feeds.http_port": 9465,
    "exchange.http_port": 9466,
    "enforcement.http_port": 9468,
    "sinks.webhooks.http_port": 9469,
    "sinks.redis.http_port": 9470,
    "serve.health_port": 9471,
    "ingest.http_port": 9472,
    "sip.health_port": 9473,
    "serve.port": 8088,
    "sip.port": 5060,
}
"""Settings with a port, and the port that pages name."""
OTHERS: Final = (7393, 7394, 8099)
"""Ports of web servers that pages start."""
KAFKA, REDIS, PROXIES = "127.0.0.1:9092", "redis://127.0.0.1:6379/0", "redis://127.0.0.1:6379/1"
_RINGFENCE: Final = """\
#!/bin/bash
for word in "$@"; do
    if [ "$word" = --config ] || [ "$word" = -c ]; then exec {program} "$@" --config {overlay}; fi
done
export RINGFENCE_CONFIG="${{RINGFENCE_CONFIG:+$RINGFENCE_CONFIG:}}{overlay}"
exec {program} "$@"
"""


class Places:
    """The names of servers and ports on the pages, and their values in this run."""

    def __init__(self, folder: Path, kafka: str, redis: str, proxies: str) -> None:
        ports = [*PORTS.values(), *OTHERS]
        self.ports = dict(zip(ports, free_ports(len(ports)), strict=True))
        host = "127.0.0.1"
        self.pairs = [
            (KAFKA, kafka),
            (REDIS, redis),
            (PROXIES, proxies),
            *((f"{host}:{port}", f"{host}:{mine}") for port, mine in self.ports.items()),
            *((f"{port}/", f"{self.ports[port]}/") for port in OTHERS),
            *((f"-p {port}", f"-p {self.ports[port]}") for port in OTHERS),
            *((f"http.server {port}", f"http.server {self.ports[port]}") for port in OTHERS),
        ]
        self.folder = str(folder)

    def here(self, text: str) -> str:
        """A page's text for this run."""
        for theirs, mine in self.pairs:
            text = text.replace(theirs, mine)
        return text

    def there(self, text: str) -> str:
        """An output of this run as a page has it."""
        for theirs, mine in reversed(self.pairs):
            text = text.replace(mine, theirs)
        return text.replace(self.folder + "/", "").replace(self.folder, ".")

    def overlay(self) -> str:
        """The settings that keep this run apart from others on the machine."""
        lines = [f"{key} = {self.ports[port]}" for key, port in PORTS.items()]
        return "\n".join([*lines, f'ops.kernels_dir = "{KERNELS_DIR}"', ""])


class Job:
    """A command that stays. Its terminal is read all the time: a full one would stop it."""

    def __init__(self, master: int) -> None:
        self._master = master
        self._pieces: list[bytes] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        with contextlib.suppress(OSError):  # nobody holds the other end any more
            while piece := os.read(self._master, 65536):
                self._pieces.append(piece)

    @property
    def printed(self) -> str:
        """Return its output so far."""
        return b"".join(self._pieces).decode(errors="replace")

    def close(self) -> None:
        """Let the terminal go, once everybody who printed there has ended."""
        self._reader.join(20)
        os.close(self._master)


class Shell:
    """A bash that gets one command at a time."""

    def __init__(self, folder: Path, places: Places) -> None:
        self._folder, self._count = folder, 0
        self._jobs: list[Job] = []
        self._tools = folder / ".tools"
        self._tools.mkdir(parents=True)
        overlay = self._tools / "overlay.toml"
        overlay.write_text(places.overlay())
        program = Path(sys.executable).with_name("ringfence")
        self._script("ringfence", _RINGFENCE.format(program=program, overlay=overlay))
        for name in SHIMS:
            words = f"exec {sys.executable} -m tests.docs.shims {name}"
            self._script(name, f'#!/bin/bash\nPYTHONPATH={ROOT} {words} "$@"\n')
        for name in ("config", "deploy"):
            (folder / name).symlink_to(ROOT / name)
        environment = {
            name: value for name, value in os.environ.items() if not name.startswith("RINGFENCE_")
        } | {
            "PATH": f"{self._tools}:{Path(sys.executable).parent}:{os.environ['PATH']}",
            "HOME": str(folder),
            "COLUMNS": "110",
            "TERM": "dumb",
            "PYTHONUNBUFFERED": "1",
            "RINGFENCE_ACTOR": "malee",
        }
        self._bash = subprocess.Popen(
            ["bash", "--noprofile", "--norc"],
            cwd=folder,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def _script(self, name: str, text: str) -> None:
        path = self._tools / name
        path.write_text(text)
        path.chmod(0o755)

    def run(self, text: str) -> str:
        """Run a command to its end; all that it printed."""
        self._count += 1
        script, out = (self._tools / f"{self._count}.{kind}" for kind in ("sh", "out"))
        script.write_text(text + "\n")
        self._say(f"source {shlex.quote(str(script))} >{shlex.quote(str(out))} 2>&1 </dev/null")
        return out.read_text(errors="replace")

    def start(self, text: str) -> "Job":
        """Start a command that stays, at a terminal of its own."""
        self._count += 1
        master, slave = pty.openpty()
        attributes = termios.tcgetattr(slave)
        attributes[1] &= ~termios.ONLCR
        termios.tcsetattr(slave, termios.TCSANOW, attributes)
        termios.tcsetwinsize(slave, (40, 110))
        script = self._tools / f"{self._count}.sh"
        script.write_text(text + "\n")
        terminal = shlex.quote(os.ttyname(slave))
        self._say(f"source {shlex.quote(str(script))} >{terminal} 2>&1 </dev/null")
        os.close(slave)
        job = Job(master)
        self._jobs.append(job)
        return job

    def _say(self, line: str) -> None:
        assert self._bash.stdin is not None
        assert self._bash.stdout is not None
        mark = f"done-{self._count}"
        self._bash.stdin.write(f"{line}\necho {mark}\n".encode())
        self._bash.stdin.flush()
        said = self._bash.stdout.readline().decode().strip()
        assert said == mark, f"the shell ended: {line}"

    def close(self) -> None:
        """End the shell and everything that it started."""
        group = self._bash.pid
        for sign in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(group, sign)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._bash.wait(20)
            if sign is signal.SIGTERM:
                self._wait_for_group(group)
        for job in self._jobs:
            job.close()
        for pipe in (self._bash.stdin, self._bash.stdout):
            assert pipe is not None
            with contextlib.suppress(BrokenPipeError):
                pipe.close()

    def _wait_for_group(self, group: int) -> None:
        """Until nobody of the group is left, or the deadline of a shutdown is over."""
        until = time.monotonic() + 25
        while time.monotonic() < until:
            try:
                os.killpg(group, 0)
            except (ProcessLookupError, PermissionError):
                return
            time.sleep(0.05)


@contextlib.contextmanager
def shell(folder: Path, places: Places) -> Iterator[Shell]:
    """A shell for a page."""
    made = Shell(folder, places)
    try:
        yield made
    finally:
        made.close()
