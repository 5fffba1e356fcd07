"""Interfaces that are asked for what came since a version."""

from pathlib import Path

import pytest

from stream.core.model.errors import FeedFault
from stream.feeds.transports.transport import Fetched, Unchanged
from tests.support.scripted_web import ScriptedWeb, ok
from tests.support.web_server import Fetch, refused


async def test_an_increment_is_asked_for_by_its_version(web: ScriptedWeb, fetch: Fetch) -> None:
    """The changes since a version are no whole list; at intervals, and when versions go back, all
    is requested again.
    """

    def answer(version: int) -> bytes:
        return ok(b'{"numbers": [{"version": 3}], "version": %d}' % version)

    since = {"since_parameter": "since", "whole_every": 4}
    whole = await fetch(answer(42), **since)
    assert isinstance(whole, Fetched)
    assert whole.whole
    assert "since=" not in web.asked[-1]
    part = await fetch(answer(43), whole.remember, **since)
    assert isinstance(part, Fetched)
    assert not part.whole
    assert "&since=42 " in web.asked[-1]
    same = await fetch(answer(43), part.remember, **since)
    assert isinstance(same, Unchanged)
    assert "&since=43 " in web.asked[-1]
    back = await fetch(answer(7), same.remember, **since)
    assert isinstance(back, Fetched)
    assert (back.whole, back.remember["since"]) == (True, "7")
    late = await fetch(answer(8), {**back.remember, "answers": "4"}, **since)
    assert isinstance(late, Fetched)
    assert late.whole


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{}", b'{"version": null}', b"{", b'{"version": 1.5}']
)
async def test_an_answer_without_its_version_is_none(body: bytes, fetch: Fetch, into: Path) -> None:
    """Without it the next increment could not be asked for."""
    fault = await refused(fetch(ok(body), since_parameter="since"), FeedFault.PROTOCOL, into)
    assert "which since_field names" in fault.detail
