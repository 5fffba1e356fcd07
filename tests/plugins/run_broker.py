"""One broker for all processes of a run: the first that asks for it starts it.

A Kafka takes 4 s of CPU to start, more until Java has compiled what it runs often, and some even
when nobody asks it anything: one for each of four processes is a minute of CPU in a run.
"""

import fcntl
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path

import msgspec

from stream.lab.embedded import EmbeddedBroker


class RunBroker(msgspec.Struct):
    """A broker that other processes use as well: a test leaves it as it is."""

    bootstrap: str
    title: str
    supports_transactions: bool


@contextmanager
def run_broker(
    folder: Path, start: Callable[[], AbstractContextManager[EmbeddedBroker]]
) -> Iterator[RunBroker]:
    """Start the broker of a run, or join it; `folder` is the same for all processes of the run.

    Who started it ends it, once no other process uses it. The locks go with their processes.
    """
    found = folder / "broker.json"
    with (
        ExitStack() as started,
        (folder / "broker.turn").open("w") as turn,
        (folder / "broker.users").open("w") as users,
    ):
        fcntl.flock(turn, fcntl.LOCK_EX)
        joined = found.exists()
        if joined:
            broker = msgspec.json.decode(found.read_bytes(), type=RunBroker)
        else:
            server = started.enter_context(start())
            broker = RunBroker(server.bootstrap, server.title, server.supports_transactions)
            found.write_bytes(msgspec.json.encode(broker))
        fcntl.flock(users, fcntl.LOCK_SH)
        fcntl.flock(turn, fcntl.LOCK_UN)
        yield broker
        if not joined:
            # Who asks from now on starts another one.
            fcntl.flock(turn, fcntl.LOCK_EX)
            found.unlink()
            fcntl.flock(turn, fcntl.LOCK_UN)
            fcntl.flock(users, fcntl.LOCK_EX)
