"""`ringfence sink`: decisions where calls are routed."""

import asyncio
import os
from dataclasses import asdict
from typing import Annotated

import typer

from stream.cli.common import say_waiting, seconds_in, settings_of
from stream.cli.lazy_group import group
from stream.cli.options import ConfigFiles, Output
from stream.cli.output import USAGE, Format, fail, render, say
from stream.config.agreement_files import agreements_of
from stream.services.redis_sink import run_redis
from stream.services.webhook_sink import resend, run_webhooks

app = group()


@app.command()
def redis(config: ConfigFiles = None) -> None:
    """Keep keys for SIP proxies in Redis (bl:+66812345678), equal to the decisions.

    Reads decisions in its own consumer group and follows the list store. A number taken off a list
    loses its key within a second. Logs to stderr. Exit codes: 0 stopped in order, 1 crashed, 2
    wrong configuration, 3 Kafka or Redis is not set up as required.

    Example: ringfence sink redis --config carrier.toml
    """
    settings = settings_of(config)
    agreements_of(settings)
    raise typer.Exit(run_redis(settings))


@app.command()
def webhooks(config: ConfigFiles = None) -> None:
    """Send decisions to other systems: signed CloudEvents over HTTPS.

    Each endpoint has its own consumer group and retries. A decision that an endpoint never accepts
    goes to a topic. Logs to stderr. Exit codes: 0 stopped in order, 1 crashed, 2 wrong
    configuration or a missing secret, 3 Kafka is not set up as required.

    Example: ringfence sink webhooks --config carrier.toml
    """
    raise typer.Exit(run_webhooks(settings_of(config), os.environ))


@app.command("resend")
def resend_command(
    config: ConfigFiles = None,
    endpoint: Annotated[
        list[str] | None, typer.Argument(help="Endpoints of [sinks.webhooks]. Default: all.")
    ] = None,
    give_up: Annotated[
        str, typer.Option("--for", help="How long to try each decision, for example 30s or 10m.")
    ] = "60s",
    form: Output = Format.TABLE,
) -> None:
    """Send undelivered decisions to webhooks again, after their repair.

    Reads the topic of undelivered decisions from where the last run stopped. A decision that fails
    again stays there for the next run. Exit code 1: at least one failed again.

    Example: ringfence sink resend crm --config carrier.toml
    """
    settings = settings_of(config)
    known = settings.sinks.webhooks.endpoints
    names = endpoint or list(known)
    for name in names:
        if name not in known:
            fail(f"no endpoint {name!r}; known: {', '.join(known) or 'there is none'}", USAGE)
    done = asyncio.run(resend(settings, names, os.environ, seconds_in(give_up), say_waiting))

    def draw() -> None:
        for one in done:
            say(f"{one.endpoint}: {one.delivered:,} delivered, {one.not_taken:,} not taken again")

    render(form, [asdict(one) for one in done], draw)
    raise typer.Exit(int(any(one.not_taken for one in done)))
