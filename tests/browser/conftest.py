"""One Chromium, one site and one window of each role for all tests of the pages."""

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
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
from stream.lab.embedded import EmbeddedBroker, RedisServer
from stream.lists.store.heads import By
from stream.lists.store.list_store import ListStore
from stream.ops.clock import now_s
from stream.web import install
from stream.web.page_context import PageParts, opened, redress_at
from tests.browser.pictures import Told
from tests.integration.test_feeds_cli import Office
from tests.support.browser import Person, chromium, person
from tests.support.builders import fingerprint_of
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
    kafka: EmbeddedBroker,
    redis_server: RedisServer,
    _redis_databases: Iterator[int],
    site_folder: Path,
) -> Settings:
    """The defaults, at a Redis database, with topics and in a folder of its own."""
    url = redis_server.url(next(_redis_databases) % redis_server.databases)
    office = Office(site_folder, url)
    (site_folder / "agreements").mkdir()
    extra = site_folder / "ringfence.toml"
    with extra.open("a") as file:
        file.write(f'[agreements]\ndir = "{site_folder}/agreements"\n[serve]\nwatchers_max = 3\n')
        file.write(f'[kafka]\nbootstrap_servers = "{kafka.bootstrap}"\n')
        file.write(f"idempotent = {str(kafka.supports_transactions).lower()}\n")
        file.write(f'[calls]\ndecisions_topic = "decided.{uuid4().hex[:8]}"\n')
        file.write('[policy.lists."KH/trial"]\nsimulate = true\n')
    office.partner_says(*kh(*range(40)))
    office.types("feeds", "pull", "kh-scam")
    office.partner_says(*kh(*range(30, 45)))
    office.types("feeds", "pull", "kh-scam", code=1)  # it waits: too many would go
    return load([extra], {})


@pytest_asyncio.fixture(scope="package", loop_scope="session")
async def site(site_settings: Settings, site_folder: Path) -> AsyncIterator[Site]:
    """The pages over a register with a few lists."""
    async with await ListStore.connect(site_settings.list_store()) as register:
        for name, count in LISTS.items():
            await register.create(name, "plain", BY)
            entries = [listed_entry(f"+999{n:08d}") for n in range(count)]
            await register.add(name, entries, BY)
        parts = parts_for(serve_settings())
        agreements = AgreementFolder(site_settings.agreements.folder())
        async with (
            redress_at(site_settings, site_settings.serve, parts.metrics, agreements) as redress,
            opened(
                site_settings,
                site_settings.serve,
                Told(),
                parts.auth,
                agreements,
                redress,
                lambda: EMPTY_BLOCKLISTS,
                ["--config", str(site_folder / "ringfence.toml")],
            ) as pages,
            served(parts, more=lambda app: install(app, pages)) as http,
        ):
            pages.recent.idle_s = 3600.0  # one reader for all tests, which none leaves behind
            await ensure_topics(
                site_settings.kafka_client(), site_settings.calls.names(1), lambda _: None
            )
            await pages.recent.look()
            yield Site(http, pages)
            pages.live.close()


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
