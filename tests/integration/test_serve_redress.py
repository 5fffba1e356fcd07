"""Decisions by their id and appeals over HTTP, on a real Redis."""

import asyncio
import socket
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import msgspec
import numpy as np
import pytest
from prometheus_client import CollectorRegistry

from stream.appeals.actions import AppealContext
from stream.appeals.appeal_store import AppealStore
from stream.core.model.agreement import Agreements
from stream.core.model.decision import Decision, Reason
from stream.core.model.errors import ListStoreDown
from stream.core.model.moments import rfc3339_ms
from stream.core.numbers.number import masked
from stream.core.policy.policy import PolicySettings, compile_policy
from stream.edge.http import decision_store
from stream.edge.http.appeal_service import AppealService
from stream.edge.http.auth import RateLimit
from stream.edge.http.decision_store import DAY_S, DecisionStore, PreloadedDecisions
from stream.edge.http.tokens import ClientRole
from stream.edge.sinks.number_policy import NumberPolicy
from stream.edge.sinks.preload_ids import NumberIds
from stream.edge.sinks.proxy_redis import number_ids
from stream.kafka.batch import Partition, RawBatch, Segment
from stream.lists.store.list_store import ListStore
from stream.lists.store.redis_client import client
from stream.lists.store.settings import ListStoreSettings
from stream.ops.clock import now_ms
from stream.ops.metrics.http_catalogue import ServeMetrics
from stream.ops.tasks import running
from tests.support.builders import blocklists, live
from tests.support.http_service import Served, bearer, parts_for, serve_settings, served
from tests.support.lists import NAME, ONE
from tests.support.waiting import HANGS_S

ID = "4F7K2M9QX1RZC"
HTML = {"Accept": "text/html"}


def decided(decision_id: str = ID, *, ago_s: int = 0, **changed: Any) -> bytes:
    """A decision as it lies on the topic."""
    reason = Reason(
        list=NAME, category="parcel", confirmed=True, confidence=80, generation=2, expires_at=None
    )
    at = rfc3339_ms(now_ms() - ago_s * 1000)
    decision = Decision(
        decision_id=decision_id,
        verdict="block",
        simulated=False,
        rule=f"list:{NAME}",
        number=ONE,
        role="caller",
        call_id="c-1",
        caller=ONE,
        callee="+447700900123",
        reasons=[reason],
        sip=None,
        called_at=None,
        decided_at=at,
        expires_at=at,
        origin="calls/0/1",
    )
    return msgspec.json.encode(msgspec.structs.replace(decision, **changed))


def batch(*values: bytes) -> RawBatch:
    count = len(values)
    segment = Segment(Partition("decisions", 0), 0, count)
    return RawBatch(values, np.arange(count), np.zeros(count, np.int64), (segment,), 1)


@pytest.fixture
async def kept(redis_url: str) -> AsyncIterator[DecisionStore]:
    redis = client(ListStoreSettings(redis_url))
    kept = DecisionStore(redis, ServeMetrics(CollectorRegistry()), days=3, count_max=100)
    yield kept
    await kept.close()


@pytest.fixture
async def http(redis_url: str, kept: DecisionStore) -> AsyncIterator[Served]:
    settings = ListStoreSettings(redis_url)
    async with AppealStore.open(settings, kept_days=730) as store:
        redress = AppealService(
            decisions=kept,
            store=store,
            connect=lambda: ListStore.connect(settings),
            context=lambda: AppealContext("TH", {"plain": b""}, Agreements(()), 7200),
            contacts={NAME.partition("/")[0]: "unblock@cert.example"},
            rate_limit=RateLimit(60),
        )
        async with served(parts_for(serve_settings(), appeals=redress)) as running:
            yield running


async def test_what_did_something_is_kept_and_only_its_number(kept, raw) -> None:
    """Blocks, flags and simulated ones are found again; allowed calls and nonsense are not kept,
    nor is the called number.
    """
    values = [
        decided(),
        decided("FLAGGED", verdict="flag"),
        decided("TRIED", verdict="allow", simulated=True, would="block"),
        decided("PASSED", verdict="allow"),
        b"nonsense",
        b"{}",
    ]
    await kept.deliver(batch(*values))
    await kept.deliver(batch(*values))  # at least once: the same again
    found = await kept.find(ID)
    assert found is not None
    assert (found.number, found.callee, found.reasons[0].list) == (ONE, "+4477***0123", NAME)
    assert [(await kept.find(name)) is not None for name in ("FLAGGED", "TRIED")] == [True, True]
    assert [await kept.find(name) for name in ("PASSED", "", "é", "x" * 99)] == [None] * 4
    (key,) = raw.keys("rf:decided:*")
    assert 0 < raw.ttl(key) <= 4 * DAY_S
    assert b"900123" not in b"".join((await kept.redis.hgetall(key)).values())


async def test_the_last_decisions_of_lookups_are_kept(kept, raw, monkeypatch) -> None:
    """A process that ends writes those that wait, and those whose write it interrupted."""
    monkeypatch.setattr(decision_store, "_WRITE_S", 0.0)
    writing = asyncio.Event()

    async def hangs(*_: object) -> None:
        writing.set()
        await asyncio.Event().wait()

    with monkeypatch.context() as patched:
        patched.setattr(DecisionStore, "keep", hangs)
        async with running(kept.run(), "asked"):
            kept.asked([decided("FIRST")])
            await writing.wait()
            kept.asked([decided("SECOND")])
    await kept.close()
    (key,) = raw.keys("rf:decided:*")
    assert set(raw.hkeys(key)) == {"FIRST", "SECOND"}


async def test_a_redis_that_hangs_does_not_hold_up_the_end(caplog) -> None:
    """The process ends within its grace, and says what it could not write."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        redis = client(ListStoreSettings(f"redis://127.0.0.1:{port}/0", timeout_s=10 * HANGS_S))
        kept = DecisionStore(redis, ServeMetrics(CollectorRegistry()), days=3, count_max=100)
        kept.asked([decided()])
        async with asyncio.timeout(HANGS_S):
            await kept.close()
    assert "1 decisions of lookups were not stored by id" in caplog.text


async def test_what_is_behind_a_preloaded_keys_id(http, kept) -> None:
    """The number is read out of the id, and judged now: its page has the list, and an appeal can be
    made; a prefix's has the list. Not the id of a number that may call, nor another register's.
    """
    lists = blocklists(live(NAME, ONE, "+8552390*"))
    judge = NumberPolicy(lists, compile_policy(PolicySettings(), lists.names))
    http.parts.appeals.preloaded = PreloadedDecisions(kept.redis, lambda: judge)
    names = await number_ids(kept.redis)
    mine, ranged, free = names.ids([ONE, "+8552390*", "+447700900999"])
    async with http.client.get(f"/v1/decisions/{mine}") as answer:
        said = await answer.json()
    assert (said["verdict"], said["number"]) == ("block", masked(ONE))
    assert [one["list"] for one in said["because"]] == [NAME]
    asked = {"decision_id": mine, "contact": "me@carrier.example", "reason": "our customer"}
    async with http.client.post("/v1/appeals", json=asked) as answer:
        assert answer.status == 201
    async with http.client.get(f"/v1/decisions/{ranged}", headers=HTML) as answer:
        page = await answer.text()
        assert (answer.status, NAME in page, masked("+8552390*") in page) == (200, True, True)
        assert "None" not in page
    async with http.client.post("/v1/appeals", json=asked | {"decision_id": ranged}) as answer:
        assert (answer.status, "a range" in await answer.text()) == (409, True)
    for unknown in (free, *NumberIds(b"k" * 16).ids([ONE])):
        async with http.client.get(f"/v1/decisions/{unknown}") as answer:
            assert answer.status == 404


async def test_of_one_day_the_newest_decisions_stay(kept, raw) -> None:
    """Beyond the number its older ones go, never all; also where two processes write."""
    other = DecisionStore(kept.redis, ServeMetrics(CollectorRegistry()), days=3, count_max=100)
    for n in range(0, 300, 10):
        some = batch(*(decided(f"D{m}") for m in range(n, n + 10)))
        await asyncio.gather(kept.deliver(some), other.deliver(some))
        newest = [f"D{m}" for m in range(max(0, n - 30), n + 10)]
        assert None not in [await kept.find(name) for name in newest]
        assert sum(map(raw.hlen, raw.keys("rf:decided:*"))) <= 110
    assert await kept.find("D0") is None
    assert all(0 < raw.ttl(key) <= 4 * DAY_S for key in raw.keys("rf:decided:*"))


async def test_the_copy_is_bounded_by_days_and_number(kept, raw) -> None:
    """A decision from before is not kept; of too many the oldest day goes, today's stay."""
    await kept.deliver(batch(decided("OLD", ago_s=5 * DAY_S), decided("BEFORE", ago_s=DAY_S)))
    assert await kept.find("OLD") is None
    assert await kept.find("BEFORE") is not None
    await kept.deliver(batch(*(decided(f"D{n}") for n in range(100))))
    assert await kept.find("BEFORE") is None
    assert await kept.find("D99") is not None


async def test_lookups_are_kept_without_waiting(kept) -> None:
    """A call that a lookup blocked is found by its id too; an allowed call is not."""
    kept.asked([decided(), decided("PASSED", verdict="allow")])
    await kept.keep([])
    writing = kept._asked
    assert [b"PASSED" in value for value in writing] == [False]


async def test_the_way_back(http: Served, register: ListStore, kept: DecisionStore) -> None:
    """A blocked caller reads the reason and appeals once; the operator's answer is shown."""
    await kept.deliver(batch(decided()))
    ask, client = f"/v1/decisions/{ID}", http.client
    async with client.get(ask) as answer:
        said = await answer.json()
        assert (said["number"], said["appeal"]) == ("+6681***5671", None)
        assert said["because"][0]["contact"] == "unblock@cert.example"
    async with client.get(ask, headers=HTML) as answer:
        page = await answer.text()
        assert "This call was blocked" in page
        assert "unblock@cert.example" in page
        assert ONE not in page
        assert "900123" not in page
    asked = {"decision_id": ID, "contact": "a@b.example", "reason": "<script>a clinic"}
    async with client.post("/v1/appeals", json=asked) as answer:
        made = await answer.json()
        assert (answer.status, answer.headers["Location"]) == (
            201, f"/v1/appeals/{made['appeal_id']}",
        )  # fmt: skip
    async with client.post(
        "/v1/appeals", data=asked, headers=HTML, allow_redirects=False
    ) as answer:
        assert (answer.status, answer.headers["Location"]) == (
            303, f"/v1/appeals/{made['appeal_id']}",
        )  # fmt: skip
    one, viewer = f"/v1/appeals/{made['appeal_id']}", bearer(ClientRole.VIEWER)
    async with client.get("/v1/appeals", headers=viewer) as answer:
        assert [each["appeal_id"] for each in await answer.json()] == [made["appeal_id"]]
    async with client.get("/v1/appeals", headers={**viewer, **HTML}) as answer:
        assert made["appeal_id"] in await answer.text()
    statuses = []
    for headers, path, body in (
        ({}, "redress", {"comment": "right"}),
        (viewer, "redress", {"comment": "right"}),
        (bearer(ClientRole.OPERATOR), "redress", {"comment": ""}),
        (bearer(ClientRole.OPERATOR), "burn", {"comment": "right"}),
        (bearer(ClientRole.OPERATOR), "redress", {"comment": "right"}),
        (bearer(ClientRole.OPERATOR), "reject", {"comment": "late"}),
    ):
        async with client.post(f"{one}/{path}", json=body, headers=headers) as answer:
            statuses.append(answer.status)
    assert statuses == [401, 403, 400, 400, 200, 409]
    async with client.get(one) as answer:
        told = await answer.json()
        assert (told["state"], told["comment"], told["overdue"]) == ("redressed", "right", False)
    async with client.get(one, headers=HTML) as answer:
        assert "The block was lifted" in await answer.text()
    _, allowed = await register.allow_all()
    assert [entry.text for entry in allowed] == [ONE]


async def test_what_is_not_there_and_who_asks_too_much(http: Served) -> None:
    """Unknown ids are 404, odd bodies 400 or 415; beyond so many a minute it is 429."""
    client = http.client
    for path in ("/v1/decisions/NEVER", "/v1/appeals/A-NEVER"):
        async with client.get(path) as answer:
            assert answer.status == 404
        async with client.get(path, headers=HTML) as answer:
            assert (answer.status, answer.content_type) == (404, "text/html")
    for body, kind, wanted in (
        (b"{}", "application/json", 400),
        (b"decision_id=NEVER&x=1", "application/x-www-form-urlencoded", 400),
        (b"decision_id=NEVER", "application/x-www-form-urlencoded", 404),
        (b"x", "text/plain", 415),
        (b'{"decision_id":"NEVER","reason":"%b"}' % (b"x" * 2000), "application/json", 400),
    ):
        sent = {"Content-Type": kind}
        async with client.post("/v1/appeals", data=body, headers=sent) as answer:
            assert answer.status == wanted
    http.parts.appeals.rate_limit = RateLimit(1)
    statuses = []
    for _ in range(2):
        async with client.get("/v1/decisions/NEVER") as answer:
            statuses.append(answer.status)
    assert statuses == [404, 429]


async def test_without_the_register_it_says_so(http: Served) -> None:
    """503 with Retry-After, not a wrong 404."""
    gone = client(ListStoreSettings("redis://127.0.0.1:1/0", timeout_s=0.2))
    http.parts.appeals.decisions = replace(http.parts.appeals.decisions, redis=gone)
    async with http.client.get(f"/v1/decisions/{ID}") as answer:
        assert (answer.status, answer.headers["Retry-After"]) == (503, "1")
    with pytest.raises(ListStoreDown):
        await http.parts.appeals.decisions.find(ID)
    await gone.aclose()
