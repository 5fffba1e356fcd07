"""Which broker and which Redis to start: the best this machine can, and why no better one."""

from typing import Self

from stream.lab.embedded import kafka, redis, tansu
from stream.lab.embedded.server import Say, Server, StartFailed, Unavailable, ignore

BROKERS = ("auto", "kafka", "tansu")
REDISES = ("auto", "redis", "valkey")


class Broker:
    """A Kafka-compatible broker of our own, on 127.0.0.1, gone when we are.

    title               name and version: "Apache Kafka 4.1.1"
    supports_transactions  whether aiokafka's idempotent and transactional producers work
    keeps_data          whether stop, kill and start again keep topics and records
    not_better          why it is not a better one; "" when it is the best there is
    """

    def __init__(self, server: Server, *, full: bool, not_better: str = "") -> None:
        self._server = server
        self.title = server.title
        self.supports_transactions = full
        self.keeps_data = full
        self.not_better = not_better
        self.bootstrap = f"127.0.0.1:{server.port}"
        # The server's own: start (waits until ready), stop (SIGTERM), kill (-9), close (for good).
        self.start, self.stop, self.kill = server.start, server.stop, server.kill
        self.close, self.is_running = server.close, server.is_running

    @property
    def pid(self) -> int:
        """Process id of the broker itself."""
        return self._server.pid

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class RedisServer:
    """A Redis of our own, on 127.0.0.1, append-only and never evicting, gone when we are."""

    def __init__(self, server: Server, *, not_better: str = "") -> None:
        self._server = server
        self.title = server.title
        self.not_better = not_better
        self.port = server.port
        self.databases = redis.DATABASES
        self.start, self.stop, self.kill = server.start, server.stop, server.kill
        self.close, self.is_running = server.close, server.is_running

    @property
    def pid(self) -> int:
        """Process id of the Redis itself."""
        return self._server.pid

    def url(self, database: int = 0) -> str:
        """Its address, with one of its numbered databases."""
        return f"redis://127.0.0.1:{self.port}/{database}"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def best_broker(choice: str = "auto", say: Say = ignore) -> Broker:
    """Start Apache Kafka, else Tansu, or the one chosen; Unavailable with every reason.

    `say` is told of what takes long (the one-time fetch of Kafka).
    """
    assert choice in BROKERS, choice
    reasons: list[str] = []
    if choice != "tansu":
        try:
            return _started_broker(Broker(kafka.server(say), full=True))
        except (Unavailable, StartFailed) as error:
            if choice == "kafka":
                raise
            reasons.append(str(error))
    try:
        tansu_server = tansu.server()
    except Unavailable as error:
        raise Unavailable("; ".join([*reasons, str(error)])) from error
    return _started_broker(Broker(tansu_server, full=False, not_better="; ".join(reasons)))


def best_redis(choice: str = "auto") -> RedisServer:
    """Start the machine's redis-server, else Valkey from pip, or the one chosen."""
    assert choice in REDISES, choice
    reasons: list[str] = []
    if choice != "valkey":
        try:
            return _started_redis(RedisServer(redis.server(redis.redis_program())))
        except (Unavailable, StartFailed) as error:
            if choice == "redis":
                raise
            reasons.append(str(error))
    try:
        valkey_server = redis.server(redis.valkey_program())
    except Unavailable as error:
        raise Unavailable("; ".join([*reasons, str(error)])) from error
    return _started_redis(RedisServer(valkey_server, not_better="; ".join(reasons)))


def _started_broker(broker: Broker) -> Broker:
    try:
        broker.start()
    except BaseException:  # Ctrl-C while it starts: leave nothing behind
        broker.close()
        raise
    return broker


def _started_redis(server: RedisServer) -> RedisServer:
    try:
        server.start()
    except BaseException:  # Ctrl-C while it starts: leave nothing behind
        server.close()
        raise
    return server
