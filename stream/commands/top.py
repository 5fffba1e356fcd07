"""`ringfence top`: what our processes do at the moment."""

import asyncio
from typing import Annotated

import typer

from stream.commands.base import ConfigFiles, print_json, settings_of
from stream.ops.figures.watch import Watch


def top(
    config: ConfigFiles = None,
    every_s: Annotated[
        float, typer.Option("--every", min=0.2, max=60, help="Seconds that rates are made of.")
    ] = 1.0,
) -> None:
    """Say what our processes do at the moment, as JSON: rates, latency, lag, lists, who is away.

    Reads the metrics of the processes that the configuration has, and of those in `[ops] watch`.

    Example: ringfence top
    """
    watch = Watch(settings_of(config).watched())
    print_json(asyncio.run(watch.look_twice(every_s)))
