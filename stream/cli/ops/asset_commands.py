"""`ringfence assets` and `ringfence init`: files for a start, out of the installed package."""

import os
from pathlib import Path
from typing import Annotated

import typer

from stream.cli.common import settings_of
from stream.cli.lazy_group import group
from stream.cli.options import ConfigFiles, Output
from stream.cli.output import NOTHING_DONE, USAGE, Format, fail, note, print_table, render, say
from stream.config.bundled_files import ASSETS, file_names
from stream.config.settings import load
from stream.config.starting import SECRETS, SETTINGS, SiteChoices, starting_files
from stream.core.model.errors import ConfigInvalid
from stream.ops.private_files import write_private

app = group()


@app.command("list")
def list_assets(form: Output = Format.TABLE) -> None:
    """List the files that come with Ringfence: units, alerts, dashboards, proxies, examples.

    Example: ringfence assets list
    """
    rows = [
        {"name": asset.name, "files": len(file_names(asset.name)), "text": asset.text}
        for asset in ASSETS.values()
    ]
    cells = [(str(row["name"]), str(row["files"]), str(row["text"])) for row in rows]
    render(form, rows, lambda: print_table(("asset", "files", "what it is"), cells, ("files",)))


@app.command()
def export(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The folder; made if missing.")],
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[NAME]...", help="Which files. Default: all.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace files that differ.")] = False,
    config: ConfigFiles = None,
) -> None:
    """Copy files that come with Ringfence into DIR. An existing file that differs stays: exit code
    1.

    The links in the alerts use [ops] runbook_url. `ringfence serve` has the runbook at /runbook.

    Example: ringfence assets export /etc/ringfence/assets prometheus grafana
    """
    chosen = names or list(ASSETS)
    if unknown := sorted(set(chosen) - set(ASSETS)):
        fail(f"{unknown[0]} is no asset; there are {', '.join(ASSETS)}", USAGE)
    sources = {folder / to: source for name in chosen for to, source in file_names(name).items()}
    runbook = settings_of(config).ops.runbook_url
    texts = {to: _linked(to, source.read_bytes(), runbook) for to, source in sources.items()}
    written = _write(texts, force=force)
    say(f"{folder}: {written} files written, {len(texts) - written} there already")


def init(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The folder; made if missing.")],
    kafka: Annotated[
        str | None, typer.Option(metavar="HOST:PORT,...", help="Kafka's bootstrap servers.")
    ] = None,
    redis: Annotated[
        str | None, typer.Option(metavar="URL", help="The list store's Redis.")
    ] = None,
    country: Annotated[
        str | None, typer.Option(help="The country of your trunks, e.g. KH.")
    ] = None,
    topic: Annotated[str, typer.Option(help="The topic of your call records.")] = "calls",
    dialect: Annotated[
        str, typer.Option(help="Its dialect, from `ringfence dialects list`.")
    ] = "ringfence",
    state: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="The state directory. Default: `state` in DIR."),
    ] = None,
) -> None:
    """Write a commented starting configuration into DIR: settings, folders for feeds, secrets.

    It refuses a DIR that has one of the files, and replaces nothing. `ringfence.toml` has every
    setting. Settings that you did not choose are commented out, with their defaults.

    Example: ringfence init /etc/ringfence --kafka kafka-1:9092,kafka-2:9092 --country KH
    """
    start = SiteChoices(
        folder.absolute(),
        state and state.absolute(),
        kafka=kafka,
        redis=redis,
        country=country,
        topic=topic,
        dialect=dialect,
    )
    texts = starting_files(start)
    for path in texts:
        if path.exists():
            fail(f"{path} is there already: nothing was written", NOTHING_DONE)
    for path, text in texts.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.name == SECRETS:
            write_private(path, text.encode())
        else:
            path.write_text(text)
    settings = start.folder / SETTINGS
    try:
        load([settings], os.environ)
    except ConfigInvalid:
        # A choice is wrong: after a better one the command shall not stumble over its own files.
        for path in texts:
            path.unlink()
        raise
    say(f"wrote {', '.join(str(path) for path in texts)}")
    note(f"next: ringfence check-config --config {settings}")


def _linked(to: Path, data: bytes, runbook: str) -> bytes:
    """Return a file with its links to the runbook as URLs, if one is set."""
    if not runbook or to.suffix != ".yml":
        return data
    return data.replace(b'"deploy/RUNBOOK.md#', f'"{runbook}#'.encode())


def _write(texts: dict[Path, bytes], *, force: bool) -> int:
    """Write each file that is not there or differs; how many. Without `force` none that differs."""
    differ = [
        path
        for path, text in texts.items()
        if path.exists() and (not path.is_file() or path.read_bytes() != text)
    ]
    if differ and not force:
        fail(
            f"{differ[0]} is there and differs: nothing was written; --force replaces it",
            NOTHING_DONE,
        )
    new = [path for path in texts if not path.exists()]
    for path in (*new, *differ):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(texts[path])
    return len(new) + len(differ)
