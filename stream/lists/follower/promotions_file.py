"""`<state_dir>/trials.json`: what was promoted and demoted, for a start without the register.

All workers of a machine share it; a newer one of another worker stays. Functions block on the disk.
"""

from dataclasses import replace
from pathlib import Path
from typing import Final

import msgspec

from stream.core.model.errors import UNREADABLE, SnapshotUnreadable
from stream.core.model.trials import NO_TRIALS, Trials
from stream.lists.snapshot.durable_files import locked, named_faults, sync_folder, write_synced
from stream.lists.store.promotions import Booked, records_of, trials_of

_FILE: Final = "trials.json"


class _Kept(msgspec.Struct, frozen=True):
    identity: str | None
    generation: int
    turned: dict[str, str]


def last_known(state_dir: Path) -> Booked:
    """What was last kept. Raises SnapshotUnreadable where it is damaged."""
    path = state_dir / _FILE
    with named_faults("trials"):
        if not path.exists():
            return Booked(None, NO_TRIALS)
        data = path.read_bytes()
    try:
        kept = msgspec.json.decode(data, type=_Kept)
    except UNREADABLE as error:
        raise SnapshotUnreadable(f"{path}: {error}") from error
    records = {name: text.encode() for name, text in kept.turned.items()}
    read = trials_of(records, kept.generation)
    if read.unread:
        raise SnapshotUnreadable(f"{path}: {', '.join(map(str, sorted(read.unread)))}: unreadable")
    return replace(read, identity=kept.identity)


def keep(state_dir: Path, identity: str | None, trials: Trials) -> None:
    """Write it, all or nothing. Raises SnapshotUnreadable if the disk does not take it."""
    turned = {name: record.decode() for name, record in records_of(trials).items()}
    data = msgspec.json.encode(_Kept(identity, trials.generation, turned))
    with named_faults("trials"):
        state_dir.mkdir(parents=True, exist_ok=True)
        with locked(state_dir / f".{_FILE}.lock"):
            try:
                before = last_known(state_dir)
            except SnapshotUnreadable:
                before = Booked(None, NO_TRIALS)
            if before.identity == identity and before.trials.generation > trials.generation:
                return
            aside = state_dir / f".writing-{_FILE}"
            write_synced(aside, data)
            aside.rename(state_dir / _FILE)
            sync_folder(state_dir)
