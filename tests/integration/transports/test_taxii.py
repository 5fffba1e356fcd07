"""The TAXII transport against medallion, OASIS' own server, with objects that stix2 wrote."""

import json
import socket
import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from stix2.v21.sdo import Indicator

from stream.core.model.errors import FeedDown, FeedFault
from stream.feeds.open import read_rows
from stream.feeds.transports.http_get import LoginSettings
from stream.feeds.transports.taxii import TaxiiSettings, TaxiiTransport
from stream.feeds.transports.transport import Fetched, Unchanged
from stream.lab.embedded.guarded_server import Server, free_ports, new_folder

USER, PASSWORD = "ringfence", "a pass phrase"
BULK, FRESH, CLOSED = (f"{n}1a7b528-80eb-42ed-a74d-c6fbd5a26116" for n in (1, 2, 3))
TYPE = "application/taxii+json;version=2.1"
PAGE = 20
START = datetime(2026, 1, 1, tzinfo=UTC)


def indicator(number: int) -> dict[str, Any]:
    """A number as OpenCTI shares it."""
    made = Indicator(
        pattern=f"[phone-number:value = '+4477009{number:05d}']",
        pattern_type="stix",
        valid_from=START,
        confidence=80,
        allow_custom=True,
    )
    return dict(json.loads(made.serialize()))


def collection(name: str, title: str, objects: Sequence[dict[str, Any]], **more) -> dict[str, Any]:
    """Objects of which seven each were added at one moment."""
    manifest = [
        {
            "id": one["id"],
            "date_added": f"{START + timedelta(seconds=place // 7):%Y-%m-%dT%H:%M:%S.%fZ}",
            "version": one["modified"],
            "media_type": "application/stix+json;version=2.1",
        }
        for place, one in enumerate(objects)
    ]
    shown = {"id": name, "title": title, "can_read": True, "can_write": True}
    kinds = ["application/stix+json;version=2.1"]
    return {**shown, "media_types": kinds, "objects": list(objects), "manifest": manifest, **more}


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """Its address."""
    folder = new_folder("taxii")
    (port,) = free_ports(1)
    collections = [
        collection(BULK, "Scam numbers", [indicator(n) for n in range(90)]),
        collection(FRESH, "Fresh", []),
        collection(CLOSED, "Closed", [], can_read=False),
    ]
    information = {"title": "root", "versions": [TYPE], "max_content_length": 1 << 20}
    root = {"information": information, "status": [], "collections": collections}
    roots = [f"http://127.0.0.1:{port}/scams/"]
    data = {"/discovery": {"title": "t", "default": roots[0], "api_roots": roots}, "scams": root}
    (folder / "data.json").write_text(json.dumps(data))
    backend = {
        "module": "medallion.backends.memory_backend",
        "module_class": "MemoryBackend",
        "filename": str(folder / "data.json"),
    }
    config = {"users": {USER: PASSWORD}, "taxii": {"max_page_size": PAGE}, "backend": backend}
    (folder / "config.json").write_text(json.dumps(config))
    command = [sys.executable, "-W", "ignore", "-m", "medallion.scripts.run"]
    command += ["--port", str(port), str(folder / "config.json")]
    with Server("medallion", port, folder, command, _answers) as medallion:
        medallion.start()
        yield f"http://127.0.0.1:{port}"


def _answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


def over(url: str, password: str = PASSWORD, **fields) -> TaxiiTransport:
    login = LoginSettings(username=USER, password_env="PASSWORD")
    settings = TaxiiSettings(url=url, login=login, **fields)
    return TaxiiTransport(settings, {"PASSWORD": password})


def numbers(path: Path) -> set[str]:
    """Return the reports that the stix format reads from the file."""
    found: set[str] = set()
    for rows in read_rows(path, "stix"):
        found |= {number for number in rows.number if number is not None}
        assert not rows.unreadable
    path.unlink()
    return found


async def fetched(transport: TaxiiTransport, into: Path, remembered=None) -> Fetched:
    result = await transport.fetch(remembered or {}, into)
    assert isinstance(result, Fetched)
    assert [path.name for path in into.parent.iterdir()] == [into.name]
    return result


async def add(server: str, *objects: dict[str, Any]) -> None:
    """As another partner does."""
    login = aiohttp.encode_basic_auth(USER, PASSWORD)
    headers = {"Authorization": login, "Accept": TYPE, "Content-Type": TYPE}
    url = f"{server}/scams/collections/{FRESH}/objects/"
    body = {"objects": objects}
    async with (
        aiohttp.ClientSession() as session,
        session.post(url, json=body, headers=headers) as answer,
    ):
        assert answer.status == 202


ALL = {f"+4477009{n:05d}" for n in range(90)}


@pytest.mark.parametrize("limit", [3, 7, 20, 1000])
async def test_all_pages_become_one_file(server: str, into: Path, limit: int) -> None:
    """Whatever a page holds, and whatever has one date at its end."""
    first = await fetched(over(f"{server}/scams/collections/{BULK}/", limit=limit), into)
    assert numbers(into) == ALL
    assert first.whole


@pytest.mark.parametrize("name", [BULK, "Scam numbers"])
@pytest.mark.parametrize("path", ["taxii2/", "scams/"])
async def test_a_collection_is_found_by_its_name(
    server: str, into: Path, name: str, path: str
) -> None:
    """By id or title, from the server's discovery or an API root."""
    await fetched(over(f"{server}/{path}", collection=name), into)
    assert numbers(into) == ALL


async def test_what_came_since_is_an_increment(server: str, into: Path) -> None:
    """New objects come, an unchanged collection does not, and now and then the whole does."""
    url = f"{server}/scams/collections/{FRESH}/"
    transport = over(url, overlap_s=3600)
    await add(server, indicator(1), indicator(2))
    first = await fetched(transport, into)
    assert first.whole
    assert numbers(into) == {"+447700900001", "+447700900002"}
    idle = await transport.fetch(first.remember, into)
    assert isinstance(idle, Unchanged)
    assert not list(into.parent.iterdir())
    await add(server, indicator(3))
    second = await fetched(transport, into, idle.remember)
    assert not second.whole
    assert "+447700900003" in numbers(into)
    assert isinstance(await transport.fetch(second.remember, into), Unchanged)
    none = over(url, overlap_s=0)
    assert isinstance(await none.fetch({**second.remember, "seen": ""}, into), Unchanged)
    old = {**second.remember, "whole_at_s": "1"}
    assert (await fetched(transport, into, old)).whole
    into.unlink()
    elsewhere = over(f"{server}/scams/collections/{BULK}/")
    assert (await fetched(elsewhere, into, second.remember)).whole


REFUSALS: dict[str, tuple[str, dict[str, Any], FeedFault, str]] = {
    "wrong password": (
        f"scams/collections/{BULK}/",
        {"password": "x"},
        FeedFault.UNAUTHORISED,
        "401",
    ),
    "no such collection": ("scams/collections/7/", {}, FeedFault.MISSING, "404"),
    "no such name": ("taxii2/", {"collection": "Spam"}, FeedFault.MISSING, '"Spam" in 1 API roots'),
    "closed": ("scams/", {"collection": "Closed"}, FeedFault.UNAUTHORISED, "may not read"),
    "closed by address": (f"scams/collections/{CLOSED}/", {}, FeedFault.UNAUTHORISED, "403"),
    "too large": (f"scams/collections/{BULK}/", {"bytes_max": 3000}, FeedFault.TOO_LARGE, "3,000"),
}


@pytest.mark.parametrize("name", REFUSALS)
async def test_what_is_refused_has_its_reason(server: str, into: Path, name: str) -> None:
    """And nothing is left."""
    path, fields, reason, text = REFUSALS[name]
    with pytest.raises(FeedDown) as caught:
        await over(f"{server}/{path}", **fields).fetch({}, into)
    assert caught.value.reason is reason
    assert text in caught.value.detail
    assert not list(into.parent.iterdir())
