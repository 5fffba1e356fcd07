"""What all commands share: the --config option, the settings, and how they talk.

Data go to stdout, everything else to stderr, so that output can be piped.
"""

import logging
import os
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer
from rich.console import Console

from stream.config import Settings, load
from stream.core.faults import ConfigInvalid, Fault

out = Console(highlight=False)
err = Console(stderr=True, highlight=False)

ConfigFiles = Annotated[
    list[Path] | None,
    typer.Option(
        "--config",
        "-c",
        envvar="RINGFENCE_CONFIG",
        help="A TOML file that is laid over the defaults; several are, in their order.",
        show_default=False,
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]


def settings_of(paths: list[Path] | None) -> Settings:
    """The settings for a command. Raises ConfigInvalid."""
    return load(paths or [], os.environ)


def quiet_clients() -> None:
    """What clients log of a server that is away is not written over what a command says of it."""
    logging.getLogger().addHandler(logging.NullHandler())


def print_json(value: Any) -> None:
    """One JSON document on stdout."""
    out.print(
        msgspec.json.format(msgspec.json.encode(value)).decode(), markup=False, soft_wrap=True
    )


def print_line(value: Any) -> None:
    """One JSON object on a line of its own on stdout."""
    out.print(msgspec.json.encode(value).decode(), markup=False, soft_wrap=True)


def complain(fault: Fault) -> None:
    """A fault as what a person reads: one clear line, or one line per configuration error."""
    if isinstance(fault, ConfigInvalid):
        err.print(f"[bold red]configuration:[/] {len(fault.errors)} errors")
        for error in fault.errors:
            err.print(f"  {error}", markup=False, soft_wrap=True)
    else:
        err.print(f"[bold red]{type(fault).__name__}:[/]", end=" ")
        err.print(str(fault), markup=False, soft_wrap=True)
