"""`ringfence exchange publish`, `run` and `follow`: publish our lists, follow a neighbour's."""

import tempfile
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Final

import msgspec
import typer

from stream.cli.common import settings_of
from stream.cli.exchange.exchange_commands import (
    RootFile,
    Url,
    folder_of,
    own_exchange,
    ring_of,
    root_in,
    validity_of,
)
from stream.cli.lazy_group import group
from stream.cli.options import ConfigFiles, ListName, Output
from stream.cli.output import NOTHING_DONE, USAGE, Format, fail, render, say
from stream.cli.store_access import with_list_store
from stream.config.settings import Settings
from stream.core.model import names as names_of
from stream.core.model.agreement import Shared
from stream.core.model.errors import ExchangeFault, SnapshotUnreadable
from stream.exchange.edition import Edition, Offer
from stream.exchange.publisher import ListPublisher
from stream.feeds.tuf.tuf_client import TufClient
from stream.lists.snapshot.circle_keys import PLAIN, key_id
from stream.lists.snapshot.repository_layout import (
    LATEST_BYTES_MAX,
    Latest,
    latest_target,
    read_latest,
)
from stream.lists.store.list_store import ListStore
from stream.ops.clock import now_s
from stream.services import exchange

app = group()

_FEED_FILE: Final = """\
# {name} of {place}, followed since it was verified by `ringfence exchange follow`.
list = {name}
format = "snapshot"
circle = {circle}
sources = "both"
may_list = ["*"]

[owner]
name = {owner}
contact = {contact}

[from]
kind = "tuf"
{where} = {place}
root = {root}
targets = {name}
"""

Share = Annotated[
    Shared | None,
    typer.Option(
        "--share",
        help="What partners get: numbers, fingerprints, or a bare filter. Default: "
        "the least that an agreement in force says, or fingerprints if none "
        "does.",
    ),
]


@app.command()
def publish(
    lists: Annotated[list[str], typer.Argument(metavar="OWNER/NAME...", help="Our lists.")],
    share: Share = None,
    anew: Annotated[
        bool,
        typer.Option(
            "--anew",
            help="Publish the whole list, whatever was published before. For a list "
            "store that lost changes for good: partners lose the same changes.",
        ),
    ] = False,
    config: ConfigFiles = None,
    form: Output = Format.TABLE,
) -> None:
    """Publish the news of lists once: changes where possible, else the whole list.

    Exit codes: 0 published, or nothing was new; 1 it could not be published.

    Example: ringfence exchange publish KH/scam
    """
    settings = settings_of(config)
    own_exchange(settings)
    publisher = _publisher(settings)

    async def work(store: ListStore) -> dict[str, Edition | None]:
        offers = await _offers(settings, publisher, store, lists, share)
        return {one.name: await publisher.bring_out(store, one, restart=anew) for one in offers}

    editions = with_list_store(settings, work)

    def draw() -> None:
        for name, edition in editions.items():
            say(exchange.in_words(name, edition))

    render(form, [_edition_json(*one) for one in editions.items()], draw)


@app.command()
def run(
    lists: Annotated[
        list[str] | None,
        typer.Argument(metavar="[OWNER/NAME...]", help="Our lists. Default: all that have a role."),
    ] = None,
    share: Share = None,
    config: ConfigFiles = None,
) -> None:
    """Publish lists within a second of a change, and renew signatures. Runs until Ctrl-C.

    Changes within `[exchange] gather_s` go out together. New and ended agreements, new list roles
    and new circle keys take effect without a restart. Metrics and health are on `[exchange]
    http_port`.

    Example: ringfence exchange run
    """
    settings = settings_of(config)
    own_exchange(settings)
    publisher = _publisher(settings)
    if not lists and not exchange.lists_of(publisher):
        fail(f"{folder_of(settings)} has no list: `ringfence exchange add-list KH/scam`", USAGE)
    raise typer.Exit(exchange.run(settings, publisher, lists, share))


def _publisher(settings: Settings) -> ListPublisher:
    return ListPublisher(folder_of(settings), ring_of(settings, None), validity_of(settings))


async def _offers(
    settings: Settings,
    publisher: ListPublisher,
    store: ListStore,
    names: Sequence[str],
    share: Shared | None,
) -> list[Offer]:
    """Return the terms on which each list is shared. Raises ConfigInvalid, ExchangeFault."""
    current = exchange.CurrentOffers(settings, publisher, names, share)
    offers = []
    for name in names:
        offer = current.offer(name, (await store.state(name)).head.circle)
        if offer is None:
            text = f"no agreement in force shares {name}; `ringfence agreements list` shows them"
            raise ExchangeFault(f"{text}. --share publishes it whatever they say")
        offers.append(offer)
    return offers


def _edition_json(name: str, edition: Edition | None) -> dict[str, object]:
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


@app.command()
def follow(
    url: Url,
    name: ListName,
    root: RootFile,
    contact: Annotated[str, typer.Option(help="The contact for questions about a number on it.")],
    config: ConfigFiles = None,
) -> None:
    """Verify a neighbour's list and write the feed file that follows it.

    Call the owner and compare the printed SHA-256 with theirs. An existing file is not overwritten.
    Exit code 1: it cannot be trusted or read; it says why.

    Example: ringfence exchange follow https://kh.example KH/scam --root kh.json --contact noc@kh
    """
    settings = settings_of(config)
    if (wrong := names_of.wrong(names_of.NameKind.LIST, name)) is not None:
        fail(f"{name!r} {wrong}", USAGE)
    trusted = root_in(root)
    latest = _latest_of(url, name, trusted)
    _check_key(settings, latest)
    file = Path(settings.feeds.dir) / f"{name.replace('/', '-').lower()}.toml"
    _write_new(file, _toml(url, root, latest, contact))
    age_s = max(now_s() - latest.made_at_s, 0)
    shared = f"shared as {latest.shares.value}, circle {latest.circle}"
    say(f"the root that is trusted from now on has SHA-256 {sha256(trusted).hexdigest()}")
    say(f"{name}: generation {latest.generation}, {latest.numbers:,} numbers, {shared},")
    say(f"  its newest change was {age_s:,} s ago")
    say(f"wrote {file}: `ringfence feeds run` follows it, `feeds pull {file.stem}` fetches it once")


def _latest_of(url: str, name: str, root: bytes) -> Latest:
    """Return the owner's description of the list now. Raises FeedDown, ExchangeFault."""
    with tempfile.TemporaryDirectory(prefix="ringfence-follow-") as folder:
        client = TufClient(url, Path(folder), root)
        try:
            repository = client.refresh()
            repository.owned(name)
            data = repository.read(latest_target(name), LATEST_BYTES_MAX)
            return read_latest(data, name)
        except SnapshotUnreadable as error:
            raise ExchangeFault(f"{url}: {error}") from error
        finally:
            client.close()


def _check_key(settings: Settings, latest: Latest) -> None:
    """Raise ExchangeFault unless we have the key that its numbers are hashed with."""
    key = settings.circle_keys().get(latest.circle)
    if key is None:
        text = f"{latest.list} is hashed in circle {latest.circle}, whose key is not here"
        take = f"ringfence circle create {latest.circle} --key-file FILE"
        raise ExchangeFault(f"{text}: get its file from a member, then `{take}`")
    if key_id(key) != latest.key_id:
        text = f"{latest.list} is hashed with key {latest.key_id} of circle {latest.circle}"
        raise ExchangeFault(
            f"{text}, ours is {key_id(key)}: ask the owner whose key is the old one"
        )


def _toml(url: str, root: Path, latest: Latest, contact: str) -> str:
    web = url.startswith(("http://", "https://"))
    texts = {
        "name": latest.list,
        "circle": latest.circle or PLAIN,
        "owner": latest.list.partition("/")[0],
        "contact": contact,
        "place": url if web else str(Path(url).absolute()),
        "root": str(root.absolute()),
    }
    quoted = {key: msgspec.json.encode(text).decode() for key, text in texts.items()}
    return _FEED_FILE.format(where="url" if web else "path", **quoted)


def _write_new(file: Path, text: str) -> None:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("x", encoding="utf-8") as made:
            made.write(text)
    except FileExistsError:
        fail(f"{file} is there already: that list is followed already", NOTHING_DONE)
    except OSError as error:
        fail(f"{file} cannot be written: {error.strerror}", NOTHING_DONE)
