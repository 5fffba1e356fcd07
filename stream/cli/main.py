"""`ringfence`: the names of its commands; what a command needs is loaded when it runs."""

from typing import Annotated, Final

import typer

from stream import __version__
from stream.cli.lazy_group import LazyGroup, table

COMMANDS: Final = table(
    (
        "run",
        "Read calls, decide them, publish the decisions; until SIGTERM or Ctrl-C.",
        "stream.cli.calls.service_commands:run",
    ),
    (
        "serve",
        "Serve HTTP: records in, verdicts and lists out; until SIGTERM or Ctrl-C.",
        "stream.cli.calls.service_commands:serve",
    ),
    (
        "serve-sip",
        "Answer SIP: 404 go on, 603 blocked; until SIGTERM or Ctrl-C.",
        "stream.cli.calls.service_commands:serve_sip",
    ),
    (
        "ingest",
        "Send the call records in a file, or in a folder's files, to Kafka, each at least once.",
        "stream.cli.calls.ingest_command:ingest",
    ),
    (
        "sink",
        "Deliver decisions: keys for SIP proxies, webhooks.",
        "stream.cli.calls.sink_commands:app",
    ),
    (
        "why",
        "Say why NUMBER is blocked, or not: entry, list, agreement, term, decisions, sinks.",
        "stream.cli.calls.why:why",
    ),
    (
        "decisions",
        "Print the last decisions, and with --follow every new one; joins no consumer group.",
        "stream.cli.calls.decisions_command:decisions",
    ),
    (
        "lists",
        "Make lists, fill them, change them, look at them.",
        "stream.cli.lists.list_commands:app",
        "stream.cli.lists.list_versions:app",
        "stream.cli.lists.list_files:app",
    ),
    (
        "allow",
        "Numbers and prefixes that are never blocked.",
        "stream.cli.lists.allow_commands:app",
    ),
    (
        "audit",
        "Show who changed what, when and why, newest first. Numbers are masked.",
        "stream.cli.lists.audit_commands:app",
    ),
    (
        "appeals",
        "Appeals: put a wrong block right, ask a list's owner, answer.",
        "stream.cli.exchange.appeal_commands:app",
    ),
    (
        "feeds",
        "Follow partners' lists, look at them, decide what waits.",
        "stream.cli.feeds.feed_commands:app",
    ),
    (
        "agreements",
        "What was agreed with other countries, and what follows for calls.",
        "stream.cli.exchange.agreement_commands:app",
    ),
    (
        "circle",
        "Keys by which the countries of a circle hash numbers.",
        "stream.cli.exchange.circle_commands:app",
    ),
    (
        "exchange",
        "Publish our lists, signed, and check what others publish.",
        "stream.cli.exchange.exchange_commands:app",
        "stream.cli.exchange.hub_commands:above",
        "stream.cli.exchange.exchange_lists:app",
    ),
    (
        "enforcement",
        "What partners' lists do here, and ours there.",
        "stream.cli.exchange.enforcement_commands:app",
    ),
    (
        "report",
        "Report on an agreement: what was promised, what happened, what to raise next.",
        "stream.cli.exchange.report_command:report",
    ),
    (
        "simulate",
        "Show what is on trial, beside what is in force.",
        "stream.cli.calls.trial_commands:app",
    ),
    (
        "promote",
        "Take something from trial into force, in every running engine, without a restart.",
        "stream.cli.calls.trial_commands:promote",
    ),
    (
        "demote",
        "Put something back on trial, in every running engine: it decides, and acts on nobody.",
        "stream.cli.calls.trial_commands:demote",
    ),
    (
        "replay",
        "Decide recorded calls twice, as production does now and with a candidate, and compare.",
        "stream.cli.calls.replay_command:replay_command",
    ),
    (
        "traceback",
        "Write the calls of NUMBER in a span of time: reference, trunk, carrier, time, verdict.",
        "stream.cli.calls.traceback_command:traceback_command",
    ),
    (
        "dialects",
        "Dialects of switches: list them, recognise your records, try them.",
        "stream.cli.calls.dialect_commands:app",
    ),
    ("topics", "Make Kafka's topics, or look at them.", "stream.cli.ops.topic_commands:app"),
    ("token", "Tokens of the clients of `ringfence serve`.", "stream.cli.ops.token_commands:app"),
    (
        "init",
        "Write a commented starting configuration into DIR: settings, folders for feeds, secrets.",
        "stream.cli.ops.asset_commands:init",
    ),
    (
        "assets",
        "Files that come with Ringfence: units, alerts, dashboards, proxies, examples.",
        "stream.cli.ops.asset_commands:app",
    ),
    (
        "check-config",
        "Check the configuration and print what is in force; secrets only as set or not set.",
        "stream.cli.ops.config_commands:check_config",
    ),
    (
        "config",
        "The schema of the settings, for editors and charts.",
        "stream.cli.ops.config_commands:app",
    ),
    (
        "health",
        "Ask the processes of this machine whether they are live. For probes of containers.",
        "stream.cli.ops.health_command:health",
    ),
    (
        "doctor",
        "Check everything that this machine needs, and say what is wrong and how to fix it.",
        "stream.cli.ops.doctor_commands:doctor",
    ),
    (
        "top",
        "Show what our processes do: rates, latency, lag, lists, who is away, the last decisions.",
        "stream.cli.ops.top:top",
    ),
    (
        "support-bundle",
        "Write configuration, metrics, logs, findings and states into one file for support.",
        "stream.cli.ops.doctor_commands:support_bundle",
    ),
    (
        "backup",
        "Write the list store into a sealed file, as it is at one moment, while it changes.",
        "stream.cli.ops.backup_commands:backup",
    ),
    (
        "restore",
        "Put a backup into a list store, and what workers know beyond it.",
        "stream.cli.ops.backup_commands:restore_",
    ),
    (
        "backup-key",
        "Make a key for backups: one half writes them, the other reads them.",
        "stream.cli.ops.backup_commands:backup_key",
    ),
    (
        "warm",
        "Compile the kernels that decide calls, and keep them where workers look for them.",
        "stream.cli.calls.service_commands:warm",
    ),
    (
        "demo",
        "See it work: five simulated countries, the real engine, and a judge that knows the truth.",
        "stream.lab.demo.demo_command:demo",
    ),
    (
        "exercise",
        "Play joint training: separate Ringfences on this machine, scenes with known truth.",
        "stream.lab.exercise.command:exercise",
    ),
)
"""In the order of the help: calls, lists, feeds and partners, trials, then the machine."""


class _Commands(LazyGroup):
    """All of them."""

    entries = COMMANDS


app = typer.Typer(
    cls=_Commands,
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Ringfence: call-detail records in from Kafka, block decisions out, within milliseconds.",
    epilog="Exit codes: 0 done, 1 failed or not found, 2 wrong usage or configuration, "
    "3 Kafka or Redis are not set up as they have to be, or do not answer within --timeout.",
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"ringfence {__version__}")
        raise typer.Exit


@app.callback()
def about(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Run the command that follows."""
