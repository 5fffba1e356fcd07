"""`ringfence decisions`: what was decided, read from Kafka as any other reader would."""

import asyncio
from collections.abc import Mapping
from typing import Annotated, Any

import typer
from aiokafka.errors import KafkaError
from rich.text import Text

from stream.cli.common import AsJson, ConfigFiles, say_waiting, settings_of
from stream.cli.output import out, print_line
from stream.config.settings import Settings
from stream.core.model.decision import Verdict
from stream.kafka.clients import Patience, down
from stream.kafka.decision_history import LOOK_BACK, decision_in, last, without_numbers
from stream.kafka.topic_reader import reader

COLOURS = {"block": "bold red", "flag": "yellow", "allow": "green"}


def decisions(
    config: ConfigFiles = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=0, help="The last so many.")] = 20,
    verdict: Annotated[Verdict | None, typer.Option(help="Only these.")] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with new ones.")] = False,
    full: Annotated[bool, typer.Option("--full", help="Numbers in whole, not masked.")] = False,
    as_json: AsJson = False,
) -> None:
    """Print the last decisions, and with --follow every new one; joins no consumer group.

    With --json one object a line, as in Kafka but for the masked numbers.
    Exit codes: 0, also if there are none yet; 1 Kafka refused; 3 no such topic, or no Kafka.

    Example: ringfence decisions --follow --verdict block
    """
    settings = settings_of(config)
    shown = _Shown(verdict, full=full, as_json=as_json)
    try:
        asyncio.run(_print_decisions(settings, limit, shown, follow=follow))
    except KeyboardInterrupt:
        raise typer.Exit from None


class _Shown:
    """Which decisions are printed, and how."""

    def __init__(self, verdict: Verdict | None, *, full: bool, as_json: bool) -> None:
        self._verdict = verdict
        self._full = full
        self._as_json = as_json

    @property
    def look_back(self) -> int:
        """How many records hold one that is shown, at worst."""
        return 1 if self._verdict is None else LOOK_BACK

    def wants(self, decision: Mapping[str, Any]) -> bool:
        """Whether it is to be shown."""
        return self._verdict is None or decision.get("verdict") == self._verdict

    def show(self, decision: dict[str, Any]) -> None:
        """Print one."""
        if not self._full:
            decision = without_numbers(decision)
        if self._as_json:
            print_line(decision)
            return
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
        out.print(line, soft_wrap=True)


async def _print_decisions(settings: Settings, limit: int, shown: _Shown, *, follow: bool) -> None:
    kafka, topic = settings.kafka_client(), settings.calls.decisions_topic
    async with reader(kafka, [topic], say_waiting) as consumer:
        try:
            patience = Patience(kafka)
            for found in await last(consumer, limit, shown.look_back, shown.wants, patience):
                shown.show(found.decision)
            while follow:
                for records in (await consumer.getmany(timeout_ms=1000)).values():
                    for record in records:
                        new = decision_in(record.value)
                        if new is not None and shown.wants(new):
                            shown.show(new)
        except KafkaError as error:
            raise down(kafka, f"{topic} cannot be read", error) from error
