"""`ringfence why NUMBER`: what the lists say of a number, and what a call from it would get.

It asks the very code that workers run, with the lists that a worker on this machine would load: the
last good ones of the state directory, brought up to date by the register where it answers.
"""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Annotated, Any

import msgspec
import numpy as np
import typer

from stream.agreement_words import named
from stream.agreements import agreements_of
from stream.app import refresher_for
from stream.calls.batch import Partition, RawBatch, Segment
from stream.calls.decide import Rules, decide
from stream.calls.decode import DecodeSettings, decode
from stream.calls.dialects.ringfence import RINGFENCE
from stream.commands.base import AsJson, ConfigFiles, err, out, print_json, settings_of
from stream.commands.past import contacts_of, history_of, lists_at, print_turns, turns_json, way_off
from stream.commands.register import moment_in, say
from stream.config import Settings
from stream.core.agreement import Agreements
from stream.core.blocklists import Blocklists, LiveList
from stream.core.bounds import NO_AGREEMENT
from stream.core.confidence import Decay, left, rounded
from stream.core.digests import Digests, elements
from stream.core.entry import NEVER, Category, Entry
from stream.core.faults import RegisterDown
from stream.core.number import Kind, parse, parse_many
from stream.deciding import rules_for
from stream.lists.events import Event, EventKind
from stream.ops.clock import now_ms
from stream.ops.tasks import cancelled

LISTED, NOT_LISTED = 0, 1
_RECORD_BYTES_MAX = 65_536


def why(
    number: Annotated[str, typer.Argument(help="As a switch writes it: +66812345678, 0812345678")],
    config: ConfigFiles = None,
    trunk: Annotated[str | None, typer.Option(help="The trunk that the call comes in on.")] = None,
    callee: Annotated[str | None, typer.Option(help="The number that it calls.")] = None,
    at: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="As of then: 2026-11-25T14:00:00Z, or 2h: so long ago."),
    ] = None,
    history: Annotated[
        bool, typer.Option("--history", help="How it came on and off each list; with --at too.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Say which lists hold NUMBER and since when, and what a call from it would get and why.

    The number is shown in whole: it is the caller of this command who asked about it. With --at the
    lists are those of then, as far as they are kept, agreements count as they stood then, and
    [policy] is today's.
    Exit codes: 0 a list holds it, 1 none does, 2 it is no phone number.

    Example: ringfence why 0812345678 --trunk intl-1
    """
    settings = settings_of(config)
    agreements = agreements_of(settings)
    country = settings.trunks_by_name().country(trunk)
    read = parse(number, country)
    if read.kind is not Kind.E164:
        raise typer.BadParameter(f"{number!r} is no phone number in {country}")
    if at is not None:
        at_ms = moment_in(at)
        then = lists_at(settings, read.text, at_ms)
        answer = answer_for(settings, agreements, then.blocklists, read.text, trunk, callee, at_ms)
        answer |= {"at": _moment(at_ms // 1000), "not_known": dict(then.not_known)}
        answer["register"] = _THEN if then.allow_known else f"{_THEN}; {_ALLOW_UNSURE}"
    else:
        blocklists, register = asyncio.run(lists_now(settings))
        answer = answer_for(settings, agreements, blocklists, read.text, trunk, callee, now_ms())
        answer["register"] = register
    contacts = contacts_of(settings)
    home = settings.calls.home_country
    for held in answer["lists"]:
        clause = held["agreement"] and named(agreements, held["agreement"], held["list"], home)
        asked = [f"{held['owner']}: {clause['contact']}"] if clause else []
        held |= {"agreement": clause, "ask": [*dict.fromkeys([*way_off(held, contacts), *asked])]}
    if history or at is not None:
        answer["history"] = turns_json(history_of(settings, read.text))
    if as_json:
        print_json(answer)
    else:
        _print(answer)
    raise typer.Exit(LISTED if any(e["state"] in _HOLD for e in answer["lists"]) else NOT_LISTED)


_HOLD = ("listed", "unconfirmed")
_THEN = "what it has of then"
_ALLOW_UNSURE = "allow entries that were taken off since may be missing"
_TOLD = {
    "removed": "it was on it, and was taken off",
    "unconfirmed": "its filter may hold it, and no entry can confirm that",
    "expired": "what was reported of it has expired",
    "legitimate": "who reports it says that it is no scammer's",
}


async def lists_now(settings: Settings) -> tuple[Blocklists, str]:
    """The lists as a worker that starts now would have them, and how the register stands."""
    down = asyncio.Event()
    said: list[str] = []

    def on_event(event: Event) -> None:
        if event.kind is EventKind.REGISTER_DOWN:
            said[:] = [f"does not answer ({event.detail}); these are the last good lists"]
            down.set()
        elif event.kind in {EventKind.REGISTER_LOST, EventKind.SNAPSHOT_REFUSED}:
            said.append(f"{event.kind}: {event.detail}")

    refresher = refresher_for(settings, on_event)
    with err.status("loading the lists"):
        await asyncio.to_thread(refresher.load_last_good)
        following = asyncio.create_task(refresher.run())
        loaded = asyncio.create_task(refresher.wait_loaded())
        away = asyncio.create_task(down.wait())
        try:
            await asyncio.wait({following, loaded, away}, return_when=asyncio.FIRST_COMPLETED)
            if following.done():
                following.result()
            if away.done() and not refresher.current.lists:
                raise RegisterDown(
                    f"the register {said[0].partition(';')[0]}, and "
                    f"{settings.lists.state_dir} holds no lists"
                )
        finally:
            await cancelled(following, loaded, away)
    return refresher.current, "; ".join(said) or "in agreement"


def answer_for(
    settings: Settings,
    agreements: Agreements,
    blocklists: Blocklists,
    e164: str,
    trunk: str | None,
    callee: str | None,
    at_ms: int,
) -> dict[str, Any]:
    """What is known of `e164` and what a call from it would get at `at_ms`; plain values."""
    allow = blocklists.allow.find(e164, at_ms // 1000)
    rules = replace(rules_for(settings, blocklists, agreements, at_ms // 1000), emit_all=True)
    return {
        "number": e164,
        "lists": list(_entries(rules, blocklists, e164, at_ms // 1000)),
        "not_asked": [blocklists.lists[index].name for index in blocklists.unusable],
        "allow": None
        if allow is None
        else {
            "entry": allow.text,
            "reason": allow.reason,
            "actor": allow.actor,
            "appeal": allow.appeal or None,
            "added_at": _moment(allow.added_at_s),
            "expires_at": _moment(allow.expires_at_s),
        },
        "call": {"trunk": trunk, "callee": callee}
        | _verdict(settings, rules, blocklists, e164, trunk, callee, at_ms),
    }


def _entries(
    rules: Rules, blocklists: Blocklists, e164: str, now_s: int
) -> Iterator[dict[str, Any]]:
    """Every list that holds the number or a prefix of it, held it, or may hold it."""
    numbers = parse_many([e164], lambda _: None)
    decay, bounds = rules.columns.decay, rules.policy.bounds
    found = blocklists.match(numbers, now_s, decay).by_row().get(0, ())
    matches = {match.list: match for match in found}
    by_prefix = blocklists.prefixes.match(numbers.e164, decay, now_s)
    digits = dict(zip(by_prefix.lists.tolist(), by_prefix.prefix.tolist(), strict=True))
    for index, live in enumerate(blocklists.lists):
        known, reports = _held(live, e164)
        match, prefix = matches.get(index), None
        if match.prefix if match else index in digits and not _live(reports, now_s):
            prefix = f"{e164[: 1 + digits[index]]}*"
            known, reports = _held(live, prefix)
        if match is not None:
            state = "listed" if match.confirmed else "unconfirmed"
        elif reports:
            state = "legitimate" if _live(reports, now_s) else "expired"
        elif known:
            state = "removed"
        else:
            continue
        listed = match if match is not None and match.confirmed else None
        yield {
            "list": live.name,
            "owner": live.name.partition("/")[0],
            "state": state,
            "prefix": prefix,
            "agreement": rules.wording.agreements[index],
            "needs_agreement": bool(bounds) and bounds[index].stops.action == NO_AGREEMENT,
            "may": rules.policy.by_list[index].action.name.lower(),
            "generation": live.generation,
            "category": _label(listed.category) if listed else None,
            "confidence": listed.confidence if listed else None,
            "expires_at": _moment(listed.expires_at_s or NEVER) if listed else None,
            "reports": [_report(report, decay[index], now_s) for report in reports],
        }


def _report(report: Entry, decay: Decay, now_s: int) -> dict[str, Any]:
    """What one source says, and what it counts for now."""
    sure = left(
        np.array([report.confidence], np.uint8),
        np.array([report.reported_at_s], np.int64),
        decay[np.newaxis],
        now_s,
    )
    return {
        "source": report.source,
        "category": report.category.label,
        "confidence": report.confidence,
        "confidence_now": int(rounded(sure)[0]) if report.live(now_s) else 0,
        "reported_at": _moment(report.reported_at_s),
        "expires_at": _moment(report.expires_at_s),
        "live": report.live(now_s),
    }


def _live(reports: Sequence[Entry], now_s: int) -> bool:
    return any(report.live(now_s) for report in reports)


def _held(live: LiveList, text: str) -> tuple[bool, tuple[Entry, ...]]:
    """Whether the list says anything of the number or prefix, and its reports; (): taken off."""
    column = elements(np.array([text], "S16"), live.key)
    fingerprint = int(Digests(column).fingerprints()[0])
    if fingerprint in live.overlay.entries:
        return True, live.overlay.entries[fingerprint]
    if live.snapshot is None or live.snapshot.columns is None:
        return False, ()
    columns = live.snapshot.columns
    reports = tuple(map(columns.entry, columns.span(fingerprint)))
    return bool(reports), reports


def _verdict(
    settings: Settings,
    rules: Rules,
    blocklists: Blocklists,
    e164: str,
    trunk: str | None,
    callee: str | None,
    at_ms: int,
) -> dict[str, Any]:
    """What the engine decides about such a call."""
    record = {"call_id": "why", "caller": e164, "callee": callee, "trunk": trunk}
    topic = next(iter(settings.calls.topics))
    raw = RawBatch(
        values=[msgspec.json.encode(record)],
        offsets=np.zeros(1, np.int64),
        timestamps_ms=np.array([at_ms], np.int64),
        segments=(Segment(Partition(topic, 0), 0, 1),),
        epoch=0,
    )
    limits = DecodeSettings(_RECORD_BYTES_MAX, check_callee=settings.calls.check_callee)
    batch = decode(raw, {topic: RINGFENCE}, settings.trunks_by_name(), limits)
    (value,) = filter(None, decide(batch, blocklists, rules, at_ms).values)
    decision = msgspec.json.decode(value)
    return {
        "verdict": decision["verdict"],
        "would": decision.get("would"),
        "rule": decision["rule"],
        "role": decision["role"],
    }


def _moment(at_s: int) -> str | None:
    return None if at_s == NEVER else datetime.fromtimestamp(at_s, UTC).isoformat()


def _until(held: Mapping[str, Any]) -> str:
    return f"until {held['expires_at'] or 'it is taken off'}"


def _label(category: int | None) -> str | None:
    return None if category is None else Category(category).label


def _print(answer: dict[str, Any]) -> None:
    call = answer["call"]
    verdict = (
        f"{call['verdict']} (simulated: would {call['would']})"
        if call["would"]
        else (call["verdict"])
    )
    trunk = f" on trunk {call['trunk']}" if call["trunk"] else ""
    when = f" at {answer['at']}" if "at" in answer else ""
    out.print(
        f"A call from {answer['number']}{trunk}{when}: [bold]{verdict}[/], rule {call['rule']}"
    )
    allow = answer["allow"]
    if allow is not None:
        until = allow["expires_at"] or "further notice"
        of = f", appeal {allow['appeal']}" if allow["appeal"] else ""
        say(f"Allowed by {allow['entry']} until {until}: {allow['reason']} ({allow['actor']}{of})")
    for held in answer["lists"]:
        known = _TOLD.get(held["state"]) or (
            f"{held['category']}, confidence now {held['confidence']}, {_until(held)}"
        )
        where = f"{held['list']} (of {held['owner']}, generation {held['generation']})"
        where += f", by its entry {held['prefix']}" if held["prefix"] else ""
        out.print(f"{where}: {held['state']}; {known}", markup=False, soft_wrap=True)
        agreed = held["agreement"]
        if agreed is not None:
            clause = f", {agreed['reference']}" if agreed["reference"] else ""
            may = "only be observed" if held["may"] == "observe" else held["may"]
            say(f"  it may {may} by agreement {agreed['id']}{clause}: {agreed['title']}")
            if agreed["conditions"]:
                say(f"  where its conditions hold: {'; '.join(agreed['conditions'])}")
        elif held["needs_agreement"]:
            say("  no agreement on it is in force: it is only observed")
        for report in held["reports"]:
            out.print(
                f"  {report['source']}: {report['category']}, confidence {report['confidence']}, "
                f"now {report['confidence_now']}, reported {report['reported_at']}, "
                f"{_until(report) if report['live'] else 'expired ' + report['expires_at']}",
                markup=False,
                soft_wrap=True,
            )
        if held["state"] in _HOLD:
            ask = " or ".join(held["ask"]) or (
                f"{held['owner']} (no contact is set: [owners.{held['owner']}] contact)"
            )
            say(f"  to have it taken off, ask {ask}")
    if not answer["lists"]:
        out.print("No list holds it.")
    for name, why_not in answer.get("not_known", {}).items():
        say(f"{name} is not known of then: {why_not}")
    for name in answer["not_asked"]:
        out.print(f"{name} could not be asked: it has no data here")
    if answer.get("history"):
        say("History:")
        print_turns(answer["history"], answer["number"])
    out.print(f"Register: {answer['register']}", markup=False)
