"""Tokens of a running `ringfence serve`: what is revoked ends in every process, and on the page."""

import re
import signal
from collections.abc import AsyncIterator
from contextlib import AbstractContextManager, asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from stream.edge.http.tokens import Client, ClientRole, line_of
from stream.lab.embedded.guarded_server import free_ports
from tests.support import waiting
from tests.support.commands import command
from tests.support.engine import Deployment, Engine

NOBODY = "127.0.0.1:1"
ASK = "/v1/decision?caller=%2B447700900101"
TRIES = 24
"""Connections to two processes: all of them to one happens once in eight million times."""


class Office:
    """`serve` with two workers, and its file of tokens."""

    def __init__(self, tmp_path: Path, redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
        self.port, self.health = free_ports(2)
        self.file = tmp_path / "tokens"
        self.put("switch", "operator", "viewer")
        monkeypatch.setenv("RINGFENCE_HTTP_TOKENS_FILE", str(self.file))
        more = f"serve.port = {self.port}\nserve.health_port = {self.health}\n"
        more += 'serve.refusals_per_minute = 100000\nops.kernels = "off"'
        self.deployment = Deployment(tmp_path, NOBODY, redis_url, more)

    def put(self, *roles: str) -> None:
        """A client of each of these roles, named like it."""
        lines = (line_of(Client(role, ClientRole(role)), f"rf_{role}") for role in roles)
        self.file.write_text("".join(f"{line}\n" for line in lines))

    def serve(self) -> AbstractContextManager[Engine]:
        words = ("--workers", "2")
        return self.deployment.engine(*words, command=("serve",), port=self.health)

    async def statuses(self, role: str) -> set[int]:
        """Return the answers of many connections, one after the other: each is one process' own."""
        headers = {"Authorization": f"Bearer rf_{role}", "Connection": "close"}
        found = set()
        async with aiohttp.ClientSession(f"http://127.0.0.1:{self.port}") as client:
            for _ in range(TRIES):
                async with client.get(ASK, headers=headers) as answer:
                    found.add(answer.status)
        return found

    @asynccontextmanager
    async def signed_in(self, role: str) -> AsyncIterator[aiohttp.ClientSession]:
        """A browser's session on the page."""
        jar = aiohttp.CookieJar(unsafe=True)  # of an address, not a name
        async with aiohttp.ClientSession(f"http://127.0.0.1:{self.port}", cookie_jar=jar) as person:
            await self._sign_in(person, role)
            yield person

    async def _sign_in(self, person: aiohttp.ClientSession, role: str) -> None:
        async with person.get("/sign-in") as answer:
            secret = re.search(r'name="csrf" value="([^"]+)"', await answer.text())
        assert secret is not None
        form = {"csrf": secret[1], "token": f"rf_{role}", "next": "/runbook"}
        async with person.post("/sign-in", data=form) as answer:
            assert answer.url.path == "/runbook"

    async def may_look(self, person: aiohttp.ClientSession) -> bool:
        async with person.get("/runbook", allow_redirects=False) as answer:
            assert answer.status in {200, 303}
            return answer.status == 200


async def until(office: Office, role: str, wanted: set[int]) -> None:
    """Wait for what every process says: files are looked at twice before they count."""
    while await office.statuses(role) != wanted:  # each try takes its time
        continue


@pytest.mark.expects_errors("Group Coordinator")
async def test_a_revoked_token_ends_in_every_process(
    tmp_path: Path, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`token revoke` ends a token everywhere without a restart, a signal does so at once, and the
    page's sessions end with it; who is added gets in; nobody else notices anything.
    """
    office = Office(tmp_path, redis_url, monkeypatch)
    with office.serve() as serve:
        serve.until_ready()
        assert await office.statuses("switch") == {200}
        async with office.signed_in("operator") as operator, office.signed_in("viewer") as viewer:
            assert await office.may_look(operator)
            done = command("token", "revoke", "switch", "--reason", "lost")
            assert done.code == 0, done.output
            await until(office, "switch", {401})
            assert await office.statuses("operator") == {200}
            assert await office.may_look(operator)
            # The supervisor looks at the file by its own clock, at times later than its workers.
            gone = '"gone": ["switch"]'
            await waiting.until(lambda: serve.log().count(gone) == 3, "two workers and supervisor")

            office.put("viewer")
            serve.process.send_signal(signal.SIGHUP)
            await until(office, "operator", {401})
            assert not await office.may_look(operator)
            assert await office.may_look(viewer)
        office.put("viewer", "switch")
        await until(office, "switch", {200})
        assert serve.metric("ringfence_worker_restarts_total") == 0, "no process was restarted"
        assert serve.stop() == 0
        assert "rf_" not in serve.log()
