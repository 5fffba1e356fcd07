"""The product as its user meets it: a configuration file, its commands, and its engine process.

Commands are run as `python -m stream ...` in processes of their own, never called in this one.
"""

import asyncio
import os
import signal
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import NamedTuple

import msgspec

from stream.lab.demo.demo_kafka import Topics
from stream.lab.demo.world import COUNTRIES
from stream.lab.embedded.guarded_server import Server, StartFailed, free_ports, new_folder
from stream.ops.kernels import FOLDER as KERNELS

READY_WAIT_S = 180.0
STOP_WAIT_S = 10.0
PARTITIONS = 4
PRODUCT = (sys.executable, "-m", "stream")


class DemoFailed(Exception):
    """The product or a server did not do its part; the message is for a person."""


@dataclass(frozen=True, slots=True)
class Places:
    """Addresses of the run's broker and Redis, and the names that it uses there.

    `idempotent` says whether that broker takes idempotent producers (Tansu does not), `durable`
    whether that Redis keeps an append-only file for sure.
    """

    bootstrap: str
    idempotent: bool
    redis_url: str
    durable: bool
    topics: Topics
    group: str


def write_config(path: Path, places: Places, state_dir: Path, http_port: int) -> None:
    """The settings file, as a carrier in Thailand with trunks to four neighbours would write it.

    Everything that it does not name keeps the product's default.
    """
    lines = [
        "[kafka]",
        f"bootstrap_servers = {quoted(places.bootstrap)}",
        f"idempotent = {str(places.idempotent).lower()}",
        "[redis]",
        f"url = {quoted(places.redis_url)}",
        f"require_aof = {str(places.durable).lower()}",
        "[calls]",
        f"group_id = {quoted(places.group)}",
        'home_country = "TH"',
        f"decisions_topic = {quoted(places.topics.decisions)}",
        f"rejected_topic = {quoted(places.topics.rejected)}",
        f"partitions = {PARTITIONS}",
        # Only so that the progress shown here moves smoothly: it is read from the commits.
        "commit_interval_ms = 200",
        "[calls.topics]",
        f'{quoted(places.topics.calls)} = "ringfence"',
        "[lists]",
        f"state_dir = {quoted(str(state_dir))}",
        "[ops]",
        f"http_port = {http_port}",
        f"kernels_dir = {quoted(_kernels_dir())}",
    ]
    for country in COUNTRIES:
        lines += [f"[trunks.{country.trunk}]", f"country = {quoted(country.iso)}"]
        lines += [f"[policy.lists.{quoted(country.list)}]", f'action = "{country.action}"']
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _kernels_dir() -> str:
    """The kernels that `make setup` compiled; without them the demo's engine compiles its own."""
    compiled = Path("state", KERNELS)
    return str(compiled.resolve()) if compiled.is_dir() else ""


def quoted(text: str) -> str:
    """Return a TOML basic string: JSON's escapes are among TOML's."""
    return msgspec.json.encode(text).decode()


class Said(NamedTuple):
    """The outcome of a command: its exit code, and its output of both streams."""

    code: int
    text: str


async def run_command(config: Path, *words: str, fine: Collection[int] = (0,)) -> None:
    """Run `python -m stream WORDS --config FILE`.

    Raises DemoFailed, with what it printed, for an exit code that is not among `fine`.
    """
    process = await asyncio.create_subprocess_exec(
        *(*PRODUCT, *words, "--config", str(config)),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        # A terminal's Ctrl-C is for the demo alone, which then ends its children in order.
        start_new_session=True,
    )
    try:
        printed, _ = await process.communicate()
    finally:
        if process.returncode is None:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
    if process.returncode not in fine:
        said = printed.decode(errors="replace").strip()
        raise DemoFailed(f"`{' '.join(words)}` ended with {process.returncode}:\n{said}")


class Program:
    """A command that runs until `stop`, as a process of its own, under a guard of ours.

    `is_ready` says whether it does its work; error texts call it `title`.
    """

    def __init__(
        self, title: str, words: Sequence[str], config: Path, is_ready: Callable[["Program"], bool]
    ) -> None:
        self.title = title
        self._giving_up = Event()
        self._ready = is_ready
        self._server = Server(
            title,
            0,
            new_folder("program"),
            [*PRODUCT, *words, "--config", str(config)],
            self._is_ready,
            ready_s_max=READY_WAIT_S,
        )

    async def start(self) -> None:
        """Start it and wait until it says that it is ready. DemoFailed if it does not."""
        starting = asyncio.ensure_future(asyncio.to_thread(self._server.start))
        try:
            await asyncio.shield(starting)
        except StartFailed as error:
            raise DemoFailed(str(error)) from error
        except asyncio.CancelledError:
            self._giving_up.set()
            with suppress(StartFailed):
                await starting
            raise

    @property
    def pid(self) -> int:
        """Its process id; another one after a restart."""
        return self._server.pid

    def is_running(self) -> bool:
        """It has not ended."""
        return self._server.is_running()

    def said(self, chars_max: int = 2000) -> str:
        """Return the end of what it has logged."""
        return self._server.last_words(chars_max)

    def check(self) -> None:
        """DemoFailed with its last words if it runs no more."""
        if not self.is_running():
            raise DemoFailed(f"{self.title} ended by itself: {self.said()}")

    def stop(self) -> None:
        """Have it finish and commit, as a service manager would."""
        self._server.stop(STOP_WAIT_S)

    def close(self) -> None:
        """End it at once, if it still runs, and remove its folder."""
        self._server.close()

    def _is_ready(self, _port: int) -> bool:
        if self._giving_up.wait(0.05):
            raise StartFailed("no longer wanted")
        return self._ready(self)


class Engine(Program):
    """The engine: `ringfence run`, ready when it says so on its port."""

    def __init__(self, config: Path, http_port: int = 0) -> None:
        self.http_port = http_port or free_ports(1)[0]
        super().__init__("the engine", ["run"], config, lambda _: says_ready(self.http_port))


def says_ready(port: int) -> bool:
    """Return whether a program of ours answers on that port that it is ready."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/ready", timeout=1.0) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def in_words(group: BaseExceptionGroup[BaseException]) -> str:
    """The message of the first error."""
    first: BaseException = group
    while isinstance(first, BaseExceptionGroup):
        first = first.exceptions[0]
    return str(first) or type(first).__name__


def child_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the environment in which `python -m stream` is this very product, from any folder."""
    root = str(Path(__file__).parents[3])
    known = environ.get("PYTHONPATH")
    return {**environ, "PYTHONPATH": os.pathsep.join([root, known] if known else [root])}
