"""Interfaces that are asked for what came since a version."""

from pathlib import Path

import pytest

from stream.core.model.errors import FeedFault
from stream.feeds.transports.transport import Fetched, Unchanged
from stream.ops.clock import now_s
from tests.support.scripted_web import ScriptedWeb, ok
from tests.support.web_server import Fetch, refused

LIST = b"number\n+447700900001\n"


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


NOT_MODIFIED = ok(b"", status="304 Not Modified")


@pytest.mark.parametrize("apart_s", [86_400, -86_400])
async def test_no_server_calls_a_list_unchanged_for_ever(
    web: ScriptedWeb, fetch: Fetch, into: Path, apart_s: int
) -> None:
    """Once a day the list is asked for whatever it was before, also where a clock was ahead."""
    first = await fetch(ok(LIST, 'ETag: "1"'))
    assert isinstance(first, Fetched)
    into.unlink()
    assert isinstance(await fetch(NOT_MODIFIED, first.remember), Unchanged)
    assert 'If-None-Match: "1"' in web.asked[-1]
    old = {**first.remember, "whole_at_s": str(now_s() - apart_s)}
    same = await fetch(ok(LIST, 'ETag: "1"'), old)
    assert isinstance(same, Unchanged)
    assert "If-None-Match" not in web.asked[-1]
    assert same.remember["whole_at_s"] > str(now_s() - 3600)
    assert isinstance(await fetch(ok(LIST + b"+447700900002\n", 'ETag: "1"'), old), Fetched)
    into.unlink()
    of_before = {name: value for name, value in old.items() if name != "whole_at_s"}
    assert isinstance(await fetch(ok(LIST), of_before), Unchanged)
    assert "If-None-Match" not in web.asked[-1]


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{}", b'{"version": null}', b"{", b'{"version": 1.5}']
)
async def test_an_answer_without_its_version_is_none(body: bytes, fetch: Fetch, into: Path) -> None:
    """Without it the next increment could not be asked for."""
    fault = await refused(fetch(ok(body), since_parameter="since"), FeedFault.PROTOCOL, into)
    assert "which since_field names" in fault.detail
