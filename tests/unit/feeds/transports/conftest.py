"""Fixtures that tests of transports share."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from stream.feeds.transports.http_file import HttpSettings, HttpTransport
from stream.feeds.transports.http_get import LoginSettings
from stream.feeds.transports.transport import Fetched, Unchanged
from tests.support.scripted_web import Answer, ScriptedWeb, scripted_web
from tests.support.web_server import PATIENT, SECRET, Fetch


@pytest.fixture
def into(tmp_path: Path) -> Path:
    """Where a version shall land; its folder is empty."""
    (tmp_path / "work").mkdir()
    return tmp_path / "work" / "version"


@pytest.fixture
async def web() -> AsyncIterator[ScriptedWeb]:
    async with scripted_web({}) as web:
        yield web


@pytest.fixture
def fetch(web: ScriptedWeb, into: Path) -> Fetch:
    """Fetches what the server answers, with secrets in login and address."""

    async def fetch(answer: Answer, remembered=None, **fields) -> Fetched | Unchanged:
        web.answers["/list"] = answer
        address = web.url(f"/list?key={SECRET}")
        login = LoginSettings(bearer_env="TOKEN")
        settings = HttpSettings(**{"url": address, "login": login, **PATIENT, **fields})
        transport = HttpTransport(settings, {"TOKEN": SECRET})
        return await transport.fetch(remembered or {}, into)

    return fetch
