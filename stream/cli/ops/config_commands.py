"""`ringfence check-config` and `config`: the settings in force, their errors, and their schema."""

import os
from pathlib import Path

import msgspec

from stream.cli.common import settings_of
from stream.cli.lazy_group import group
from stream.cli.options import ConfigFiles, Output, ToFile
from stream.cli.output import STDOUT, Format, note, render, say, write_out
from stream.config.agreement_files import agreements_of
from stream.config.feed_files import feed_context, read_feeds
from stream.config.json_schema import settings_schema
from stream.config.placeholders import placeholders

app = group()


@app.command()
def schema(output: ToFile = None) -> None:
    """Print the JSON Schema of the settings, for editors, charts and programs.

    Example: ringfence config schema -o ringfence.schema.json
    """
    text = msgspec.json.format(msgspec.json.encode(settings_schema())) + b"\n"
    write_out(STDOUT if output is None else output, [text])


def check_config(config: ConfigFiles = None, form: Output = Format.TABLE) -> None:
    """Check the configuration and print the settings in force, without secrets.

    It also checks the agreements and the feed files in `[feeds] dir`.

    It prints all errors. Example addresses give a warning on stderr. Exit codes: 0 valid, 2 not
    valid.

    Example: ringfence check-config --config carrier.toml
    """
    settings = settings_of(config)
    # Each raises ConfigInvalid for what only its process would find at its start: a certificate, an
    # agreement, a feed's file, a webhook's secret.
    settings.check_tls()
    agreements_of(settings)
    if Path(settings.feeds.dir).is_dir():  # a carrier without feeds has none
        read_feeds(Path(settings.feeds.dir), os.environ, feed_context(settings))
    settings.sinks.webhooks.secrets(os.environ)
    table = settings.redacted()
    render(form, table, lambda: say("\n".join(_as_toml(table, ()))))
    # On stderr: stdout is TOML that can be kept as a file.
    for text in placeholders(settings, os.environ):
        note(f"warning: {text}")


def _as_toml(table: dict[str, object], at: tuple[str, ...]) -> list[str]:
    """Return a nested table of plain values as TOML lines."""
    values = {name: value for name, value in table.items() if not isinstance(value, dict)}
    lines = []
    if at and (values or not table):
        lines.append(f"[{'.'.join(_key(name) for name in at)}]")
    for name, value in values.items():
        lines.append(f"{_key(name)} = {msgspec.json.encode(value).decode()}")
    if lines:
        lines.append("")
    for name, value in table.items():
        if isinstance(value, dict):
            lines += _as_toml(value, (*at, name))
    return lines


def _key(name: str) -> str:
    # TOML takes letters, digits, - and _ without quotes; topics have dots.
    bare = name.isascii() and name.replace("-", "").replace("_", "").isalnum()
    return name if bare else msgspec.json.encode(name).decode()
