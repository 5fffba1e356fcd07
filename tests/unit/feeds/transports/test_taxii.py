"""TAXII servers that page as they should not: nothing is lost, and nothing goes on for ever."""

import json
from collections.abc import Callable
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from stream.core.model.errors import FeedFault
from stream.feeds.transports.taxii import TaxiiSettings, TaxiiTransport
from stream.feeds.transports.transport import Fetched, Unchanged
from tests.support.scripted_web import ScriptedWeb, ok
from tests.support.web_server import Fetch, refused

TYPE = "Content-Type: application/taxii+json;version=2.1"
Objects = list[tuple[str, str]]
"""When it was added, and its id."""


def page(objects: Objects, *headers: str, **more: object) -> bytes:
    """A page, with the date of its last object."""
    body = json.dumps({"objects": [{"id": name} for _, name in objects], **more})
    dates = [f"X-TAXII-Date-Added-Last: {objects[-1][0]}"] if objects else []
    return ok(body.encode(), *(headers or (TYPE,)), *dates)


@pytest.fixture
def fetch(web: ScriptedWeb, into: Path) -> Fetch:
    """Fetches from a server whose answer is a function of the query."""

    async def fetch(answer: Callable[[dict[str, str]], bytes], remembered=None, **fields):
        async def answered(writer) -> None:
            query = parse_qs(urlsplit(web.asked[-1].split()[1]).query)
            writer.write(answer({name: values[0] for name, values in query.items()}))
            await writer.drain()

        web.answers["/c/objects/"] = answered
        settings = TaxiiSettings(url=web.url("/c"), **{"answer_s": 20.0, **fields})
        return await TaxiiTransport(settings, {}).fetch(remembered or {}, into)

    return fetch


def ids(into: Path) -> list[str]:
    return [one["id"] for one in json.loads(into.read_bytes())["objects"]]


def without_next(objects: Objects, *, inclusive: bool = False) -> Callable[[dict[str, str]], bytes]:
    """A server that pages by dates alone, as TAXII 2.1 allows."""

    def answer(query: dict[str, str]) -> bytes:
        after = query.get("added_after", "")
        left = [one for one in objects if one[0] > after or (inclusive and one[0] == after)]
        limit = int(query["limit"])
        return page(left[:limit], more=len(left) > limit)

    return answer


DATES = [f"2026-01-01T00:00:0{n // 3}.000000Z" for n in range(12)]
TIED = [(date, f"indicator--{n}") for n, date in enumerate(DATES)]


@pytest.mark.parametrize("limit", [4, 5, 7, 100])
async def test_dates_that_many_have_lose_nothing(limit: int, fetch: Fetch, into: Path) -> None:
    """Where a page ends among objects of one date, and the next may only be asked for by date."""
    assert isinstance(await fetch(without_next(TIED), limit=limit), Fetched)
    assert ids(into) == [name for _, name in TIED]


async def test_a_server_for_which_after_means_from_comes_to_an_end(
    fetch: Fetch, into: Path
) -> None:
    """Several do so, and clients have looped over them for ever (OpenCTI connectors issue 7604)."""
    first = await fetch(without_next(TIED, inclusive=True), limit=5, overlap_s=0)
    assert isinstance(first, Fetched)
    assert ids(into) == [name for _, name in TIED]
    into.unlink()
    again = await fetch(without_next(TIED, inclusive=True), first.remember, overlap_s=0)
    assert isinstance(again, Unchanged)


async def test_more_of_one_date_than_a_page_holds_is_named(fetch: Fetch, into: Path) -> None:
    """No question by date could get behind them: the limit is said."""
    doing = fetch(without_next(TIED), limit=3)
    assert "limit = 3; raise it" in (await refused(doing, FeedFault.PROTOCOL, into)).detail


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (lambda _: page(TIED[:2], more=True, next="x"), "answered 3 pages with nothing new"),
        (lambda _: page([], more=True, next="x"), "answered 3 pages with nothing new"),
        (lambda _: page([], more=True), "and not how to ask for it"),
        (lambda _: ok(b"{", TYPE), "does not answer as TAXII 2.1 has it"),
        (lambda _: ok(b'{"objects": {}}', TYPE), "does not answer as TAXII 2.1 has it"),
        (lambda _: ok(b"[" * 9000, TYPE), "does not answer as TAXII 2.1 has it"),
        (lambda _: page(TIED, "Content-Type: application/json"), "speaks no TAXII 2.1"),
        (
            lambda _: page(TIED, "Content-Type: application/vnd.oasis.taxii+json; version=2.0"),
            'its Content-Type is "application/vnd.oasis.taxii+json; version=2.0"',
        ),
    ],
    ids=["same page", "empty page", "no next", "no JSON", "no list", "deep", "JSON", "TAXII 2.0"],
)
async def test_what_does_not_go_on_is_named(
    answer: Callable[[dict[str, str]], bytes], text: str, fetch: Fetch, into: Path
) -> None:
    """Pages without an end or without a way on, and other protocols."""
    assert text in (await refused(fetch(answer), FeedFault.PROTOCOL, into)).detail


async def test_pages_without_an_end_meet_the_limit(
    web: ScriptedWeb, fetch: Fetch, into: Path
) -> None:
    """Each of them with another object."""

    def answer(_query: dict[str, str]) -> bytes:
        return page([(DATES[0], f"indicator--{len(web.asked):09}")], more=True, next="x")

    await refused(fetch(answer, bytes_max=2000), FeedFault.TOO_LARGE, into)


async def test_a_page_that_comes_twice_counts_once(
    web: ScriptedWeb, fetch: Fetch, into: Path
) -> None:
    """A server that repeats itself makes no object twice."""

    def answer(_query: dict[str, str]) -> bytes:
        place = max(0, len(web.asked) - 2)
        return page(TIED[place : place + 1], more=place < 2, next="x")

    assert isinstance(await fetch(answer), Fetched)
    assert ids(into) == [name for _, name in TIED[:3]]


async def test_a_failure_on_the_way_moves_nothing(
    web: ScriptedWeb, fetch: Fetch, into: Path
) -> None:
    """Half of the pages are no version: the next fetch begins where this one began."""

    def answer(query: dict[str, str]) -> bytes:
        return ok(b"", status="500 No") if "next" in query else page(TIED[:3], more=True, next="x")

    await refused(fetch(answer), FeedFault.DOWN, into)
    await refused(fetch(answer), FeedFault.DOWN, into)
    assert "added_after" not in web.asked[-2]


async def test_a_late_object_with_an_earlier_date_is_not_missed(
    web: ScriptedWeb, fetch: Fetch, into: Path
) -> None:
    """Within the overlap: a server that is slow to show what it dated before."""
    first = await fetch(without_next(TIED[:5] + TIED[6:]), limit=100)
    assert isinstance(first, Fetched)
    assert len(ids(into)) == 11
    into.unlink()
    late = await fetch(without_next(TIED), first.remember, limit=100)
    assert isinstance(late, Fetched)
    assert not late.whole
    assert TIED[5][1] in ids(into)
    assert "added_after=2025-12-31T23:59:03.000000Z" in web.asked[-1]


async def test_a_server_without_dates_is_read_whole(fetch: Fetch, into: Path) -> None:
    """There is nothing to ask from."""

    def answer(query: dict[str, str]) -> bytes:
        assert "added_after" not in query
        return ok(b'{"objects": [{"id": "a"}]}', TYPE)

    first = await fetch(answer)
    assert isinstance(first, Fetched)
    into.unlink()
    again = await fetch(answer, first.remember)
    assert isinstance(again, Fetched)
    assert again.whole
    assert ids(into) == ["a"]


async def test_an_api_root_elsewhere_gets_no_login(web: ScriptedWeb, into: Path) -> None:
    """A server that names another host as its own is not followed there."""
    web.answers["/taxii2/"] = ok(b'{"api_roots": ["http://localhost:1/scams/"]}', TYPE)
    settings = TaxiiSettings(url=web.url("/taxii2/"), collection="Spam")
    doing = TaxiiTransport(settings, {}).fetch({}, into)
    fault = await refused(doing, FeedFault.REDIRECTED, into)
    assert "has its API root at http://localhost:1/scams/: put that in as url" in fault.detail
