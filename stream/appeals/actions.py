"""Open appeals, answer them, and close those that their lists' owners answered.

An allow entry corrects a block. It is exact, live within a second in every worker, and checked
before every list. So it holds while the owner goes on listing the number, and against a prefix or a
bare filter too. The number is removed from our own lists too: their next publication lifts the
block at every partner.

An owner answers by what it publishes. A forwarded appeal is redressed once none of the lists that
it names holds the number any more. The record names the owner, and the moment when this was seen
here.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

import msgspec

from stream.appeals.appeal_store import AppealCounts, AppealStore, first_step, new_id
from stream.appeals.fingerprints import number_in
from stream.core.filters.digests import fingerprints_of
from stream.core.model.agreement import Agreements, owner_of
from stream.core.model.allowlist import AllowEntry
from stream.core.model.appeal import (
    OPEN,
    Appeal,
    AppealState,
    NamedList,
    Received,
    StepRefused,
    deadline_of,
)
from stream.core.model.decision import Decision
from stream.core.model.entry import NEVER, Category, Entry
from stream.core.model.errors import AppealRefused, Fault
from stream.lists.store.heads import By, Removal
from stream.lists.store.list_content import entries_of
from stream.lists.store.list_store import ListStore
from stream.lists.store.settings import ListStoreSettings
from stream.lists.store.store_codec import hex_of
from stream.ops.clock import now_s

SOURCE = "redress"
"""Source of our report that a number which a prefix of ours covers is legitimate."""


@dataclass(frozen=True, slots=True)
class AppealContext:
    """The country that answers appeals, with its keys and agreements.

    `home` is our country, `keys` those of the circles that we are in. An appeal without a response
    target in an agreement is due within `answer_s`.
    """

    home: str
    keys: Mapping[str, bytes] = field(repr=False)
    agreements: Agreements
    answer_s: int

    def epochs(self, circle: str) -> list[bytes]:
        """Return our keys of a circle, former ones too: `asean` and `asean@2` are one circle."""
        name = circle.partition("@")[0]
        return [key for other, key in self.keys.items() if other.partition("@")[0] == name]


@dataclass(frozen=True, slots=True)
class Redressed:
    """An answered appeal, its number, and the lists of ours that it was taken off.

    The number is allowed until `until_s`.
    """

    appeal: Appeal
    number: str | None
    taken_off: tuple[str, ...]
    until_s: int = NEVER


def reasons_of(decision: Decision) -> tuple[NamedList, ...]:
    """Return the lists that a decision names, without fingerprints yet."""
    return tuple(
        NamedList(
            list=reason.list,
            fingerprint="",
            agreement=reason.agreement,
            category=reason.category,
            confirmed=reason.confirmed,
            prefix=None if reason.prefix is msgspec.UNSET else reason.prefix,
        )
        for reason in decision.reasons
    )


async def open_appeal(
    store: ListStore,
    appeals: AppealStore,
    context: AppealContext,
    number: str,
    lists: Iterable[NamedList],
    by: By,
    decision_id: str | None = None,
    appellant: str = "",
) -> tuple[Appeal, bool]:
    """Take an appeal in that is made here; or the one that is open on this number, and False.

    `lists` are those that name the number; none where a rule alone decided. Raises AppealRefused.
    """
    named = await _with_fingerprints(store, context, number, lists)
    names = [one.list for one in named]
    step = first_step(by)
    return await appeals.add(
        Appeal(
            id=new_id(),
            number=number,
            lists=named,
            received_at_s=step.at_s,
            deadline_at_s=deadline_of(
                context.agreements, names, context.home, step.at_s, context.answer_s
            ),
            history=(step,),
            decision_id=decision_id,
            appellant=appellant,
        ),
        by,
    )


async def receive(
    appeals: AppealStore, context: AppealContext, said: Received, by: By
) -> tuple[Appeal, bool]:
    """Write down a partner's appeal on a list of ours; False: it is known already."""
    step = first_step(by)
    return await appeals.add(
        Appeal(
            id=new_id(),
            number=None,
            lists=(NamedList(list=said.list, fingerprint=said.fingerprint),),
            received_at_s=step.at_s,
            deadline_at_s=deadline_of(
                context.agreements, [said.list], said.partner, step.at_s, context.answer_s
            ),
            history=(step,),
            partner=said.partner,
            partner_appeal=said.appeal_id,
        ),
        by,
    )


async def forward(appeals: AppealStore, context: AppealContext, appeal_id: str, by: By) -> Appeal:
    """Note that a list's owner was asked; the block stays until it answers."""
    appeal = await appeals.get(appeal_id)
    if not appeal.owners(context.home):
        text = "no other country's list names the number, so it is ours to answer"
        raise AppealRefused(f"{appeal_id}: {text}")
    return await appeals.step(appeal_id, AppealState.PENDING_OWNER, by)


async def _with_fingerprints(
    store: ListStore, context: AppealContext, number: str, lists: Iterable[NamedList]
) -> tuple[NamedList, ...]:
    """Return the lists with the number's fingerprint in each circle that we have the key of."""
    heads = (await store.heads()).lists
    found = []
    for named in lists:
        head = heads.get(named.list)
        key = context.keys.get(head.circle) if head is not None else None
        fingerprint = "" if key is None else hex_of(fingerprints_of(number, key)[0])
        found.append(msgspec.structs.replace(named, fingerprint=fingerprint))
    return tuple(found)


async def redress(
    store: ListStore,
    appeals: AppealStore,
    context: AppealContext,
    appeal_id: str,
    by: By,
    expires_at_s: int = NEVER,
) -> Redressed:
    """Put a wrong block right. Safe to repeat where it was cut off: the answer comes last.

    Raises AppealUnknown, and AppealRefused where it was answered already, where neither number nor
    list is known here, so that nothing could be lifted, or where the key of a list of ours is not.
    """
    appeal = await appeals.get(appeal_id)
    if appeal.state not in OPEN:
        raise AppealRefused(f"{appeal_id} is {appeal.state.value}: {StepRefused.CLOSED.value}")
    number = appeal.number or await number_of(store, context, appeal)
    lists = appeal.lists
    if number is not None:  # a list may have moved to its circle's next key since
        lists = await _with_fingerprints(store, context, number, lists)
    ours = [named for named in lists if owner_of(named.list) == context.home]
    if number is not None:
        await _check_keys(store, context, appeal_id, ours)
    why = By(by.actor, f"{appeal_id}: {by.reason}" if by.reason else appeal_id)
    taken = [named.list for named in ours if await _take_off(store, context, named, number, why)]
    if number is None and not taken:
        text = "no list here holds its fingerprint, so that its number is not known"
        raise AppealRefused(f"{appeal_id}: {text}; reject it, saying that it is not listed")
    allow, until_s = None, expires_at_s
    if number is not None:
        until_s = await _until(store, number, expires_at_s)
        reason = by.reason or "a wrong block"
        allow = AllowEntry(number, reason, by.actor, now_s(), until_s, appeal_id)
    told = lists if appeal.partner is None else appeal.lists
    after = await appeals.step(appeal_id, AppealState.REDRESSED, by, allow, told)
    return Redressed(after, number, tuple(taken), until_s)


async def _check_keys(
    store: ListStore, context: AppealContext, appeal_id: str, ours: Iterable[NamedList]
) -> None:
    """Raise AppealRefused if a list of ours cannot be searched for a number.

    It would go on naming the number at every partner, by an appeal that counts as answered.
    """
    heads = (await store.heads()).lists
    for named in ours:
        head = heads.get(named.list)
        if head is not None and head.circle not in context.keys:
            text = f"the key of circle {head.circle}, by which {named.list} is hashed, is not here"
            what = "answer it where the key is; `ringfence allow add` frees the caller until then"
            raise AppealRefused(f"{appeal_id}: {text}; nothing was changed: {what}")


async def _until(store: ListStore, number: str, expires_at_s: int) -> int:
    """Return until when a number stays allowed: no sooner than it is already."""
    _, held = await store.allow_all()
    ends = [one.expires_at_s for one in held if one.text == number and one.live(now_s())]
    return NEVER if NEVER in (*ends, expires_at_s) else max((*ends, expires_at_s))


async def number_of(store: ListStore, context: AppealContext, appeal: Appeal) -> str | None:
    """Return the number that a partner's appeal is about; None: no list of ours holds or covers it.

    Numbers that only a prefix covers, and reports with an older key of the list's circle, are found
    by hashing numbers. That may take seconds.
    """
    heads = (await store.heads()).lists
    asked = [
        (heads[named.list], int(named.fingerprint, 16))
        for named in appeal.lists
        if named.fingerprint and named.list in heads
    ]
    for head, fingerprint in asked:
        for report in (await store.reports(head.name, [fingerprint]))[fingerprint]:
            if report.number is not None:
                return report.number
    for head, fingerprint in asked:
        key = context.keys.get(head.circle)
        if key is None or owner_of(head.name) != context.home:
            continue
        _, columns = await entries_of(store, head.name, key)
        for epoch in context.epochs(head.circle):
            number = await asyncio.to_thread(number_in, columns, fingerprint, epoch)
            if number is not None:
                return number
    return None


async def _take_off(
    store: ListStore, context: AppealContext, named: NamedList, number: str | None, why: By
) -> bool:
    """Take the number off a list of ours; False: it did not hold it.

    A prefix that covers it stays: the number alone is taken out of it, by a report of its own.
    """
    head = (await store.heads()).lists.get(named.list)
    if head is None or not named.fingerprint:
        return False
    hashes = [int(named.fingerprint, 16)]
    if number is not None:  # the partner's fingerprint may be of an earlier epoch
        hashes = list(fingerprints_of(number, context.keys[head.circle]))
    own, *over = hashes
    held = await store.reports(named.list, [own, *over])
    if held[own]:
        await store.remove(named.list, [Removal(own, number)], why)
    covered = any(report.live(now_s()) for one in over for report in held[one])
    if covered:
        clear = Entry(number, own, Category.LEGITIMATE, SOURCE, now_s(), NEVER, 100)
        await store.add(named.list, [clear], why)
    return covered or bool(held[own])


async def still_held(store: ListStore, context: AppealContext, appeal: Appeal) -> bool:
    """Return whether a list that the appeal names still blames its number, or cannot be asked."""
    heads = (await store.heads()).lists
    for named in appeal.lists:
        head = heads.get(named.list)
        if head is None:
            continue
        key = context.keys.get(head.circle)
        if key is None or appeal.number is None or not named.confirmed:
            return True
        own, *over = fingerprints_of(appeal.number, key)
        held = await store.reports(named.list, [own, *over])
        # The longest entry counts, and the number itself is the longest.
        deciding = next((held[one] for one in (own, *reversed(over)) if _live(held[one])), ())
        if any(r.live(now_s()) and r.category is not Category.LEGITIMATE for r in deciding):
            return True
    return False


def _live(reports: Iterable[Entry]) -> bool:
    return any(report.live(now_s()) for report in reports)


LOOK_S: Final = 5.0
"""A block that an owner lifted ends here within seconds; one look takes a few milliseconds."""
LOOKED_AT: Final = 1000
"""Forwarded appeals that are looked at in one turn, about a second of work. The next turn looks at
those behind them."""

Tell = Callable[[AppealCounts | None, tuple[str, ...], Fault | None], None]
"""Called after each look: how many appeals there are, which were closed, what stood in the way."""


async def settle(
    store: ListStore, appeals: AppealStore, context: AppealContext, first: int = 0
) -> tuple[str, ...]:
    """Close the forwarded appeals whose number no list they name holds any more; their ids.

    Looks at `LOOKED_AT` of them, from the place `first` on; 0 is the newest.
    """
    closed = []
    for appeal in await appeals.in_state(AppealState.PENDING_OWNER, LOOKED_AT, first):
        if await still_held(store, context, appeal):
            continue
        owners = ", ".join(appeal.owners(context.home))
        lists = ", ".join(named.list for named in appeal.lists)
        by = By(f"owner:{owners}", f"{lists} does not hold the number any more")
        try:
            await appeals.step(appeal.id, AppealState.REDRESSED, by)
        except AppealRefused:
            continue  # somebody answered it in between
        closed.append(appeal.id)
    return tuple(closed)


async def keep_watch(
    settings: ListStoreSettings, context: AppealContext, kept_days: float, tell: Tell
) -> None:
    """Count and settle appeals every few seconds, until cancelled.

    An outage is waited out, and logged once.
    """
    down, first = False, 0
    while True:
        try:
            async with (
                await ListStore.connect(settings) as store,
                AppealStore.open(settings, kept_days) as appeals,
            ):
                while True:
                    closed = await settle(store, appeals, context, first)
                    standing = await appeals.standing()
                    tell(standing, closed, None)
                    first += LOOKED_AT - len(closed)
                    if first >= standing.by_state[AppealState.PENDING_OWNER]:
                        first = 0
                    down = False
                    await asyncio.sleep(LOOK_S)
        except Fault as fault:
            if not down:
                tell(None, (), fault)
            down = True
        await asyncio.sleep(LOOK_S)
