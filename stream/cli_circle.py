"""`ringfence circle`: the keys by which the countries of a circle hash numbers."""

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from stream.cli_base import AsJson, ConfigFiles, out, print_json, settings_of
from stream.cli_register import USAGE, fail, say
from stream.config import Settings
from stream.core.faults import SecretUnsafe
from stream.lists import circles

app = typer.Typer(
    no_args_is_help=True, help="Keys by which the countries of a circle hash numbers."
)
Circle = Annotated[str, typer.Argument(metavar="CIRCLE", help="E.g. asean, or an epoch: asean@2.")]


@app.command()
def new(
    name: Circle,
    key_file: Annotated[
        Path | None, typer.Option(help="Take the key that another member gave us: 64 hex digits.")
    ] = None,
    config: ConfigFiles = None,
) -> None:
    """Make a circle's key, or take the one that was given to us; it is never printed.

    One member makes it; the others get the file by a way that only they can read (not by mail,
    never in the repository), and take it with --key-file. All compare the key's id.

    Example: ringfence circle new asean
    """
    folder = _folder(settings_of(config))
    key = circles.new_key(folder, name, circles.key_in(key_file) if key_file else None)
    say(f"{name}: key {circles.key_id(key)} in {circles.file_of(folder, name)}")
    say("give that file to the other members by a way that only they can read; compare the id")


@app.command()
def rotate(name: Circle, config: ConfigFiles = None) -> None:
    """Begin the circle's next epoch: a new key, beside the old one until all lists have moved.

    In the overlap lists of both epochs are read, each with its key. Then each owner makes its list
    anew in the new circle; when the last one has, `ringfence circle retire` ends the old epoch.

    Example: ringfence circle rotate asean
    """
    settings = settings_of(config)
    last = circles.newest(name.partition("@")[0], settings.circle_keys())
    if last is None:
        fail(f"no circle {name}: `ringfence circle new {name}` makes it", USAGE)
    follows = circles.next_epoch(last)
    folder = _folder(settings)
    key = circles.new_key(folder, follows)
    say(f"{follows}: key {circles.key_id(key)} in {circles.file_of(folder, follows)}")
    say(f"1. give that file to the other members: `ringfence circle new {follows} --key-file FILE`")
    say(f"2. export each list of {last} and import it into a list that was created with")
    say(f"   `ringfence lists create OWNER/NAME --circle {follows}`, then publish it")
    say(f"3. when no list of {last} is left: `ringfence circle retire {last}`")


@app.command()
def retire(name: Circle, config: ConfigFiles = None) -> None:
    """End an epoch: its key is deleted here, and lists hashed by it can no longer be read.

    Example: ringfence circle retire asean
    """
    path = circles.file_of(_folder(settings_of(config)), name)
    try:
        path.unlink()
    except OSError as error:
        raise SecretUnsafe(f"{path} can not be deleted: {error.strerror}") from error
    say(f"{name}: the key is deleted; restart what runs, so that it is forgotten there too")


@app.command("ls")
def ls_(config: ConfigFiles = None, as_json: AsJson = False) -> None:
    """Show the circles that there is a key of; members compare the ids.

    Example: ringfence circle ls
    """
    settings = settings_of(config)
    folder = _folder(settings)
    rows = []
    for name, key in sorted(settings.circle_keys().items()):
        source = settings.circles[name].key_env if name in settings.circles else ""
        where = source or ("" if name == circles.PLAIN else str(circles.file_of(folder, name)))
        rows.append((name, circles.key_id(key), where))
    if as_json:
        print_json([{"circle": n, "key_id": i or None, "from": w or None} for n, i, w in rows])
        return
    table = Table("circle", "key id", "from", box=None, header_style="bold")
    for row in rows:
        table.add_row(*(text or "-" for text in row))
    out.print(table)


def _folder(settings: Settings) -> Path:
    return Path(settings.exchange.circles_dir)
