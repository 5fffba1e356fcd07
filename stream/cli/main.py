"""`ringfence`: the commands of an operator."""

import asyncio
import os
from importlib import import_module
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.table import Table

from stream import __version__
from stream.cli.appeals import appeals
from stream.cli.calls import dialects, sinks, trials
from stream.cli.calls.decisions import decisions
from stream.cli.calls.ingest import ingest
from stream.cli.calls.replay import replay_command
from stream.cli.calls.sip import serve_sip
from stream.cli.calls.traceback import traceback_command
from stream.cli.calls.why import why
from stream.cli.common import (
    AsJson,
    ConfigFiles,
    err,
    out,
    own,
    print_json,
    say_waiting,
    settings_of,
)
from stream.cli.exchange import (
    agreements,
    circle,
    enforcement,
    exchange,
    exchange_follow,
    exchange_lists,
    hub,
    report,
)
from stream.cli.feeds import feeds
from stream.cli.lists import allow, audit, lists, versions
from stream.cli.ops import token_commands
from stream.cli.ops.doctor import doctor
from stream.cli.ops.support_bundle import support_bundle
from stream.cli.ops.top import top
from stream.cli.timeout import Patient
from stream.config.agreement_files import agreements_of
from stream.config.feed_files import house_of, read_feeds
from stream.config.placeholders import placeholders
from stream.config.settings import Settings
from stream.core.model.errors import TopicMissing
from stream.kafka.topics import Done, TopicReport, ensure_topics
from stream.ops.kernels import warm_up
from stream.services import supervisor
from stream.services import worker as engine

app = typer.Typer(
    cls=Patient,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Ringfence: call-detail records in from Kafka, block decisions out, within milliseconds.",
    epilog="Exit codes: 0 done, 1 failed or not found, 2 wrong usage or configuration, "
    "3 Kafka or Redis are not set up as they have to be, or do not answer within --timeout.",
)
topics = typer.Typer(no_args_is_help=True, help="Make Kafka's topics, or look at them.")
app.add_typer(topics, name="topics")
lists.app.add_typer(versions.app)
app.add_typer(lists.app, name="lists")
app.add_typer(allow.app, name="allow")
app.add_typer(appeals.app, name="appeals")
app.add_typer(feeds.app, name="feeds")
app.add_typer(agreements.app, name="agreements")
app.add_typer(audit.app, name="audit")
app.add_typer(circle.app, name="circle")
app.add_typer(dialects.app, name="dialects")
exchange.app.add_typer(hub.app, name="hub")
exchange.app.command("publish")(exchange_lists.publish)
exchange.app.command("run")(exchange_lists.run)
exchange.app.command("follow")(exchange_follow.follow)
app.add_typer(exchange.app, name="exchange")
app.add_typer(enforcement.app, name="enforcement")
app.add_typer(sinks.app, name="sink")
app.add_typer(token_commands.app, name="token")
app.command("report")(report.report)
app.add_typer(trials.app, name="simulate")
app.command("promote")(trials.promote)
app.command("demote")(trials.demote)
app.command("why")(why)
app.command("decisions")(decisions)
app.command("replay")(replay_command)
app.command("traceback")(traceback_command)
# By its name: nothing below the lab knows it.
app.command("exercise")(import_module("stream.lab.exercise.command").exercise)
app.command("top")(top)
app.command("doctor")(doctor)
app.command("support-bundle")(support_bundle)
app.command("serve-sip")(serve_sip)
app.command("ingest")(ingest)


def _version(wanted: bool) -> None:
    if wanted:
        out.print(f"ringfence {__version__}")
        raise typer.Exit


@app.callback()
def about(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Nothing by itself: the commands do it."""


@app.command("check-config")
def check_config(config: ConfigFiles = None, as_json: AsJson = False) -> None:
    """Check the configuration and print what is in force; secrets only as set or not set.

    The agreements that it names and the feed files in `[feeds] dir` are checked too.

    Every error is printed at once. Addresses of examples are warnings, on stderr. Exit codes: 0 it
    is valid, 2 it is not.

    Example: ringfence check-config --config carrier.toml
    """
    settings = settings_of(config)
    settings.kafka_client()
    agreements_of(settings)
    if Path(settings.feeds.dir).is_dir():  # who follows no feeds has none
        read_feeds(Path(settings.feeds.dir), os.environ, house_of(settings))
    settings.sinks.webhooks.secrets(os.environ)
    table = settings.redacted()
    if as_json:
        print_json(table)
    else:
        for line in _as_toml(table, ()):
            out.print(line, markup=False, soft_wrap=True)
    for text in placeholders(settings, os.environ):
        err.print(f"warning: {text}", markup=False, soft_wrap=True)


def _as_toml(table: dict[str, object], at: tuple[str, ...]) -> list[str]:
    """A nested table of plain values as TOML lines."""
    values = {name: value for name, value in table.items() if not isinstance(value, dict)}
    lines = []
    if at and (values or not table):
        lines.append(f"[{'.'.join(_key(name) for name in at)}]")
    for name, value in values.items():
        lines.append(f"{_key(name)} = {msgspec.json.encode(value).decode()}")
    if lines:
        lines.append("")
    for name, value in table.items():
        if isinstance(value, dict):
            lines += _as_toml(value, (*at, name))
    return lines


def _key(name: str) -> str:
    bare = name.isascii() and name.replace("-", "").replace("_", "").isalnum()
    return name if bare else msgspec.json.encode(name).decode()


@app.command()
def run(
    config: ConfigFiles = None,
    workers: Annotated[
        int, typer.Option(min=1, max=256, help="Worker processes; about one a core.")
    ] = 1,
    worker: Annotated[int | None, typer.Option(hidden=True, min=0)] = None,
) -> None:
    """Read calls, decide them, publish the decisions; until SIGTERM or Ctrl-C.

    Logs to stderr: JSON lines, or readable ones on a terminal. Exit codes: 0 stopped in order,
    1 died, 2 wrong configuration, 3 Kafka or Redis are not set up as they have to be.

    Example: ringfence run --config carrier.toml --workers 4
    """
    settings = settings_of(config)
    own(settings.lists.state_dir)
    agreements_of(settings)
    if worker is not None:
        code = engine.run(settings, supervisor.place_of_worker(worker, workers))
    elif workers == 1:
        code = engine.run(settings)
    else:
        work = supervisor.Work("run", _words(config), settings.ops.http_port)
        code = supervisor.run(settings, workers, work)
    raise typer.Exit(code)


def _words(config: list[Path] | None) -> list[str]:
    """The options that name the same configuration to a worker."""
    return [word for path in config or [] for word in ("--config", str(path))]


@app.command()
def warm(config: ConfigFiles = None, as_json: AsJson = False) -> None:
    """Compile the kernels that calls are decided with, and keep them where workers look for them.

    A worker does the same when it starts, but then calls wait for it: half a minute after
    an upgrade, a second once they are there. Exit code 1 if they can not be used, and why.

    Example: ringfence warm --config carrier.toml
    """
    settings = settings_of(config)
    folder = settings.ops.kernels_folder(settings.lists.state_dir)
    own(folder if folder.exists() else folder.parent)
    warmth = warm_up(folder)
    if as_json:
        print_json({"compiled": not warmth.why_not, "why_not": warmth.why_not or None})
    elif warmth.why_not:
        err.print(f"no compiled kernels: {warmth.why_not}", markup=False, soft_wrap=True)
    else:
        out.print(f"the kernels are compiled ({warmth.seconds:.1f} s)")
    if warmth.why_not:
        raise typer.Exit(1)


@app.command()
def serve(
    config: ConfigFiles = None,
    workers: Annotated[
        int, typer.Option(min=1, max=256, help="Processes that share the port; about one a core.")
    ] = 1,
    worker: Annotated[int | None, typer.Option(hidden=True, min=0)] = None,
) -> None:
    """Serve HTTP: records in, verdicts and lists out; until SIGTERM or Ctrl-C.

    `/docs` describes every address. Clients show a token that `ringfence token create` made;
    SIGHUP has the file of tokens read again at once. Exit codes as for `run`.

    Example: ringfence serve --config carrier.toml --workers 2
    """
    # FastAPI takes as long to import as all of ours: no other command waits for it.
    from stream.services import http  # noqa: PLC0415

    settings = settings_of(config)
    own(settings.lists.state_dir)
    agreements_of(settings)
    if worker is not None:
        code = http.run(settings, _words(config), supervisor.place_of_worker(worker, workers))
    elif workers == 1:
        code = http.run(settings, _words(config))
    elif settings.serve.port == 0:
        raise typer.BadParameter("--workers needs a port that they share: set port in [serve]")
    else:
        work = supervisor.Work("serve", _words(config), settings.serve.health_port)
        code = supervisor.run(settings, workers, work)
    raise typer.Exit(code)


@topics.command("create")
def topics_create(config: ConfigFiles = None, as_json: AsJson = False) -> None:
    """Make the topics that are missing; those that exist are never altered. Safe to repeat.

    Says of each topic what it did, and how one that exists differs from what the configuration
    wants.

    Example: ringfence topics create --config carrier.toml
    """
    settings = settings_of(config)
    _print_topics(asyncio.run(_topics(settings, create=True)), as_json=as_json)


@topics.command("show")
def topics_show(config: ConfigFiles = None, as_json: AsJson = False) -> None:
    """Say which topics exist and how they differ from the configuration; changes nothing.

    Exit code 3 if one is missing.

    Example: ringfence topics show --json
    """
    settings = settings_of(config)
    reports = asyncio.run(_topics(settings, create=False))
    _print_topics(reports, as_json=as_json)
    missing = [report.name for report in reports if report.done is Done.MISSING]
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
