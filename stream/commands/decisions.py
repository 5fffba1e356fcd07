"""`ringfence decisions`: what was decided, read from Kafka as any other reader would."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Annotated, Any

import msgspec
import typer
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError
from rich.text import Text

from stream.calls.events import Event
from stream.calls.kafka import connected
from stream.commands.base import AsJson, ConfigFiles, err, out, print_line, settings_of
from stream.config import Settings
from stream.core.decision import Verdict
from stream.core.faults import SourceDown, TopicMissing
from stream.core.number import masked

LOOK_BACK = 10_000
"""How many records of a partition are looked through for those of one verdict."""
_COLOURS = {"block": "bold red", "flag": "yellow", "allow": "green"}
_NUMBERS = ("number", "caller", "callee")


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
    Exit codes: 0, also if there are none yet; 1 Kafka refused; 3 no such topic.

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

    def read(self, value: bytes | None) -> dict[str, Any] | None:
        """The decision in a record, if it is to be shown."""
        try:
            decision = msgspec.json.decode(value or b"null")
        except msgspec.DecodeError:
            return None  # somebody else writes to this topic too
        if not isinstance(decision, dict):
            return None
        if self._verdict is not None and decision.get("verdict") != self._verdict:
            return None
        if not self._full:
            decision |= {
                name: masked(decision[name])
                for name in _NUMBERS
                if isinstance(decision.get(name), str)
            }
            for reason in decision.get("reasons") or ():
                if "prefix" in reason:  # it may be as long as a number
                    reason["prefix"] = masked(str(reason["prefix"]))
        return decision

    def show(self, decision: Mapping[str, Any]) -> None:
        """Print one."""
        if self._as_json:
            print_line(decision)
            return
        verdict = str(decision.get("verdict"))
        would = f" (would {decision['would']})" if decision.get("simulated") else ""
        line = Text()
        line.append(f"{decision.get('decided_at')}  ")
        line.append(f"{verdict + would:6}", _COLOURS.get(verdict, ""))
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
    topic = settings.calls.decisions_topic
    async with _reader(settings, topic) as consumer:
        try:
            for decision in await _last(consumer, limit, shown):
                shown.show(decision)
            while follow:
                for records in (await consumer.getmany(timeout_ms=1000)).values():
                    for record in records:
                        new = shown.read(record.value)
                        if new is not None:
                            shown.show(new)
        except KafkaError as error:
            raise SourceDown(f"{topic} can not be read: {error!r}") from error


async def _last(consumer: Any, limit: int, shown: _Shown) -> list[dict[str, Any]]:
    """The last `limit` decisions to show, oldest first; afterwards `consumer` stands at the end."""
    partitions = consumer.assignment()
    ends: dict[TopicPartition, int] = await consumer.end_offsets(partitions)
    begins: dict[TopicPartition, int] = await consumer.beginning_offsets(partitions)
    for partition, end in ends.items():
        back = max(limit, shown.look_back) if limit else 0
        consumer.seek(partition, max(begins[partition], end - back))
    found: list[tuple[int, int, dict[str, Any]]] = []
    unread = {partition for partition, end in ends.items() if begins[partition] < end and limit}
    while unread:
        fetched = await consumer.getmany(*unread, timeout_ms=500)
        for records in fetched.values():
            for record in records:
                decision = shown.read(record.value)
                if decision is not None:
                    found.append((record.timestamp, len(found), decision))
        # Offsets have holes (transaction markers): the position says when the end is reached.
        unread = {p for p in unread if await consumer.position(p) < ends[p]}
    found.sort(key=lambda each: each[:2])
    return [decision for _, _, decision in found[-limit:]] if limit else []


@asynccontextmanager
async def _reader(settings: Settings, topic: str) -> AsyncIterator[Any]:
    """A consumer of all partitions of `topic`, in no group. Raises TopicMissing, SourceDown."""

    def waiting(event: Event) -> None:
        if event is Event.KAFKA_AWAITED:
            err.print("Kafka does not answer yet, still trying (Ctrl-C ends it)")

    kafka = settings.kafka_client()

    def make() -> AIOKafkaConsumer:
        return AIOKafkaConsumer(
            **kafka.options(),
            group_id=None,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            isolation_level="read_committed",
        )

    consumer = await connected(make, AIOKafkaConsumer.stop, kafka, waiting)
    try:
        if topic not in await consumer.topics():
            raise TopicMissing(f"no topic {topic}: `ringfence topics create` makes it")
        # In no group, a subscription is all partitions, as soon as their leaders are known.
        consumer.subscribe([topic])
        while not consumer.assignment():
            await consumer.getmany(timeout_ms=20)
        yield consumer
    finally:
        await consumer.stop()
