"""The publisher in a simulation: people and feeds that change lists, by the product's own code.

Each change is a process of its own, as a command is: it may be killed at any await. What it means
to make of a list is written into the book first.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from random import Random

from stream.core.model.allowlist import AllowEntry
from stream.core.model.entry import NEVER, Category, Entry
from stream.core.model.errors import Fault
from stream.feeds.import_file import ImportRequest, import_file
from stream.feeds.parse import Defaults
from stream.lists.follower.repair import (
    allowlist_loss,
    look,
    put_back_allowlist,
    put_back_from,
    take_over,
)
from stream.lists.store.heads import By, Removal, Retraction
from stream.lists.store.list_store import ListStore
from stream.lists.store.rewrite import rebuild, rollback
from stream.lists.store.settings import ListStoreSettings
from stream.ops.clock import now_s
from tests.simulation.loop import PROCESS, Process
from tests.simulation.store.published import ALLOWLIST, Book
from tests.simulation.world import World
from tests.support.builders import fingerprint_of

HOST = "office"
LISTS = ("KH/scam", "TH/calls")
_KEY = b""
"""Of the circle `plain`."""
_FILE_SOURCE = "file"
_SOURCES = ("police", "carrier")
_LONGEST_S = 20.0
"""A change that hangs is given up: people press Ctrl-C."""
_OFTEN = {
    "add": 6,
    "retract": 3,
    "remove": 3,
    "allow": 3,
    "disallow": 2,
    "import_": 2,
    "rebuild": 1,
    "rollback": 1,
    "delete": 1,
}
"""Each kind of change, and its share. A base costs 50 ms of CPU, so they are few."""


class Publisher:
    """Makes changes of some `kinds` at drawn moments. `bug` gets what no fault explains.

    `acknowledged` takes the reasons of changes that the list store acknowledged.
    """

    def __init__(
        self,
        world: World,
        settings: ListStoreSettings,
        book: Book,
        numbers: list[str],
        folder: Path,
        bug: Callable[[str], None],
        acknowledged: set[str],
        lists: Sequence[str] = LISTS,
        kinds: Mapping[str, int] = _OFTEN,
    ) -> None:
        self.lists, self.kinds = lists, kinds
        self.world, self.book, self.numbers, self.folder = world, book, numbers, folder
        self.acknowledged = acknowledged
        self.done = 0
        self._settings, self._bug = settings, bug
        self._rng: Random = world.rng
        self._made = 0
        self._reasons: dict[Process | None, list[str]] = {}

    async def begin(self) -> None:
        """Make the lists; the store answers by now."""
        for name in self.lists:
            await self._make("create", name)
            await self._make("import_", name)

    async def change(self) -> None:
        """Make one change, of a drawn kind. It may be killed in the middle."""
        (kind,) = self._rng.choices(list(self.kinds), list(self.kinds.values()))
        await self._make(kind, self._rng.choice(self.lists))

    async def take_off(self, name: str, numbers: Sequence[str]) -> None:
        """Remove numbers from a list, as a person does."""

        async def job(store: ListStore) -> None:
            gone = [Removal(fingerprint_of(one), one) for one in numbers]
            await store.remove(name, gone, self._by("take off"))

        await self._run(f"take off {name}", job)

    async def repair(self, name: str, state_dir: Path) -> None:
        """Put back what a worker's host knows of a list, as a person does."""

        async def job(store: ListStore) -> None:
            by = self._by(f"repair {name}")
            # No other Redis is at that address: this one was begun after all copies were lost.
            await take_over(store, state_dir)
            if name == ALLOWLIST:
                await put_back_allowlist(store, await allowlist_loss(store, state_dir), by)
                return
            keys = {"plain": _KEY}
            found = await look(store, name, state_dir, keys)
            known = self.book.find(name, found.held.mark.chain) if found.held else None
            if known is not None and known.content is not None:
                # What was changed since and cannot be told is undone, as the command says.
                told = found.head if found.since is not None else None
                head = self.book.find(name, told.chain) if told else None
                self.book.mean(by.reason, self.book.put_back(known, head))
            await put_back_from(store, found, state_dir, keys, by, now_s())

        await self._run(f"repair {name or 'allowlist'}", job)

    async def _make(self, kind: str, name: str) -> None:
        async def job(store: ListStore) -> None:
            await getattr(self, f"_{kind}")(store, name)

        await self._run(f"{kind.strip('_')} {name}", job)

    async def _run(self, what: str, job: Callable[[ListStore], Awaitable[None]]) -> None:
        """Run a command in a process of its own until it ends, is killed, or hangs."""
        loop = self.world.loop
        process = self.world.process(HOST)
        said = self._reasons[process] = []

        async def life() -> None:
            try:
                async with await ListStore.connect(self._settings) as store:
                    await job(store)
            except Fault as fault:
                loop.note(what, "failed:", type(fault).__name__, fault)
            except Exception as error:  # noqa: BLE001 - a bug of any kind is what we look for
                if loop.is_running():
                    self._bug(f"{what} crashed: {error!r}")
            else:
                self.done += 1
                self.acknowledged.update(said)
                loop.note(what)

        task = process.run(life())
        ended = loop.create_future()

        def end(*_: object) -> None:
            if not ended.done():
                ended.set_result(None)

        def give_up() -> None:
            if not ended.done():
                process.kill()

        task.add_done_callback(end)
        process.ends[end] = None
        loop.call_later(_LONGEST_S, give_up)
        self.process = process
        await ended

    def _by(self, what: str) -> By:
        self._made += 1
        by = By("somchai", f"{what}, change {self._made}")
        self._reasons[PROCESS.get()].append(by.reason)
        return by

    def _some(self, most: int) -> list[str]:
        return self._rng.sample(self.numbers, self._rng.randint(1, most))

    async def _create(self, store: ListStore, name: str) -> None:
        await store.create(name, "plain", self._by("create"))

    async def _delete(self, store: ListStore, name: str) -> None:
        """Withdraw a list, and publish it again later."""
        await store.delete(name, self._by("withdraw"))
        await store.create(name, "plain", self._by("create"))

    async def _add(self, store: ListStore, name: str) -> None:
        source = self._rng.choice(_SOURCES)
        entries = [
            Entry(
                number=number,
                fingerprint=fingerprint_of(number),
                category=Category.CALL_CENTRE,
                source=source,
                reported_at_s=now_s(),
                expires_at_s=NEVER,
                confidence=100,
            )
            for number in self._some(4)
        ]
        await store.add(name, entries, self._by("add"))

    async def _retract(self, store: ListStore, name: str) -> None:
        source = self._rng.choice((*_SOURCES, _FILE_SOURCE))
        back = [Retraction(fingerprint_of(one), one, source) for one in self._some(4)]
        await store.retract(name, back, self._by("retract"))

    async def _remove(self, store: ListStore, name: str) -> None:
        gone = [Removal(fingerprint_of(one), one) for one in self._some(4)]
        await store.remove(name, gone, self._by("remove"))

    async def _allow(self, store: ListStore, _: str) -> None:
        entries = [AllowEntry(one, "a hospital", "somchai", now_s()) for one in self._some(2)]
        await store.allow_add(entries, self._by("allow"))

    async def _disallow(self, store: ListStore, _: str) -> None:
        await store.allow_remove(self._some(6), self._by("disallow"))

    async def _import_(self, store: ListStore, name: str) -> None:
        """A whole new version, from a file."""
        by, numbers = self._by("import"), self._some(12)
        path = self.folder / f"version-{self._made}.txt"
        path.write_text("\n".join(numbers) + "\n")
        self.book.mean(by.reason, dict.fromkeys(numbers, frozenset({_FILE_SOURCE})))
        request = ImportRequest(
            name=name,
            path=path,
            kind="text",
            names=None,
            defaults=Defaults(_FILE_SOURCE, now_s(), category=Category.CALL_CENTRE),
            rejects=path.with_suffix(".rejects"),
            replace=True,
            key=_KEY,
            by=by,
            are_numbers=True,
        )
        await import_file(store, request, now_s())

    async def _rebuild(self, store: ListStore, name: str) -> None:
        await rebuild(store, name, _KEY, self._by("rebuild"), now_s())

    async def _rollback(self, store: ListStore, name: str) -> None:
        kept = [base.published for base in await store.past.bases(name)]
        if kept:
            of = self._rng.choice(kept)
            await rollback(store, name, of, _KEY, self._by("rollback"), now_s())
