"""Accidents of a list store's servers, one method for each kind; each lasts a drawn while."""

import asyncio
from collections.abc import Sequence

from tests.simulation.store.ensemble import Ensemble


class Accidents:
    """Accidents of the servers of one store, and of the links of `clients` to them."""

    def __init__(self, store: Ensemble) -> None:
        self.store, self.rng = store, store.rng

    async def kill(self, _: Sequence[str], *, reset: bool = True, empty: bool = False) -> None:
        """End a server; `empty`: it begins again without its data."""
        alive = self.store.alive()
        if not alive:
            return
        number = self.rng.choice(alive)
        self.store.kill(number, reset=reset)
        await asyncio.sleep(self.rng.expovariate(0.2))
        if empty:
            self.store.empty(number)
        await self.store.start_server(number)

    async def power(self, clients: Sequence[str]) -> None:
        """End a server with its host."""
        await self.kill(clients, reset=False)

    async def empty(self, clients: Sequence[str]) -> None:
        """End a server that keeps nothing on its disk."""
        await self.kill(clients, empty=True)

    async def split(self, _: Sequence[str]) -> None:
        """Part a server from the others."""
        links = self.store.split(self.rng.choice(self.store.servers))
        await asyncio.sleep(self.rng.expovariate(0.2))
        for link in links:
            self.store.network.heal(*link)

    async def pause(self, _: Sequence[str]) -> None:
        """A fork that takes long, or a disk that hangs."""
        process = self.store.nodes[self.rng.choice(self.store.servers)].process
        if process.alive and not process.paused:
            process.pause()
            await asyncio.sleep(self.rng.expovariate(0.5))
            if process.alive:
                process.resume()

    async def full(self, _: Sequence[str]) -> None:
        """Let there be no room on the primary's disk."""
        node = self.store.nodes[self.store.primary]
        self.store.loop.note(node.host, "has a full disk")
        node.disk_full = True
        await asyncio.sleep(self.rng.expovariate(0.5))
        node.disk_full = False

    async def block(self, clients: Sequence[str]) -> None:
        """Block the links of one client to some of the servers and sentinels."""
        store, network = self.store, self.store.network
        one = self.rng.choice(clients)
        others = [store.host(n) for n in store.servers]
        others += [store.sentinel_host(n) for n in store.sentinels]
        chosen = self.rng.sample(others, self.rng.randint(1, len(others)))
        for other in chosen:
            network.block(one, other)
        await asyncio.sleep(self.rng.expovariate(0.25))
        for other in chosen:
            network.heal(one, other)

    async def calm(self) -> None:
        """Let all servers run, with room on their disks."""
        for number, node in list(self.store.nodes.items()):
            node.disk_full = False
            if not node.process.alive:
                await self.store.start_server(number)
            elif node.process.paused:
                node.process.resume()
