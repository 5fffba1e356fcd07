"""The layout of a list in a repository: names of targets, and the content of the newest. Pure.

    KH/scam/latest.json                  what there is: the whole list, and the changes since
    KH/scam/412/manifest.json ...        the whole list at generation 412, the parts of a snapshot
    KH/scam/changes/412-415.jsonl        the state of each number that was changed after 412, to 415

A change file says of each of its numbers what holds at its end. So one that began earlier than
where a follower stands serves him too, and several may be made one.
"""

from typing import Annotated, Final

import msgspec
from msgspec import Meta

from stream.core.model.agreement import Shared
from stream.core.model.errors import UNREADABLE, SnapshotUnreadable

FORMAT: Final = "ringfence-list"
VERSION: Final = 1
LATEST_BYTES_MAX: Final = 1 << 20
"""A fetched file of more is refused before it is read: a real one takes some KB."""
_Generation = Annotated[int, Meta(ge=0, le=2**53)]
_Part = Annotated[str, Meta(pattern=r"^[a-z_]{1,32}(\.[a-z]{1,8})?\Z")]


class Latest(msgspec.Struct, frozen=True, kw_only=True):
    """`latest.json`: the list at `generation`, as `whole` with its `parts` and the `changes` after.

    `epoch` is another one after a break in the list's history: what a follower has is then no
    beginning for changes. `numbers` are on the list, `rows` of them changed since `whole`.
    `made_at_s`: when its owner last had something to say. `changed_at_ms`: when each of `changes`
    was published, the oldest of it where several were put together; 0 or absent: not known.
    `register` and `chain` are for the owner alone: which list store it came from, and that list's
    chain at `generation` ("": not known).
    """

    format: str = FORMAT
    version: int = VERSION
    list: str
    shares: Shared
    circle: str
    key_id: str
    epoch: str
    generation: _Generation
    whole: _Generation
    parts: tuple[_Part, ...]
    numbers: _Generation
    changes: tuple[tuple[_Generation, _Generation], ...] = ()
    rows: _Generation = 0
    made_at_s: int = 0
    changed_at_ms: tuple[_Generation, ...] = ()
    register: str = ""
    chain: str = ""

    def changes_after(self, generation: int) -> tuple[tuple[int, int], ...] | None:
        """Return the change files that lead from `generation` to the newest; None: they do not."""
        at, found = generation, []
        for begin, end in self.changes:
            if end <= at:
                continue
            if begin > at:
                return None
            found.append((begin, end))
            at = end
        return tuple(found) if at == self.generation else None

    def times(self) -> dict[tuple[int, int], int]:
        """Return when each change file was published, ms since the epoch, where that is known."""
        known = len(self.changed_at_ms) == len(self.changes)
        pairs = zip(self.changes, self.changed_at_ms if known else (), strict=False)
        return {span: at_ms for span, at_ms in pairs if at_ms}


def latest_target(name: str) -> str:
    """Return the target that says what there is of list `name`."""
    return f"{name}/latest.json"


def part_target(name: str, generation: int, part: str) -> str:
    """Return a part of the whole list at a generation."""
    return f"{name}/{generation}/{part}"


def change_target(name: str, begin: int, end: int) -> str:
    """Return the changes after generation `begin`, up to `end`."""
    return f"{name}/changes/{begin}-{end}.jsonl"


def read_latest(data: bytes, name: str) -> Latest:
    """Read `latest.json` of list `name`. Raises SnapshotUnreadable."""
    try:
        latest = msgspec.json.decode(data, type=Latest)
    except UNREADABLE as error:
        raise SnapshotUnreadable(f"{latest_target(name)}: {error}") from error
    if (latest.format, latest.version) != (FORMAT, VERSION):
        known = f"{FORMAT} {VERSION} is known: update Ringfence here"
        text = f"{latest.format[:40]!r} {latest.version}, {known}"
        raise SnapshotUnreadable(f"{latest_target(name)}: {text}")
    if latest.list != name:
        raise SnapshotUnreadable(f"{latest_target(name)}: speaks of list {latest.list[:80]!r}")
    return latest
