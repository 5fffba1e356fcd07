"""Helpers for tests of web servers: a secret that must not be seen, and a check of a failure."""

import traceback
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from stream.core.model.errors import FeedDown, FeedFault
from stream.feeds.transports.transport import Fetched, Unchanged

SECRET = "hunter2"
PATIENT = {"answer_s": 20.0, "deadline_s": 60.0}
"""On a busy machine nothing that answers is taken for silent."""
Fetch = Callable[..., Awaitable[Fetched | Unchanged]]


async def refused(doing: Awaitable[object], reason: FeedFault, into: Path) -> FeedDown:
    """The fault; nothing of the version is left, and no secret is in the message."""
    with pytest.raises(FeedDown) as caught:
        await doing
    assert caught.value.reason is reason, caught.value
    assert SECRET not in "".join(traceback.format_exception(caught.value))
    assert not list(into.parent.iterdir())
    return caught.value
