"""The whole application with its pages on a real Redis: two owners, and something of each."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from fastapi.routing import APIRoute

from stream.appeals import actions
from stream.config.agreement_files import AgreementFolder
from stream.config.settings import load
from stream.core.model.appeal import NamedList
from stream.core.model.entry import Category, Entry
from stream.core.policy.policy import PolicySettings, compile_policy
from stream.edge.http.app import ROUTERS
from stream.edge.http.appeal_service import AppealService
from stream.edge.http.auth import Auth
from stream.edge.http.blocklist import Blocklist
from stream.edge.http.tokens import Client, ClientRole, Tokens, digest_of
from stream.edge.sinks.number_policy import NumberPolicy
from stream.lists.store.heads import By
from stream.lists.store.list_store import ListStore
from stream.ops.clock import now_ms, now_s
from stream.ops.monitor.collect import Monitor
from stream.web import ROUTERS as PAGES
from stream.web import install
from stream.web.page_context import PageParts, opened, redress_at
from tests.integration.test_serve_redress import batch
from tests.support.builders import blocklists, fingerprint_of, live
from tests.support.decisions import decision
from tests.support.http_service import TOKENS, Served, parts_for, serve_settings, served
from tests.support.lookups import lookup_in
from tests.unit.edge.http.test_record_intake import Producer
from tests.unit.edge.http.test_record_intake import opened as door_opened

THEIRS, FOREIGN = "KH", "PH"
"""The owner that the partner's client is named after, and another one."""
LISTED = {THEIRS: "KH/walked", FOREIGN: "PH/walked"}
NUMBERS = {THEIRS: "+85523900123", FOREIGN: "+639170000123"}
DECISIONS = {THEIRS: "4F7K2M9QX1RZC", FOREIGN: "4F7K2M9QX1RZD"}
BY = By("tests", "walked")
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
_PUSHED = """
list = "{listed}"
format = "text"
[owner]
name = "{owner}"
contact = "noc@cert.example"
[from]
kind = "push"
"""
_COMMAND = """#!/bin/sh
# In the place of `python -m stream ...`: a difference where one is asked for, else no answer.
for word; do test "$word" = diff && exec cat "{lines}"; done
exit 9
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


@asynccontextmanager
async def site_at(
    redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Site]:
    """Two owners with a list, an agreement, a decision and an appeal each; commands are not run."""
    for owner, listed in LISTED.items():
        text = _AGREED.format(owner=owner, listed=listed)
        (tmp_path / f"th-{owner.lower()}.toml").write_text(text)
    (tmp_path / "feeds").mkdir()
    for owner, listed in LISTED.items():
        text = _PUSHED.format(owner=owner, listed=listed)
        (tmp_path / "feeds" / f"th-{owner.lower()}.toml").write_text(text)
    settings = load([], {"RINGFENCE_KAFKA__BOOTSTRAP_SERVERS": "127.0.0.1:1"})
    settings = replace(
        settings,
        redis=replace(settings.redis, url=redis_url),
        feeds=replace(settings.feeds, dir=str(tmp_path / "feeds")),
        lists=replace(settings.lists, state_dir=str(tmp_path / "state")),
        agreements=replace(settings.agreements, dir=str(tmp_path)),
        ops=replace(settings.ops, watch=()),
    )
    named = {ClientRole.PARTNER: THEIRS}
    held = tuple(
        (digest_of(token), Client(named.get(role, role.value), role))
        for role, token in TOKENS.items()
    )
    served_by = serve_settings(refusals_per_minute=100_000, questions_per_minute=100_000)
    lists = blocklists(*(live(LISTED[owner], NUMBERS[owner]) for owner in LISTED))
    judge = NumberPolicy(lists, compile_policy(PolicySettings(), lists.names))
    agreements = AgreementFolder(tmp_path)
    agreements.start()

    command = _command(tmp_path)
    monkeypatch.setattr(
        "stream.edge.http.api.commands.sys", SimpleNamespace(executable=str(command))
    )
    async with door_opened(Producer()) as intake:
        parts = parts_for(
            served_by,
            auth=Auth(Tokens(held), served_by.refusals_per_minute),
            intake=intake,
            lookup=lookup_in(lists),
            blocklist=Blocklist(lambda: judge),
        )
        async with redress_at(settings, settings.serve, parts.metrics, agreements) as redress:
            parts.appeals = redress
            appeals = await filled(settings.list_store(), redress)
            async with (
                opened(
                    settings,
                    settings.serve,
                    Monitor(()),
                    parts.auth,
                    agreements,
                    redress,
                    lambda: lists,
                ) as pages,
                served(parts, more=lambda app: install(app, pages)) as http,
            ):
                shown = [await redress.decisions.find(one) for one in DECISIONS.values()]

                async def look() -> Any:
                    return shown

                monkeypatch.setattr(type(pages.recent), "look", lambda *_: look())
                parts.push = pages.push
                yield Site(http, pages, appeals)
                pages.live.close()


def _command(folder: Path) -> Path:
    told = {"change": "added", "category": "parcel", "confidence": 80, "source": "t"}
    rest = {"reported_at": None, "expires_at": None}
    rows = [msgspec.json.encode({**told, "number": one, **rest}) for one in NUMBERS.values()]
    (folder / "lines").write_bytes(b"\n".join(rows) + b"\n")
    path = folder / "command"
    path.write_text(_COMMAND.format(lines=folder / "lines"))
    path.chmod(0o700)
    return path


async def filled(register_at: Any, redress: AppealService) -> dict[str, str]:
    """The lists, decisions and appeals of both owners; the appeals' ids."""
    appeals = {}
    made = [
        decision(
            NUMBERS[owner],
            f"{LISTED[owner]}=th-{owner.lower()}=call_centre",
            rule=f"agreement:th-{owner.lower()}",
            at_ms=now_ms(),
            decision_id=DECISIONS[owner],
        )
        for owner in LISTED
    ]
    await redress.decisions.deliver(batch(*made))
    async with await ListStore.connect(register_at) as register:
        for owner, listed in LISTED.items():
            await register.create(listed, "plain", BY)
            until_s = now_s() + 86_400
            number = NUMBERS[owner]
            one = Entry(number, fingerprint_of(number), Category.PARCEL, "t", now_s(), until_s, 80)
            await register.add(listed, [one], BY)
            appeal, _ = await actions.open_appeal(
                register,
                redress.store,
                redress.context(),
                number,
                [NamedList(list=listed, fingerprint="", category="call_centre")],
                BY,
                decision_id=DECISIONS[owner],
            )
            appeals[owner] = appeal.id
    return appeals
