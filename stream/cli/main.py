"""`ringfence`: the names of its commands; what a command needs is loaded when it runs."""

from typing import Annotated, Final

import typer

from stream import __version__
from stream.cli.lazy_group import LazyGroup, table

COMMANDS: Final = table(
    (
        "run",
        "Read calls, decide them, publish decisions. Runs until SIGTERM or Ctrl-C.",
        "stream.cli.calls.service_commands:run",
    ),
    (
        "serve",
        "Serve HTTP: take records, answer lookups, show the page. Runs until SIGTERM or Ctrl-C.",
        "stream.cli.calls.service_commands:serve",
    ),
    (
        "serve-sip",
        "Answer SIP: 404 continue, 603 blocked. Runs until SIGTERM or Ctrl-C.",
        "stream.cli.calls.service_commands:serve_sip",
    ),
    (
        "ingest",
        "Send call records from a file or a folder of files to Kafka, each at least once.",
        "stream.cli.calls.ingest_command:ingest",
    ),
    (
        "sink",
        "Deliver decisions to SIP proxies (keys in Redis) and by webhooks.",
        "stream.cli.calls.sink_commands:app",
    ),
    (
        "why",
        "Explain why NUMBER is blocked or not: entries, lists, agreements, decisions, sinks.",
        "stream.cli.calls.why:why",
    ),
    (
        "decisions",
        "Print the last decisions, and with --follow new ones. Joins no consumer group.",
        "stream.cli.calls.decisions_command:decisions",
    ),
    (
        "lists",
        "Create, fill, change and show lists.",
        "stream.cli.lists.list_commands:app",
        "stream.cli.lists.list_versions:app",
        "stream.cli.lists.list_files:app",
    ),
    (
        "allow",
        "Manage numbers and prefixes that are never blocked.",
        "stream.cli.lists.allow_commands:app",
    ),
    (
        "audit",
        "Show who changed what, when and why, newest first. Numbers are masked.",
        "stream.cli.lists.audit_commands:app",
    ),
    (
        "appeals",
        "Manage appeals: redress a wrong block, ask a list's owner, answer.",
        "stream.cli.exchange.appeal_commands:app",
    ),
    (
        "feeds",
        "Follow partners' lists, and decide on versions that wait.",
        "stream.cli.feeds.feed_commands:app",
    ),
    (
        "agreements",
        "Show and check agreements with other countries, and their effect on calls.",
        "stream.cli.exchange.agreement_commands:app",
    ),
    (
        "circle",
        "Manage the keys by which the countries of a circle hash numbers.",
        "stream.cli.exchange.circle_commands:app",
    ),
    (
        "exchange",
        "Publish our signed lists, and check what others publish.",
        "stream.cli.exchange.exchange_commands:app",
        "stream.cli.exchange.hub_commands:above",
        "stream.cli.exchange.exchange_lists:app",
    ),
    (
        "enforcement",
        "Count and publish what partners' lists do here, and ours there.",
        "stream.cli.exchange.enforcement_commands:app",
    ),
    (
        "report",
        "Report on an agreement: what was promised, what happened, what to discuss next.",
        "stream.cli.exchange.report_command:report",
    ),
    (
        "simulate",
        "Show what is on trial, and what is in force.",
        "stream.cli.calls.trial_commands:app",
    ),
    (
        "promote",
        "Put a trial in force in every running engine, without a restart.",
        "stream.cli.calls.trial_commands:promote",
    ),
    (
        "demote",
        "Put something back on trial in every running engine: it decides, but does not act.",
        "stream.cli.calls.trial_commands:demote",
    ),
    (
        "replay",
        "Decide recorded calls twice, as production does now and with a candidate, and compare.",
        "stream.cli.calls.replay_command:replay_command",
    ),
    (
        "traceback",
        "Write the calls of NUMBER in a period: reference, trunk, carrier, time, verdict.",
        "stream.cli.calls.traceback_command:traceback_command",
    ),
    (
        "dialects",
        "List dialects of switches, recognise your records, test a dialect.",
        "stream.cli.calls.dialect_commands:app",
    ),
    ("topics", "Create or list Kafka's topics.", "stream.cli.ops.topic_commands:app"),
    (
        "token",
        "Manage tokens of the clients of `ringfence serve`.",
        "stream.cli.ops.token_commands:app",
    ),
    (
        "init",
        "Write a commented starting configuration into DIR: settings, folders for feeds, secrets.",
        "stream.cli.ops.asset_commands:init",
    ),
    (
        "assets",
        "List or export files that come with Ringfence: units, alerts, dashboards, examples.",
        "stream.cli.ops.asset_commands:app",
    ),
    (
        "check-config",
        "Check the configuration and print the settings in force, without secrets.",
        "stream.cli.ops.config_commands:check_config",
    ),
    ("config", "Print the schema of the settings.", "stream.cli.ops.config_commands:app"),
    (
        "health",
        "Ask the processes of this machine if they are live. For container probes.",
        "stream.cli.ops.health_command:health",
    ),
    (
        "doctor",
        "Check everything that this machine needs. Say what is wrong and how to fix it.",
        "stream.cli.ops.doctor_commands:doctor",
    ),
    (
        "top",
        "Show what our processes do: rates, latency, lag, lists, missing processes, decisions.",
        "stream.cli.ops.top:top",
    ),
    (
        "support-bundle",
        "Write configuration, metrics, logs, findings and states into one file for support.",
        "stream.cli.ops.doctor_commands:support_bundle",
    ),
    (
        "backup",
        "Write the list store into a sealed file, as it is at one moment.",
        "stream.cli.ops.backup_commands:backup",
    ),
    (
        "restore",
        "Restore a backup into a list store, and add what workers know beyond it.",
        "stream.cli.ops.backup_commands:restore_",
    ),
    (
        "backup-key",
        "Make a key pair for backups: one half writes them, the other half reads them.",
        "stream.cli.ops.backup_commands:backup_key",
    ),
    (
        "warm",
        "Compile the kernels that decide calls, and store them where workers look for them.",
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
    epilog="Exit codes: 0 done, 1 failed or not found, 2 wrong usage or "
    "configuration, 3 Kafka or Redis is not set up as required or does not "
    "answer within --timeout.",
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
