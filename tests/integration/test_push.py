"""Lists handed in over HTTP, on a real Redis: verdicts, keys, and who may hand in what."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from stream.config.agreement_files import AgreementFolder
from stream.config.settings import load
from stream.core.filters.blocklists import EMPTY_BLOCKLISTS
from stream.edge.http.api.list_changes import ChangeAnswer
from stream.edge.http.api.push_routes import VersionAnswer
from stream.edge.http.auth import Auth
from stream.edge.http.tokens import Client, ClientRole, Tokens, digest_of
from stream.feeds.formats.change_file import Header, write
from stream.lists.store.heads import By
from stream.ops.clock import now_s
from stream.ops.monitor.collect import Monitor
from stream.web.page_context import PageParts, opened, redress_at
from tests.support.builders import entry
from tests.support.commands import Operator
from tests.support.feeds import kh
from tests.support.http_service import Served, parts_for, serve_settings, served

FEED = """
list = "{list}"
{rows}
category = "call_centre"
[owner]
name = "{owner}"
contact = "noc@trc.example"
[from]
kind = "{kind}"
{tail}
"""
WHO = {
    "KH": ClientRole.PARTNER,
    "LA": ClientRole.PARTNER,
    "desk": ClientRole.PARTNER,
    "anna": ClientRole.OPERATOR,
    "eye": ClientRole.VIEWER,
}
VERSIONS = "/v1/feeds/kh-police/versions"
CHANGES = "/v1/lists/KH/scam/changes"


class Door:
    """An HTTP service whose clients hand in lists, and the shell beside it."""

    def __init__(self, http: Served, shell: Operator, folder: Path, pages: PageParts) -> None:
        self.http, self.shell, self.folder, self.pages = http, shell, folder, pages

    async def sends(
        self, method: str, path: str, who: str, body: bytes, key: str = "", **headers: str
    ) -> tuple[int, dict[str, Any]]:
        """The status and the JSON of an answer."""
        headers |= {"Authorization": f"Bearer rf_{who}"} | ({"Idempotency-Key": key} if key else {})
        async with self.http.client.request(method, path, data=body, headers=headers) as answer:
            self.replayed = answer.headers.get("Idempotent-Replayed")
            return answer.status, await answer.json(content_type=None)

    async def puts(self, who: str, *lines: str, key: str = "") -> tuple[int, dict[str, Any]]:
        """A partner's file as the body of a PUT."""
        body = "".join(f"{line}\n" for line in lines).encode()
        return await self.sends("PUT", f"{VERSIONS}?reason=weekly&file=kh.txt", who, body, key)

    async def changes(
        self, who: str, key: str = "", path: str = CHANGES, **change: Any
    ) -> tuple[int, dict[str, Any]]:
        """A few numbers, with a reason."""
        body = msgspec.json.encode({"reason": "widows called", **change})
        return await self.sends(
            "POST", path, who, body, key, **{"Content-Type": "application/json"}
        )

    def pages_read_feeds_again(self) -> None:
        """The folder is read each few seconds; a test does not wait for that."""
        self.pages.feeds._looked_s = None

    def feed(self, name: str, owner: str, listed: str, tail: str = "", **other: str) -> None:
        words = {"rows": 'format = "text"', "kind": "push"} | other
        text = FEED.format(list=listed, owner=owner, tail=tail, **words)
        (self.folder / "feeds" / f"{name}.toml").write_text(text)
        self.pages_read_feeds_again()

    def listed(self, name: str = "KH/scam") -> dict[str, str]:
        """The numbers of a list, and who reported each."""
        rows = self.shell.types("lists", "export", name, "--format", "jsonl").splitlines()
        found = [msgspec.json.decode(row) for row in rows]
        return {row["number"]: row["source"] for row in found}


@pytest.fixture
async def door(tmp_path: Path, redis_url: str) -> AsyncIterator[Door]:
    (tmp_path / "feeds").mkdir()
    shell = Operator.at(tmp_path, redis_url, f'[feeds]\ndir = "{tmp_path}/feeds"\n')
    settings = load([shell.config], {})
    held = [(digest_of(f"rf_{name}"), Client(name, role)) for name, role in WHO.items()]
    limits = serve_settings(refusals_per_minute=100_000)
    parts = parts_for(limits, auth=Auth(Tokens(tuple(held)), 100_000))
    agreements = AgreementFolder(settings.agreements.folder())
    async with (
        redress_at(settings, settings.serve, parts.metrics, agreements) as redress,
        opened(
            settings,
            limits,
            Monitor(()),
            parts.auth,
            agreements,
            redress,
            lambda: EMPTY_BLOCKLISTS,
            ["--config", str(shell.config)],
        ) as pages,
    ):
        parts.push = pages.push
        async with served(parts) as http:
            door = Door(http, shell, tmp_path, pages)
            door.feed("kh-police", "KH", "KH/scam", 'clients = ["desk"]')
            yield door
        pages.live.close()


async def test_a_list_is_handed_in_and_replaced(door: Door) -> None:
    """The first file makes the list, the next replaces what the feed had there, and the answer is
    of its type: counts, rejected rows by line, generation. The audit names token and reason.
    """
    status, said = await door.puts("KH", *kh(1, 2, 3), "nonsense", key="week-48")
    assert status == 200, said
    assert (await door.puts("KH", *kh(1, 2, 3), "nonsense", key="week-48")) == (200, said)
    assert door.replayed == "true"
    assert (await door.puts("KH", *kh(1), key="week-48"))[0] == 422, "another file"
    answer = msgspec.convert(said, VersionAnswer)
    assert (answer.verdict, answer.live, answer.added, answer.numbers) == ("accepted", True, 3, 3)
    assert answer.rows.rejected == {"not_e164": 1}
    assert [row.line for row in answer.rows.first_rejected] == [4]
    assert "nonsense" not in str(said), "no answer quotes a row"
    status, said = await door.puts("desk", *kh(2, 3, 4))
    assert (status, said["added"], said["removed"]) == (200, 1, 1)
    assert door.listed().keys() == {*kh(2, 3, 4)}
    assert (await door.puts("KH", *kh(2, 3, 4)))[1]["verdict"] == "same"
    told = door.shell.types("audit")
    assert "http:KH" in told
    assert "weekly" in told
    assert not [*(door.folder / "state" / "handed-in").iterdir()]


async def test_a_file_is_held_released_by_another_and_refused(door: Door) -> None:
    """202 names the reason and who may release; 422 what is no list; the last good one stays."""
    door.feed("kh-police", "KH", "KH/scam", "[gate]\nsecond_person = true")
    status, said = await door.puts("KH", *kh(1))
    assert status == 202, said
    assert (said["verdict"], said["live"]) == ("held", False)
    assert said["findings"] == [{"reason": "second_person", "detail": "http:KH handed it in"}]
    assert said["release"]["page"] == "/lists/KH/scam"
    release = ("feeds", "release", "kh-police", "--reason", "seen", "--version", said["version"])
    refused = door.shell.types(*release, "--actor", "page:KH", code=1)
    assert "another person" in refused
    door.shell.types(*release, "--actor", "page:anna")
    status, said = await door.puts("KH", "<!doctype html><html><body>Sign in</body></html>")
    assert (status, said["type"]) == (422, "urn:ringfence:problem:version-refused")
    assert said["errors"][0]["reason"] == "not_a_feed"
    assert door.listed().keys() == {*kh(1)}


async def test_changes_do_not_overtake_those_that_wait(door: Door) -> None:
    """409 until the version before is decided: it was replaced, and its numbers were lost."""
    rows, gate = 'format = "ringfence"', "[gate]\nsecond_person = true"
    door.feed("kh-police", "KH", "KH/scam", gate, rows=rows)
    first, second = (
        "".join(
            write(
                Header("KH/scam", whole=False, from_generation=at, to=at + 1),
                [entry(kh(at)[0], reported_at_s=now_s())],
                (),
            )
        ).encode()
        for at in range(2)
    )
    status, said = await door.sends("PUT", f"{VERSIONS}?reason=r", "KH", first)
    assert (status, said["verdict"]) == (202, "held"), said
    status, answer = await door.sends("PUT", f"{VERSIONS}?reason=r", "KH", second)
    assert status == 409
    assert f"version {said['version']} of feed kh-police waits" in answer["detail"]
    release = ("feeds", "release", "kh-police", "--reason", "seen", "--version", said["version"])
    door.shell.types(*release, "--actor", "page:anna")
    assert (await door.sends("PUT", f"{VERSIONS}?reason=r", "KH", second))[0] == 202
    assert door.listed().keys() == {*kh(0)}


async def test_one_key_is_one_request(door: Door) -> None:
    """The same change with the same key gets the same answer and changes nothing; another change
    with it is refused; another client's key is its own; a key is bounded.
    """
    door.shell.types("lists", "create", "KH/scam")
    add = [{"number": kh(1)[0]}]
    first = await door.changes("KH", "week-48", add=add)
    assert (first[0], first[1]["added"], door.replayed) == (200, 1, None)
    assert await door.changes("KH", '"week-48"', add=add) == first
    assert door.replayed == "true"
    status, said = await door.changes("KH", "week-48", remove=kh(1))
    assert (status, said["type"]) == (422, "urn:ringfence:problem:idempotency-key-reused")
    assert (await door.changes("desk", "week-48", remove=kh(1)))[1]["removed"] == 1
    assert (await door.changes("KH", "x" * 129, add=add))[0] == 400
    # What could not be done is not kept: the same key may do it later.
    assert (await door.changes("KH", "later", add=[{"number": "112"}]))[0] == 400
    assert (await door.changes("KH", "later", add=add))[1]["added"] == 1


async def test_no_client_hands_in_what_is_not_its_own(door: Door) -> None:
    """Another owner's partner finds no such feed; a fetched feed takes none; nor other roles."""
    for who, status in (("LA", 404), ("eye", 403)):
        assert (await door.puts(who, *kh(1)))[0] == status, who
    door.feed("fetched", "KH", "KH/other", 'path = "/srv/x"', kind="file")
    status, said = await door.sends("PUT", "/v1/feeds/fetched/versions", "KH", b"x")
    assert status == 409, said
    assert (await door.sends("PUT", VERSIONS, "KH", b""))[0] == 400
    door.feed("kh-police", "KH", "KH/scam", "[gate]\nsecond_person = true")
    assert (await door.changes("KH", add=[{"number": kh(3)[0]}]))[0] == 409


async def test_a_few_numbers_at_once(door: Door) -> None:
    """A partner's numbers are reports of its feed; what it may not list is rejected by its place;
    it takes off the reports of its feeds alone; a whole version takes their place.
    """
    door.feed("kh-police", "KH", "KH/scam", rows='format = "csv"\nsources = "both"')
    door.feed("kh-sales", "KH", "KH/scam")
    assert (await door.changes("KH", add=[{"number": kh(1)[0]}]))[0] == 404, "no list yet"
    await door.puts("KH", "number,source", *(f"{one},{by}" for one in kh(1, 2) for by in "ab"))
    await door.sends("PUT", "/v1/feeds/kh-sales/versions?reason=r", "KH", kh(1)[0].encode())
    door.shell.types("lists", "add", "KH/scam", kh(2)[0], "--actor", "malee")
    add = [{"number": kh(9)[0], "category": "parcel"}, {"number": "112"}, {"number": kh(8)[0]}]
    add += [{"number": "+66812345678"}, {"number": kh(7)[0], "category": "bad"}]
    gone = [*kh(1, 2), "+85531000099"]
    status, said = await door.changes("KH", add=add, remove=gone, key="k")
    assert status == 200, said
    answer = msgspec.convert(said, ChangeAnswer)
    assert (answer.added, answer.removed, answer.updated, answer.absent) == (2, 1, 1, 1)
    assert [(one.field, one.reason) for one in answer.rejected] == [
        ("add[1].number", "not_e164"),
        ("add[4].category", "bad_category"),
        ("add[3].number", "country_not_allowed"),
    ]
    assert door.listed() == {kh(9)[0]: "kh-police", kh(8)[0]: "kh-police", kh(2)[0]: "malee"}
    assert (await door.changes("KH", add=add, remove=gone, key="k"))[1] == said
    await door.puts("KH", "number", *kh(5))
    assert door.listed().keys() == {*kh(2, 5)}


async def test_a_number_that_is_given_alone_is_as_the_feeds_file_says(door: Door) -> None:
    """Category, confidence and end are those of a version's row; an operator's are no feed's."""
    rows = 'format = "text"\nconfidence = 40\nexpires_from = "never"'
    door.feed("kh-police", "KH", "KH/scam", rows=rows)
    assert (await door.puts("KH", *kh(1)))[0] == 200
    number = kh(2)[0]
    assert (await door.changes("KH", add=[{"number": number}]))[0] == 200
    exported = door.shell.types("lists", "export", "KH/scam", "--format", "jsonl").splitlines()
    found = {row.pop("number"): row for row in map(msgspec.json.decode, exported)}
    for row in found.values():
        del row["reported_at"]
    assert found[number] == found[kh(1)[0]]
    assert (found[number]["category"], found[number]["confidence"]) == ("call_centre", 40)
    assert found[number]["expires_at"] is None


async def test_the_same_file_takes_the_place_of_changes(door: Door) -> None:
    """A partner that hands its last file in again gets the list of that file, and an answer that
    says so; with no change between it is the same.
    """
    await door.puts("KH", *kh(1, 2))
    assert (await door.puts("KH", *kh(1, 2)))[1]["verdict"] == "same"
    await door.changes("KH", add=[{"number": kh(9)[0]}], remove=kh(1))
    assert door.listed().keys() == {*kh(2, 9)}
    status, said = await door.puts("KH", *kh(1, 2))
    assert (status, said["verdict"], said["added"], said["removed"]) == (200, "accepted", 1, 1)
    assert door.listed().keys() == {*kh(1, 2)}
    assert (await door.puts("KH", *kh(1, 2)))[1]["verdict"] == "same"


async def test_what_is_sent_in_another_way_is_told_how(door: Door) -> None:
    """Another method, a form in place of the file, no JSON, a change of nothing: each says how."""
    status, said = await door.sends("POST", VERSIONS, "KH", b"number\n")
    assert (status, said["detail"]) == (405, "this address takes PUT")
    form = {"Content-Type": "multipart/form-data; boundary=x"}
    status, said = await door.sends("PUT", VERSIONS, "KH", b"--x", **form)
    assert (status, "curl -T FILE" in said["detail"]) == (415, True)
    await door.puts("KH", *kh(1, 2))
    status, said = await door.sends("POST", CHANGES, "KH", b"{}")
    assert (status, "Content-Type: application/json" in said["detail"]) == (415, True)
    status, said = await door.changes("KH")
    assert (status, said["detail"]) == (400, "give numbers to add, to remove, or both")
    status, said = await door.changes("KH", add=[{"number": "023900123"}])
    assert '"region": "TH"' in said["errors"][0]["what_to_do"]


async def test_changes_that_are_refused(door: Door) -> None:
    """Another's list, no reason, no number that can be used, wrong fields; our own is changed."""
    door.shell.types("lists", "create", "KH/scam")
    door.shell.types("lists", "add", "KH/scam", *kh(1))
    assert (await door.changes("LA", add=[{"number": kh(3)[0]}]))[0] == 404
    assert (await door.changes("anna", add=[{"number": kh(3)[0]}]))[0] == 409, "KH's is KH's"
    assert (await door.changes("eye", add=[{"number": kh(3)[0]}]))[0] == 403
    assert (await door.changes("KH", add=[{"number": kh(3)[0]}], reason=" "))[0] == 400
    status, said = await door.changes("KH", add=[{"number": "112"}])
    assert (status, said["errors"][0]["field"]) == (400, "add[0].number")
    assert (await door.changes("KH", add=[{"numbers": "1"}]))[0] == 400
    assert (await door.changes("KH", remove=["+1"] * 1001))[0] == 413
    store = await door.pages.list_store()
    await store.create("TH/hashed", "mekong", By("somchai", "a test"))
    hashed = "/v1/lists/TH/hashed/changes"
    status, said = await door.changes("anna", path=hashed, add=[{"number": kh(3)[0]}])
    assert (status, "sets [circles.mekong]" in said["detail"]) == (409, True), said
    door.shell.types("lists", "create", "TH/national")
    ours = "/v1/lists/TH/national/changes"
    status, said = await door.changes("anna", path=ours, add=[{"number": "+66812345678"}])
    assert (status, said["added"]) == (200, 1)
    assert door.listed("TH/national") == {"+66812345678": "http:anna"}
    assert door.listed().keys() == {*kh(1)}
