"""What is due: appeals are counted, and those that their lists' owners answered are closed.

An owner answers by what it publishes. Once none of the lists that a forwarded appeal names holds
the number any more, the appeal is redressed: by the owner, at the moment it was seen here.
"""

import asyncio
from collections.abc import Callable
from typing import Final

from stream.appeals.actions import Desk, still_held
from stream.appeals.appeal_store import AppealStore, Standing
from stream.core.model.appeal import AppealState
from stream.core.model.errors import AppealRefused, Fault
from stream.lists.store.heads import By
from stream.lists.store.list_store import ListStore
from stream.lists.store.settings import ListStoreSettings

LOOK_S: Final = 5.0
LOOKED_AT: Final = 1000
"""Forwarded appeals that are looked at in one turn, the newest: about a second of work."""

Tell = Callable[[Standing | None, tuple[str, ...], Fault | None], None]
"""Called after each look: how many appeals there are, which were closed, what stood in the way."""


async def settle(register: ListStore, book: AppealStore, desk: Desk) -> tuple[str, ...]:
    """Close the forwarded appeals whose number no list they name holds any more; their ids."""
    closed = []
    for appeal in await book.in_state(AppealState.PENDING_OWNER, LOOKED_AT):
        if await still_held(register, desk, appeal):
            continue
        owners = ", ".join(appeal.owners(desk.home))
        lists = ", ".join(named.list for named in appeal.lists)
        by = By(f"owner:{owners}", f"{lists} does not hold the number any more")
        try:
            await book.step(appeal.id, AppealState.REDRESSED, by)
        except AppealRefused:
            continue  # somebody answered it in between
        closed.append(appeal.id)
    return tuple(closed)


async def keep_watch(settings: ListStoreSettings, desk: Desk, kept_days: float, tell: Tell) -> None:
    """Count and settle appeals every few seconds, until cancelled.

    An outage is waited out, and told once.
    """
    down = False
    while True:
        try:
            async with (
                await ListStore.connect(settings) as register,
                AppealStore.open(settings, kept_days) as book,
            ):
                while True:
                    closed = await settle(register, book, desk)
                    tell(await book.standing(), closed, None)
                    down = False
                    await asyncio.sleep(LOOK_S)
        except Fault as fault:
            if not down:
                tell(None, (), fault)
            down = True
        await asyncio.sleep(LOOK_S)
