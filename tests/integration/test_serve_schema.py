"""Every route of the OpenAPI document, tried by schemathesis against the running server."""

import asyncio
import shutil
import sys
from pathlib import Path

from prometheus_client import CollectorRegistry

from stream.core.agreement import Agreements
from stream.lists.connection import RegisterSettings, client
from stream.lists.store import Register
from stream.ops.serve_metrics import ServeMetrics
from stream.redress.book import AppealBook
from stream.redress.redressing import Desk
from stream.serve.blocklist import Blocklist
from stream.serve.guard import Pace
from stream.serve.kept import KeptDecisions, KeptSettings
from stream.serve.redress import Redress
from stream.serve.tokens import Role
from stream.sinks.judge import Judge
from tests.serve_lab import TOKENS, parts_for, serve_settings, served
from tests.unit.serve.test_door import Producer, opened
from tests.unit.serve.test_lookup import LISTS, lookup_in, rules

PROGRAM = Path(sys.executable).with_name("schemathesis")
SAID_RIGHT = "positive_data_acceptance"
"""Left out: that one of two fields has to be there is more than the document can say."""


async def test_the_server_is_what_its_document_says(redis_url: str, tmp_path: Path) -> None:
    """No 5xx, no answer of an undocumented kind, no rule of HTTP broken, whatever is sent."""
    settings = RegisterSettings(redis_url)
    redis = client(settings)
    judge = Judge(LISTS, rules(LISTS).policy)
    async with AppealBook.open(settings, kept_days=730) as book, opened(Producer()) as door:
        redress = Redress(
            kept=KeptDecisions(redis, KeptSettings(2, 100), ServeMetrics(CollectorRegistry())),
            book=book,
            connect=lambda: Register.connect(settings),
            desk=lambda: Desk("TH", {"plain": b""}, Agreements(()), 7200),
            contacts={},
            pace=Pace(100_000),
        )
        parts = parts_for(
            serve_settings(refusals_per_minute=100_000),
            door=door,
            redress=redress,
            lookup=lookup_in(LISTS),
            blocklist=Blocklist(lambda: judge),
        )
        async with served(parts) as http:
            words = [
                *(str(PROGRAM), "run", f"http://127.0.0.1:{http.port}/openapi.json"),
                *("--header", f"Authorization: Bearer {TOKENS[Role.OPERATOR]}"),
                *("--phases", "coverage,fuzzing", "--max-examples", "1", "--seed", "7"),
                *("--exclude-checks", SAID_RIGHT, "--suppress-health-check", "all"),
                *("--generation-database", "none", "--no-color"),
            ]
            assert shutil.which(PROGRAM), "schemathesis is one of the dev packages"
            process = await asyncio.create_subprocess_exec(
                *words,
                cwd=tmp_path,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
            )
            said, _ = await process.communicate()
    await redis.aclose()
    assert process.returncode == 0, said.decode()[-6000:]
