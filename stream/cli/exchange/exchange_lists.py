"""`ringfence exchange publish` and `run`: lists of the register into our signed repository."""

from collections.abc import Sequence
from typing import Annotated

import typer

from stream.cli.common import AsJson, ConfigFiles, settings_of
from stream.cli.exchange.exchange import folder_of, own_exchange, ring_of, validity_of
from stream.cli.list_store import USAGE, fail, say, with_list_store
from stream.cli.output import print_json
from stream.config.settings import Settings
from stream.core.model.agreement import Shared
from stream.core.model.errors import ExchangeFault
from stream.exchange.edition import Edition, Offer
from stream.exchange.publisher import ListPublisher
from stream.lists.store.list_store import ListStore
from stream.services import exchange

app = typer.Typer()

Share = Annotated[
    Shared | None,
    typer.Option(
        "--share",
        help="What others get: numbers, their fingerprints, or a bare filter. Without it what the "
        "agreements in force say, and of several the least; fingerprints where none speaks of it.",
    ),
]


@app.command()
def publish(
    lists: Annotated[list[str], typer.Argument(metavar="OWNER/NAME...", help="Lists of ours.")],
    share: Share = None,
    anew: Annotated[
        bool,
        typer.Option(
            "--anew",
            help="Whatever was published before: partners take this whole list. For a register "
            "that lost changes for good; what it lost, partners lose too.",
        ),
    ] = False,
    config: ConfigFiles = None,
    as_json: AsJson = False,
) -> None:
    """Publish what is new of lists, once: changes where they do, else the whole list.

    Exit codes: 0 done, or nothing was new, 1 it could not be published.

    Example: ringfence exchange publish KH/scam
    """
    settings = settings_of(config)
    own_exchange(settings)
    outlet = _outlet(settings)

    async def work(register: ListStore) -> dict[str, Edition | None]:
        offers = await _offers(settings, outlet, register, lists, share)
        return {one.name: await outlet.bring_out(register, one, anew=anew) for one in offers}

    editions = with_list_store(settings, work)
    if as_json:
        print_json([_as_json(name, edition) for name, edition in editions.items()])
        return
    for name, edition in editions.items():
        say(exchange.in_words(name, edition))


@app.command()
def run(
    lists: Annotated[
        list[str] | None,
        typer.Argument(metavar="[OWNER/NAME...]", help="Lists of ours; none: all with a role."),
    ] = None,
    share: Share = None,
    config: ConfigFiles = None,
) -> None:
    """Publish lists as they change, within a second, and renew signatures, until Ctrl-C.

    Changes that come within `[exchange] gather_s` go out together. Agreements that begin or end,
    lists that get a role, and keys of circles count without a restart. Metrics and health are on
    `[exchange] http_port`.

    Example: ringfence exchange run
    """
    settings = settings_of(config)
    own_exchange(settings)
    outlet = _outlet(settings)
    if not lists and not exchange.lists_of(outlet):
        fail(f"{folder_of(settings)} has no list: `ringfence exchange add-list KH/scam`", USAGE)
    raise typer.Exit(exchange.run(settings, outlet, lists, share))


def _outlet(settings: Settings) -> ListPublisher:
    return ListPublisher(folder_of(settings), ring_of(settings, None), validity_of(settings))


async def _offers(
    settings: Settings,
    outlet: ListPublisher,
    register: ListStore,
    names: Sequence[str],
    share: Shared | None,
) -> list[Offer]:
    """How each list is shared. Raises ConfigInvalid where its circle has no key here."""
    current = exchange.CurrentOffers(settings, outlet, names, share)
    offers = []
    for name in names:
        offer = current.offer(name, (await register.state(name)).head.circle)
        if offer is None:
            text = f"no agreement in force shares {name}; `ringfence agreements ls` shows them"
            raise ExchangeFault(f"{text}. --share publishes it whatever they say")
        offers.append(offer)
    return offers


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
