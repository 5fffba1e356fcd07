"""Parts of commands that ask the list store: the connection, exit codes, numbers.

Exit codes: 0 done, 1 nothing or only a part was done, 2 what was asked for cannot be (usage,
configuration, an unreadable file, an unknown list), 3 the list store is down or unsafe.
"""

import asyncio
import getpass
import os
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, TypeVar

import typer

from stream.cli.common import text_in
from stream.cli.output import USAGE, complain, fail, note
from stream.config.settings import EngineSettings, Settings
from stream.core.model.entry import Category
from stream.core.model.errors import (
    Fault,
    ListStoreLost,
    ListUnknown,
    NameRefused,
    SnapshotUnreadable,
)
from stream.core.model.free_text import ACTOR_CHARS_MAX
from stream.core.numbers.number import Kind, parse
from stream.core.numbers.prefix_entries import PrefixFault, PrefixRules, read_entries
from stream.lists.store.heads import By
from stream.lists.store.list_store import ListStore
from stream.ops.kernels import warm_up

STORE: Final = 3
NICE: Final = 10
"""Priority of work that may wait: next to a busy worker it gets a tenth of a core."""
ROW_BYTES: Final = 40
"""Size of a row in a file, about."""
ROWS_FOR_KERNELS: Final = 200_000
"""From so many rows on, loading the kernels (0.6 s) costs less than it saves."""
T = TypeVar("T")

# A command's code may differ from a service's: its user named the list, and can name another.
_EXITS: Final[tuple[tuple[type[Fault], int], ...]] = (
    (ListUnknown, USAGE),
    (NameRefused, USAGE),
    (ListStoreLost, STORE),
    (SnapshotUnreadable, STORE),
)


def with_list_store(settings: EngineSettings, work: Callable[[ListStore], Awaitable[T]]) -> T:
    """Return the result of `work` on the list store. A fault is printed, and ends the command."""

    async def whole() -> T:
        async with await ListStore.connect(settings.list_store()) as store:
            return await work(store)

    try:
        return asyncio.run(whole())
    except Fault as fault:
        complain(fault)
        code = next((code for kind, code in _EXITS if isinstance(fault, kind)), fault.exit_code)
        raise typer.Exit(code) from fault


def check_same_store(*, same_store: bool, from_state: bool) -> None:
    """Raise BadParameter for --same-store alone, which would do nothing."""
    if same_store and not from_state:
        raise typer.BadParameter("put it beside --from-state", param_hint="--same-store")


def by(actor: str | None, reason: str) -> By:
    """Return who changes something, and why. Ends with 2 if it is no text for the audit."""
    reason = text_in(reason, "--reason")
    if actor:
        return By(text_in(actor, "--actor", ACTOR_CHARS_MAX), reason)
    try:
        return By(getpass.getuser(), reason)
    except (KeyError, OSError):  # a container's user often has no name
        return By(f"uid {os.getuid()}", reason)


def numbers_in(texts: Sequence[str], region: str | None) -> tuple[list[str], int]:
    """Return which of `texts` are E.164 numbers, as such; the others are named, and counted."""
    # Feeds' parsers take 0.02 s of CPU to load, and most commands on lists read no numbers.
    from stream.feeds.value_parsers import after_number

    good = []
    for text in texts:
        number = parse(text, region)
        if (more := after_number(text)) is not None:
            note(f"{text!r}: {more.value}")
        elif number.kind is Kind.E164:
            good.append(number.text)
        else:
            hint = "" if region else " (national numbers need --region)"
            note(f"{text!r} is not a number{hint}")
    return good, len(texts) - len(good)


def entries_in(
    texts: Sequence[str], region: str | None, rules: PrefixRules
) -> tuple[list[str], int]:
    """Like `numbers_in`, and the prefixes among `texts`, and those that its ranges are cut into."""
    good: list[str] = []
    bad = 0
    for text in texts:
        entries = read_entries(text, region, rules)
        if isinstance(entries, PrefixFault):
            note(f"{text!r}: {entries.value}")
            bad += 1
        elif entries is None:
            numbers, wrong = numbers_in([text], region)
            good += numbers
            bad += wrong
        else:
            good += entries
    return list(dict.fromkeys(good)), bad


def category_of(label: str) -> Category:
    """Return the category of that label. Ends with 2 if there is none."""
    category = Category.__members__.get(label.strip().upper().replace("-", "_"))
    if category is None:
        known = ", ".join(category.label for category in Category)
        fail(f"no category {label}: {known}", USAGE)
    return category


def behind_calls(settings: Settings, rows: int) -> None:
    """Let work on about so many rows give way to calls that are decided on this machine.

    Loads the kernels for many rows, if a worker has compiled them.
    """
    os.setpriority(os.PRIO_PROCESS, 0, max(os.getpriority(os.PRIO_PROCESS, 0), NICE))
    if rows >= ROWS_FOR_KERNELS:
        warm_up(settings.ops.kernels_folder(settings.lists.state_dir), may_compile=False)
