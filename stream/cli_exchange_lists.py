"""`ringfence exchange publish` and `run`: lists of the register into our signed repository."""

import asyncio
import signal
from collections.abc import Sequence
from typing import Annotated

import typer

from stream.agreements import agreements_of
from stream.cli_base import AsJson, ConfigFiles, print_json, settings_of
from stream.cli_exchange import folder_of, ring_of, validity_of
from stream.cli_register import USAGE, fail, key_of, note, now_s, say, with_register
from stream.config import Settings
from stream.core.agreement import Shared
from stream.core.faults import Fault
from stream.exchange import files
from stream.exchange.offer import Edition, Offer, shares_of
from stream.exchange.outlet import Outlet, keep_published
from stream.lists.store import Register
from stream.ops.tasks import cancelled

Share = Annotated[
    Shared | None,
    typer.Option(
        "--share",
        help="What others get: numbers, their fingerprints, or a bare filter. Without it what the "
        "agreements in force say, and of several the least; fingerprints where none speaks of it.",
    ),
]


def publish(
    lists: Annotated[list[str], typer.Argument(metavar="OWNER/NAME...", help="Lists of ours.")],
    share: Share = None,
    config: ConfigFiles = None,
    as_json: AsJson = False,
) -> None:
    """Publish what is new of lists, once: changes where they do, else the whole list.

    Exit codes: 0 done, or nothing was new, 1 it could not be published.

    Example: ringfence exchange publish KH/scam
    """
    settings = settings_of(config)
    outlet = _outlet(settings)

    async def work(register: Register) -> dict[str, Edition | None]:
        offers = await _offers(settings, register, lists, share)
        return {offer.name: await outlet.bring_out(register, offer) for offer in offers}

    editions = with_register(settings, work)
    if as_json:
        print_json([_as_json(name, edition) for name, edition in editions.items()])
        return
    for name, edition in editions.items():
        say(_in_words(name, edition))


def run(
    lists: Annotated[
        list[str] | None,
        typer.Argument(metavar="[OWNER/NAME...]", help="Lists of ours; none: all with a role."),
    ] = None,
    share: Share = None,
    config: ConfigFiles = None,
) -> None:
    """Publish lists as they change, within a second, and renew signatures, until Ctrl-C.

    Changes that come within a fifth of a second go out together.

    Example: ringfence exchange run
    """
    settings = settings_of(config)
    names = lists or _with_roles(settings)
    if not names:
        fail(f"{folder_of(settings)} has no list: `ringfence exchange add-list KH/scam`", USAGE)
    outlet = _outlet(settings)

    async def offered(register: Register) -> list[Offer]:
        return await _offers(settings, register, names, share)

    offers = with_register(settings, offered)
    note(f"publishing {', '.join(names)} in {outlet.folder}; Ctrl-C ends it")
    asyncio.run(_run(settings, outlet, offers))


def _with_roles(settings: Settings) -> list[str]:
    roles = files.read(folder_of(settings)).roles
    return [role.replace("~", "/") for role in roles if not role.endswith("~enforcement")]


def _outlet(settings: Settings) -> Outlet:
    return Outlet(folder_of(settings), ring_of(settings, None), validity_of(settings))


async def _offers(
    settings: Settings, register: Register, names: Sequence[str], share: Shared | None
) -> list[Offer]:
    """How each list is shared. Raises ConfigInvalid where its circle has no key here."""
    agreements = agreements_of(settings)
    offers = []
    for name in names:
        circle = (await register.state(name)).head.circle
        said = share or shares_of(agreements, name, now_s()) or Shared.FINGERPRINTS
        offers.append(Offer(name, said, key_of(settings, circle)))
    return offers


async def _run(settings: Settings, outlet: Outlet, offers: Sequence[Offer]) -> None:
    told = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, told.set)
    waiting = asyncio.create_task(told.wait())
    work = asyncio.create_task(keep_published(outlet, offers, settings.register(), _tell))
    await asyncio.wait({work, waiting}, return_when=asyncio.FIRST_COMPLETED)
    if work.done():
        work.result()  # it has no end but a bug, and that is to be seen
    await cancelled(work, waiting)


def _tell(name: str, what: Edition | Fault | None) -> None:
    if isinstance(what, Fault):
        note(f"{name or 'exchange'}: {what}")
    elif what is None:
        say(f"{name}: signed again")
    else:
        say(_in_words(name, what))


def _in_words(name: str, edition: Edition | None) -> str:
    if edition is None:
        return f"{name}: nothing new"
    latest = edition.latest
    size = sum(len(data) for data in edition.parts.values())
    what = "the whole list" if edition.whole else f"{edition.rows:,} changed numbers"
    shared = f"{latest.numbers:,} numbers, shared as {latest.shares.value}"
    return f"{name}: generation {latest.generation}: {what}, {size:,} bytes; {shared}"


def _as_json(name: str, edition: Edition | None) -> dict[str, object]:
    if edition is None:
        return {"list": name, "published": False}
    latest = edition.latest
    return {
        "list": name,
        "published": True,
        "generation": latest.generation,
        "whole": edition.whole,
        "rows": edition.rows,
        "numbers": latest.numbers,
        "shares": latest.shares.value,
        "bytes": sum(len(data) for data in edition.parts.values()),
    }
