"""`ringfence topics`: make Kafka's topics, or look at them."""

import asyncio

import typer
from rich.table import Table

from stream.cli.common import AsJson, ConfigFiles, say_waiting, settings_of
from stream.cli.output import out, print_json
from stream.config.settings import Settings
from stream.core.model.errors import TopicMissing
from stream.kafka.topics import TopicReport, TopicState, ensure_topics

app = typer.Typer(no_args_is_help=True)


@app.command("create")
def topics_create(config: ConfigFiles = None, as_json: AsJson = False) -> None:
    """Make the topics that are missing; those that exist are never altered. Safe to repeat.

    Says of each topic what it did, and how one that exists differs from what the configuration
    wants.

    Example: ringfence topics create --config carrier.toml
    """
    settings = settings_of(config)
    _print_topics(asyncio.run(_topics(settings, create=True)), as_json=as_json)


@app.command("show")
def topics_show(config: ConfigFiles = None, as_json: AsJson = False) -> None:
    """Say which topics exist and how they differ from the configuration; changes nothing.

    Exit code 3 if one is missing.

    Example: ringfence topics show --json
    """
    settings = settings_of(config)
    reports = asyncio.run(_topics(settings, create=False))
    _print_topics(reports, as_json=as_json)
    missing = [report.name for report in reports if report.done is TopicState.MISSING]
    if missing:
        raise TopicMissing(f"no topic {', '.join(missing)}: `ringfence topics create` makes it")


async def _topics(settings: Settings, *, create: bool) -> list[TopicReport]:
    more = settings.sinks.webhooks.topics()
    wanted = settings.calls.names(settings.kafka.replication_factor, more)
    return await ensure_topics(settings.kafka_client(), wanted, say_waiting, create=create)


def _print_topics(reports: list[TopicReport], *, as_json: bool) -> None:
    if as_json:
        print_json(
            [{"topic": r.name, "done": r.done, "differences": r.differences} for r in reports]
        )
        return
    table = Table("topic", "", "differs from the configuration", box=None, header_style="bold")
    for made in reports:
        table.add_row(made.name, str(made.done), "; ".join(made.differences) or "-")
    out.print(table)
