"""One Chromium, one site and one window of each role for all tests of the pages."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from uuid import uuid4

import pytest
import pytest_asyncio
from playwright.async_api import Browser

from stream.config.agreement_files import AgreementFolder
from stream.config.settings import Settings, load
from stream.core.filters.blocklists import EMPTY_BLOCKLISTS
from stream.core.model.entry import Category, Entry
from stream.edge.http.tokens import ClientRole
from stream.kafka.topics import ensure_topics
from stream.lab.embedded import RedisServer
from stream.lists.store.heads import By
from stream.lists.store.list_store import ListStore
from stream.ops.clock import now_s
from stream.web import install
from stream.web.page_context import PageParts, opened, redress_at
from tests.browser.pictures import Told
from tests.integration.test_feeds_cli import Office
from tests.plugins.run_broker import RunBroker
from tests.support.browser import Person, chromium, person
from tests.support.builders import fingerprint_of
from tests.support.commands import Operator
from tests.support.feeds import kh
from tests.support.http_service import Served, parts_for, serve_settings, served

LISTS = {"TH/national": 40, "KH/trial": 3, "LA/centres": 0}


@dataclass(frozen=True, slots=True)
class Site:
    """The running pages, and what they work with."""

    http: Served
    pages: PageParts

    @property
    def address(self) -> str:
        return self.http.address


BY = By("somchai", "a <b>test</b> & more")


@pytest_asyncio.fixture(scope="package", loop_scope="session")
async def browser() -> AsyncIterator[Browser]:
    async with chromium() as running:
        yield running


@pytest.fixture(scope="package")
def site_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the site's files are; ringfence.toml is its configuration."""
    return tmp_path_factory.mktemp("site")


@pytest.fixture(scope="package")
def site_settings(
    kafka: RunBroker, redis_server: RedisServer, _redis_databases: Iterator[int], site_folder: Path
) -> Settings:
    """The defaults, at a Redis database, with topics and in a folder of its own."""
    url = redis_server.url(next(_redis_databases) % redis_server.databases)
    office = Office(site_folder, url)
    settings = settings_at(site_folder, kafka, "[serve]\nwatchers_max = 3\n")
    office.partner_says(*kh(*range(40)))
    office.types("feeds", "pull", "kh-scam")
    office.partner_says(*kh(*range(30, 45)))
    office.types("feeds", "pull", "kh-scam", code=1)  # it waits: too many would go
    return settings


def settings_at(folder: Path, kafka: RunBroker, more: str = "") -> Settings:
    """Complete the settings file of an operator in `folder`; return all settings."""
    (folder / "agreements").mkdir()
    extra = folder / "ringfence.toml"
    with extra.open("a") as file:
        file.write(f'[agreements]\ndir = "{folder}/agreements"\n{more}')
        file.write(f'[kafka]\nbootstrap_servers = "{kafka.bootstrap}"\n')
        file.write(f"idempotent = {str(kafka.supports_transactions).lower()}\n")
        file.write(f'[calls]\ndecisions_topic = "decided.{uuid4().hex[:8]}"\n')
        file.write('[policy.lists."KH/trial"]\nsimulate = true\n')
    return load([extra], {})


@pytest.fixture(scope="module")
def own_settings(
    kafka: RunBroker,
    redis_server: RedisServer,
    _redis_databases: Iterator[int],
    tmp_path_factory: pytest.TempPathFactory,
) -> Settings:
    """Settings of a site that one file of tests has for itself; its folder is [feeds] dir's."""
    folder = tmp_path_factory.mktemp("own")
    url = redis_server.url(next(_redis_databases) % redis_server.databases)
    Operator.at(folder, url, f'[feeds]\ndir = "{folder}/feeds"\n')
    (folder / "feeds").mkdir()
    return settings_at(folder, kafka)


@asynccontextmanager
async def site_over(settings: Settings, folder: Path) -> AsyncIterator[Site]:
    """The pages over a list store and a configuration, until the block ends."""
    parts = parts_for(serve_settings())
    agreements = AgreementFolder(settings.agreements.folder())
    async with (
        redress_at(settings, settings.serve, parts.metrics, agreements) as redress,
        opened(
            settings,
            settings.serve,
            Told(),
            parts.auth,
            agreements,
            redress,
            lambda: EMPTY_BLOCKLISTS,
            ["--config", str(folder / "ringfence.toml")],
        ) as pages,
        served(replace(parts, appeals=redress), more=lambda app: install(app, pages)) as http,
    ):
        pages.recent.idle_s = 3600.0  # one reader for all tests, which none leaves behind
        await ensure_topics(settings.kafka_client(), settings.calls.names(1), lambda _: None)
        await pages.recent.look()
        yield Site(http, pages)
        pages.live.close()


@pytest_asyncio.fixture(scope="package", loop_scope="session")
async def site(site_settings: Settings, site_folder: Path) -> AsyncIterator[Site]:
    """The pages over a register with a few lists."""
    async with await ListStore.connect(site_settings.list_store()) as register:
        for name, count in LISTS.items():
            await register.create(name, "plain", BY)
            entries = [listed_entry(f"+999{n:08d}") for n in range(count)]
            await register.add(name, entries, BY)
        async with site_over(site_settings, site_folder) as running:
            yield running


@pytest_asyncio.fixture(scope="package", loop_scope="session")
async def operator(browser: Browser, site: Site) -> Person:
    return await person(browser, site.address, ClientRole.OPERATOR)


@pytest_asyncio.fixture(scope="package", loop_scope="session")
async def partner(browser: Browser, site: Site) -> Person:
    return await person(browser, site.address, ClientRole.PARTNER)


@pytest_asyncio.fixture(scope="package", loop_scope="session")
async def viewer(browser: Browser, site: Site) -> Person:
    return await person(browser, site.address, ClientRole.VIEWER)


def listed_entry(number: str, category: Category = Category.PARCEL, source: str = "tests") -> Entry:
    """An entry of a plain list, for a day."""
    until_s = now_s() + 86_400
    return Entry(number, fingerprint_of(number), category, source, now_s(), until_s, 80)
