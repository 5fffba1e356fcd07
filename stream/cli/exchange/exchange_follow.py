"""`ringfence exchange follow`: a neighbour's signed list becomes a feed of ours."""

import tempfile
from hashlib import sha256
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from stream.cli.common import ConfigFiles, settings_of
from stream.cli.exchange.exchange import root_in
from stream.cli.list_store import NOTHING_DONE, USAGE, fail, now_s, say
from stream.config.settings import Settings
from stream.core.model import names
from stream.core.model.errors import ExchangeFault, SnapshotUnreadable
from stream.feeds.tuf.tuf_client import TufClient
from stream.lists.snapshot.circle_keys import PLAIN, key_id
from stream.lists.snapshot.repository_layout import (
    LATEST_BYTES_MAX,
    Latest,
    latest_target,
    read_latest,
)

app = typer.Typer()

_FILE = """\
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


@app.command()
def follow(
    url: Annotated[str, typer.Argument(metavar="URL", help="Its address, or a folder.")],
    name: Annotated[str, typer.Argument(metavar="OWNER/NAME", help="The list, e.g. KH/scam.")],
    root: Annotated[
        Path, typer.Option("--root", help="The owner's root.json, had by a way that you trust.")
    ],
    contact: Annotated[str, typer.Option(help="Whom to ask there about a number on it.")],
    config: ConfigFiles = None,
) -> None:
    """Verify a neighbour's list and write the feed file that follows it.

    Compare the SHA-256 that is printed with the one that its owner tells you, by voice. A file that
    is there already is not overwritten. Exit code 1: it cannot be trusted or read, and why.

    Example: ringfence exchange follow https://kh.example KH/scam --root kh.json --contact noc@kh
    """
    settings = settings_of(config)
    if (wrong := names.wrong(names.NameKind.LIST, name)) is not None:
        fail(f"{name!r} {wrong}", USAGE)
    trusted = root_in(root)
    latest = _latest(url, name, trusted)
    _check_key(settings, latest)
    file = Path(settings.feeds.dir) / f"{name.replace('/', '-').lower()}.toml"
    _write(file, _toml(url, root, latest, contact))
    age_s = max(now_s() - latest.made_at_s, 0)
    shared = f"shared as {latest.shares.value}, circle {latest.circle}"
    say(f"the root that is trusted from now on has SHA-256 {sha256(trusted).hexdigest()}")
    say(f"{name}: generation {latest.generation}, {latest.numbers:,} numbers, {shared},")
    say(f"  its newest change was {age_s:,} s ago")
    say(f"wrote {file}: `ringfence feeds run` follows it, `feeds pull {file.stem}` fetches it once")


def _latest(url: str, name: str, root: bytes) -> Latest:
    """What the owner says of the list now. Raises FeedDown, ExchangeFault."""
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
    """Its numbers are hashed with a key that we have. Raises ExchangeFault."""
    key = settings.circle_keys().get(latest.circle)
    if key is None:
        text = f"{latest.list} is hashed in circle {latest.circle}, whose key is not here"
        raise ExchangeFault(f"{text}: its members hand it on; `ringfence circle ls` shows yours")
    if key_id(key) != latest.key_id:
        text = f"{latest.list} is hashed with key {latest.key_id} of circle {latest.circle}"
        raise ExchangeFault(f"{text}, ours is {key_id(key)}: one of both is of another epoch")


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
    return _FILE.format(where="url" if web else "path", **quoted)


def _write(file: Path, text: str) -> None:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("x", encoding="utf-8") as made:
            made.write(text)
    except FileExistsError:
        fail(f"{file} is there already: that list is followed already", NOTHING_DONE)
    except OSError as error:
        fail(f"{file} cannot be written: {error.strerror}", NOTHING_DONE)
