"""Every route of the OpenAPI document, tried by schemathesis against the running server."""

import asyncio
import json
import os
import shutil
import sys
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry
from redis.asyncio import Redis

from stream.appeals.actions import AppealContext
from stream.appeals.appeal_store import AppealStore
from stream.core.model.agreement import Agreements
from stream.core.numbers.prefix_entries import STRICT
from stream.edge.http.api.commands import OwnCommands
from stream.edge.http.api.file_intake import FileIntake
from stream.edge.http.api.idempotency import AnswersOnce
from stream.edge.http.api.list_changes import ListChanger
from stream.edge.http.api.push_intake import PushIntake
from stream.edge.http.appeal_service import AppealService
from stream.edge.http.auth import RateLimit
from stream.edge.http.blocklist import Blocklist
from stream.edge.http.decision_store import DecisionStore
from stream.edge.http.tokens import ClientRole
from stream.edge.sinks.number_policy import NumberPolicy
from stream.feeds.feed_sources import FeedSetup
from stream.lists.store.list_store import ListStore
from stream.lists.store.redis_client import client
from stream.lists.store.settings import ListStoreSettings
from stream.ops.metrics.http_catalogue import ServeMetrics
from tests.support.feeds import AROUND
from tests.support.http_service import TOKENS, parts_for, serve_settings, served
from tests.support.lookups import LISTS, lookup_in, lookup_rules
from tests.unit.edge.http.test_record_intake import Producer, opened

PROGRAM = Path(sys.executable).with_name("schemathesis")
SAID_RIGHT = "positive_data_acceptance"
"""Left out: that one of two fields has to be there is more than the document can say."""
ITS_OWN_TOKEN = "ignored_auth,missing_required_header"
"""Left out where a token is put in after schemathesis took it away."""


@pytest.mark.parametrize(
    ("role", "answers"),
    [
        (ClientRole.OPERATOR, {"200", "401"}),
        # Thousands of requests again: the other roles, and nobody, are the campaign's.
        pytest.param(None, {"200", "401", "403"}, marks=pytest.mark.campaign),
    ],
    ids=["operator", "all"],
)
async def test_the_server_is_what_its_document_says(
    redis_url: str, tmp_path: Path, role: ClientRole | None, answers: set[str]
) -> None:
    """No 5xx, no answer of an undocumented kind, no rule of HTTP broken, whatever is sent, and
    for any sender: an operator, every other role, or nobody.
    """
    settings = ListStoreSettings(redis_url)
    redis = client(settings)
    judge = NumberPolicy(LISTS, lookup_rules(LISTS).policy)
    async with AppealStore.open(settings, kept_days=730) as store, opened(Producer()) as intake:
        redress = AppealService(
            decisions=DecisionStore(redis, ServeMetrics(CollectorRegistry()), 2, 100),
            store=store,
            connect=lambda: ListStore.connect(settings),
            context=lambda: AppealContext("TH", {"plain": b""}, Agreements(()), 7200),
            contacts={},
            rate_limit=RateLimit(100_000),
        )
        parts = parts_for(
            # A PASSporT of the most characters has to come in, so that one more can be refused.
            serve_settings(refusals_per_minute=100_000, header_bytes_max=64 * 1024),
            intake=intake,
            appeals=redress,
            lookup=lookup_in(LISTS),
            blocklist=Blocklist(lambda: judge),
            push=push_without_feeds(redis, settings, tmp_path),
        )
        async with served(parts) as http:
            ended, said = await tried(http.port, tmp_path, role)
    await redis.aclose()
    assert ended == 0, said[-6000:]
    answered = [one for family in parts.metrics.requests.collect() for one in family.samples]
    statuses = {one.labels["status"] for one in answered if one.labels["route"].startswith("/v1/")}
    assert statuses >= answers, "roles that may, that may not, and nobody"


def push_without_feeds(redis: Redis, settings: ListStoreSettings, folder: Path) -> PushIntake:
    """An intake that knows no feed: `test_push` hands in some."""

    async def none() -> dict[str, FeedSetup]:
        return {}

    return PushIntake(
        feeds=none,
        files=FileIntake(folder, 4),
        once=AnswersOnce(redis, 100),
        commands=OwnCommands(),
        changer=ListChanger(
            connect=lambda: ListStore.connect(settings),
            around=lambda: AROUND,
            own=(),
            prefixes=STRICT,
        ),
        home="TH",
    )


async def tried(port: int, here: Path, role: ClientRole | None) -> tuple[int, str]:
    """Run schemathesis as a client of `role`; None: of every other one and none, in turn."""
    words = [
        *(str(PROGRAM), "run", f"http://127.0.0.1:{port}/openapi.json"),
        *("--phases", "coverage,fuzzing", "--max-examples", "1", "--seed", "7"),
        *("--suppress-health-check", "all", "--generation-database", "none", "--no-color"),
    ]
    environment = dict(os.environ)
    if role is None:
        tokens = [TOKENS[one] for one in ClientRole if one is not ClientRole.OPERATOR]
        environment["SCHEMATHESIS_HOOKS"] = str(
            Path(__file__).parents[1] / "support" / "schema_roles.py"
        )
        environment["RINGFENCE_TEST_TOKENS"] = json.dumps(tokens)
        words += ["--exclude-checks", f"{SAID_RIGHT},{ITS_OWN_TOKEN}"]
    else:
        words += ["--header", f"Authorization: Bearer {TOKENS[role]}"]
        words += ["--exclude-checks", SAID_RIGHT]
    assert shutil.which(PROGRAM), "schemathesis is one of the dev packages"
    process = await asyncio.create_subprocess_exec(
        *words,
        cwd=here,
        env=environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, said.decode()
