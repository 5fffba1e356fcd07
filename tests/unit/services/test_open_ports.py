"""`serve` and `serve-sip` are ready when their port is open, and not before."""

import asyncio
import resource
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from stream.config.settings import Settings, load
from stream.core.model.errors import ConfigInvalid
from stream.ops.runtime import OTHER_FILES
from stream.ops.tasks import running
from stream.services import http, sip
from tests.support.waiting import until


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    base = load([], {})
    return replace(
        base,
        lists=replace(base.lists, state_dir=str(tmp_path)),
        serve=replace(base.serve, port=0),
        sip=replace(base.sip, port=0),
    )


async def test_serve_with_its_lists_waits_for_its_port(settings, monkeypatch):
    """Between the last list and the open port nobody may be sent here: they would be refused."""
    opening = asyncio.Event()

    @asynccontextmanager
    async def late(*_, **__):
        await opening.wait()
        yield 8088

    monkeypatch.setattr(http, "serving", late)
    monkeypatch.setattr(http, "application", lambda *_: None)
    monkeypatch.setattr(http, "DirectLookup", lambda _: None)
    made = http._Serving(settings, (), None)
    made._live.loaded = True
    parts: Any = None
    pages: Any = SimpleNamespace(live=SimpleNamespace(close=lambda: None))
    async with running(made._serve(parts, pages), "serve"):
        await asyncio.sleep(0)
        assert made.readiness.missing == ("port 0 is not open yet",)
        opening.set()
        await until(lambda: made.readiness.ready, "it is ready")


async def test_sip_with_its_lists_waits_for_its_port(settings):
    """The same of SIP, by UDP and TCP."""
    made = sip._Answering(settings, None)
    made._live.loaded = True
    assert made.readiness.missing == ("port 0 is not open yet",)
    async with running(made._answer(), "answer"):
        await until(lambda: made.readiness.ready, "it is ready")


async def test_more_sip_connections_than_open_files_are_refused_at_the_start(settings, monkeypatch):
    """Beyond the kernel's limit nobody would be answered or counted; else room is made."""
    made: list[tuple[int, int]] = []
    monkeypatch.setattr(resource, "getrlimit", lambda _: (1024, 4096))
    monkeypatch.setattr(resource, "setrlimit", lambda _, limits: made.append(limits))

    def sized(most):
        return replace(settings, sip=replace(settings.sip, connections_max=most))

    with pytest.raises(ConfigInvalid, match=r"sip\.connections_max: 4000 need 4512 open files"):
        sip._Answering(sized(4000), None)
    sip._Answering(sized(2000), None)
    assert made == [(2000 + OTHER_FILES, 4096)]
