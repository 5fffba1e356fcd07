"""Redis as carriers run it: a primary with two replicas, watched by three sentinels."""

import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import redis

from stream.lab.embedded import redis_program
from stream.lab.embedded.guarded_server import Server, answers_ping, free_ports, new_folder
from stream.lists.store.settings import ListStoreSettings
from tests.support.waiting import REDIS_S, until_now

MASTER = "ringfence"
NODES = SENTINELS = 3
_NODE = """\
port {port}
bind 127.0.0.1
dir {folder}
appendonly yes
save ""
maxmemory-policy noeviction
repl-diskless-sync-delay 0
"""
_SENTINEL = f"""\
port {{port}}
bind 127.0.0.1
dir {{folder}}
sentinel monitor {MASTER} 127.0.0.1 {{primary}} 2
sentinel down-after-milliseconds {MASTER} 3000
sentinel failover-timeout {MASTER} 6000
sentinel parallel-syncs {MASTER} 2
"""


@dataclass(frozen=True, slots=True)
class Sentinels:
    """Servers by port; each may be killed, stopped and started."""

    nodes: dict[int, Server]
    sentinels: dict[int, Server]

    @property
    def addresses(self) -> list[str]:
        """Addresses of the sentinels."""
        return [f"127.0.0.1:{port}" for port in self.sentinels]

    def settings(self, **fields: Any) -> ListStoreSettings:
        """Settings of a client."""
        return ListStoreSettings(
            "redis://127.0.0.1:1/0",
            sentinels=tuple(self.addresses),
            sentinel_master=MASTER,
            put_back=True,
            **fields,
        )

    def primary(self) -> Server:
        """The primary that most sentinels name."""
        told = [asked(port).sentinel_get_master_addr_by_name(MASTER) for port in self.sentinels]
        ports = [address[1] for address in told if address]
        return self.nodes[max(set(ports), key=ports.count)]

    def replicas(self) -> list[Server]:
        """The others."""
        primary = self.primary()
        return [node for node in self.nodes.values() if node is not primary]

    def fail_over(self, dead: Server) -> Server:
        """Wait until another than `dead` is the primary and takes changes; return it."""
        until_now(
            lambda: self.primary() is not dead and _role(self.primary().port) == "master",
            "the sentinels to choose another primary",
        )
        return self.primary()

    def in_step(self) -> bool:
        """True once all run, and every sentinel sees two replicas that have all."""
        try:
            primary = self.primary()
            replication = asked(primary.port).info("replication")
            offsets = [replication.get(f"slave{n}", {}) for n in range(NODES - 1)]
            return (
                replication["role"] == "master"
                and all(one.get("offset") == replication["master_repl_offset"] for one in offsets)
                and self._seen_by_all()
            )
        except (redis.RedisError, OSError):
            return False

    def wait_whole(self) -> None:
        """Wait until all run and every sentinel sees two replicas that follow the primary."""
        until_now(self._seen_by_all, "all servers to be whole")

    def _seen_by_all(self) -> bool:
        try:
            primary = self.primary()
            return all(self._sees_all(port, primary.port) for port in self.sentinels)
        except (redis.RedisError, OSError):
            return False

    def wait_in_step(self) -> None:
        """Wait until all run and have all."""
        until_now(self.in_step, "the replicas to be in step")

    def _sees_all(self, port: int, primary: int) -> bool:
        told = asked(port).sentinel_master(MASTER)
        replicas = asked(port).sentinel_slaves(MASTER)
        return (
            told["port"] == primary
            and told["num-other-sentinels"] == SENTINELS - 1
            and told["flags"] == "master"
            and [one["flags"] for one in replicas] == ["slave"] * (NODES - 1)
            and all(one["master-link-status"] == "ok" for one in replicas)
        )

    @contextmanager
    def cut_off(self) -> Iterator[Server]:
        """Keep replicas from what the primary gets meanwhile; give the primary, and kill it."""
        primary = self.primary()
        replicas = [node for node in self.nodes.values() if node is not primary]
        for one in replicas:
            os.kill(one.pid, signal.SIGSTOP)
        try:
            # Else they would find in their sockets what came before the kill.
            asked(primary.port).client_kill_filter(_type="replica")
            yield primary
            primary.kill()
        finally:
            for one in replicas:
                os.kill(one.pid, signal.SIGCONT)


def asked(port: int) -> Any:
    """A client of one server."""
    return redis.Redis(
        port=port, socket_timeout=REDIS_S, decode_responses=True, single_connection_client=False
    )


def _role(port: int) -> str:
    try:
        return str(asked(port).info("replication")["role"])
    except (redis.RedisError, OSError):
        return ""


@contextmanager
def three_sentinels() -> Iterator[Sentinels]:
    """Running servers, all in step."""
    path, title = redis_program.redis_program()
    ports = free_ports(NODES + SENTINELS)
    primary, *others = ports[:NODES]
    with ExitStack() as stack:

        def made(port: int, text: str, *words: str) -> Server:
            folder = new_folder("redis")
            (folder / "redis.conf").write_text(
                text.format(port=port, folder=folder, primary=primary)
            )
            command = [path, str(folder / "redis.conf"), *words]
            return stack.enter_context(Server(title, port, folder, command, answers_ping))

        replica = f"{_NODE}replicaof 127.0.0.1 {primary}\n"
        nodes = {primary: made(primary, _NODE), **{port: made(port, replica) for port in others}}
        sentinels = {port: made(port, _SENTINEL, "--sentinel") for port in ports[NODES:]}
        with ThreadPoolExecutor(NODES) as pool:
            list(pool.map(Server.start, nodes.values()))
            list(pool.map(Server.start, sentinels.values()))
        found = Sentinels(nodes, sentinels)
        found.wait_in_step()
        yield found
