"""Addresses of tables, ways back and assets, without a browser."""

import gzip
import hashlib
from types import SimpleNamespace
from typing import Any

import pytest
from starlette.datastructures import QueryParams

from stream.edge.http.assets import ASSETS, SHA256, asset
from stream.web.listing import ROWS, VIEWS_MAX, SavedViews, TableQuery, cut
from stream.web.session_deps import way_back
from tests.support.http_service import parts_for, serve_settings, served


def asked(query: str) -> TableQuery:
    request: Any = SimpleNamespace(
        query_params=QueryParams(query), url=SimpleNamespace(path="/lists")
    )
    return TableQuery.of(request, ["q"], ["name", "count"])


@pytest.mark.parametrize(
    ("query", "page", "sort", "down"),
    [
        ("", 1, "name", False),
        ("page=3&sort=-count&q=KH", 3, "count", True),
        ("page=0&sort=nonsense", 1, "name", False),
        ("page=-1", 1, "name", False),
        ("page=99999999999999999999", 1_000_000, "name", False),
        (f"page={'9' * 5000}", 1_000_000, "name", False),
        ("page=٣", 1, "name", False),
    ],
)
def test_what_an_address_asks_wrongly_is_not_asked(query, page, sort, down) -> None:
    """Addresses from bookmarks and typed ones work, whatever is in them."""
    found = asked(query)
    assert (found.page, found.sort, found.down) == (page, sort, down)


def test_pages_are_cut_and_none_is_beyond_the_last() -> None:
    """The rows of the page that is asked for, in its order; after the last one, the last."""
    rows = list(range(2 * ROWS + 1))
    table = cut(rows, asked("page=2&sort=-count"), lambda row: row)
    assert (table.rows[0], len(table.rows), table.first) == (ROWS, ROWS, ROWS + 1)
    assert cut(rows, asked("page=9")).rows == [2 * ROWS]
    assert cut([], asked("page=9")).pages == 1


def test_links_keep_what_was_asked() -> None:
    """Another page keeps filter and order; another order begins at the first page."""
    found = asked("q=a%26b&page=2")
    assert found.address(page=3) == "/lists?q=a%26b&sort=name&page=3"
    assert found.sorted_by("name") == "/lists?q=a%26b&sort=-name"
    assert found.sorted_by("count") == "/lists?q=a%26b&sort=count"


@pytest.mark.parametrize(
    "address",
    ["//evil.example", "/\\evil.example", "https://evil.example", "evil", "", "/a\r\nSet-Cookie:x"],
)
def test_nobody_is_sent_elsewhere_after_the_sign_in(address: str) -> None:
    """Whatever a link asks for, the way back is a page of ours."""
    assert way_back(address) == "/"
    assert way_back("/lists?q=KH") == "/lists?q=KH"


def test_what_others_made_is_as_they_made_it() -> None:
    """The vendored files are those whose sums were written down."""
    for name, digest in SHA256.items():
        assert hashlib.sha256(ASSETS[name].data).hexdigest() == digest


async def test_assets_are_kept_for_ever_and_compressed() -> None:
    """By their content's name, with their type; an old name, or a way out, is 404."""
    async with served(parts_for(serve_settings())) as http:
        for one in ASSETS.values():
            headers = {"Accept-Encoding": "gzip"}
            async with http.client.get(
                one.address, headers=headers, auto_decompress=False
            ) as answer:
                assert answer.status == 200
                assert answer.headers["Content-Type"].startswith(one.media_type)
                assert "immutable" in answer.headers["Cache-Control"]
                assert answer.headers["X-Content-Type-Options"] == "nosniff"
                assert gzip.decompress(await answer.read()) == one.data
        for address in ("/assets/style.000000000000.css", "/assets/..%2froute.py"):
            async with http.client.get(address) as answer:
                assert answer.status == 404
        async with http.client.get("/docs") as answer:
            assert asset("style.css") in await answer.text()
            policy = answer.headers["Content-Security-Policy"]
            assert "default-src 'none'" in policy
            assert "unsafe" not in policy
            assert "frame-ancestors 'none'" in policy


class Hashes:
    """The three commands of Redis that views need."""

    def __init__(self) -> None:
        self.held: dict[str, dict[bytes, bytes]] = {}

    async def hgetall(self, key: str) -> dict[bytes, bytes]:
        if self.held is None:
            raise ConnectionError("refused")
        return self.held.get(key, {})

    async def hset(self, key: str, name: str, query: str) -> None:
        self.held.setdefault(key, {})[name.encode()] = query.encode()

    async def hdel(self, key: str, name: str) -> None:
        self.held.get(key, {}).pop(name.encode(), None)


async def test_views_are_a_persons_and_bounded() -> None:
    """Each has its own, in order; one more than may is refused, a known name is replaced."""
    redis: Any = Hashes()
    views = SavedViews(redis, "decisions")
    for number in reversed(range(VIEWS_MAX)):
        assert await views.save("somchai", f"v{number:02d}", "verdict=block")
    assert not await views.save("somchai", "one more", "verdict=flag")
    assert await views.save("somchai", "v00", "verdict=flag")
    assert list(await views.of("somchai"))[:2] == ["v00", "v01"]
    assert (await views.of("somchai"))["v00"] == "verdict=flag"
    assert await views.of("malee") == {}
    await views.remove("somchai", "v00")
    await views.remove("somchai", "never there")
    assert len(await views.of("somchai")) == VIEWS_MAX - 1


async def test_without_redis_the_table_is_there() -> None:
    """Views are left out while the list store is away; the page is of use without them."""
    redis: Any = Hashes()
    redis.held = None
    assert await SavedViews(redis, "decisions").of("somchai") == {}
