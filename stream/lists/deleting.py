"""Deleting a list in the register, in one script: see `scripts.DELETE`."""

from typing import Self

from redis.asyncio import Redis

from stream.core.faults import ListUnknown
from stream.lists import keys, scripts
from stream.lists.connection import Closing, RegisterSettings, client, renamed
from stream.lists.store import AUDIT_MAX, CHANGES_MAX
from stream.lists.words import By, unknown


class Deleting(Closing):
    """Use `async with Deleting.open(settings) as deleting`. May raise RegisterDown."""

    def __init__(self, redis: Redis) -> None:
        super().__init__(redis)
        self._delete = redis.register_script(scripts.DELETE)

    @classmethod
    def open(cls, settings: RegisterSettings) -> Self:
        """At the same Redis as the register."""
        return cls(client(settings))

    async def delete(self, name: str, by: By) -> int:
        """Make a list be no more, its past too; how many numbers it had. The audit keeps it.

        Raises ListUnknown.
        """
        places = [keys.head(name), keys.changed(name), keys.bases(name), keys.writing(name)]
        with renamed(f"deleting {name}"):
            answer = await self._delete(
                keys=places, args=[name, by.actor, by.reason, CHANGES_MAX, AUDIT_MAX]
            )
        if answer[0] == scripts.UNKNOWN:
            raise ListUnknown(unknown(name))
        return int(answer[2])
