"""Decisions about a number, and their deliveries: each sink's position and the proxies' key.

A sink's position in Kafka says how far it is done. The Redis sink has read everything before it. A
webhook has delivered it, did not want it, or gave it up into the topic of undelivered decisions.
Positions are asked of the coordinator; no group is joined.
"""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError
from redis.exceptions import RedisError

from stream.config.settings import InsightSettings
from stream.core.model.errors import Fault, SourceDown
from stream.edge.sinks import proxy_keys
from stream.kafka.call_events import CallEvent
from stream.kafka.clients import group_positions, listens
from stream.kafka.decision_history import FoundDecision, about
from stream.kafka.topic_reader import reader
from stream.lists.store.redis_client import client

LOOK_BACK = 200_000
"""Records of the number's partition that are looked through, about a second's work."""
DECISIONS_S_MAX, POSITIONS_S_MAX = 15.0, 10.0
"""A person waits for the answer: after that the reason is shown in its place."""
REDIS = "redis"


async def decided(
    settings: InsightSettings, topic: str, number: str, at_ms: int | None, limit: int
) -> tuple[list[FoundDecision], dict[str, Any]]:
    """Return the last `limit` records about `number` up to a moment, and how far was looked.

    `why` says that Kafka is away: at once, or after `DECISIONS_S_MAX` where it takes long.
    """
    said = {"why": "", "looked_back": LOOK_BACK, "whole": False}
    where = settings.kafka.bootstrap_servers

    def waiting(event: CallEvent) -> None:
        if event is CallEvent.KAFKA_AWAITED:
            # The first try is enough: a person is waiting for the answer.
            raise SourceDown(f"Kafka at {where} does not answer")

    if not await listens(settings.kafka_client()):
        return [], said | {"why": f"{topic} cannot be read: Kafka at {where} does not answer"}
    try:
        async with asyncio.timeout(DECISIONS_S_MAX):
            async with reader(settings.kafka_client(), [topic], waiting) as consumer:
                found, whole = await about(consumer, topic, number, limit, LOOK_BACK, at_ms)
    except TimeoutError:
        return [], said | {"why": f"Kafka at {where} takes too long"}
    except (Fault, KafkaError) as error:
        return [], said | {"why": f"{topic} cannot be read: {error}"}
    return found, said | {"why": "", "whole": whole}


async def delivered(
    settings: InsightSettings, number: str, found: Sequence[FoundDecision], now_s: int
) -> dict[str, Any]:
    """Return the proxies' key, and of each decision what every sink did with it; plain values."""
    groups = sink_groups(settings) if found else {}
    ends, why = await _positions(settings, groups) if found else ({}, "")
    webhooks = found and settings.sinks.webhooks.endpoints
    gave_up = await _gave_up(settings, number) if webhooks else {}
    topic = settings.calls.decisions_topic
    by_decision: dict[str, dict[str, str]] = {}
    for one in found:
        place = TopicPartition(topic, one.partition)
        decision_id = str(one.decision.get("decision_id"))
        by_decision[decision_id] = {
            sink: _state(settings, sink, one, ends.get(group, {}).get(place), gave_up)
            for sink, group in groups.items()
            if group in ends
        }
    return {"key": await _key(settings, number, now_s), "decisions": by_decision, "why": why}


def sink_groups(settings: InsightSettings) -> dict[str, str]:
    """Return each sink's consumer group by the sink's name: the Redis sink's, each webhook's."""
    own = settings.calls.group_id
    webhooks = {name: f"{own}.webhook.{name}" for name in settings.sinks.webhooks.endpoints}
    return {REDIS: settings.sinks.redis.group_id or f"{own}.redis", **webhooks}


async def _positions(
    settings: InsightSettings, groups: Mapping[str, str]
) -> tuple[dict[str, dict[Any, int]], str]:
    """Return the position of each group that ever committed; and why nothing is known."""
    admin = AIOKafkaAdminClient(**settings.kafka_client().options(request_timeout_ms=5000))
    found: dict[str, dict[Any, int]] = {}
    try:
        async with asyncio.timeout(POSITIONS_S_MAX):
            await admin.start()
            for group in groups.values():
                held = await group_positions(admin, group)
                if held:
                    found[group] = held
    except (KafkaError, TimeoutError) as error:
        return found, f"sinks' positions cannot be asked: {error!r}"
    finally:
        await admin.close()
    return found, ""


async def _gave_up(settings: InsightSettings, number: str) -> dict[tuple[str, str], str]:
    """Return the reasons why webhooks gave up on a number's decisions, by endpoint and decision."""
    topic = settings.sinks.webhooks.undelivered_topic
    found, _ = await decided(settings, topic, number, None, 100)
    told = [one.headers for one in found]
    return {(one.get("endpoint", ""), one.get("ce_id", "")): one.get("reason", "") for one in told}


def _state(
    settings: InsightSettings,
    sink: str,
    one: FoundDecision,
    position: int | None,
    gave_up: Mapping[tuple[str, str], str],
) -> str:
    """Return the state of one decision at a sink, in a word or two."""
    done = position is not None and position > one.offset
    if sink == REDIS:
        return "read" if done else "not yet read"
    section = settings.sinks.webhooks.endpoints[sink]
    kind = "simulated" if one.decision.get("simulated") else one.decision.get("verdict")
    reasons = one.decision.get("reasons") or []
    lists = {str(reason.get("list")) for reason in reasons if isinstance(reason, dict)}
    if kind not in section.verdicts or (section.lists and not lists & {*section.lists}):
        return "not wanted"
    why = gave_up.get((sink, str(one.decision.get("decision_id"))))
    if why is not None:
        return f"given up: {why}"
    return "delivered" if done else "not yet delivered"


async def _key(settings: InsightSettings, number: str, now_s: int) -> dict[str, Any]:
    """Return the key that proxies find for the number: its own, else that of its longest prefix.

    `built_age_s`: for how long the sink has not said that all keys are right; None: it never did.
    """
    redis = client(settings.proxies())
    try:
        meta = _texts(await redis.hgetall(proxy_keys.META))
        digits = [int(one) for one in meta.get("prefix_digits", "").split() if one.isdigit()]
        texts = [number, *(f"{number[: 1 + one]}*" for one in sorted(digits, reverse=True))]
        for text in dict.fromkeys(texts):
            held = _texts(await redis.hgetall(f"{proxy_keys.PREFIX}{text}"))
            if held:
                break
        else:
            text, held = "", {}
    except (RedisError, OSError, Fault) as error:
        return {"held": None, "why": f"the proxies' Redis cannot be asked: {error}"}
    finally:
        await redis.aclose()
    built = meta.get("built_at", "")
    age_s = max(0, now_s - int(built)) if built.isdigit() else None
    why = "" if meta else "no sink has written here (bl:meta is not there)"
    return {"held": {"entry": text, **held} if held else None, "built_age_s": age_s, "why": why}


def _texts(held: Mapping[Any, Any]) -> dict[str, str]:
    return {
        name.decode(errors="replace"): value.decode(errors="replace")
        for name, value in held.items()
    }
