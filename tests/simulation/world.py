"""One simulated world: a loop, a network and a cluster, sealed off from the real one."""

import asyncio
import gc
import logging
import sys
import warnings
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from tests.simulation.guard import sealed
from tests.simulation.kafka.broker import Broker
from tests.simulation.kafka.cluster import Cluster, Pace
from tests.simulation.loop import Process, VirtualLoop
from tests.simulation.network import Network, Weather

T = TypeVar("T")


class World:
    """All that a history has besides the product."""

    def __init__(
        self,
        seed: int,
        weather: Weather = Weather(),  # noqa: B008 - immutable
        pace: Pace = Pace(),  # noqa: B008 - immutable
        nodes: int = 3,
        turn_s: float = 0.0,
    ) -> None:
        self.loop = VirtualLoop(seed, turn_s)
        self.rng = self.loop.rng
        self.network = Network(self.loop, weather)
        self.cluster = Cluster(self.network, nodes, pace)
        self.nodes = range(nodes)

    async def start(self) -> None:
        """Start all brokers."""
        for node in self.nodes:
            await self.start_broker(node)

    async def start_broker(self, node: int) -> None:
        """Start a broker, for the first time or again."""
        await Broker(self.cluster, node).start()

    def process(self, name: str) -> Process:
        """Return a new process on the host `name`."""
        self.network.off.discard(name)
        return Process(self.loop, name)

    def run(self, main: Callable[["World"], Coroutine[Any, Any, T]]) -> T:
        """Run `main` to its end, sealed; return its result. Raises RealWorld."""
        with quiet(), sealed(self.loop):
            asyncio.set_event_loop(self.loop)
            try:
                return self.loop.run_until_complete(main(self))
            finally:
                asyncio.set_event_loop(None)
                with left_in_the_middle():
                    self.network.leave_behind()
                    self.loop.leave_behind()
                    self.loop.close()
                    gc.collect()


@contextmanager
def quiet() -> Iterator[None]:
    """Write no log lines: a history has a timeline of its own."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(before)


@contextmanager
def left_in_the_middle() -> Iterator[None]:
    """Ignore what killed coroutines and unclosed connections say as they are collected."""
    before = sys.unraisablehook
    sys.unraisablehook = lambda _: None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        sys.unraisablehook = before
