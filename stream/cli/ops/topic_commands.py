"""`ringfence topics`: make Kafka's topics, or look at them."""

import asyncio

from stream.cli.common import say_waiting, settings_of
from stream.cli.lazy_group import group
from stream.cli.options import ConfigFiles, Output
from stream.cli.output import Format, print_table, render
from stream.config.settings import Settings
from stream.core.model.errors import TopicMissing
from stream.kafka.topics import TopicReport, TopicState, ensure_topics

app = group()


@app.command()
def create(config: ConfigFiles = None, form: Output = Format.TABLE) -> None:
    """Make the missing topics. Existing topics are never altered. Safe to repeat.

    For each topic it says what it did, and how an existing one differs from the configuration.
    Retention, replication and partitions of an existing topic are yours to change.

    Example: ringfence topics create --config carrier.toml
    """
    settings = settings_of(config)
    _show(asyncio.run(_topics(settings, make=True)), form)


@app.command("list")
@app.command("show", hidden=True)
def list_(config: ConfigFiles = None, form: Output = Format.TABLE) -> None:
    """List the topics, and how each differs from the configuration. Changes nothing.

    Exit code 3: a topic is missing.

    Example: ringfence topics list
    """
    settings = settings_of(config)
    reports = asyncio.run(_topics(settings, make=False))
    _show(reports, form)
    missing = [report.name for report in reports if report.done is TopicState.MISSING]
    if missing:
        raise TopicMissing(f"no topic {', '.join(missing)}: `ringfence topics create` makes it")


async def _topics(settings: Settings, *, make: bool) -> list[TopicReport]:
    more = settings.sinks.webhooks.topics()
    wanted = settings.calls.names(settings.kafka.replication_factor, more)
    return await ensure_topics(settings.kafka_client(), wanted, say_waiting, create=make)


def _show(reports: list[TopicReport], form: Format) -> None:
    render(
        form,
        [{"topic": r.name, "done": r.done, "differences": r.differences} for r in reports],
        lambda: print_table(
            ("topic", "", "differs from the configuration"),
            [(r.name, str(r.done), "; ".join(r.differences) or "-") for r in reports],
        ),
    )
