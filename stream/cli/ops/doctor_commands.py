"""`ringfence doctor` and `support-bundle`: faults of this machine, and a file for who helps."""

import asyncio
import os
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from stream.cli.common import quiet_clients, settings_of
from stream.cli.options import ConfigFiles, Output
from stream.cli.output import (
    NOTHING_DONE,
    STDOUT,
    Format,
    file_or_stdout,
    note,
    render,
    say,
    waiting,
)
from stream.cli.output import fail as end_with
from stream.core.model.errors import ConfigInvalid
from stream.doctor.bundle import known_secrets, pieces, write
from stream.doctor.result import CheckLine, Grade, fail
from stream.doctor.run_checks import examine, sound
from stream.doctor.scrub import Scrubber
from stream.ops.clock import now_s

_STYLE = {Grade.OK: "green", Grade.WARN: "yellow", Grade.FAIL: "bold red"}


def doctor(config: ConfigFiles = None, form: Output = Format.TABLE) -> None:
    """Check everything that this machine needs. Say what is wrong and how to fix it.

    It checks Kafka with its topics and rights, Redis, clocks, the state directory, lists,
    agreements, keys, signatures, certificates, versions and ports. It changes nothing. Each check
    has 20 s. Exit codes: 0 nothing failed (there may be warnings), 1 something failed.

    Example: ringfence doctor --config carrier.toml
    """
    quiet_clients()
    try:
        lines = asyncio.run(examine(settings_of(config)))
    except ConfigInvalid as wrong:
        lines = [fail("configuration", error, "ringfence check-config") for error in wrong.errors]
    render(form, {"sound": sound(lines), "lines": lines}, lambda: _print(lines), rows="lines")
    raise typer.Exit(0 if sound(lines) else 1)


def _print(lines: Sequence[CheckLine]) -> None:
    for line in lines:
        text = Text(f"{line.grade:5}", _STYLE[line.grade])
        text.append(f"{line.check}: ", "bold")
        text.append(line.said)
        say(text)
        if line.fix:
            say(Text(f"     -> {line.fix}", "cyan"))
    counts = {grade: sum(line.grade is grade for line in lines) for grade in Grade}
    say(", ".join(f"{count} {grade}" for grade, count in counts.items()))


def support_bundle(
    config: ConfigFiles = None,
    to: Annotated[
        Path | None, typer.Option("--out", metavar="FILE.tar.gz", help="A new file. `-`: stdout.")
    ] = None,
    log: Annotated[
        list[Path] | None, typer.Option("--log", help="Add this log file's end.")
    ] = None,
) -> None:
    """Write configuration, metrics, logs, findings and states into one file for support.

    It holds no secret and no whole number: secrets are removed everywhere, and numbers are masked.
    Read it before you send it: MANIFEST.json says what is in it and why. Exit codes: 0 written, 1
    it cannot be written.

    Example: ringfence support-bundle --out support.tar.gz
    """
    quiet_clients()
    settings = settings_of(config)
    at = datetime.fromtimestamp(now_s(), UTC).strftime("%Y%m%dT%H%M%SZ")
    path = to or Path(f"ringfence-support-{at}.tar.gz")
    scrubber = Scrubber(known_secrets(settings, os.environ))
    tell = note if path == STDOUT else say
    try:
        with file_or_stdout(path) as file, waiting("gathering"):
            held = pieces(settings, os.environ, log or [])
            manifest = asyncio.run(write(file, held, scrubber, now_s()))
            size = file.stat().st_size
    except OSError as error:
        end_with(f"{path} cannot be written: {error.strerror}", NOTHING_DONE)
    for piece in manifest:
        left_out = f" LEFT OUT: {piece['left_out']}" if "left_out" in piece else ""
        tell(f"  {piece['bytes']:>9,}  {piece['name']}: {piece['why']}{left_out}")
    tell(f"{path} is written, {size:,} bytes")
