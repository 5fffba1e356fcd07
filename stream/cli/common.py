"""What commands share that read the configuration: its options, and the settings."""

import logging
import os
import shlex
import sys
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from stream.cli.output import err
from stream.cli.timeout import CHOSEN
from stream.config.settings import Settings, load
from stream.kafka.call_events import CallEvent
from stream.kafka.settings import ServerWait
from stream.ops import file_owner

WRONG_USER = 2

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
    """The settings for a command, and how long it waits for servers. Raises ConfigInvalid."""
    settings = load(paths or [], os.environ)
    if CHOSEN.seconds is None:
        return settings
    quiet_clients()
    return replace(settings, asking=ServerWait(CHOSEN.seconds))


def say_waiting(event: CallEvent) -> None:
    """Tell whoever waits that Kafka lets them wait; once."""
    if event is CallEvent.KAFKA_AWAITED and not CHOSEN.said:
        CHOSEN.said = True
        most = "" if CHOSEN.seconds is None else f" for {CHOSEN.seconds:g} s"
        err.print(f"Kafka does not answer yet, still trying{most} (Ctrl-C ends it)")


def own(*folders: str | Path) -> None:
    """End with 2 where files made in one of `folders` would be another's than the folder's.

    The service that owns it could neither read nor remove them.
    """
    for folder in map(Path, folders):
        if whose := file_owner.stranger_to(folder):
            me = file_owner.user_of(os.geteuid())
            run = file_owner.run_as(whose, shlex.join(["ringfence", *sys.argv[1:]]))
            err.print(
                f"{folder} belongs to {whose}, and files that {me} makes there would be {me}'s. "
                f"Nothing was done. Run it as {whose}: {run}",
                markup=False,
                soft_wrap=True,
            )
            raise typer.Exit(WRONG_USER)


def quiet_clients() -> None:
    """What clients log of a server that is away is not written over what a command says of it."""
    logging.getLogger().addHandler(logging.NullHandler())
