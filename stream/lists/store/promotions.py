"""Promotions and demotions in the list store; each is one atomic write with its audit entry."""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Self

import msgspec
from redis.asyncio import Redis

from stream.core.model.errors import UNREADABLE, ChangeConflict, SnapshotUnreadable
from stream.core.model.on_trial import Target, TrialKind, Trials, TrialStatus, Turned
from stream.lists.store import redis_keys
from stream.lists.store.heads import By
from stream.lists.store.list_lua import MOVED, READ_TRIALS, TURN
from stream.lists.store.list_store import AUDIT_MAX
from stream.lists.store.redis_client import Closing, Replicas, client, renamed
from stream.lists.store.settings import ListStoreSettings
from stream.ops.skipped_records import Skipped, StoredKind, skip


@dataclass(frozen=True, slots=True)
class StoredPromotions:
    """Promotions as read: the list store's identity (None: it is empty), and the trials.

    `unread` are the records that cannot be read, as they are.
    """

    identity: str | None
    trials: Trials
    unread: Mapping[Target, bytes] = field(default_factory=dict)

    def over(self, before: Trials) -> Trials:
        """Return the trials, with those of `before` in place of records that cannot be read.

        Where nothing was known, the target is on trial: whether it was promoted or demoted is
        unknown, and on trial it blocks no call.
        """
        doubtful = Turned(standing=TrialStatus.TRIAL, at_s=0, actor="", reason="it cannot be read")
        kept = {target: before.turned.get(target, doubtful) for target in self.unread}
        return replace(self.trials, turned={**self.trials.turned, **kept})


class TrialStore(Closing):
    """Use `async with TrialStore.open(...) as store`. Methods may raise ListStoreDown."""

    def __init__(self, redis: Redis, replicas: Replicas) -> None:
        super().__init__(redis)
        self._replicas = replicas
        self._turn = redis.register_script(TURN)
        self._read = redis.register_script(READ_TRIALS)

    @classmethod
    def open(cls, settings: ListStoreSettings) -> Self:
        """Open the store at the list store's Redis."""
        return cls(client(settings), Replicas(settings))

    async def read(self) -> StoredPromotions:
        """Return all of it, of one moment; records that cannot be read are counted.

        Raises SnapshotUnreadable for a head that cannot be read.
        """
        with renamed("reading what is on trial"):
            answer: Any = await self._read(keys=[redis_keys.TRIALS, redis_keys.TRIALS_HEAD])
        identity, generation, flat = answer
        if flat is None:
            raise SnapshotUnreadable(f"{redis_keys.TRIALS} is no hash")
        if not (generation or b"0").isdigit():
            raise SnapshotUnreadable(f"{redis_keys.TRIALS_HEAD}: generation is no whole number")
        records = {name.decode(errors="replace"): record for name, record in _pairs(flat)}
        read = trials_of(records, int(generation or 0))
        for target in sorted(read.unread):
            where = f"{redis_keys.TRIALS} {target}"
            name = target.name if target.kind is TrialKind.LIST else ""
            skip(Skipped(StoredKind.TRIALS, where, "its record cannot be read", name))
        return replace(read, identity=identity.decode(errors="replace") if identity else None)

    async def turn(
        self,
        target: Target,
        before: Turned | None,
        after: Turned | None,
        by: By,
        op: str,
        detail: str,
        seen: bytes | None = None,
    ) -> int:
        """Put `target` where `after` says (None: as it is set), in place of `before`.

        `seen` is the record that stands for `before` where that cannot be read. `op` and `detail`
        are for the audit. Return the generation after it. Raises ChangeConflict if another process
        changed it meanwhile.
        """
        doing = f"turning {target}"
        with renamed(doing):
            answer: Any = await self._replicas.run(
                self._redis,
                self._turn,
                [redis_keys.TRIALS, redis_keys.TRIALS_HEAD],
                [
                    *(str(target), _record(before) if seen is None else seen, _record(after)),
                    *(target.name if target.kind is TrialKind.LIST else "", uuid.uuid4().hex),
                    *(by.actor, by.reason, op, detail, AUDIT_MAX),
                ],
                doing,
            )
        if answer[0] == MOVED:
            raise ChangeConflict(
                f"{target}: somebody else turned it a moment ago; nothing was changed: look at "
                "`ringfence simulate list` and try again"
            )
        return int(answer[1])


def trials_of(records: Mapping[str, bytes], generation: int) -> StoredPromotions:
    """Decode promotions and demotions from their records."""
    turned, unread = {}, {}
    for text, record in records.items():
        target = Target.read(text)
        if target is None:
            continue  # a newer version knows more kinds
        try:
            turned[target] = msgspec.json.decode(record, type=Turned)
        except UNREADABLE:
            unread[target] = record
    return StoredPromotions(None, Trials(turned, generation), unread)


def records_of(trials: Trials) -> dict[str, bytes]:
    """Encode promotions and demotions as records."""
    return {str(target): _record(one) for target, one in trials.turned.items()}


def _record(turned: Turned | None) -> bytes:
    return b"" if turned is None else msgspec.json.encode(turned, order="deterministic")


def _pairs(flat: list[bytes]) -> list[tuple[bytes, bytes]]:
    return list(zip(flat[::2], flat[1::2], strict=True))
