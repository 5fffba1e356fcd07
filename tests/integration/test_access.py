"""Who may ask what over HTTP: every route of the application, walked with every role.

The table `tests/golden/access.md` is what people read and decide on; here it is compared with what
the running application does. A route without a row, and a row without a route, fail too.
"""

import difflib
import json
import re
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from fastapi.routing import APIRoute

from stream.agreements import AgreementFolder
from stream.config import load
from stream.core.appeal import Named
from stream.core.entry import Category, Entry
from stream.core.policy import PolicySettings, compile_policy
from stream.lists.store import Register
from stream.lists.words import By
from stream.ops.clock import now_ms, now_s
from stream.ops.figures.watch import Watch
from stream.redress import redressing
from stream.serve.app import ROUTERS
from stream.serve.blocklist import Blocklist
from stream.serve.guard import Guard
from stream.serve.redress import Redress
from stream.serve.tokens import Client, Role, Tokens, digest_of
from stream.sinks.judge import Judge
from stream.web.commands import Commands, Ran
from stream.web.install import ROUTERS as PAGES
from stream.web.install import install
from stream.web.opening import opened, redress_at
from stream.web.parts import PageParts
from tests.builders import blocklists, fingerprint_of, live
from tests.decisions import decision
from tests.integration.test_serve_redress import batch
from tests.serve_lab import TOKENS, Served, parts_for, serve_settings, served
from tests.unit.serve.test_door import Producer
from tests.unit.serve.test_door import opened as door_opened
from tests.unit.serve.test_lookup import lookup_in

TABLE = Path(__file__).parents[1] / "golden" / "access.md"
NOBODY = "nobody"
WHO = (NOBODY, *(role.value for role in Role))
THEIRS, FOREIGN = "KH", "PH"
"""The owner that the partner's client is named after, and another one."""
LISTED = {THEIRS: "KH/walked", FOREIGN: "PH/walked"}
NUMBERS = {THEIRS: "+85523900123", FOREIGN: "+639170000123"}
DECISIONS = {THEIRS: "4F7K2M9QX1RZC", FOREIGN: "4F7K2M9QX1RZD"}
BY = By("tests", "walked")
_REFUSALS = {"not-authenticated", "wrong-role"}
_AGREED = """
title = "Between {owner} and Thailand"
kind = "memorandum"
valid_from = 2025-09-01
circle = "plain"
[parties.TH]
roles = ["owner", "enforcer"]
contact = "unblock@th-cert.example"
[parties.{owner}]
roles = ["owner", "enforcer"]
contact = "unblock@cert.example"
[terms]
action = "block"
[lists."{listed}"]
"""


@dataclass
class Site:
    """The whole application: what is served to programs, and the pages."""

    http: Served
    pages: PageParts
    appeals: dict[str, str]

    def routes(self) -> Iterator[tuple[str, str]]:
        """Each method and path that the application answers."""
        for router in (*ROUTERS, *PAGES):
            for route in router.routes:
                assert isinstance(route, APIRoute), route
                for method in sorted(route.methods or ()):
                    yield method, route.path

    def marks(self, owner: str) -> list[str]:
        """Texts that stand on a page only where something of `owner` is shown."""
        return [LISTED[owner], f"th-{owner.lower()}", DECISIONS[owner], self.appeals[owner]]

    def address(self, path: str, owner: str) -> str:
        """A path with something of `owner` in each of its places."""
        of_list = LISTED[owner].partition("/")
        places = {
            "owner": owner,
            "name": of_list[2] if "{owner}" in path else f"th-{owner.lower()}",
            "decision_id": DECISIONS[owner],
            "appeal_id": self.appeals[owner],
            "dialect": "ringfence",
            "feed": "x",
            "answer": "forward",
        }
        asked = path.format_map(places)
        return asked + {"/v1/decision": f"?caller={NUMBERS[owner].replace('+', '%2B')}"}.get(
            path, "?from=1&to=2" if path.endswith("/diff") else ""
        )


@pytest.fixture
async def site(
    redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Site]:
    """Two owners with a list, an agreement, a decision and an appeal each; commands are not run."""
    for owner, listed in LISTED.items():
        text = _AGREED.format(owner=owner, listed=listed)
        (tmp_path / f"th-{owner.lower()}.toml").write_text(text)
    (tmp_path / "feeds").mkdir()
    settings = load([], {"RINGFENCE_KAFKA__BOOTSTRAP_SERVERS": "127.0.0.1:1"})
    settings = replace(
        settings,
        redis=replace(settings.redis, url=redis_url),
        feeds=replace(settings.feeds, dir=str(tmp_path / "feeds")),
        agreements=replace(settings.agreements, dir=str(tmp_path)),
        ops=replace(settings.ops, watch=()),
    )
    named = {Role.PARTNER: THEIRS}
    held = tuple(
        (digest_of(token), Client(named.get(role, role.value), role))
        for role, token in TOKENS.items()
    )
    served_by = serve_settings(refusals_per_minute=100_000, questions_per_minute=100_000)
    lists = blocklists(*(live(LISTED[owner], NUMBERS[owner]) for owner in LISTED))
    judge = Judge(lists, compile_policy(PolicySettings(), lists.names))
    agreements = AgreementFolder(tmp_path)
    agreements.start()

    async def ran(_: Commands, words: Any, *__: int) -> Ran:
        told = {"change": "added", "category": "parcel", "confidence": 80, "source": "t"}
        rest = {"reported_at": None, "expires_at": None}
        lines = [json.dumps({**told, "number": one, **rest}) for one in NUMBERS.values()]
        if "diff" in words:
            return Ran(0, tuple(lines), len(lines), "")
        return Ran(9, (), 0, "it is not run here")

    monkeypatch.setattr(Commands, "_run", ran)
    async with door_opened(Producer()) as door:
        parts = parts_for(
            served_by,
            guard=Guard(Tokens(held), served_by.refusals_per_minute),
            door=door,
            lookup=lookup_in(lists),
            blocklist=Blocklist(lambda: judge),
        )
        async with redress_at(settings, parts.metrics, agreements) as redress:
            parts.redress = redress
            appeals = await filled(settings.register(), redress)
            async with (
                opened(
                    settings, parts.guard, agreements, redress, lambda: lists, watch=Watch(())
                ) as pages,
                served(parts, more=lambda app: install(app, pages)) as http,
            ):
                shown = [await redress.kept.find(one) for one in DECISIONS.values()]

                async def look() -> Any:
                    return shown

                monkeypatch.setattr(type(pages.recent), "look", lambda _: look())
                yield Site(http, pages, appeals)
                pages.live.close()


async def filled(register_at: Any, redress: Redress) -> dict[str, str]:
    """The lists, decisions and appeals of both owners; the appeals' ids."""
    appeals = {}
    made = [
        decision(
            NUMBERS[owner],
            f"{LISTED[owner]}=th-{owner.lower()}=call_centre",
            at_ms=now_ms(),
            decision_id=DECISIONS[owner],
        )
        for owner in LISTED
    ]
    await redress.kept.deliver(batch(*made))
    async with await Register.connect(register_at) as register:
        for owner, listed in LISTED.items():
            await register.create(listed, "plain", BY)
            until_s = now_s() + 86_400
            number = NUMBERS[owner]
            one = Entry(number, fingerprint_of(number), Category.PARCEL, "t", now_s(), until_s, 80)
            await register.add(listed, [one], BY)
            appeal, _ = await redressing.open_appeal(
                register,
                redress.book,
                redress.desk(),
                number,
                [Named(list=listed, fingerprint="", category="call_centre")],
                BY,
                decision_id=DECISIONS[owner],
            )
            appeals[owner] = appeal.id
    return appeals


async def asked(site: Site, method: str, path: str, who: str, owner: str) -> str | None:
    """What comes back for a request about something of `owner`; None: it was refused.

    "": there is no such thing, for who asks. Forms come without a reason, so that nothing changes.
    """
    headers, data = {"Accept": "text/html"}, None
    if path.startswith("/v1/"):
        headers = {} if who == NOBODY else {"Authorization": f"Bearer {TOKENS[Role(who)]}"}
        if method == "POST" and path.endswith("s"):
            headers["Content-Type"] = "application/json"
            data = json.dumps({"decision_id": DECISIONS[owner]})
        elif method == "POST" and path == "/v1/decision":
            data = json.dumps([{"caller": NUMBERS[owner]}])
        elif method == "POST" and path.endswith("{dialect}"):
            headers["Content-Type"] = "application/json"
            data = json.dumps({"call_id": "c", "caller": NUMBERS[owner], "callee": "0812345678"})
    elif who != NOBODY:
        cookie = await site.pages.sessions.begin(TOKENS[Role(who)])
        headers["Cookie"] = f"ringfence={cookie}"
        found = await site.pages.sessions.find(cookie)
        assert found is not None
        fields = {"csrf": found[0].csrf, "number": NUMBERS[owner]}
        if method == "POST":
            headers["Content-Type"] = "application/x-www-form-urlencoded"
            data = urlencode(fields)
    async with site.http.client.request(
        method,
        site.address(path, owner),
        headers=headers | {"Accept": "application/json"}
        if path.startswith("/v1/")
        else headers | {"Accept": "*/*"},
        data=data,
        allow_redirects=False,
    ) as answer:
        assert answer.status < 500, (method, path, who, await answer.text())
        if answer.headers.get("Location", "").startswith("/sign-in?"):
            return None
        if answer.content_type == "application/problem+json":
            problem = json.loads(await answer.read())
            kind = problem["type"].rpartition(":")[2]
            if kind in _REFUSALS:
                return None
            return "" if kind == "not-found" else problem["detail"]
        if answer.content_type == "text/event-stream":
            return (await answer.content.readany()).decode()
        return await answer.text()


async def cell(site: Site, method: str, path: str, who: str) -> str:
    """What `who` gets there: see the table's own words."""
    found = {owner: await asked(site, method, path, who, owner) for owner in LISTED}
    if None in found.values():
        assert set(found.values()) == {None}, (method, path, who)
        return "-"
    said = "".join(text or "" for text in found.values())
    seen = {owner for owner in LISTED if any(one in said for one in site.marks(owner))}
    their_own = seen == {THEIRS} or (found[FOREIGN] == "" != found[THEIRS])
    whole = any(number in said for number in NUMBERS.values())
    return ("own" if their_own else "yes") + (" +" if whole else "")


async def test_every_role_gets_what_the_table_says(site: Site) -> None:
    """Each route of the application, asked as nobody and as each role, answers as the table says:
    refused, let in, only to what is one's own, and with whole numbers or without.
    """
    rows = [f"| {'route':44} | {' | '.join(f'{who:8}' for who in WHO)} |"]
    rows.append(f"|{'-' * 46}|{'|'.join('-' * 10 for _ in WHO)}|")
    for method, path in sorted(set(site.routes()), key=lambda one: (one[1], one[0])):
        cells = [await cell(site, method, path, who) for who in WHO]
        rows.append(f"| {method + ' ' + path:44} | {' | '.join(f'{one:8}' for one in cells)} |")
    written = [line for line in TABLE.read_text().splitlines() if line.startswith("|")]
    told = "\n".join(difflib.unified_diff(written, rows, "the table", "the server", lineterm=""))
    assert not told, told


async def test_the_document_says_which_routes_need_a_token(site: Site) -> None:
    """OpenAPI names a security scheme for the routes that refuse nobody, and for no others."""
    async with site.http.client.get("/openapi.json") as answer:
        document = await answer.json()
    written = dict(re.findall(r"^\| (\w+ /\S*) +\| (-|yes|own)", TABLE.read_text(), re.MULTILINE))
    for path, methods in document["paths"].items():
        for method, route in methods.items():
            assert f"{method.upper()} {path}" in written
            needs_token = written[f"{method.upper()} {path}"] == "-"
            assert bool(route.get("security")) == needs_token, (method, path)
