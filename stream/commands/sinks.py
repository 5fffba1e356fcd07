"""`ringfence sink`: decisions where calls are routed."""

import os

import typer

from stream.agreements import agreements_of
from stream.commands.base import ConfigFiles, settings_of
from stream.sinking.redis import run_redis
from stream.sinking.webhooks import run_webhooks

app = typer.Typer(no_args_is_help=True, help="Deliver decisions: keys for SIP proxies, webhooks.")


@app.command("redis")
def redis(config: ConfigFiles = None) -> None:
    """Keep keys for SIP proxies in Redis (bl:+66812345678), equal to what is decided.

    Reads decisions in a consumer group of its own, and follows the register: who is taken off a
    list has no key any more within a second. Logs to stderr. Exit codes: 0 stopped in order,
    1 died, 2 wrong configuration, 3 Kafka or Redis are not set up as they have to be.

    Example: ringfence sink redis --config carrier.toml
    """
    settings = settings_of(config)
    agreements_of(settings)
    raise typer.Exit(run_redis(settings))


@app.command("webhooks")
def webhooks(config: ConfigFiles = None) -> None:
    """Tell other systems of decisions: CloudEvents over HTTPS, signed.

    Each endpoint has a consumer group and retries of its own; what it does not take in the end
    goes to a topic. Logs to stderr. Exit codes: 0 stopped in order, 1 died, 2 wrong configuration
    (a secret that is not set, too), 3 Kafka is not set up as it has to be.

    Example: ringfence sink webhooks --config carrier.toml
    """
    raise typer.Exit(run_webhooks(settings_of(config), os.environ))
