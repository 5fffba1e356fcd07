"""The whole chain about one number, as plain values: what `ringfence why --json` prints."""

import asyncio
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stream.config.feed_files import feed_tables
from stream.config.settings import InsightSettings
from stream.core.filters.blocklists import Blocklists
from stream.core.model.agreement import Agreements
from stream.core.model.moments import rfc3339
from stream.core.model.on_trial import TrialKind
from stream.insight.explain.agreement_text import named
from stream.insight.explain.at_time import history_of, lists_at, turns_json
from stream.insight.explain.deliveries import decided, delivered
from stream.insight.explain.list_answers import answer_for
from stream.insight.explain.terms import deciding
from stream.lists.store.list_store import ListStore
from stream.ops.clock import now_ms

_THEN = "what it has of then"
_ALLOW_UNSURE = "allow entries that were taken off since may be missing"


@dataclass(frozen=True, slots=True)
class WhyQuestion:
    """A number in E.164, the imagined call, the moment (None: now), and how many last decisions.

    With 0 decisions Kafka and the proxies' Redis are not asked.
    """

    number: str
    trunk: str | None
    callee: str | None
    at_ms: int | None
    decisions: int


async def explain_now(
    settings: InsightSettings,
    agreements: Agreements,
    blocklists: Blocklists,
    store_said: str,
    asked: WhyQuestion,
) -> dict[str, Any]:
    """Return the chain by the lists of now; `store_said`: how those compare with the list store."""
    at_ms = now_ms()
    answer = answer_for(
        settings, agreements, blocklists, asked.number, asked.trunk, asked.callee, at_ms
    )
    answer["register"] = store_said
    return await _whole(settings, agreements, blocklists, answer, asked)


async def explain_at(
    settings: InsightSettings, agreements: Agreements, list_store: ListStore, asked: WhyQuestion
) -> dict[str, Any]:
    """Return the chain as it was at the question's moment.

    The lists are those of that time, if they are kept. Agreements count as they stood then, and
    `[policy]` is today's. Raises ListStoreDown.
    """
    assert asked.at_ms is not None, "there is a moment"
    then = await lists_at(settings, list_store, asked.number, asked.at_ms)
    answer = answer_for(
        settings, agreements, then.blocklists, asked.number, asked.trunk, asked.callee, asked.at_ms
    )
    answer |= {"at": rfc3339(asked.at_ms // 1000), "not_known": dict(then.not_known)}
    answer["register"] = _THEN if then.allow_known else f"{_THEN}; {_ALLOW_UNSURE}"
    return await _whole(settings, agreements, then.blocklists, answer, asked)


async def with_history(
    settings: InsightSettings, list_store: ListStore, answer: Mapping[str, Any]
) -> dict[str, Any]:
    """Return `answer` with the number's history on each list. Raises ListStoreDown."""
    turns = await history_of(settings, list_store, answer["number"])
    return {**answer, "history": turns_json(turns)}


async def _whole(
    settings: InsightSettings,
    agreements: Agreements,
    blocklists: Blocklists,
    answer: dict[str, Any],
    asked: WhyQuestion,
) -> dict[str, Any]:
    """Return the lists' answers with agreements, contacts, decisions and sinks added."""
    contacts = await asyncio.to_thread(contacts_of, settings)
    home = settings.calls.home_country
    for held in answer["lists"]:
        clause = held["agreement"] and named(agreements, held["agreement"], held["list"], home)
        to_ask = [f"{held['owner']}: {clause['contact']}"] if clause else []
        held |= {
            "agreement": clause,
            "decides": deciding(held["terms"]),
            "ask": [*dict.fromkeys([*way_off(held, contacts), *to_ask])],
        }
        about = {f"{TrialKind.LIST}:{held['list']}"}
        if held["agreement"]:
            about.add(f"{TrialKind.AGREEMENT}:{held['agreement']['id']}")
        held["turned"] = _turned(blocklists, about)
    rule = answer["call"]["rule"]
    answer["call"]["turned"] = _turned(blocklists, {rule}) if rule.startswith("rule:") else []
    if not asked.decisions:
        return answer
    topic = settings.calls.decisions_topic
    found, looked = await decided(settings, topic, asked.number, asked.at_ms, asked.decisions)
    sinks = await delivered(settings, asked.number, found, now_ms() // 1000)
    did = sinks.pop("decisions")
    answer["decided"] = {
        "decisions": [
            {
                **one.decision,
                "record": f"{topic}/{one.partition}/{one.offset}",
                "sinks": did.get(str(one.decision.get("decision_id")), {}),
            }
            for one in reversed(found)
        ],
        **looked,
    }
    answer["sinks"] = sinks
    return answer


def _turned(blocklists: Blocklists, about: Collection[str]) -> list[dict[str, Any]]:
    """Return the promotions and demotions of any of these; most often there are none."""
    return [
        {
            "what": str(target),
            "standing": one.standing,
            "at": rfc3339(one.at_s),
            "actor": one.actor,
            "reason": one.reason,
        }
        for target, one in blocklists.trials.turned.items()
        if str(target) in about
    ]


def contacts_of(settings: InsightSettings) -> dict[str, str]:
    """Contacts by owner (`KH`) and by feed (`feed:<name>`), from settings and feed files."""
    contacts = {owner: section.contact for owner, section in settings.owners.items()}
    for name, table in (feed_tables(Path(settings.feeds.dir)) or {}).items():
        owner = table.get("owner")
        if isinstance(owner, dict) and owner.keys() >= {"name", "contact"}:
            contacts[f"feed:{name}"] = str(owner["contact"])
            contacts.setdefault(str(owner["name"]), str(owner["contact"]))
    return contacts


def way_off(held: Mapping[str, Any], contacts: Mapping[str, str]) -> list[str]:
    """Contacts to ask for a removal: the list's owner, and the feeds that report the number."""
    asked = [f"{held['owner']}: {contacts[held['owner']]}"] if held["owner"] in contacts else []
    for report in held["reports"]:
        feed = report["source"].partition("/")[0]
        contact = contacts.get(f"feed:{feed}")
        if contact is not None and f"{feed}: {contact}" not in asked:
            asked.append(f"{feed}: {contact}")
    return asked
