"""The list store's two clients."""

import asyncio
from typing import Any

import pytest

from stream.lists.store.list_store import ListStore
from stream.lists.store.settings import ListStoreSettings


class Client:
    """A client of Redis that may be cut off while it closes."""

    def __init__(self, *, cut_off: bool = False) -> None:
        self.cut_off, self.closed = cut_off, False

    def register_script(self, script: str) -> None:
        """Take a script, and never run it."""

    async def aclose(self) -> None:
        self.closed = True
        if self.cut_off:
            raise asyncio.CancelledError


async def test_both_clients_are_closed() -> None:
    """Else a cancelled follower leaves a connection open until Redis ends it."""
    one: Any = Client(cut_off=True)
    other: Any = Client()
    with pytest.raises(asyncio.CancelledError):
        await ListStore(one, other, ListStoreSettings("redis://127.0.0.1:1/0")).close()
    assert one.closed
    assert other.closed
