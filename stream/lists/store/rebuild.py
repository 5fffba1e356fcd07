"""Rebuilds lists whose changes grew too many, each in a process of its own.

A worker checks every change before its filter, and each change takes some 300 bytes of Redis
instead of 20. So changes are compacted into a new base before they are many. Until that is live,
and if it fails, the overlay covers the gap. One list at a time, so that memory is one list's; at a
low priority, since calls come first.
"""

import asyncio
import contextlib
import logging
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from stream.core.model.errors import Fault, ListStoreDown, ListStoreUnsafe
from stream.lists.store.list_store import ListStore
from stream.lists.store.settings import ListStoreSettings
from stream.ops.retry import Backoff

log = logging.getLogger(__name__)

ACTOR = "ringfence"
_NICE = 10
"""Calls that are decided on the same machine go first."""
_FIRST_WAIT_S, _MOST_WAIT_S = 30.0, 3600.0
"""A rebuild takes a core and up to a GB: one that failed is not tried again at once."""
_TIDY_S = 60.0
"""Archiving and dropping old bases may be late: both are about memory alone."""


@dataclass(frozen=True, slots=True)
class RebuildSettings:
    """Settings for rebuilding lists.

    `changes_max`: more changed numbers over a list's base lead to a rebuild (0: never). `look_s`:
    how often the heads are read. `arguments`: further arguments of each process, such as --config.
    """

    changes_max: int
    arguments: Sequence[str] = ()
    look_s: float = 10.0


@dataclass(frozen=True, slots=True)
class Rebuild:
    """The result of a rebuild: the process' exit code, and the last that it printed."""

    name: str
    changes: int
    code: int
    said: str


Tell = Callable[[Rebuild], None]


@dataclass(slots=True)
class _Waits:
    """Back-off of lists whose rebuild failed; times of `time.monotonic`."""

    until_s: dict[str, float] = field(default_factory=dict)
    backoffs: dict[str, Backoff] = field(default_factory=dict)

    def ended(self, name: str, code: int, now_s: float) -> None:
        if code == 0:
            self.until_s.pop(name, None)
            self.backoffs.pop(name, None)
            return
        backoff = self.backoffs.setdefault(name, Backoff(_FIRST_WAIT_S, _MOST_WAIT_S))
        self.until_s[name] = now_s + backoff.next_s()


def due(
    changes: Mapping[str, int], changes_max: int, until_s: Mapping[str, float], now_s: float
) -> str | None:
    """Return the list that needs a rebuild most; None: none does, or it failed and has to wait."""
    wanted = [
        (count, name)
        for name, count in changes.items()
        if 0 < changes_max < count and until_s.get(name, now_s) <= now_s
    ]
    return max(wanted)[1] if wanted else None


async def keep_rebuilt(
    list_store: ListStoreSettings, settings: RebuildSettings, tell: Tell
) -> None:
    """Rebuild lists as they need it, pack old changes and let old bases go, until cancelled.

    An outage of the list store is waited out. `tell` receives the result of each rebuild.
    """
    waits, backoff = _Waits(), Backoff(1.0, 30.0)
    while True:
        try:
            async with await ListStore.connect(list_store) as opened:
                backoff.reset()
                await _watch(opened, settings, waits, tell)
        except (ListStoreDown, ListStoreUnsafe):
            pass  # the process that reads or writes lists logs it
        except Fault as fault:  # for example a list that was deleted between two lines
            log.warning("rebuilds are tried again: %s", fault)
        await backoff.pause()


async def _watch(store: ListStore, settings: RebuildSettings, waits: _Waits, tell: Tell) -> None:
    tidied_s = 0.0
    while True:
        heads = (await store.heads()).lists
        now_s = time.monotonic()
        if now_s - tidied_s > _TIDY_S or not tidied_s:
            await store.archive()
            for name in heads:
                await store.retain(name)
            tidied_s = now_s
        changes = {name: head.changes for name, head in heads.items()}
        most = due(changes, settings.changes_max, waits.until_s, now_s)
        if most is None:
            await asyncio.sleep(settings.look_s)
            continue
        code, said = await _process(most, settings)
        waits.ended(most, code, time.monotonic())
        tell(Rebuild(most, changes[most], code, said))


async def _process(name: str, settings: RebuildSettings) -> tuple[int, str]:
    """Run `ringfence lists rebuild`; its exit code and the end of what it said."""
    why = f"more than {settings.changes_max} changes"
    # A process: it takes a core and up to a GB, and must neither stop this loop nor end all feeds.
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "stream", "lists", "rebuild", name),
        *("--actor", ACTOR, "--reason", why, *settings.arguments),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        start_new_session=True,
    )
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.setpriority(os.PRIO_PROCESS, process.pid, _NICE)
    try:
        said, _ = await process.communicate()
    except asyncio.CancelledError:
        with contextlib.suppress(ProcessLookupError):
            process.kill()  # it changes nothing before its last step
        await process.wait()
        raise
    assert process.returncode is not None, "it has ended"
    return process.returncode, said.decode(errors="replace").strip()[-500:]
