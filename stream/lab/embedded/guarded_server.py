"""One embedded server: a program on a free port of 127.0.0.1, in a temporary folder of its own.

Owns the folder, the port and the guard (guard.py) that makes the program die with us. Works the
same for brokers and Redis; what differs (command line, readiness) is handed in. Synchronous: it is
used by the demo and by tests before and around their event loops. Readiness is asked on a bare
socket: client libraries log errors and retry on their own while a server still starts.
"""

import os
import random
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Self

ANSWER_S_MAX = 1.0
METADATA_KEY, METADATA_VERSION = 3, 4
_PORTS = range(20_000, 32_000)
"""Linux gives outgoing connections 32,768 and above."""


def answers_metadata(port: int) -> bool:
    """Return whether a Kafka on 127.0.0.1 answers Metadata v4 and names at least one broker."""
    client = b"ringfence-ready"
    # api key, version, correlation id, client id; then no topics, and none to be created
    request = struct.pack(
        f">hhih{len(client)}s", METADATA_KEY, METADATA_VERSION, 1, len(client), client
    )
    request += struct.pack(">i?", 0, False)
    try:
        with socket.create_connection(("127.0.0.1", port), ANSWER_S_MAX) as connection:
            connection.settimeout(ANSWER_S_MAX)
            connection.sendall(struct.pack(">i", len(request)) + request)
            (size,) = struct.unpack(">i", _read(connection, 4))
            answer = _read(connection, size)
    except OSError:
        return False
    # correlation id, throttle ms, number of brokers
    _, _, brokers = struct.unpack_from(">iii", answer)
    return bool(brokers > 0)


def answers_ping(port: int) -> bool:
    """Return whether a Redis on 127.0.0.1 answers PING; it does not while it loads its data."""
    try:
        with socket.create_connection(("127.0.0.1", port), ANSWER_S_MAX) as connection:
            connection.settimeout(ANSWER_S_MAX)
            connection.sendall(b"PING\r\n")
            return _read(connection, 7) == b"+PONG\r\n"
    except OSError:
        return False


def _read(connection: socket.socket, size: int) -> bytes:
    """Exactly `size` bytes; ConnectionError (an OSError) when the peer closes before."""
    data = b""
    while len(data) < size:
        part = connection.recv(size - len(data))
        if not part:
            raise ConnectionError(f"closed after {len(data)} of {size} bytes")
        data += part
    return data


GUARD = Path(__file__).with_name("guard.py")
READY_POLL_S = 0.02
READY_S_MAX = 240.0
"""A server that runs and does not answer for so long hangs.

Kafka starts in four seconds of CPU; on a machine with a load of 40 those took more than 60 s.
"""

Say = Callable[[str], None]


class Unavailable(Exception):
    """This server cannot run on this machine; the message says what is missing and what helps."""


class StartFailed(Exception):
    """The server was started and did not become ready; the message ends with its own last words."""


def ignore(message: str) -> None:
    """Say nothing of what takes a while: the default of `say`."""
    del message


def free_ports(count: int) -> list[int]:
    """Free ports of 127.0.0.1, by TCP or UDP, all different.

    They lie below those that the kernel gives to outgoing connections. Such a connection could take
    a port before the server that it is meant for listens.
    """
    found: list[int] = []
    # Of the system: tests give `random` a seed, and several would get the same ports.
    for port in random.SystemRandom().sample(_PORTS, len(_PORTS)):
        tcp, udp = socket.socket(), socket.socket(type=socket.SOCK_DGRAM)
        with tcp, udp, suppress(OSError):
            tcp.bind(("127.0.0.1", port))
            udp.bind(("127.0.0.1", port))
            found.append(port)
        if len(found) == count:
            return found
    raise StartFailed(f"no {count} ports between {_PORTS[0]} and {_PORTS[-1]} are free")


def new_folder(kind: str) -> Path:
    """Return a folder for one server's data; the guard or `Server.close` removes it."""
    return Path(tempfile.mkdtemp(prefix=f"ringfence-{kind}-"))


class Server:
    """A program with a guard: `start`, `stop`, `kill` as often as wanted, on one port and folder.

    `is_ready(port)` says whether it answers its protocol; it returns False for any outage.
    Use as a context manager, or call `close`: it ends the program and removes the folder.
    """

    def __init__(
        self,
        title: str,
        port: int,
        folder: Path,
        command: Sequence[str],
        is_ready: Callable[[int], bool],
        *,
        ready_s_max: float = READY_S_MAX,
    ) -> None:
        self.title = title
        self.port = port
        self.folder = folder
        self._is_ready = is_ready
        self._ready_s_max = ready_s_max
        self.pid = 0
        self._guard = subprocess.Popen(
            [sys.executable, "-I", "-S", str(GUARD), str(os.getpid()), str(folder), *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )

    def start(self) -> None:
        """Start and wait until it answers; StartFailed with the end of its log if it does not."""
        if self.is_running():
            return
        said = self._order("start")
        if said.startswith("cannot start"):
            raise StartFailed(f"{self.title} {said}. Install it, or add its folder to PATH.")
        deadline = time.monotonic() + self._ready_s_max
        while not self._is_ready(self.port):
            state = self._order("poll")
            if state != "running":
                raise StartFailed(f"{self.title} {state} at its start: {self.last_words()}")
            if time.monotonic() > deadline:
                raise StartFailed(
                    f"{self.title} did not answer within {self._ready_s_max:g} s: "
                    f"{self.last_words()}"
                )
            time.sleep(READY_POLL_S)

    def stop(self, wait_s: float = 20.0) -> None:
        """End it politely (SIGTERM), by force after `wait_s`; its data stays for the next start."""
        self._order(f"stop {wait_s}")

    def kill(self) -> None:
        """End it by SIGKILL; its data stays as it was at that moment."""
        self._order("stop 0")

    def is_running(self) -> bool:
        """The program runs (it may still be starting)."""
        return self._order("poll") == "running"

    def last_words(self, chars_max: int = 1200) -> str:
        """Return the end of what it printed, without the frames of Java's stack traces."""
        log = self.folder / "server.log"
        text = log.read_text(errors="replace") if log.exists() else ""
        lines = [line for line in text.splitlines() if not line.startswith(("\tat ", "\t... "))]
        return "\n".join(lines)[-chars_max:].strip()

    def close(self) -> None:
        """End the program at once and remove its folder; may be called twice."""
        if self._guard.stdin is not None and not self._guard.stdin.closed:
            self._guard.stdin.close()
        self._guard.wait()
        if self._guard.stdout is not None:
            self._guard.stdout.close()
        # The guard did it already, unless somebody killed the guard.
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _order(self, order: str) -> str:
        """Give the guard one order; "running", "exited CODE" or "cannot start: ..."."""
        assert self._guard.stdin is not None
        assert self._guard.stdout is not None
        try:
            self._guard.stdin.write(f"{order}\n".encode())
            self._guard.stdin.flush()
            pid, _, state = self._guard.stdout.readline().decode().strip().partition(" ")
        except BrokenPipeError:
            pid, state = "0", ""
        if not state:
            raise StartFailed(f"the guard of {self.title} is gone")
        self.pid = int(pid)
        return state
