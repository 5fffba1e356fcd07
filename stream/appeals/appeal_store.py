"""Appeals in Redis, beside the lists: each step is one atomic write with its audit entry in it.

    async with AppealStore.open(settings, kept_days) as appeals:
        appeal, is_new = await appeals.add(appeal, by)
        appeal = await appeals.step(appeal.id, AppealState.PENDING_OWNER, by)

A step that lifts a block writes the allow entry in the same script. So no appeal says `redressed`
while its number is blocked, and no block is lifted without an answer. Numbers under appeal are kept
here whole, and nowhere else: the audit has them masked.
"""

import secrets
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Self

import msgspec
from redis.asyncio import Redis

from stream.core.model.allowlist import AllowEntry
from stream.core.model.appeal import (
    APPELLANT_CHARS_MAX,
    COMMENT_CHARS_MAX,
    LISTS_MAX,
    Appeal,
    AppealState,
    AppealStep,
    NamedList,
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
from stream.lists.store.list_lua import MOVED, STEP
from stream.lists.store.list_store import AUDIT_MAX, CHANGES_MAX
from stream.lists.store.redis_client import Closing, client, renamed
from stream.lists.store.settings import ListStoreSettings
from stream.lists.store.store_codec import allow_json
from stream.ops.clock import now_s
from stream.ops.skipped_records import Skipped, StoredKind, skip

OPEN_MAX: Final = 50_000
"""Appeals that wait for an answer at once, about 50 MB; one more is refused, in words."""
CLOSED_MAX: Final = 200_000
"""Years of answers of a large carrier, about 200 MB; the oldest go first."""
_MOVED_MAX: Final = 20
"""Each lost race costs one round trip, and one appeal has few hands on it."""
_ID_ALPHABET: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
"""Crockford's: without I, L, O and U, which are misread on the telephone."""
_ID_CHARS: Final = 13  # 13 characters of 5 bits are the id's 65 random bits
_PIECE: Final = 1000
"""Redis serves no other client while it answers: about 2 ms for so many records."""

_FULL: Final = -3
"""Answer of the script: as many appeals are open as may be."""
_APPEAL: Final = (
    STEP
    + """
local id, seen, record, subject = unpack(ARGV, 1, 4)
local actor, reason, op, list, detail = unpack(ARGV, 5, 9)
local text, entry, masked, store_id = unpack(ARGV, 10, 13)
local changes_max, audit_max, open_max, closed_max, kept_s = unpack(ARGV, 14)
local appeals, states, about = KEYS[1], KEYS[1] .. ':state:', KEYS[1] .. ':list:{'
local function held(appeal)
  local found = redis.call('HGET', appeals, appeal)
  if not found then return '0', nil end
  local version, json = string.match(found, '^(%d+) (.*)$')
  return version, cjson.decode(json)
end
local function state_of(appeal) return appeal.history[#appeal.history].state end
local function forget(gone)
  local _, appeal = held(gone)
  redis.call('ZREM', appeals .. ':closed', gone)
  if not appeal then return end
  redis.call('HDEL', appeals, gone)
  redis.call('ZREM', states .. state_of(appeal), gone)
  for _, named in ipairs(appeal.lists) do redis.call('ZREM', about .. named.list .. '}', gone) end
  local decision = appeal.decision_id
  if decision and redis.call('HGET', appeals .. ':decisions', decision) == gone then
    redis.call('HDEL', appeals .. ':decisions', decision)
  end
  if appeal.partner then
    redis.call('HDEL', appeals .. ':subjects',
               appeal.partner .. ' ' .. appeal.partner_appeal .. ' ' .. appeal.lists[1].list)
  end
end
local version, before = held(id)
if version ~= seen then return {-2} end
if not before then
  local other = redis.call('HGET', appeals .. ':subjects', subject)
  if other then return {0, other} end
  if redis.call('ZCARD', appeals .. ':open') >= tonumber(open_max) then return {-3} end
end
local time = redis.call('TIME')
local now_s, answered_s = tonumber(time[1]), time[1] + time[2] / 1000000
local after = cjson.decode(record)
local state, steps = state_of(after), #after.history
redis.call('HSET', appeals, id, steps .. ' ' .. record)
if before then redis.call('ZREM', states .. state_of(before), id) end
redis.call('ZADD', states .. state, after.received_at_s, id)
if not before then
  redis.call('HSET', appeals .. ':subjects', subject, id)
  if after.decision_id then redis.call('HSET', appeals .. ':decisions', after.decision_id, id) end
  for _, named in ipairs(after.lists) do
    redis.call('ZADD', about .. named.list .. '}', after.received_at_s, id)
  end
end
if state == 'received' or state == 'pending_owner' then
  redis.call('ZADD', appeals .. ':open', after.deadline_at_s, id)
else
  redis.call('ZREM', appeals .. ':open', id)
  redis.call('ZADD', appeals .. ':closed', answered_s, id)
  if not after.partner then redis.call('HDEL', appeals .. ':subjects', subject) end
end
if text ~= '' then
  if redis.call('HSETNX', 'rf:register', 'id', store_id) == 1 then
    redis.call('HSET', 'rf:register', 'created_at_s', now_s, 'format', '1')
  end
  local generation = step(KEYS[2], '', 'allow', entry, changes_max)
  redis.call('HSET', 'rf:allow', text, entry)
  audit(audit_max, actor, reason, '', 'allow', generation, masked)
end
audit(audit_max, actor, reason, list, op, 0, detail)
local many = redis.call('ZCARD', appeals .. ':closed') - tonumber(closed_max)
if many > 0 then
  for _, gone in ipairs(redis.call('ZRANGE', appeals .. ':closed', 0, math.min(many, 100) - 1)) do
    forget(gone)
  end
end
for _, gone in ipairs(redis.call('ZRANGEBYSCORE', appeals .. ':closed', '-inf', answered_s - kept_s,
                                 'LIMIT', 0, 100)) do forget(gone) end
return {1, steps}
"""
)
"""One step of an appeal. KEYS rf:appeals, rf:allow:head; ARGV id, version seen (0: it is new), its
record after the step, what may be under appeal only once; actor, reason, op, list and detail for
the audit; the text of an allow entry ("": none), its payload, its masked text, id for a new
list store; limits: steps and audit entries kept, appeals open at most, answered ones kept at most,
and for how many seconds."""


def new_id() -> str:
    """Return an id of 65 random bits, hard to guess: its holder may ask for the answer."""
    return "A-" + "".join(secrets.choice(_ID_ALPHABET) for _ in range(_ID_CHARS))


@dataclass(frozen=True, slots=True)
class AppealCounts:
    """Numbers of appeals in each state now, and of those open beyond their deadline."""

    by_state: Mapping[AppealState, int]
    overdue: int


class AppealStore(Closing):
    """Use `async with AppealStore.open(...) as appeals`. Methods may raise ListStoreDown."""

    def __init__(self, redis: Redis, kept_days: float) -> None:
        super().__init__(redis)
        self._kept_s = int(kept_days * 86_400)
        self._step = redis.register_script(_APPEAL)

    @classmethod
    def open(cls, settings: ListStoreSettings, kept_days: float) -> Self:
        """Open the store at the list store's Redis; answered appeals are kept for `kept_days`."""
        return cls(client(settings), kept_days)

    async def add(self, appeal: Appeal, by: By) -> tuple[Appeal, bool]:
        """Write a new appeal down; or the one that is open already on the same number, and False.

        Raises AppealRefused where more are open than can be kept, or a text is too long.
        """
        _check(appeal)
        answer = await self._write(appeal, 0, by)
        if answer[0] == _FULL:
            text = f"{OPEN_MAX:,} appeals are open: answer some, `ringfence appeals list` has them"
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
        lists: tuple[NamedList, ...] | None = None,
    ) -> Appeal:
        """Bring an appeal into a state; `allow` is written at the same moment.

        `by.reason` is the comment; `lists` are the same lists with newer fingerprints. Raises
        AppealUnknown, and AppealRefused if its state does not allow the step.
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
            # The script compares the version: another hand in between means to look again.
            answer = await self._write(after, before.version, by, allow)
            if answer[0] != MOVED:
                return after
        raise ChangeConflict(f"{appeal_id} is changed by others without a pause: try again")

    async def get(self, appeal_id: str) -> Appeal:
        """Return the appeal with that id. Raises AppealUnknown."""
        return (await self._many([appeal_id]))[0]

    async def of_decision(self, decision_id: str) -> Appeal | None:
        """Return the appeal against a decision; None: there is none."""
        with renamed("looking for an appeal"):
            found: Any = await self._redis.hget(redis_keys.APPEALS_DECISIONS, decision_id)
        return None if found is None else await self.get(found.decode())

    async def in_state(
        self, state: AppealState, limit: int = OPEN_MAX, first: int = 0
    ) -> tuple[Appeal, ...]:
        """Return the newest appeals in one state from the place `first` on, newest first."""
        return await self._newest(redis_keys.appeals_in(state), 0, limit, first)

    async def about(
        self, list_name: str, since_s: int = 0, limit: int = CLOSED_MAX
    ) -> tuple[Appeal, ...]:
        """Return the appeals that name a list, received since then, newest first."""
        return await self._newest(redis_keys.appeals_about(list_name), since_s, limit)

    async def standing(self) -> AppealCounts:
        """Count the appeals."""
        with renamed("counting appeals"):
            async with self._redis.pipeline(transaction=True) as pipe:
                for state in AppealState:
                    pipe.zcard(redis_keys.appeals_in(state))
                pipe.zcount(redis_keys.APPEALS_OPEN, "-inf", now_s())
                *counts, overdue = await pipe.execute()
        return AppealCounts(dict(zip(AppealState, counts, strict=True)), overdue)

    async def _newest(
        self, key: str, since_s: int, limit: int, first: int = 0
    ) -> tuple[Appeal, ...]:
        with renamed("looking for appeals"):
            found: Any = await self._redis.zrange(
                key, "+inf", since_s, desc=True, byscore=True, offset=first, num=limit
            )
        names = [name.decode(errors="replace") for name in found]
        return await self._many(names, gone=True)

    async def _many(self, names: list[str], *, gone: bool = False) -> tuple[Appeal, ...]:
        """Return appeals by their ids; `gone`: one that is not kept any more is left out.

        So is then one that cannot be read. Raises AppealUnknown, ListStoreLost where one is wanted.
        """
        appeals: list[Appeal] = []
        for start in range(0, len(names), _PIECE):
            some = names[start : start + _PIECE]
            with renamed("reading appeals"):
                values: Any = await self._redis.hmget(redis_keys.APPEALS, some)
            for name, value in zip(some, values, strict=True):
                if value is None and not gone:
                    raise AppealUnknown(f"no appeal {name}: `ringfence appeals list` has them")
                if value is None:
                    continue
                try:
                    appeals.append(_read(name, value))
                except ListStoreLost as error:
                    if not gone:
                        raise
                    skip(Skipped(StoredKind.APPEAL, f"{redis_keys.APPEALS} {name}", str(error)))
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
    """Return the receipt of an appeal, now."""
    return AppealStep(at_s=now_s(), actor=by.actor, state=AppealState.RECEIVED, comment=by.reason)


def told(appeal: Appeal) -> str:
    """Return the audit's text about an appeal: no whole number is in it."""
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
        ("the contact of the appellant", appeal.appellant, APPELLANT_CHARS_MAX),
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
