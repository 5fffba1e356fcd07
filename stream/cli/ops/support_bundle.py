"""`ringfence support-bundle`: all that somebody who helps has to see, without a secret."""

import asyncio
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from stream.cli.common import ConfigFiles, quiet_clients, settings_of
from stream.cli.output import err, out
from stream.doctor.bundle import pieces, write
from stream.doctor.scrub import Scrubber, secrets_of
from stream.ops.clock import now_s


def support_bundle(
    config: ConfigFiles = None,
    to: Annotated[
        Path | None, typer.Option("--out", metavar="FILE.tar.gz", help="Where; never overwritten.")
    ] = None,
    log: Annotated[
        list[Path] | None, typer.Option("--log", help="A log file whose end goes in as well.")
    ] = None,
) -> None:
    """Write configuration, metrics, logs, findings and states into one file for support.

    It holds no secret and no whole number: values of secrets are taken out wherever they stand, and
    numbers are masked. Look into it before you send it: MANIFEST.json says what is in it and why.
    Exit codes: 0 it is written, 1 it cannot be.

    Example: ringfence support-bundle --out support.tar.gz
    """
    quiet_clients()
    settings = settings_of(config)
    at = datetime.fromtimestamp(now_s(), UTC).strftime("%Y%m%dT%H%M%SZ")
    path = to or Path(f"ringfence-support-{at}.tar.gz")
    folders = [Path(settings.exchange.circles_dir), Path(settings.exchange.keys_dir)]
    scrubber = Scrubber(secrets_of(os.environ, folders))
    try:
        with err.status("gathering"):
            held = pieces(settings, os.environ, log or [])
            manifest = asyncio.run(write(path, held, scrubber, now_s()))
    except OSError as error:
        err.print(f"{path} cannot be written: {error.strerror}", markup=False, soft_wrap=True)
        raise typer.Exit(1) from error
    for piece in manifest:
        left_out = f" LEFT OUT: {piece['left_out']}" if "left_out" in piece else ""
        line = f"  {piece['bytes']:>9,}  {piece['name']}: {piece['why']}{left_out}"
        out.print(line, markup=False, soft_wrap=True)
    out.print(f"{path} is written, {path.stat().st_size:,} bytes", markup=False, soft_wrap=True)
