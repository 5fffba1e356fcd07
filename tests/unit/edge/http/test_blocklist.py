"""The blocklist is what the engine would block, whole or by what changed, in bounded portions."""

import json
import zlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import cramjam
import pytest

from stream.config.settings import load
from stream.core.filters.blocklists import Blocklists
from stream.core.filters.overlay import Change
from stream.core.model.agreement import Agreements
from stream.core.model.allowlist import AllowEntry, Allowlist
from stream.core.model.decision import Action
from stream.core.policy.policy import ListPolicy, PolicySettings, compile_bounded
from stream.core.policy.rules import RuleSettings, RuleState, RuleStates
from stream.edge.http import blocklist as module
from stream.edge.http.blocklist import BlockedNumber, Blocklist
from stream.edge.http.blocklist_routes import coding_of
from stream.edge.http.tokens import ClientRole
from stream.edge.sinks.number_policy import NumberPolicy
from stream.ops.health_server import Readiness
from tests.support.builders import NOW_S, blocklists, entry, live
from tests.support.http_service import bearer, parts_for, serve_settings, served

FIRST = [f"+4477009001{n:02d}" for n in range(20)]
SECOND = [f"+4477009001{n:02d}" for n in range(10, 40)]
DAY_S = 86_400
CLINIC, IN_RANGE, SPARED = FIRST[3], "+447700900350", "+447700900351"


def lists(*changes: Change) -> Blocklists:
    held = blocklists(
        live("XA/first", *FIRST),
        live("XB/second", *SECOND, "+4477009003*"),
        live("XC/flags", "+447700900200"),
        allow=Allowlist.of(
            [AllowEntry(CLINIC, "clinic", "ops", NOW_S), AllowEntry(SPARED, "x", "ops", NOW_S)]
        ),
    )
    return held.with_changes("XA/first", list(changes), 2, NOW_S) if changes else held


class Place:
    """A blocklist whose lists are in our hands."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(module, "now_s", lambda: NOW_S)
        policy = load([], {}).policy
        settings = PolicySettings(
            default=policy.default,
            lists={"XC/flags": ListPolicy(Action.FLAG, Action.FLAG, 0, 1)},
            rules=RuleSettings(
                RuleStates(home_number_from_abroad=RuleState.OFF, invalid_caller=RuleState.OFF)
            ),
            unasked=Action.OBSERVE,
            decision_ttl_s=3600,
        )
        self.lists = lists()
        self.policy = compile_bounded(settings, self.lists.names, Agreements(()), "TH", NOW_S)
        self._judge = NumberPolicy(self.lists, self.policy)
        self.blocklist = Blocklist(self.judge)
        self.blocklist.look()

    def judge(self) -> NumberPolicy:
        if self._judge.blocklists is not self.lists or self._judge.policy is not self.policy:
            self._judge = NumberPolicy(self.lists, self.policy)
        return self._judge

    async def whole(self) -> list[BlockedNumber]:
        return [item async for items in self.blocklist.whole() for item in items]


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch) -> Place:
    return Place(monkeypatch)


async def test_the_whole_list_is_what_would_be_blocked(place, monkeypatch) -> None:
    """Each number once, whichever lists hold it; a prefix, and who may pass in it; no others."""
    monkeypatch.setattr(module, "ROWS", 7)
    place.lists = lists(Change(*change_of("+447700900190")))
    found = await place.whole()
    blocked = {item.text for item in found if item.why is not None}
    allowed = {item.text for item in found if item.why is None}
    assert blocked == {*FIRST, *SECOND, "+447700900190", "+4477009003*"} - {CLINIC}
    assert allowed == {SPARED}
    assert len(found) == len(blocked) + len(allowed)


def change_of(number: str, *, listed: bool = True, **fields: Any) -> tuple[Any, ...]:
    """A change that puts a number on a list, or takes it off."""
    made = entry(number, **fields)
    return (made.fingerprint, (made,) if listed else ())


async def test_changes_since_a_cursor(place) -> None:
    """The changes since then; nothing since now; the whole list for an older or foreign cursor."""
    before = place.blocklist.cursor
    place.lists = place.lists.with_changes(
        "XA/first",
        [Change(*change_of("+447700900190")), Change(*change_of(FIRST[0], listed=False))],
        3,
        NOW_S,
    )
    place.blocklist.look()
    changed = place.blocklist.since(before)
    assert [item.text for item in changed.items] == ["+447700900190"]
    assert changed.removed == [FIRST[0]]
    now = place.blocklist.since(place.blocklist.cursor)
    assert (now.items, now.removed) == ([], [])
    assert place.blocklist.since("00000000-1") is None
    assert place.blocklist.since(before + "9") is None


async def test_a_list_that_is_too_old_by_now_has_clients_read_the_whole_again(
    place, monkeypatch
) -> None:
    """Beyond `age_s_max` a list blocks none of its numbers; compared again, it blocks them all."""
    settings = replace(
        place.policy.settings, default=replace(place.policy.settings.default, age_s_max=60)
    )
    place.policy = compile_bounded(settings, place.lists.names, Agreements(()), "TH", NOW_S)
    place.lists = place.lists.synced(NOW_S)
    place.blocklist.look()
    before = place.blocklist.cursor
    for later_s, blocked in ((60, True), (61, False)):
        monkeypatch.setattr(module, "now_s", lambda at_s=NOW_S + later_s: at_s)
        place.blocklist.look()
        assert (place.blocklist.cursor == before) is blocked
        assert any(item.why for item in await place.whole()) is blocked
    old = place.blocklist.cursor
    assert place.blocklist.since(before) is None
    place.lists = place.lists.synced(NOW_S + 61)
    place.blocklist.look()
    assert place.blocklist.since(old) is None
    assert any(item.why for item in await place.whole())


async def test_what_time_alone_changed_is_a_change(place, monkeypatch) -> None:
    """Numbers of which too little confidence is left, one that a second list goes on holding, one
    that an allow entry spared until now; not those whose last report ended.
    """
    default = replace(place.policy.settings.default, confidence_min=50)
    settings = replace(place.policy.settings, default=default)
    fading, sure, ending, both, freed = SECOND[20:25]
    later_s = NOW_S + 5 * DAY_S
    until: Any = {"reported_at_s": later_s, "expires_at_s": later_s - 1}
    held = blocklists(
        live("XA/first", sure, freed, reported_at_s=later_s),
        live("XB/second", fading),
        live("XC/flags"),
        live("XD/last", both, reported_at_s=later_s),
        allow=Allowlist.of([AllowEntry(freed, "x", "ops", NOW_S, later_s)]),
    )
    ends = [Change(*change_of(one, **until)) for one in (ending, both)]
    place.lists = held.with_changes("XA/first", ends, 2, NOW_S)
    place.policy = compile_bounded(settings, place.lists.names, Agreements(()), "TH", NOW_S)
    place.blocklist.look()
    before = place.blocklist.cursor
    assert {one.text for one in await place.whole()} == {fading, sure, ending, both}
    await place.blocklist.sweep()
    assert place.blocklist.cursor == before
    monkeypatch.setattr(module, "now_s", lambda: later_s)
    await place.blocklist.sweep()
    changed = place.blocklist.since(before)
    assert [(one.text, one.why.list) for one in changed.items] == [
        (both, "XD/last"),
        (freed, "XA/first"),
    ]
    assert changed.removed == [fading]


async def test_a_prefix_that_time_alone_took_off_has_the_whole_list_read(
    place, monkeypatch
) -> None:
    """Numbers below it may be blocked otherwise now."""
    default = replace(place.policy.settings.default, confidence_min=50)
    settings = replace(place.policy.settings, default=default)
    place.policy = compile_bounded(settings, place.lists.names, Agreements(()), "TH", NOW_S)
    place.blocklist.look()
    before = place.blocklist.cursor
    monkeypatch.setattr(module, "now_s", lambda: NOW_S + 5 * DAY_S)
    await place.blocklist.sweep()
    assert place.blocklist.since(before) is None


async def test_lists_that_were_only_compared_are_no_change(place) -> None:
    """Each comparison with the list store makes new lists: no memory grows, no cursor moves."""
    before = place.blocklist.cursor
    for seconds in range(10, 40, 10):
        place.lists = place.lists.synced(NOW_S + seconds)
        place.blocklist.look()
    assert (place.blocklist.cursor, len(place.blocklist._changes)) == (before, 0)
    place.lists = place.lists.with_changes(
        "XA/first", [Change(*change_of("+447700900190"))], 3, NOW_S
    )
    place.blocklist.look()
    assert place.blocklist.cursor != before
    assert [item.text for item in place.blocklist.since(before).items] == ["+447700900190"]


async def test_what_can_not_be_told_by_number_is_told_whole(place, monkeypatch) -> None:
    """A new base, a prefix, another policy, or more changes than are remembered."""
    before = place.blocklist.cursor
    place.lists = place.lists.with_changes(
        "XB/second", [Change(*change_of("+4477009005*"))], 3, NOW_S
    )
    place.blocklist.look()
    assert place.blocklist.since(before) is None
    before = place.blocklist.cursor
    place.policy = compile_bounded(
        load([], {}).policy.settings(), place.lists.names, Agreements(()), "TH", NOW_S
    )
    place.blocklist.look()
    assert place.blocklist.since(before) is None
    before = place.blocklist.cursor
    monkeypatch.setattr(module, "CHANGES_MAX", 1)
    for number in ("+447700900191", "+447700900192"):
        place.lists = place.lists.with_changes("XA/first", [Change(*change_of(number))], 3, NOW_S)
        place.blocklist.look()
    assert place.blocklist.since(before) is None


@pytest.mark.parametrize(
    ("accepted", "coding"),
    [
        ("", ""),
        ("gzip", "gzip"),
        ("gzip, zstd;q=0.5", "zstd"),
        ("zstd;q=0, GZIP", "gzip"),
        ("*", "zstd"),
        ("br, identity", ""),
    ],
)
def test_the_coding_is_one_that_is_taken(accepted: str, coding: str) -> None:
    """The best that the client names, or none."""
    assert coding_of(accepted) == coding


async def test_a_number_that_ended_by_itself_is_not_hidden_by_an_etag(place, monkeypatch) -> None:
    """Its list has not changed: a 304 for the list as it was would block the number for ever."""
    number = "+447700900190"
    ends = entry(number, expires_at_s=NOW_S + 5)
    place.lists = lists(Change(ends.fingerprint, (ends,)))
    async with served(parts_for(serve_settings(), blocklist=place.blocklist)) as http:

        async def get(tag: str) -> tuple[int, str, str]:
            sent = {**bearer(ClientRole.SWITCH), "If-None-Match": tag}
            path = "/v1/blocklist?format=text"
            async with http.client.get(path, headers=sent) as answer:
                return answer.status, answer.headers["ETag"], await answer.text()

        status, tag, body = await get("")
        assert (status, number in body) == (200, True)
        assert (await get(tag))[0] == 304
        monkeypatch.setattr(module, "now_s", lambda: NOW_S + 5 + module.TAG_S)
        status, _, body = await get(tag)
        assert (status, number in body) == (200, False)


async def test_the_route(place) -> None:
    """Forms, compression, ETag, cursor and roles; never an empty list for one not loaded."""
    parts = parts_for(serve_settings(), blocklist=place.blocklist)
    unpack: dict[str, Callable[[bytes], bytes]] = {
        "gzip": lambda data: zlib.decompress(data, 31),
        "zstd": lambda data: bytes(cramjam.zstd.decompress(data)),
        "identity": bytes,
    }
    async with served(parts) as http:

        async def get(query: str = "", **headers: str) -> tuple[Any, bytes]:
            sent = {**bearer(ClientRole.SWITCH), "Accept-Encoding": "identity", **headers}
            async with http.client.get(
                f"/v1/blocklist{query}", headers=sent, auto_decompress=False
            ) as answer:
                data = await answer.read()
                coding = answer.headers.get("Content-Encoding", "identity")
                return answer, unpack[coding](data)

        answer, body = await get()
        whole = json.loads(body)
        assert whole["full"]
        assert len(whole["items"]) == 41
        for coding in ("gzip", "zstd"):
            packed, data = await get(**{"Accept-Encoding": coding})
            assert packed.headers["Content-Encoding"] == coding
            assert json.loads(data) == whole
        same, body = await get(**{"If-None-Match": answer.headers["ETag"]})
        assert (same.status, body) == (304, b"")
        _, body = await get(f"?since={whole['cursor']}")
        assert json.loads(body) == {
            "full": False, "cursor": whole["cursor"], "items": [], "removed": [],
        }  # fmt: skip
        _, body = await get("?format=text")
        lines = body.decode().splitlines()
        assert {FIRST[0], "+4477009003*", f"!{SPARED}"} <= set(lines)
        _, body = await get("?format=kamailio-htable")
        assert f"{FIRST[0]}:0:0:block XA/first:0" in body.decode().splitlines()
        assert "*" not in body.decode()
        _, body = await get("?format=kamailio-mtree")
        assert body.decode().splitlines()[1:] == ["4477009003:block XB/second"]
        assert (await get("?since=x%0d%0a"))[0].status == 400
        assert (await get("?format=xml"))[0].status == 400
        assert (await get(Authorization="Bearer x"))[0].status == 401
        parts.readiness = lambda: Readiness(("the lists are not loaded yet",))
        assert (await get())[0].status == 503
