"""Sessions, and how much one page asks of Redis, on a real one."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from typing import Any, cast

import msgspec
import pytest
from redis.asyncio import Redis
from redis.asyncio.client import Pipeline

from stream.config.agreement_files import AgreementFolder
from stream.config.sections import TrunkSection
from stream.config.settings import Settings, load
from stream.core.filters.blocklists import EMPTY_BLOCKLISTS
from stream.edge.http.api.commands import OwnCommands, Ran
from stream.edge.http.appeal_service import AppealService
from stream.edge.http.auth import Auth
from stream.edge.http.tokens import Client, ClientRole, Tokens, digest_of
from stream.lists.store.redis_client import client
from stream.lists.store.settings import ListStoreSettings
from stream.ops.monitor.collect import Monitor
from stream.web import install
from stream.web.page_context import PageParts, opened
from stream.web.sessions import TOUCH_S, Sessions
from tests.support.http_service import TOKENS, NoAppeals, Served, parts_for, serve_settings, served
from tests.support.lists import BY
from tests.support.lists import opened as register_at

TOKEN = "rf_a_token"
IDLE_S, WHOLE_S = 600, 3600


class Clock:
    now_s = 1_764_000_000

    def __call__(self) -> int:
        return self.now_s


class Office:
    """Two processes that keep the same sessions; `tokens` are those that there still are."""

    def __init__(self, *redis: Redis) -> None:
        self.clock = Clock()
        held = ((digest_of(TOKEN), Client("somchai", ClientRole.OPERATOR)),)
        self.auth = Auth(Tokens(held), 30)
        self.here, self.there = (
            Sessions(one, self._still, self.clock, IDLE_S, WHOLE_S) for one in redis
        )

    def _still(self, digest: bytes) -> Client | None:
        return self.auth.still(digest)


@pytest.fixture
async def office(redis_url: str) -> AsyncIterator[Office]:
    async with AsyncExitStack() as stack:
        clients = [client(ListStoreSettings(redis_url, timeout_s=0.5)) for _ in range(2)]
        for one in clients:
            stack.push_async_callback(one.aclose)
        yield Office(*clients)


async def test_a_session_is_known_to_every_process_and_ends_for_all(office: Office, raw) -> None:
    """A session of one worker is valid at the other; after signing out at one, at none. The list
    store has neither cookie nor token.
    """
    cookie = await office.here.begin(TOKEN)
    session, who = await office.there.find(cookie) or (None, None)
    assert who == Client("somchai", ClientRole.OPERATOR)
    (key,) = raw.keys("rf:session:*")
    assert cookie not in f"{key} {raw.get(key)}"
    assert TOKEN not in raw.get(key)
    await office.there.end(cookie)
    assert await office.here.find(cookie) is None
    for nonsense in ("", "x", "é" * 50, "x" * 1000):
        assert await office.here.find(nonsense) is None
    assert session is not None


async def test_a_session_ends_unused_and_in_all(office: Office) -> None:
    """Uses keep it alive up to its whole time; what a page asks by itself is no use."""
    cookie = await office.here.begin(TOKEN)
    for _ in range(WHOLE_S // (IDLE_S - 60)):
        office.clock.now_s += IDLE_S - 60
        assert await office.here.find(cookie) is not None
    office.clock.now_s += IDLE_S - 60
    assert await office.here.find(cookie) is None
    cookie = await office.here.begin(TOKEN)
    for _ in range(3):
        office.clock.now_s += TOUCH_S
        assert await office.here.find(cookie, use=False) is not None
    office.clock.now_s += IDLE_S
    assert await office.here.find(cookie) is None


async def test_a_session_ends_with_its_token(office: Office) -> None:
    """A token that was taken back opens nothing any more, from the next page on."""
    cookie = await office.here.begin(TOKEN)
    office.auth = Auth(Tokens(()), 30)
    assert await office.here.find(cookie) is None
    office.auth = Auth(Tokens(((digest_of(TOKEN), Client("x", ClientRole.VIEWER)),)), 30)
    assert await office.here.find(cookie) is None  # and it does not come back with it


async def test_who_is_signed_in_stays_so_while_redis_is_away(office: Office, raw) -> None:
    """And who signs in meanwhile is known to the others once it is back."""
    cookie = await office.here.begin(TOKEN)
    reading, office.here.redis = office.here.redis, client(ListStoreSettings("redis://127.0.0.1:1"))
    assert await office.here.find(cookie) is not None
    later = await office.here.begin(TOKEN)
    assert await office.here.find(later) is not None
    await office.here.redis.aclose()
    office.here.redis = reading
    assert await office.there.find(later) is None
    assert await office.here.find(later) is not None
    assert await office.there.find(later) is not None
    raw.flushdb()
    assert await office.here.find(cookie) is None


async def test_a_notice_is_told_once(office: Office) -> None:
    """After a change the next page says what was done, and the one after it does not."""
    cookie = await office.here.begin(TOKEN)
    found = await office.here.find(cookie)
    assert found is not None
    await office.here.tell(cookie, found[0], "done")
    told = [await office.there.find(cookie) for _ in range(2)]
    assert [one and one[0].notice for one in told] == ["done", ""]


async def test_a_change_after_a_long_read_keeps_the_session(office: Office) -> None:
    """The next page comes after the command: what was done is shown, and the person stays in."""
    cookie = await office.here.begin(TOKEN)
    office.clock.now_s += IDLE_S - 1
    found = await office.here.find(cookie)
    assert found is not None
    office.clock.now_s += 60  # the command takes so long
    await office.here.tell(cookie, found[0], "done")
    after = await office.there.find(cookie)
    assert after is not None
    assert after[0].notice == "done"


@asynccontextmanager
async def viewing(settings: Settings) -> AsyncIterator[tuple[PageParts, Served, dict[str, str]]]:
    """The pages with no list and no appeals, over HTTP; and the header of a viewer."""
    parts, nobody = parts_for(serve_settings()), cast("AppealService", NoAppeals())
    async with (
        opened(
            settings,
            settings.serve,
            Monitor(()),
            parts.auth,
            AgreementFolder(None),
            nobody,
            lambda: EMPTY_BLOCKLISTS,
        ) as pages,
        served(parts, more=lambda app: install(app, pages)) as http,
    ):
        cookie = await pages.sessions.begin(TOKENS[ClientRole.VIEWER])
        yield pages, http, {"Cookie": f"ringfence={cookie}"}


async def test_a_stream_ends_with_its_token(redis_url: str) -> None:
    """A viewer of the overview sees no figure after the token is revoked."""
    settings = load([], {"RINGFENCE_KAFKA__BOOTSTRAP_SERVERS": "127.0.0.1:1"})
    settings = replace(settings, redis=replace(settings.redis, url=redis_url))
    async with viewing(settings) as (pages, http, headers):
        async with http.client.get("/events", headers=headers) as stream:
            assert await stream.content.readuntil(b"\n\n")
            http.parts.auth.take_up(Tokens(()))
            async with asyncio.timeout(60):
                await stream.content.read()  # to its end
        async with http.client.get("/events", headers=headers) as answer:
            assert answer.status == 401
        pages.live.close()


async def test_a_session_that_ended_ends_its_pages(redis_url: str) -> None:
    """A stream ends with a sign-out elsewhere; a form that came too late says it did nothing; a
    page that loads itself again is no use of the session.
    """
    settings = load([], {"RINGFENCE_KAFKA__BOOTSTRAP_SERVERS": "127.0.0.1:1"})
    settings = replace(settings, redis=replace(settings.redis, url=redis_url))
    async with viewing(settings) as (pages, http, headers):
        cookie = headers["Cookie"].partition("=")[2]
        begun = await pages.sessions.find(cookie, use=False)
        assert begun is not None
        pages.sessions.now_s = lambda: begun[0].seen_at_s + 2 * TOUCH_S
        async with http.client.get("/?span=hour", headers=headers) as page:
            again = (await page.text()).partition('content="10; url=')[2].partition('"')[0]
        used = await pages.sessions.find(cookie, use=False)
        assert used is not None
        pages.sessions.now_s = lambda: used[0].seen_at_s + 2 * TOUCH_S
        await (await http.client.get(again.replace("&amp;", "&"), headers=headers)).read()
        assert again
        assert await pages.sessions.find(cookie, use=False) == used
        async with http.client.get("/events", headers=headers) as stream:
            assert await stream.content.readuntil(b"\n\n")
            await pages.sessions.end(cookie)
            async with asyncio.timeout(60):
                await stream.content.read()  # to its end
        sent: dict[str, Any] = {"headers": headers | {"Referer": f"{http.address}/lists/KH/scam"}}
        sent |= {"data": {"reason": "a hospital"}, "allow_redirects": False}
        async with http.client.post("/number/allow", **sent) as answer:
            where = answer.headers["Location"]
        assert where == "/sign-in?next=%2Flists%2FKH%2Fscam&undone=1"
        async with http.client.get(where) as form:
            assert "so nothing was changed" in await form.text()
        async with http.client.post("/sign-out", **sent) as answer:
            assert answer.headers["Location"] == "/sign-in"
        pages.live.close()


async def test_a_page_of_many_lists_asks_no_more_than_one_of_few(
    redis_url, tmp_path, monkeypatch
) -> None:
    """Twenty times as many lists: the same number of questions to Redis, and fifty rows."""
    asked = []
    one, many = Redis.execute_command, Pipeline.execute

    async def counted(self, *args, **options):
        asked.append(args[0])
        return await one(self, *args, **options)

    async def piped(self, *args, **options):
        asked.append("pipeline")
        return await many(self, *args, **options)

    (tmp_path / "feeds").mkdir()
    settings = load([], {})
    settings = replace(
        settings,
        redis=replace(settings.redis, url=redis_url),
        feeds=replace(settings.feeds, dir=str(tmp_path / "feeds")),
    )
    async with register_at(redis_url) as register, viewing(settings) as (_, http, headers):
        counts = []
        for upto in (5, 200):
            for number in range(upto):
                await register.create(f"TH/list-{number:04d}", "plain", BY)
            await (await http.client.get("/lists", headers=headers)).read()  # connects
            with monkeypatch.context() as patch:
                patch.setattr(Redis, "execute_command", counted)
                patch.setattr(Pipeline, "execute", piped)
                async with http.client.get("/lists", headers=headers) as answer:
                    page = await answer.text()
            counts.append(len(asked))
            asked.clear()
        assert page.count('<th scope="row">') == 50
        assert "1 to 50 of 200" in page
        assert counts[0] == counts[1] <= 8


async def test_a_number_with_a_long_history_is_explained_as_on_its_trunk(
    redis_url, monkeypatch
) -> None:
    """All lines of the command's JSON are read; a number that is dialled is one of its trunk."""
    turn = {"list": "TH/national", "generation": 7, "at": "2026-11-25T14:00:00Z", "entry": ""}
    turn |= {"what": "renewed", "how": "add", "actor": "me", "reason": "again", "reports": []}
    call: dict[str, object] = {"verdict": "allow", "would": None, "rule": "none", "turned": []}
    call["trunk"] = "la-1"
    why = {
        "number": "+85620123456",
        "lists": [],
        "not_asked": [],
        "allow": None,
        "call": call,
        "register": "in agreement",
        "decided": {"decisions": [], "why": "", "looked_back": 9, "whole": True},
        "sinks": {"key": {"held": None, "why": ""}, "why": ""},
        "history": [turn] * 200,
    }
    lines = tuple(msgspec.json.format(msgspec.json.encode(why)).decode().splitlines())
    asked: list[Sequence[str]] = []

    async def ran(_: OwnCommands, words: Sequence[str], first: int, count: int) -> Ran:
        asked.append(words)
        return Ran(0, lines[first : first + count], len(lines), "")

    monkeypatch.setattr(OwnCommands, "_run", ran)
    settings = load([], {"RINGFENCE_KAFKA__BOOTSTRAP_SERVERS": "127.0.0.1:1"})
    trunks = {"la-1": TrunkSection(country="LA", international_prefix="999")}
    settings = replace(settings, redis=replace(settings.redis, url=redis_url), trunks=trunks)
    async with register_at(redis_url), viewing(settings) as (pages, http, headers):
        found = await pages.sessions.find(headers["Cookie"].partition("=")[2])
        assert found is not None
        async with http.client.delete("/number") as answer:  # in no description of routes
            assert answer.headers["allow"] == "GET, HEAD, POST"
        by_uri = "tel:7700900102;isub=12345;phone-context=+44"  # its country is at its end
        for number in ("02012345678", "999447700900101", by_uri):
            form = {"csrf": found[0].csrf, "number": number, "trunk": "la-1"}
            async with http.client.post("/number", data=form, headers=headers) as answer:
                assert (answer.status, (await answer.text()).count("again")) == (200, 200)
    asked_for = [words[-1] for words in asked]
    assert asked_for == ["+8562012345678", "+447700900101", "+447700900102"]
