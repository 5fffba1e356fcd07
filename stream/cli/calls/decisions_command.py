"""`ringfence decisions`: published decisions, read from Kafka as any other reader would."""

import asyncio
from collections.abc import Mapping
from contextlib import aclosing
from typing import Annotated, Any, Final

import typer
from aiokafka.errors import KafkaError
from rich.text import Text

from stream.cli.common import say_waiting, settings_of
from stream.cli.options import ConfigFiles, Full, Output
from stream.cli.output import Format, print_line, print_row, say
from stream.config.settings import Settings
from stream.core.model.decision import Verdict
from stream.kafka.clients import Patience, down
from stream.kafka.decision_history import LOOK_BACK, decision_in, last, without_numbers
from stream.kafka.topic_reader import follow, reader

_COLUMNS: Final = (
    *("decision_id", "decided_at", "verdict", "would", "simulated", "rule", "role"),
    *("number", "caller", "callee", "reasons"),
)
"""Of the CSV, whose rows have to be alike from the first on."""
COLOURS: Final = {"block": "bold red", "flag": "yellow", "allow": "green"}


def decisions(
    config: ConfigFiles = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=0, help="How many decisions.")] = 20,
    verdict: Annotated[Verdict | None, typer.Option(help="Only this verdict.")] = None,
    go_on: Annotated[bool, typer.Option("--follow", "-f", help="Print new ones, too.")] = False,
    full: Full = False,
    form: Output = Format.TABLE,
) -> None:
    """Print the last decisions, and with --follow new ones. Joins no consumer group.

    With -o json, each line is one object, as in Kafka but with masked numbers. Exit codes: 0
    printed, also if there are none yet; 1 Kafka refused; 3 no topic, or no answer from Kafka.

    Example: ringfence decisions --follow --verdict block
    """
    settings = settings_of(config)
    shown = _Shown(verdict, form, full=full)
    try:
        asyncio.run(_print_decisions(settings, limit, shown, go_on=go_on))
    except KeyboardInterrupt:  # how everybody ends --follow
        raise typer.Exit from None


class _Shown:
    """The choice of decisions that are printed, and the form."""

    def __init__(self, verdict: Verdict | None, form: Format, *, full: bool) -> None:
        self._verdict = verdict
        self._form = form
        self._full = full
        if form is Format.CSV:
            print_row(_COLUMNS)

    @property
    def look_back(self) -> int:
        """Records of a partition that are looked through for one that is shown, at most."""
        return 1 if self._verdict is None else LOOK_BACK

    def wants(self, decision: Mapping[str, Any]) -> bool:
        """Return whether a decision is to be shown."""
        return self._verdict is None or decision.get("verdict") == self._verdict

    def show(self, decision: dict[str, Any]) -> None:
        """Print a decision."""
        if not self._full:
            decision = without_numbers(decision)
        match self._form:
            case Format.JSON:
                print_line(decision)
            case Format.CSV:
                print_row([decision.get(name) for name in _COLUMNS])
            case Format.TABLE:
                say(_line(decision))


def _line(decision: Mapping[str, Any]) -> Text:
    verdict = str(decision.get("verdict"))
    would = f" (would {decision['would']})" if decision.get("simulated") else ""
    line = Text()
    line.append(f"{decision.get('decided_at')}  ")
    line.append(f"{verdict + would:6}", COLOURS.get(verdict, ""))
    line.append(f"  {decision.get('role')} {decision.get('number') or 'withheld'}")
    line.append(f"  {decision.get('caller') or 'withheld'} > {decision.get('callee')}")
    line.append(f"  {decision.get('rule')}")
    for reason in decision.get("reasons") or ():
        sure = "" if reason.get("confirmed") else " unconfirmed"
        line.append(f"  {reason.get('list')}@{reason.get('generation')}{sure}", "dim")
        line.append(f" {reason.get('category') or ''}".rstrip(), "dim")
        if reason.get("prefix"):
            line.append(f" by {reason['prefix']}", "dim")
    line.append(f"  {decision.get('decision_id')}", "dim")
    return line


async def _print_decisions(settings: Settings, limit: int, shown: _Shown, *, go_on: bool) -> None:
    kafka, topic = settings.kafka_client(), settings.calls.decisions_topic
    async with reader(kafka, [topic], say_waiting) as consumer:
        try:
            patience = Patience(kafka)
            for found in await last(consumer, limit, shown.look_back, shown.wants, patience):
                shown.show(found.decision)
            if not go_on:
                return
            async with aclosing(follow(consumer)) as read:
                async for records in read:
                    for record in records:
                        new = decision_in(record.value)
                        if new is not None and shown.wants(new):
                            shown.show(new)
        except KafkaError as error:
            raise down(kafka, f"{topic} cannot be read", error) from error
