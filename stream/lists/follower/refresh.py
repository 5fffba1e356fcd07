"""Keep one worker's lists equal to the list store's, and good when the list store is not.

Owns `current`, the `Blocklists` that calls are decided with. It is only replaced as a whole, by a
value that was checked. A worker starts from its local snapshots, then follows the change stream and
enforces each change at once. It compares heads every few seconds. After a gap, a chain that differs
or a new base it reads that list again, beside the live one. A list store that lost data changes
nothing here: what a fail-over lost is put back (put_back.py), else an operator has to act.
"""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import groupby

from stream.core.filters.blocklists import EMPTY_BLOCKLISTS, Blocklists, LiveList
from stream.core.model.allowlist import Allowlist
from stream.core.model.errors import (
    ListStoreDown,
    ListStoreRefuses,
    ListStoreUnsafe,
    ListUnknown,
    SnapshotUnreadable,
)
from stream.core.model.on_trial import Trials
from stream.lists.follower import local_state
from stream.lists.follower.follow_promotions import PromotionFollower
from stream.lists.follower.installer import (
    AT_ONCE,
    Installer,
    RefreshSettings,
    Reloaded,
    reload_lists,
    unusable,
)
from stream.lists.follower.list_events import EventKind, ListEvent, OnEvent
from stream.lists.follower.put_back import Recovery
from stream.lists.follower.sync_state import ALLOWLIST, ListPosition, SyncResult, SyncState
from stream.lists.store.list_store import FIRST_ID, ListStore
from stream.lists.store.store_codec import Followed, Op, Step, changes_in, id_place
from stream.ops.retry import Backoff
from stream.ops.tasks import cancelled, supervised
from stream.ops.traces import OFF, Traces

__all__ = ["RefreshSettings", "Refresher"]
_FIRST_WAIT_S, _MOST_WAIT_S = 0.2, 5.0
"""A restart of Redis is over in a second; in a long outage lists stay, and a try is cheap."""
CLOCK_S_MAX = 10.0
"""Between the list store's clock and ours. Entries begin and expire by seconds; `doctor` fails at
the same."""
_JUMP_S, _LOOK_S = 2.0, 0.2
"""A clock that jumps by so much between two checks was set. In between, `age_s_max` may count
a list as not confirmed; each check costs microseconds."""
SWAP = "list swap"
"""A span from when a list's parts or changes were there to be read until calls meet them."""


class Refresher:
    """The lists of one worker. `load_last_good()` first, then `run()` as a task."""

    def __init__(
        self,
        settings: RefreshSettings,
        on_event: OnEvent = lambda _: None,
        clock: Callable[[], float] | None = None,
        traces: Traces = OFF,
    ) -> None:
        self.current: Blocklists = EMPTY_BLOCKLISTS
        self.deleted: Mapping[str, int] = {}
        """The last generation of each deleted list, as the list store has them."""
        self.clock_differs = False
        self._settings = settings
        self._on_event = on_event
        self._clock = clock or time.time  # not a default: it would stay though a test replaces it
        self._traces = traces
        self._sync = SyncState()
        self._writer = local_state.SnapshotWriter(settings.state_dir, self._tell, self._read_again)
        self._installer = Installer(settings.state_dir)
        # What is put back waits for no replica: a new primary may not have one yet.
        self._list_store = replace(settings.list_store, wait_replicas=0)
        self._trials = PromotionFollower(self._list_store, settings.state_dir, self._tell)
        self._recovery = Recovery(settings.state_dir, self._tell, settings.keys)
        self._identity: str | None = None
        self._position = FIRST_ID
        self._compared = False
        self._loaded = asyncio.Event()
        self._stale = asyncio.Event()
        self._waiting: dict[str, list[Step]] = {}

    # Questions of other parts

    async def wait_loaded(self) -> None:
        """Wait until calls may be decided: the lists are the list store's, or the last good ones.

        A list store that holds no list counts. Without a list store and without a last good
        snapshot this waits on.
        """
        await self._loaded.wait()

    @property
    def lost(self) -> tuple[str, ...]:
        """The lists (the allowlist is "") that the list store knows less of than this worker."""
        sync = self._sync
        return tuple(sorted({ALLOWLIST, *sync.copy()} if sync.foreign else sync.lost))

    @property
    def behind(self) -> tuple[str, ...]:
        """The lists (the allowlist is "") that are not the list store's: lost, or not readable."""
        return tuple(sorted({*self.lost, *self._sync.unread}))

    def load_last_good(self) -> None:
        """Enforce what the snapshot directory holds; before `run`, and without Redis. Blocks.

        Raises FormatNewer where a newer Ringfence wrote it.
        """
        settings = self._settings
        try:
            known = local_state.known(settings.state_dir)
        except SnapshotUnreadable as error:
            known = local_state.NOTHING
            self._tell(EventKind.SNAPSHOT_REFUSED, ALLOWLIST, str(error))
        lists, refused = local_state.last_good(settings.state_dir, settings.keys, known.synced_at_s)
        for place, why in refused.items():
            self._tell(EventKind.SNAPSHOT_REFUSED, place, why)
        self._identity = known.identity
        self._recovery.saw(known.steps)
        if known.head.generation:
            self._sync.known(ALLOWLIST, ListPosition(known.head.generation, known.head.chain))
        for name, held in lists.items():
            self._sync.known(name, held.mark)
        self._trials.load()
        whole = self._installer.whole([held.live for held in lists.values()], known.allow)
        self.current = whole.with_trials(self._trials.current)
        for name, held in lists.items():
            self._tell(
                EventKind.LOADED,
                name,
                f"generation {held.mark.generation}, from the local snapshot",
            )

    # The task

    async def run(self) -> None:
        """Follow the list store until cancelled, through every outage of it.

        At the first look, an unsafe list store raises ListStoreUnsafe and one that does not let
        us in ListStoreRefuses: start-up refuses them. Later both are waited for.
        """
        # The writer needs no list store: in an outage it ends what it has, for a restart in it.
        await supervised(
            self._connect_always(), clock=self._watch_clock(), writer=self._writer.run()
        )

    async def _connect_always(self) -> None:
        settings, backoff = self._settings, Backoff(_FIRST_WAIT_S, _MOST_WAIT_S)
        starting = True
        while True:
            try:
                async with await ListStore.connect(
                    self._list_store, settings.changes_block_ms
                ) as store:
                    await self._serve(store, backoff)
            except ListStoreUnsafe as error:
                if starting:
                    raise
                self._tell(EventKind.REGISTER_UNSAFE, ALLOWLIST, str(error))
            except ListStoreDown as error:
                if starting and isinstance(error, ListStoreRefuses):
                    raise  # the operator who starts it can fix that, and waiting cannot
                self._tell(EventKind.REGISTER_DOWN, ALLOWLIST, str(error))
            starting = False
            if self.current.lists:
                self._loaded.set()  # the lists of the snapshot directory stay in force
            await backoff.pause()

    async def _serve(self, store: ListStore, backoff: Backoff) -> None:
        """Follow the list store over one connection; ends with ListStoreDown."""
        # Before the first call: a list on trial must not block any.
        await self._trials.look()
        self._try(self._trials.current)
        if self._list_store.put_back:
            await self._recovery.run(store, self._identity, self._sync.copy())
        await self._reconcile(store)
        await self._compare_clocks(store)
        if self._sync.foreign:
            self._loaded.set()  # of another list store: the local snapshots stay in force
        self._tell(EventKind.REGISTER_UP, ALLOWLIST, f"list store {self._identity or 'empty'}")
        backoff.reset()
        jobs = (self._follow(store), self._reload(store), self._trials.run(self._try))
        # No TaskGroup: it would raise a group where the caller waits for one ListStoreDown.
        tasks = [asyncio.create_task(job) for job in jobs]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            # The connection is lost: what these tasks still do fails too, and delays the next try.
            await cancelled(*tasks, again_s=0.2)
            # What was being read has to be read again; what waited for it comes with that.
            self._sync.break_off()
            self._waiting.clear()

    async def _follow(self, store: ListStore) -> None:
        next_look = time.monotonic() + self._settings.reconcile_s
        while True:
            self._take(await store.follow(self._position, self._settings.changes_block_ms))
            if time.monotonic() >= next_look:
                await store.check_primary()
                await self._reconcile(store, again=self._list_store.put_back)
                await self._compare_clocks(store)
                next_look = time.monotonic() + self._settings.reconcile_s

    # Steps

    def _take(self, read: Followed) -> None:
        """Enforce steps in their order, consecutive ones of one list by one swap.

        A list of which an entry was skipped is read again: its state may say what the entry cannot.
        """
        self._recovery.saw(read.steps)
        for name, mine in groupby(read.steps, key=lambda step: step.name):
            self._apply_to(name, list(mine))
        known = read.skipped & self._sync.copy().keys()
        if known:
            self._sync.stale |= known
            self._stale.set()
        self._position = read.last_id

    def _apply_to(self, name: str, steps: list[Step]) -> None:
        begun_ns = time.time_ns()
        if name in self._waiting:
            self._waiting[name] += steps
        found = self._sync.take(name, steps)
        self._tell_all(name, found)
        if found.fresh and name in self.current.names:
            changes, scope, again = changes_in(name, found.fresh)
            if again:
                self._sync.stale.add(name)
            generation, synced_at_s = found.fresh[-1].generation, self._now()
            if name in self._sync.unread:  # a step confirms nothing of what it comes after
                synced_at_s = self.current.lists[self.current.names.index(name)].synced_at_s

            def changed(lists: Blocklists) -> Blocklists:
                return lists.with_changes(name, changes, generation, synced_at_s, scope)

            self._installer.arrived(name, changed)
            self.current = changed(self.current)
            self._traces.told(
                SWAP, begun_ns, list=name, generation=generation, changes=len(changes)
            )
            self._writer.steps(name, found.fresh)
        if self._sync.stale:
            self._stale.set()

    def _try(self, trials: Trials) -> None:
        """Enforce promotions and demotions."""
        self.current = self.current.with_trials(trials)

    # Heads

    async def _reconcile(self, store: ListStore, *, again: bool = False) -> None:
        """Compare all heads with what is enforced here; whatever differs is read again.

        `again`: what is lost may be put back, and was not lost when the connection began.
        """
        # Copied before the heads are read: a step that comes between the two lines is newer than
        # both, and must not look like data that the list store lost.
        before = self._sync.copy()
        heads = await store.heads()
        if not self._is_ours(heads.identity):
            return
        self.deleted = heads.deleted
        if id_place(heads.last_id) < id_place(self._position):
            # The stream lost its end, and the new primary's clock may be behind: its next steps
            # would have ids before our position, and never be read.
            self._position = heads.last_id
        if not self._compared:
            self._position = heads.last_id  # all lists are read now, so no older step is needed
            if self._list_store.put_back:
                # But for a fail-over that loses some of what is read now.
                await self._recovery.begin(store)
        while id_place(self._position) < id_place(heads.last_id):
            read = await store.follow(self._position, 0)
            if read.last_id == self._position:
                break  # the stream lost its end: the heads tell
            self._take(read)
        standing = {name: ListPosition(h.generation, h.chain) for name, h in heads.lists.items()}
        standing[ALLOWLIST] = ListPosition(heads.allow.generation, heads.allow.chain)
        if again and self._sync.went_back(standing, before, heads.deleted):
            # Another Redis answers than a moment ago: the next connection puts back what it lacks.
            raise ListStoreDown("the list store went back: its primary is asked for again")
        found = self._sync.compare(standing, before, heads.deleted, all_stale=not self._compared)
        for name, what in found.items():
            self._tell_all(name, what)
        self._compared = True
        # One that could never be read is neither enforced nor on the disk, so nothing ages.
        never = {live.name for live in self.current.lists if not live.usable}
        aging = (self._sync.lost | self._sync.unread) - never
        self.current = replace(
            self.current,
            lists=tuple(
                live if live.name in aging else replace(live, synced_at_s=self._now())
                for live in self.current.lists
            ),
        )
        if not aging:
            self._writer.agreed()
        self._stale.set()

    def _is_ours(self, identity: str | None) -> bool:
        """Return whether the lists here came from this list store; while there are none any is."""
        # A fail-over may lose a list store that was just made. A worker without a list of it has
        # nothing to keep, and would miss all lists that are made from now on.
        holds = any(position.generation for position in self._sync.copy().values())
        if not holds or self._identity in (None, identity):
            self._identity = identity
            self._sync.foreign = False
            return True
        if not self._sync.foreign:
            self._sync.foreign = True
            found = f"is list store {identity}" if identity else "is empty"
            self._tell(
                EventKind.REGISTER_LOST,
                ALLOWLIST,
                f"Redis {found}, the lists here are of list store {self._identity} and stay as "
                "they are. Restore Redis; or, to start over with what it holds, stop the worker "
                f"and remove {self._settings.state_dir}",
            )
        return False

    async def _watch_clock(self) -> None:
        """Let lists be as old after a jump of the clock as before it, until cancelled."""
        apart_s = self._clock() - time.monotonic()
        while True:
            lists = self.current.lists
            await asyncio.sleep(_LOOK_S)
            jumped_s = self._clock() - time.monotonic() - apart_s
            if abs(jumped_s) < _JUMP_S:
                continue
            apart_s += jumped_s
            before = {live.name: live.synced_at_s for live in lists}
            self.current = replace(
                self.current,
                lists=tuple(
                    replace(live, synced_at_s=live.synced_at_s + round(jumped_s))
                    if self._is_of_old_clock(live, before.get(live.name), jumped_s)
                    else live
                    for live in self.current.lists
                ),
            )

    def _is_of_old_clock(self, live: LiveList, before_s: int | None, jumped_s: float) -> bool:
        """Return whether a list was confirmed before the clock jumped; `before_s`: last time.

        One confirmed since shows it by its time: by the new clock it would be now.
        """
        if jumped_s > 0:
            return live.synced_at_s + jumped_s <= self._now() + 1
        return live.synced_at_s == before_s or live.synced_at_s > self._now()

    async def _compare_clocks(self, store: ListStore) -> None:
        """Report clocks that differ, once until they agree."""
        ahead_s = 0.0
        with suppress(ListStoreRefuses):  # our user may not ask: only this comparison lacks
            ahead_s = await store.clock_ahead_s(self._clock)
        differs = abs(ahead_s) >= CLOCK_S_MAX
        if differs and not self.clock_differs:
            way = "ahead of" if ahead_s > 0 else "behind"
            self._tell(
                EventKind.CLOCK_DIFFERS,
                ALLOWLIST,
                f"the list store's clock is {abs(ahead_s):.0f} s {way} ours, so entries begin and "
                "expire too early or too late here or elsewhere: `chronyc tracking` on both",
            )
        self.clock_differs = differs

    # Reading again

    async def _reload(self, store: ListStore) -> None:
        while True:
            await self._stale.wait()
            self._stale.clear()
            names = self._sync.begin()
            if ALLOWLIST in names:
                await self._reload_allowlist(store)
            await self._reload_lists(store, sorted(names - {ALLOWLIST}))
            if not self._sync.stale and not self._sync.foreign:
                self._loaded.set()

    def _read_again(self, name: str) -> None:
        """Have a list read as a whole, so that its change log on the disk begins again."""
        if self._sync.get(name) is not None:
            self._sync.stale.add(name)
            self._stale.set()

    async def _reload_allowlist(self, store: ListStore) -> None:
        meanwhile = self._waiting[ALLOWLIST] = []
        try:
            head, entries = await store.allow_all()
        except SnapshotUnreadable as error:
            self._refused(ALLOWLIST, error)
            return
        finally:
            self._waiting.pop(ALLOWLIST, None)
        mark = self._sync.get(ALLOWLIST)
        if mark is not None and head.generation < mark.generation:
            self._sync.fail(ALLOWLIST)  # the next comparison finds it lost
            return
        self._sync.known(ALLOWLIST, ListPosition(head.generation, head.chain))
        self.current = self.current.with_allow(Allowlist.of(entries))
        self._writer.allowlist(self._identity, head, entries, self._recovery.steps(ALLOWLIST))
        # One that came while it was read, and is not in what was read, has it read again.
        self._apply_to(ALLOWLIST, meanwhile)

    async def _reload_lists(self, store: ListStore, names: Sequence[str]) -> None:
        """Read lists again. At the start all go live together: one table is made of all of them."""
        self._waiting.update((name, []) for name in names)
        held = {live.name: live.snapshot for live in self.current.lists}
        read: list[Reloaded] = []
        begun_ns = time.time_ns()
        for start in range(0, len(names), AT_ONCE):
            some = {name: held.get(name) for name in names[start : start + AT_ONCE]}
            found = await reload_lists(store, some, self._settings, self._now())
            for name, got in found.items():
                known = self._sync.get(name)
                if isinstance(got, ListUnknown):
                    await self._drop(store, name)
                elif isinstance(got, SnapshotUnreadable):
                    self._refused(name, got)
                elif known is not None and got.state.head.generation < known.generation:
                    self._sync.fail(name)
                else:
                    read.append(got)
            if self._loaded.is_set():
                await self._install(read, begun_ns)
                read, begun_ns = [], time.time_ns()
        await self._install(read, begun_ns)
        for name in names:
            self._waiting.pop(name, None)

    async def _drop(self, store: ListStore, name: str) -> None:
        """Stop enforcing a list that a person deleted. One that is missing otherwise is lost."""
        known = self._sync.get(name)
        heads = await store.heads()
        if name in heads.lists:
            # Made again since. Its first step may have come by now, so no other would have it read.
            self._sync.again(name)
            self._stale.set()
            return
        deleted = heads.deleted.get(name, -1)
        if known is not None and deleted < known.generation:
            self._sync.fail(name)  # the next comparison finds it lost
            return
        self.deleted = heads.deleted
        try:
            made = await self._installer.without(self.current, name)
        except SnapshotUnreadable as error:
            self._refused(name, error)
            return
        self.current = made.with_allow(self.current.allow).with_trials(self.current.trials)
        self._sync.forget(name)
        self._writer.gone(name, deleted)
        self._tell(EventKind.DELETED, name, "it was deleted, and is not enforced any more")
        if any(step.op == Op.CREATE for step in self._waiting.pop(name, [])):
            self._sync.again(name)  # made again while the others were built without it
            self._stale.set()

    async def _install(self, read: Sequence[Reloaded], begun_ns: int) -> None:
        if not read:
            return
        names = {got.live.name for got in read}
        kept = [live for live in self.current.lists if live.name not in names]
        lives = [*kept, *(got.live for got in read)]
        try:
            made = await self._installer.build(lives, names)
        except SnapshotUnreadable as error:
            for name in names:
                self._refused(name, error)
            return
        self.current = made.with_allow(self.current.allow).with_trials(self.current.trials)
        for got in read:
            head = got.state.head
            self._sync.known(head.name, ListPosition(head.generation, head.chain))
            self._writer.replaced(got.state, got.unwritten)
            self._traces.told(SWAP, begun_ns, list=head.name, generation=head.generation)
            self._tell(EventKind.SWAPPED, head.name, f"generation {head.generation}")
            self._apply_to(head.name, self._waiting.pop(head.name, []))

    def _refused(self, name: str, error: SnapshotUnreadable) -> None:
        """Keep what is live; a list that never was is there, and cannot be asked."""
        self._sync.fail(name)
        self._tell(EventKind.SNAPSHOT_REFUSED, name, str(error))
        if name != ALLOWLIST and name not in self.current.names:
            lives = [*self.current.lists, unusable(name)]
            whole = self._installer.whole(lives, self.current.allow)
            self.current = whole.with_trials(self.current.trials)

    # Events

    def _now(self) -> int:
        return int(self._clock())

    def _tell(self, kind: EventKind, name: str, detail: str) -> None:
        self._on_event(ListEvent(kind, name, detail))

    def _tell_all(self, name: str, found: SyncResult) -> None:
        for kind, detail in found.kinds:
            self._tell(kind, name, detail)
