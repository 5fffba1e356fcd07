"""Deleting a list in the register, in one script: see `scripts.DELETE`."""

from typing import Self

from redis.asyncio import Redis

from stream.core.model.errors import ListUnknown
from stream.lists.store import list_lua, redis_keys
from stream.lists.store.heads import By, unknown
from stream.lists.store.list_store import AUDIT_MAX, CHANGES_MAX
from stream.lists.store.redis_client import Closing, client, renamed
from stream.lists.store.settings import RegisterSettings


class Deleting(Closing):
    """Use `async with Deleting.open(settings) as deleting`. May raise RegisterDown."""

    def __init__(self, redis: Redis) -> None:
        super().__init__(redis)
        self._delete = redis.register_script(list_lua.DELETE)

    @classmethod
    def open(cls, settings: RegisterSettings) -> Self:
        """At the same Redis as the register."""
        return cls(client(settings))

    async def delete(self, name: str, by: By) -> int:
        """Make a list be no more, its past too; how many numbers it had. The audit keeps it.

        Raises ListUnknown.
        """
        places = [
            redis_keys.head(name),
            redis_keys.changed(name),
            redis_keys.bases(name),
            redis_keys.writing(name),
        ]
        with renamed(f"deleting {name}"):
            answer = await self._delete(
                keys=places, args=[name, by.actor, by.reason, CHANGES_MAX, AUDIT_MAX]
            )
        if answer[0] == list_lua.UNKNOWN:
            raise ListUnknown(unknown(name))
        return int(answer[2])
