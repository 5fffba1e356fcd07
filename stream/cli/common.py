"""Parts of most commands: settings, their folders, and values that people type."""

import logging
import os
import shlex
import sys
from dataclasses import replace
from pathlib import Path
from typing import Final

from stream.cli.options import CHOSEN
from stream.cli.output import USAGE, fail, note, say
from stream.config.sections import toml_paths
from stream.config.settings import EngineSettings, Settings, load
from stream.core.model.errors import ConfigInvalid
from stream.core.model.free_text import REASON_CHARS_MAX, line_of
from stream.core.model.moments import read_rfc3339
from stream.kafka.call_events import CallEvent
from stream.kafka.settings import ServerWait
from stream.ops import private_files
from stream.ops.clock import now_s
from stream.ops.schema import checks
from stream.ops.schema.durations import seconds_of

INSTALLED: Final = Path("/etc/ringfence")
"""Folder of the machine's own settings, where packages and images put them."""


def settings_of(paths: list[Path] | None) -> Settings:
    """Return the settings for a command, with its `--timeout` in them. Raises ConfigInvalid.

    Without `--config` they are those of the machine, in the files of `INSTALLED`.
    """
    if not paths and INSTALLED.is_dir():
        # Not glob: where it may not read, it finds nothing, and the defaults are other servers.
        paths = [*toml_paths(INSTALLED, "--config").values()]
    settings = load(paths or [], os.environ)
    if CHOSEN.seconds is None:
        return settings
    quiet_clients()
    return replace(settings, asking=ServerWait(CHOSEN.seconds))


def words_of(config: list[Path] | None) -> list[str]:
    """Return the options that name the same configuration to another process."""
    return [word for path in config or [] for word in ("--config", str(path))]


def say_waiting(event: CallEvent) -> None:
    """Tell the user, once, that Kafka does not answer yet."""
    if event is CallEvent.KAFKA_AWAITED and not CHOSEN.said:
        CHOSEN.said = True
        most = "" if CHOSEN.seconds is None else f" for {CHOSEN.seconds:g} s"
        note(f"Kafka does not answer yet, still trying{most} (Ctrl-C ends it)")


def own(*folders: str | Path) -> None:
    """End with 2 where files made in one of `folders` would be another's than the folder's.

    The service that owns it could neither read nor remove them.
    """
    for folder in map(Path, folders):
        if whose := private_files.stranger_to(folder):
            me = private_files.user_of(os.geteuid())
            run = private_files.run_as(whose, shlex.join(["ringfence", *sys.argv[1:]]))
            fail(
                f"{folder} belongs to {whose}, and files that {me} makes there would be {me}'s. "
                f"Nothing was done. Run it as {whose}: {run}",
                USAGE,
            )


def quiet_clients() -> None:
    """Keep what clients log of a server that is away from mixing with a command's own words."""
    logging.getLogger().addHandler(logging.NullHandler())


def key_of(settings: EngineSettings, circle: str) -> bytes:
    """Return the hashing key of a circle. Raises ConfigInvalid if the settings have none."""
    key = settings.circle_keys().get(circle)
    if key is None:
        raise ConfigInvalid((f"no key for circle {circle}: it needs [circles.{circle}] key_env",))
    return key


def text_in(text: str, option: str, most: int = REASON_CHARS_MAX) -> str:
    """Return a typed text on one line. Ends with 2 if it has what cannot be kept or shown."""
    try:
        return line_of(text, option, most)
    except ValueError as error:
        fail(str(error), USAGE)


def seconds_in(span: str | None) -> int:
    """Return `10d` in seconds; 0 for None. Ends with 2 if it is no span."""
    if span is None:
        return 0
    seconds = seconds_of(span)
    if seconds is None:
        fail(f"{span!r} is no span of time: write e.g. 10d, 12h or 30m", USAGE)
    return seconds


def since_ms(text: str) -> int:
    """Return a typed beginning in milliseconds since the epoch, 0 for what is earlier.

    Ends with 2 if it is no time.
    """
    said = read_rfc3339(text.strip())
    if said is not None:
        return max(int(said.timestamp() * 1000), 0)
    if seconds_of(text) is None:
        fail(f"{text!r} is no time: write 2026-11-25T14:00:00Z, or 2h for two hours ago", USAGE)
    return max((now_s() - seconds_in(text)) * 1000, 0)


def moment_in(text: str) -> int:
    """Return a typed moment in milliseconds since the epoch. Ends with 2 if it is none."""
    at_ms = since_ms(text)
    # A time in whole seconds means all of its last second: what happened in it counts.
    return at_ms if at_ms % 1000 else at_ms + 999


def until_ms(text: str) -> int:
    """Return a `--to` in milliseconds since the epoch; `now` includes the second that runs."""
    return (now_s() + 1) * 1000 if text == "now" else moment_in(text)


def expiry(span: str | None) -> int:
    """Return when something expires that does so in `span`; 0: never.

    Ends with 2 if it is no span, or one that ends after 2106.
    """
    seconds = seconds_in(span)
    until_s = now_s() + seconds
    if until_s >= 2**32:  # entries have 32 bits for it: readers would leave the whole entry out
        fail(f"{span!r} ends after 2106-02-07: leave the option out for no end", USAGE)
    return until_s if seconds else 0


def region_of(region: str | None) -> str | None:
    """Return `region`. Ends with 2 if it is no country."""
    if region is not None and (wrong := checks.country(region)) is not None:
        fail(f"--region {wrong}", USAGE)
    return region


def say_comment(text: str) -> None:
    """Print a line of comment, whatever a foreign file has put into the text."""
    say(f"# {one_line(text)}")


def one_line(text: str) -> str:
    """Return a foreign text without a character that could end a line of comment."""
    return "".join(char if char.isprintable() else " " for char in text)
