"""What the commands that speak to the register share: options, exit codes, output, progress.

Exit codes: 0 done, 1 nothing or only a part was done, 2 what was asked for cannot be (usage,
configuration, an unreadable file, an unknown list), 3 the register is down or unsafe.
"""

import asyncio
import getpass
import os
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Annotated, NoReturn, TypeVar

import typer

from stream.cli.output import complain, err, out
from stream.config.settings import EngineSettings, Settings
from stream.core.model.errors import (
    ChangeConflict,
    ConfigInvalid,
    Fault,
    ListStoreDown,
    ListStoreLost,
    ListStoreUnsafe,
    ListUnknown,
    NameRefused,
    SnapshotUnreadable,
    VersionGone,
)
from stream.core.model.free_text import ACTOR_CHARS_MAX, REASON_CHARS_MAX, line_of
from stream.core.model.moments import read_rfc3339
from stream.core.numbers.number import Kind, parse
from stream.core.numbers.prefix_entries import PrefixFault, PrefixRules, read_entries
from stream.feeds.formats.rows import InputUnreadable
from stream.feeds.value_parsers import after_number
from stream.lists.store.heads import By
from stream.lists.store.list_store import ListStore
from stream.ops.kernels import warm_up
from stream.ops.schema.durations import seconds_of

NOTHING_DONE, USAGE, REGISTER = 1, 2, 3
NICE = 10
"""Of work that may wait: it gets a tenth of a core that a worker of calls wants."""
ROW_BYTES = 40
"""Of a row in a file, about."""
ROWS_FOR_KERNELS = 200_000
T = TypeVar("T")

Actor = Annotated[
    str | None,
    typer.Option(
        "--actor",
        envvar="RINGFENCE_ACTOR",
        help="Who does this, for the audit; else the login name.",
    ),
]
ListName = Annotated[str, typer.Argument(metavar="OWNER/NAME", help="The list, e.g. TH/national.")]
ReasonText = Annotated[str, typer.Option("--reason", help="Why, for the audit.")]
Region = Annotated[
    str | None, typer.Option("--region", help="Country of national numbers, ISO 3166, e.g. TH.")
]
ExpiresIn = Annotated[
    str | None, typer.Option("--expires-in", help="E.g. 10d, 12h, 30m; else never.")
]

_EXITS: tuple[tuple[type[Fault], int], ...] = (
    (ConfigInvalid, USAGE),
    (InputUnreadable, USAGE),
    (ListUnknown, USAGE),
    (NameRefused, USAGE),
    (ChangeConflict, NOTHING_DONE),
    (VersionGone, NOTHING_DONE),
    (ListStoreDown, REGISTER),
    (ListStoreUnsafe, REGISTER),
    (ListStoreLost, REGISTER),
    (SnapshotUnreadable, REGISTER),
)


def say(text: str) -> None:
    """A line of what was done, on stdout."""
    out.print(text, markup=False, soft_wrap=True)


def note(text: str) -> None:
    """A line of what was not done, on stderr."""
    err.print(text, markup=False, soft_wrap=True)


def fail(text: str, code: int) -> NoReturn:
    """Say what is wrong and end."""
    note(text)
    raise typer.Exit(code)


def with_list_store(settings: EngineSettings, work: Callable[[ListStore], Awaitable[T]]) -> T:
    """What `work` gives; a fault is printed and ends with its exit code."""

    async def whole() -> T:
        async with await ListStore.connect(settings.list_store()) as register:
            return await work(register)

    try:
        return asyncio.run(whole())
    except Fault as fault:
        complain(fault)
        code = next((code for kind, code in _EXITS if isinstance(fault, kind)), NOTHING_DONE)
        raise typer.Exit(code) from fault


def key_of(settings: EngineSettings, circle: str) -> bytes:
    """The hashing key of a circle; raises ConfigInvalid if the settings have none."""
    key = settings.circle_keys().get(circle)
    if key is None:
        raise ConfigInvalid((f"no key for circle {circle}: it needs [circles.{circle}] key_env",))
    return key


def text_in(text: str, option: str, most: int = REASON_CHARS_MAX) -> str:
    """What somebody wrote, on one line. Ends with 2 if it has what cannot be kept or shown."""
    try:
        return line_of(text, option, most)
    except ValueError as error:
        fail(str(error), USAGE)


def by(actor: str | None, reason: str) -> By:
    """Who changes something, and why. Ends with 2 if it is no text for the audit."""
    reason = text_in(reason, "--reason")
    if actor:
        return By(text_in(actor, "--actor", ACTOR_CHARS_MAX), reason)
    try:
        return By(getpass.getuser(), reason)
    except (KeyError, OSError):  # a container's user often has no name
        return By(f"uid {os.getuid()}", reason)


def now_s() -> int:
    """Seconds since the epoch."""
    return int(time.time())


def seconds_in(span: str | None) -> int:
    """`10d` in seconds; 0 for None. Ends with 2 if it is no span."""
    if span is None:
        return 0
    seconds = seconds_of(span)
    if seconds is None:
        fail(f"{span!r} is no span of time: write e.g. 10d, 12h or 30m", USAGE)
    return seconds


def moment_in(text: str) -> int:
    """A moment that somebody typed, in milliseconds since the epoch; ends with 2 if it is none."""
    said = read_rfc3339(text.strip())
    if said is None:
        if seconds_of(text) is not None:
            return (now_s() - seconds_in(text)) * 1000
        fail(f"{text!r} is no time: write 2026-11-25T14:00:00Z, or 2h for two hours ago", USAGE)
    return int(said.timestamp() * 1000) + (0 if said.microsecond else 999)


def expiry(span: str | None) -> int:
    """When something expires that does so in `span`; 0: never. Ends with 2 if it is no span."""
    seconds = seconds_in(span)
    return now_s() + seconds if seconds else 0


def numbers_in(texts: Sequence[str], region: str | None) -> tuple[list[str], int]:
    """Which of `texts` are E.164 numbers, as such; the others are named, and counted."""
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


def behind_calls(settings: Settings, rows: int) -> None:
    """Work of about so many rows begins, that gives way to calls which are decided on this machine.

    For many rows the kernels are worth loading (0.6 s), if a worker has compiled them.
    """
    os.setpriority(os.PRIO_PROCESS, 0, max(os.getpriority(os.PRIO_PROCESS, 0), NICE))
    if rows >= ROWS_FOR_KERNELS:
        warm_up(settings.ops.kernels_folder(settings.lists.state_dir), may_compile=False)


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
