"""The register's book of promotions and demotions."""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import msgspec
from redis.asyncio import Redis

from stream.core.faults import ChangeConflict, SnapshotUnreadable
from stream.core.trials import Kind, Target, Trials, Turned
from stream.lists import keys
from stream.lists.connection import Closing, RegisterSettings, client, renamed
from stream.lists.scripts import MOVED
from stream.lists.store import AUDIT_MAX
from stream.lists.trials import scripts
from stream.lists.words import By


@dataclass(frozen=True, slots=True)
class Booked:
    """What the register has: whose it is (None: it is empty), and the trials."""

    identity: str | None
    trials: Trials


class TrialBook(Closing):
    """Use `async with TrialBook.open(settings) as book`. Every method may raise RegisterDown."""

    def __init__(self, redis: Redis) -> None:
        super().__init__(redis)
        self._turn = redis.register_script(scripts.TURN)
        self._read = redis.register_script(scripts.READ)

    @classmethod
    def open(cls, settings: RegisterSettings) -> Self:
        """At the same Redis as the lists."""
        return cls(client(settings))

    async def read(self) -> Booked:
        """All of it, of one moment. Raises SnapshotUnreadable."""
        with renamed("reading what is on trial"):
            answer: Any = await self._read(keys=[keys.TRIALS, keys.TRIALS_HEAD])
        identity, generation, flat = answer
        records = {name.decode(): record for name, record in _pairs(flat)}
        return Booked(
            identity.decode() if identity else None, trials_of(records, int(generation or 0))
        )

    async def turn(
        self,
        target: Target,
        before: Turned | None,
        after: Turned | None,
        by: By,
        op: str,
        detail: str,
    ) -> int:
        """Put `target` where `after` says (None: as it is set), in place of `before`.

        `op` and `detail` are for the audit. The generation after it. Raises ChangeConflict if
        somebody else turned it meanwhile.
        """
        with renamed(f"turning {target}"):
            answer: Any = await self._turn(
                keys=[keys.TRIALS, keys.TRIALS_HEAD],
                args=[
                    *(str(target), _record(before), _record(after)),
                    *(target.name if target.kind is Kind.LIST else "", uuid.uuid4().hex),
                    *(by.actor, by.reason, op, detail, AUDIT_MAX),
                ],
            )
        if answer[0] == MOVED:
            raise ChangeConflict(
                f"{target}: somebody else turned it a moment ago; nothing was changed: look at "
                "`ringfence simulate ls` and try again"
            )
        return int(answer[1])


def trials_of(records: Mapping[str, bytes], generation: int) -> Trials:
    """Trials from records as they are written. Raises SnapshotUnreadable."""
    turned = {}
    for text, record in records.items():
        target = Target.read(text)
        if target is None:
            continue  # a newer version knows more kinds
        try:
            turned[target] = msgspec.json.decode(record, type=Turned)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise SnapshotUnreadable(f"the record of {target} can not be read: {error}") from error
    return Trials(turned, generation)


def records_of(trials: Trials) -> dict[str, bytes]:
    """Trials as they are written."""
    return {str(target): _record(one) for target, one in trials.turned.items()}


def _record(turned: Turned | None) -> bytes:
    return b"" if turned is None else msgspec.json.encode(turned, order="deterministic")


def _pairs(flat: list[bytes]) -> list[tuple[bytes, bytes]]:
    return list(zip(flat[::2], flat[1::2], strict=True))
