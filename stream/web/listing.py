"""Tables that are filtered, sorted and cut into pages here, not in the browser; saved views."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar
from urllib.parse import urlencode

from fastapi import Request
from redis.asyncio import Redis

from stream.core.model.errors import ListStoreDown
from stream.lists.store import redis_keys
from stream.lists.store.redis_client import renamed

T = TypeVar("T")

ROWS: Final = 50
"""Rows of a page."""
_CHARS_MAX: Final = 200
_NARROW_NOTHING: Final = frozenset({"follow", "count"})
_PAGES_MAX: Final = 1_000_000
"""Bounds of what a visitor may put into an address."""


@dataclass(frozen=True, slots=True)
class TableQuery:
    """The query of a table's address: `filters` (each "" if not given), the order, the page.

    A wrong part is as if not given: an address from a bookmark must still work.
    """

    path: str
    filters: Mapping[str, str]
    sort: str
    down: bool
    page: int

    @property
    def narrowed(self) -> bool:
        """True if a filter is set: an empty table then says nothing about the whole."""
        return any(text for name, text in self.filters.items() if name not in _NARROW_NOTHING)

    @classmethod
    def of(cls, request: Request, filters: Sequence[str], sorts: Sequence[str]) -> "TableQuery":
        """Read the address; the first of `sorts` is the usual order, `-count` sorts downwards."""
        query = request.query_params
        wanted = query.get("sort", sorts[0])
        page = query.get("page", "1")[:9]  # int refuses thousands of digits
        return cls(
            path=request.url.path,
            filters={name: query.get(name, "").strip()[:_CHARS_MAX] for name in filters},
            sort=wanted.lstrip("-") if wanted.lstrip("-") in sorts else sorts[0].lstrip("-"),
            down=wanted.startswith("-"),
            page=min(max(int(page), 1), _PAGES_MAX) if page.isascii() and page.isdigit() else 1,
        )

    def address(self, **changed: Any) -> str:
        """Return the address with something changed; without a page it is the first."""
        fields: dict[str, Any] = {name: text for name, text in self.filters.items() if text}
        fields["sort"] = f"-{self.sort}" if self.down else self.sort
        fields |= changed
        return f"{self.path}?{urlencode(fields)}"

    def sorted_by(self, name: str) -> str:
        """Return the address of the table in the order of `name`; again: the other way round."""
        return self.address(sort=f"-{name}" if self.sort == name and not self.down else name)


@dataclass(frozen=True, slots=True)
class TablePage(Generic[T]):
    """One page of a table: its rows, how many there are in all, and on which page we are."""

    rows: Sequence[T]
    total: int
    page: int
    pages: int

    @property
    def first(self) -> int:
        """Place of the first row of this page, from 1."""
        return (self.page - 1) * ROWS + 1


def cut(
    rows: Sequence[T], asked: TableQuery, order: Callable[[T], Any] | None = None
) -> TablePage[T]:
    """Return the page of `rows` that is asked for, sorted by `order` if it is given."""
    pages = max(1, -(-len(rows) // ROWS))
    page = min(asked.page, pages)
    if order is not None:
        rows = sorted(rows, key=order, reverse=asked.down)
    return TablePage(rows[(page - 1) * ROWS : page * ROWS], len(rows), page, pages)


VIEWS_MAX: Final = 20
"""Saved views of a person; more would be a list to search."""
VIEW_NAME_CHARS_MAX: Final = 40


@dataclass(frozen=True, slots=True)
class SavedViews:
    """Filters of one table that people saved by name, in Redis, so they are in any browser."""

    redis: Redis
    table: str

    async def of(self, person: str) -> dict[str, str]:
        """Return a person's views: name -> query of the address; none while Redis is away."""
        try:
            with renamed("reading saved views"):
                held: Any = await self.redis.hgetall(redis_keys.views(self.table, person))
        except ListStoreDown:
            return {}
        found = {name.decode("utf-8", "replace"): query.decode() for name, query in held.items()}
        return dict(sorted(found.items()))

    async def save(self, person: str, name: str, query: str) -> bool:
        """Save a view, in place of one of the same name; False if there are too many."""
        key = redis_keys.views(self.table, person)
        if name not in (known := await self.of(person)) and len(known) >= VIEWS_MAX:
            return False
        with renamed("saving a view"):
            await self.redis.hset(key, name, query)
        return True

    async def remove(self, person: str, name: str) -> None:
        """Remove a view; one that is not there is removed already."""
        with renamed("removing a view"):
            await self.redis.hdel(redis_keys.views(self.table, person), name)
