"""The store of appeals: in Redis beside the lists, each step one atomic write with its audit entry.

    async with AppealStore.open(settings) as store:
        appeal, is_new = await store.add(appeal, by)
        appeal = await store.step(appeal.id, AppealState.PENDING_OWNER, by)

Numbers under appeal are kept here whole, and nowhere else: the audit has them masked.
"""

import secrets
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Self

import msgspec
from redis.asyncio import Redis

from stream.appeals import appeal_lua
from stream.core.model.allowlist import AllowEntry
from stream.core.model.appeal import (
    APPELLANT_CHARS_MAX,
    COMMENT_CHARS_MAX,
    LISTS_MAX,
    Appeal,
    AppealState,
    AppealStep,
    Named,
    StepRefused,
    stepped,
)
from stream.core.model.errors import (
    UNREADABLE,
    AppealRefused,
    AppealUnknown,
    ChangeConflict,
    ListStoreLost,
)
from stream.core.model.free_text import line_of
from stream.core.numbers.number import masked
from stream.lists.store import redis_keys
from stream.lists.store.heads import By
from stream.lists.store.list_lua import MOVED
from stream.lists.store.list_store import AUDIT_MAX, CHANGES_MAX
from stream.lists.store.redis_client import Closing, client, renamed
from stream.lists.store.settings import ListStoreSettings
from stream.lists.store.store_codec import allow_json
from stream.ops.clock import now_s
from stream.ops.skipped_records import Place, Skipped, skip

OPEN_MAX: Final = 50_000
"""Appeals that wait for an answer at once, about 50 MB; one more is refused, in words."""
CLOSED_MAX: Final = 200_000
_MOVED_MAX: Final = 20
_ID_ALPHABET: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_ID_CHARS: Final = 13
_PIECE: Final = 1000


def new_id() -> str:
    """An id that nobody guesses, 65 random bits: whoever appealed asks for an answer by it."""
    return "A-" + "".join(secrets.choice(_ID_ALPHABET) for _ in range(_ID_CHARS))


@dataclass(frozen=True, slots=True)
class Standing:
    """How many appeals are in each state now, and how many are open beyond their deadline."""

    by_state: Mapping[AppealState, int]
    overdue: int


class AppealStore(Closing):
    """Use `async with AppealStore.open(settings) as store`. Methods may raise ListStoreDown."""

    def __init__(self, redis: Redis, kept_days: float) -> None:
        super().__init__(redis)
        self._kept_s = int(kept_days * 86_400)
        self._step = redis.register_script(appeal_lua.APPEAL)

    @classmethod
    def open(cls, settings: ListStoreSettings, kept_days: float) -> Self:
        """At the same Redis as the register; answered appeals are kept for `kept_days`."""
        return cls(client(settings), kept_days)

    async def add(self, appeal: Appeal, by: By) -> tuple[Appeal, bool]:
        """Write a new appeal down; or the one that is open already on the same number, and False.

        Raises AppealRefused where more are open than can be kept, or a text is too long.
        """
        _check(appeal)
        answer = await self._write(appeal, 0, by)
        if answer[0] == appeal_lua.FULL:
            text = f"{OPEN_MAX:,} appeals are open: answer some, `ringfence appeals ls` has them"
            raise AppealRefused(text)
        if answer[0] == 0:
            return await self.get(answer[1].decode()), False
        return appeal, True

    async def step(
        self,
        appeal_id: str,
        state: AppealState,
        by: By,
        allow: AllowEntry | None = None,
        lists: tuple[Named, ...] | None = None,
    ) -> Appeal:
        """Bring an appeal into a state; `allow` is written at the same moment.

        `by.reason` is the comment; `lists` are the same lists with newer fingerprints. Raises
        AppealUnknown, and AppealRefused where it cannot go there from where it stands.
        """
        for _ in range(_MOVED_MAX):
            before = await self.get(appeal_id)
            step = AppealStep(at_s=now_s(), actor=by.actor, state=state, comment=by.reason)
            after = stepped(before, step)
            if isinstance(after, StepRefused):
                raise AppealRefused(f"{appeal_id} is {before.state.value}: {after.value}")
            if lists is not None:
                after = msgspec.structs.replace(after, lists=lists)
            _check(after)
            answer = await self._write(after, before.version, by, allow)
            if answer[0] != MOVED:
                return after
        raise ChangeConflict(f"{appeal_id} is changed by others without a pause: try again")

    async def get(self, appeal_id: str) -> Appeal:
        """The appeal with that id. Raises AppealUnknown."""
        return (await self._many([appeal_id]))[0]

    async def of_decision(self, decision_id: str) -> Appeal | None:
        """The appeal against a decision; None: there is none."""
        with renamed("looking for an appeal"):
            found: Any = await self._redis.hget(redis_keys.APPEALS_DECISIONS, decision_id)
        return None if found is None else await self.get(found.decode())

    async def in_state(self, state: AppealState, limit: int = OPEN_MAX) -> tuple[Appeal, ...]:
        """The newest appeals in one state, newest first."""
        return await self._newest(redis_keys.appeals_in(state), 0, limit)

    async def about(
        self, list_name: str, since_s: int = 0, limit: int = CLOSED_MAX
    ) -> tuple[Appeal, ...]:
        """The appeals that name a list, received since then, newest first."""
        return await self._newest(redis_keys.appeals_about(list_name), since_s, limit)

    async def standing(self) -> Standing:
        """How many there are."""
        with renamed("counting appeals"):
            async with self._redis.pipeline(transaction=True) as pipe:
                for state in AppealState:
                    pipe.zcard(redis_keys.appeals_in(state))
                pipe.zcount(redis_keys.APPEALS_OPEN, "-inf", now_s())
                *counts, overdue = await pipe.execute()
        return Standing(dict(zip(AppealState, counts, strict=True)), overdue)

    async def _newest(self, key: str, since_s: int, limit: int) -> tuple[Appeal, ...]:
        with renamed("looking for appeals"):
            found: Any = await self._redis.zrange(
                key, "+inf", since_s, desc=True, byscore=True, offset=0, num=limit
            )
        names = [name.decode(errors="replace") for name in found]
        return await self._many(names, gone=True)

    async def _many(self, names: list[str], *, gone: bool = False) -> tuple[Appeal, ...]:
        """Appeals by their ids; `gone`: one that is not kept any more is left out.

        So is then one that cannot be read. Raises AppealUnknown, ListStoreLost where one is wanted.
        """
        appeals: list[Appeal] = []
        for start in range(0, len(names), _PIECE):
            some = names[start : start + _PIECE]
            with renamed("reading appeals"):
                values: Any = await self._redis.hmget(redis_keys.APPEALS, some)
            for name, value in zip(some, values, strict=True):
                if value is None and not gone:
                    raise AppealUnknown(f"no appeal {name}: `ringfence appeals ls` has them")
                if value is None:
                    continue
                try:
                    appeals.append(_read(name, value))
                except ListStoreLost as error:
                    if not gone:
                        raise
                    skip(Skipped(Place.APPEAL, f"{redis_keys.APPEALS} {name}", str(error)))
        return tuple(appeals)

    async def _write(
        self, appeal: Appeal, seen: int, by: By, allow: AllowEntry | None = None
    ) -> list[Any]:
        first = appeal.lists[0].list if appeal.lists else ""
        text, entry = ("", b"") if allow is None else (allow.text, allow_json(allow))
        with renamed(f"writing appeal {appeal.id} down"):
            answer: list[Any] = await self._step(
                keys=[redis_keys.APPEALS, redis_keys.ALLOW_HEAD],
                args=[
                    *(appeal.id, seen, msgspec.json.encode(appeal), appeal.subject),
                    *(by.actor, by.reason, f"appeal_{appeal.state.value}", first, told(appeal)),
                    *(text, entry, masked(text), uuid.uuid4().hex),
                    *(CHANGES_MAX, AUDIT_MAX, OPEN_MAX, CLOSED_MAX, self._kept_s),
                ],
            )
        return answer


def first_step(by: By) -> AppealStep:
    """The receipt of an appeal, now."""
    return AppealStep(at_s=now_s(), actor=by.actor, state=AppealState.RECEIVED, comment=by.reason)


def told(appeal: Appeal) -> str:
    """What the audit keeps of an appeal: no whole number."""
    lists: Iterable[str] = (named.list for named in appeal.lists)
    words = [appeal.id, masked(appeal.number or ""), ", ".join(lists)]
    if appeal.partner is not None:
        words.append(f"{appeal.partner}'s {appeal.partner_appeal}")
    return " ".join(filter(None, words))


def _check(appeal: Appeal) -> None:
    """Refuse what is too large to keep."""
    last = appeal.history[-1]
    for what, text, most in (
        ("the comment", last.comment, COMMENT_CHARS_MAX),
        ("how to reach whoever appealed", appeal.appellant, APPELLANT_CHARS_MAX),
    ):
        try:
            line_of(text, what, most)
        except ValueError as error:
            raise AppealRefused(str(error)) from error
    if len(appeal.lists) > LISTS_MAX:
        raise AppealRefused(f"an appeal names {len(appeal.lists)} lists; at most {LISTS_MAX} can")


def _read(name: str, value: bytes) -> Appeal:
    try:
        return _decode(value.partition(b" ")[2])
    except UNREADABLE as error:
        text = f"appeal {name} cannot be read ({error}): HGET {redis_keys.APPEALS} {name}"
        raise ListStoreLost(text) from error


_decode = msgspec.json.Decoder(Appeal).decode
