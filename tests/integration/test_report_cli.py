"""`ringfence report`, from what a real register holds."""

import asyncio
import json
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import redis

from stream.appeals.appeal_store import AppealStore
from stream.core.model.appeal import Appeal, AppealState, AppealStep, NamedList
from stream.core.model.delays import Delays
from stream.core.model.enforcement_document import Counts, written
from stream.lists.store.enforcement_store import EnforcementStore
from stream.lists.store.heads import By
from stream.lists.store.settings import ListStoreSettings
from tests.integration.test_feeds_cli import Office
from tests.support.feeds import kh
from tests.support.report_material import AGREEMENTS, at_s, document

NUMBER = "+447700900123"
COUNTS = {"call_centre": Counts(entries=2, entries_month=9, blocked=1200, flagged=3)}


@dataclass(frozen=True)
class Desk:
    """An office of TH with the agreements that are shipped, and what it is asked."""

    office: Office
    url: str
    folder: Path
    today: date

    @property
    def days(self) -> list[date]:
        """The last ten, today too."""
        return [self.today - timedelta(days=back) for back in range(9, -1, -1)]

    @property
    def period(self) -> str:
        """The last eight."""
        return f"{self.days[2]}..{self.today}"

    def report(self, *words: str, code: int = 0) -> str:
        return self.office.types("report", *words, code=code)

    def json(self, *words: str) -> Any:
        place = self.folder / "report.json"
        self.report(*words, "--json", str(place))
        return json.loads(place.read_text())

    async def told(self, country: str, name: str, *days: date, **fields: Any) -> None:
        """A country's reports on a list for some days were published, or read, here."""
        async with EnforcementStore.open(ListStoreSettings(self.url)) as book:
            for day in days:
                one = document(day, country, name, target_s=4 * 3600, **fields)
                await book.keep(one, written(one), None)

    async def appealed(self, name: str, partner: str | None, deadline_s: int) -> None:
        """Somebody appealed yesterday, and waits."""
        received_s = at_s(self.days[-2])
        appeal = Appeal(
            id=f"A-{partner}-{name.replace('/', '-')}",
            number=None if partner else NUMBER,
            lists=(NamedList(list=name, fingerprint="a1b2c3d4e5f60718"),),
            received_at_s=received_s,
            deadline_at_s=deadline_s,
            history=(AppealStep(at_s=received_s, actor="x", state=AppealState.RECEIVED),),
            partner=partner,
        )
        async with AppealStore.open(ListStoreSettings(self.url), kept_days=730) as book:
            await book.add(appeal, By("malee"))


@pytest.fixture
def desk(tmp_path: Path, redis_url: str, monkeypatch: pytest.MonkeyPatch) -> Desk:
    office = Office(tmp_path, redis_url)
    agreements = tmp_path / "agreements"
    agreements.mkdir()
    for path in AGREEMENTS.glob("*.toml"):  # without their ends, which will have been some day
        lines = path.read_text().splitlines(keepends=True)
        kept = "".join(line for line in lines if not line.startswith("valid_until"))
        (agreements / path.name).write_text(kept)
    with office.config.open("a") as config:
        config.write(f'[agreements]\ndir = "{agreements}"\n')
    monkeypatch.chdir(tmp_path)
    # `report` has no clock but the machine's; whole runs of the tests pass midnight.
    return Desk(office, redis_url, tmp_path, datetime.now(UTC).date())


def figures(told: Any, place: str) -> dict[str, Any]:
    """The figures of one list in one country."""
    held = next(one for one in told["lists"] if one["id"] == place)
    return {name: figure["value"] for name, figure in held["figures"].items()}


def test_a_register_with_nothing_gives_a_whole_report(desk):
    """Nothing told, nothing came: the report says so; what was not counted is no 0 in it."""
    said = desk.report("th-kh")
    assert "nothing is known of what it did" in said
    (page,) = desk.folder.glob("report-th-kh-*.html")
    assert page.read_text().startswith("<!doctype html>")
    told = desk.json("th-kh")
    found = figures(told, "KH-scam-in-TH")
    assert {name for name, value in found.items() if value is not None} == {"days_told"}
    assert told["raise"][0]["rule"] == "silent"
    assert [one["what"] for one in told["waiting"]] == ["never reported", "not reported"]


async def recorded(desk: Desk) -> None:
    """Both sides told, one document was refused, and two appeals wait."""
    live = Delays.measured([1.5, 2.0, 5 * 3600], 4 * 3600)
    await desk.told("TH", "KH/scam", *desk.days[:-1], by_category=COUNTS, in_force=live)
    await desk.told("KH", "TH/national", desk.days[0], desk.days[3], by_category=COUNTS)
    await desk.appealed("KH/scam", None, at_s(desk.today) - 3600)
    await desk.appealed("TH/national", "KH", at_s(desk.today) + 2 * 86_400)
    async with EnforcementStore.open(ListStoreSettings(desk.url)) as book:
        target = f"KH/enforcement/TH-national/{desk.days[4]}.json"
        await book.refuse("KH", "TH/national", target, f"{target}: {NUMBER}, not ours", By("x"))


def test_a_report_is_made_of_what_was_recorded(desk):
    """Documents of both sides, refused ones, versions, the feed, appeals, sizes: all of it."""
    asyncio.run(recorded(desk))
    office = desk.office
    office.types("lists", "create", "TH/national", "--reason", "first")
    office.partner_says(*kh(*range(40)))
    office.types("feeds", "pull", "kh-scam")
    office.partner_says(*kh(*range(5)))
    office.types("feeds", "pull", "kh-scam", code=1)
    told = desk.json("th-kh", "--period", desk.period)
    ours, theirs = figures(told, "KH-scam-in-TH"), figures(told, "TH-national-in-KH")
    assert (ours["days_told"], ours["blocked"], ours["flagged"]) == (7, 8400, 21)
    assert (ours["changes"], ours["late"], ours["listed"]) == (21, 7, 40)
    assert (theirs["days_told"], theirs["blocked"], theirs["listed"]) == (1, 1200, 0)
    before = {name: one["before"] for name, one in told["lists"][0]["figures"].items()}
    assert (before["blocked"], before["listed"]) == (2400, None)
    assert told["lists"][0]["reasons"] == [{"verdict": "held", "reason": "shrunk", "count": 1}]
    assert told["unread"] == [
        f"KH/enforcement/TH-national/{desk.days[4]}.json: (left out), not ours"
    ]
    assert [(one["what"], one["list"], one["who"]) for one in told["waiting"]] == [
        ("held", "KH/scam", "TH"),
        ("overdue", "KH/scam", "TH"),
        ("unanswered", "TH/national", "TH"),
        ("not reported", "TH/national", "KH"),
    ]
    assert "that Cambodia passed on waits" in told["waiting"][2]["text"]


def test_a_deleted_list_has_no_numbers_in_a_report(desk):
    """Neither as it was before, nor, after an appeal against it, the size of the allowlist."""
    office = desk.office
    office.types("lists", "create", "KH/scam")
    office.types("lists", "add", "KH/scam", *kh(1, 2))
    office.types("allow", "add", *kh(3, 4, 5))
    assert figures(desk.json("th-kh", "--period", desk.period), "KH-scam-in-TH")["listed"] == 2
    office.types("lists", "delete", "KH/scam", "--reason", "over", "--force")
    assert figures(desk.json("th-kh", "--period", desk.period), "KH-scam-in-TH")["listed"] == 0
    asyncio.run(desk.appealed("KH/scam", None, at_s(desk.today)))
    assert figures(desk.json("th-kh", "--period", desk.period), "KH-scam-in-TH")["listed"] == 0
    counts = {told["op"]: told["count"] for told in reversed(office.asks("audit"))}
    assert (counts["allow"], counts["delete"], counts["appeal_received"]) == (3, 0, 0)


def test_a_report_goes_where_it_is_wanted(desk):
    """To a file, to stdout with the words on stderr, or both; exit 2 where it cannot."""
    asyncio.run(recorded(desk))
    said = desk.report("th-kh", "--period", desk.period, "--out", "a.html", "--json", "a.json")
    assert "Cambodia's list KH/scam in Thailand: 8,400 calls blocked and 21 flagged" in said
    assert {path.name for path in desk.folder.glob("a.*")} == {"a.html", "a.json"}
    piped = json.loads(desk.report("th-kh", "--period", desk.period, "--json", "-"))
    assert piped["period"]["period"] == desk.period
    assert not [*desk.folder.glob("report-*")]
    assert NUMBER not in (desk.folder / "a.html").read_text()
    assert "No such file" in desk.report("th-kh", "--out", "nowhere/a.html", code=2)


@pytest.mark.parametrize(
    ("words", "code", "why"),
    [
        (("th-kk",), 1, "no agreement th-kk; known: asean, itu, partners, th-kh, th-mm, th-ph"),
        (("th-kh", "--period", "2025-08"), 1, "th-kh began on 2025-09-01, after 2025-08"),
        (("th-kh", "--period", "2099-01"), 1, "2099-01 has not begun"),
        (("th-kh", "--out", "x", "--json", "x"), 2, "x: the page and the JSON cannot both go"),
        (("th-kh", "--period", "2026-13"), 2, "'2026-13' is no period: write a month 2026-11"),
    ],
)
def test_what_can_not_be_reported_on_is_told(desk, words, code, why):
    """No such agreement, a period without it, or no period: one line says what may be asked."""
    assert why in desk.report(*words, code=code)


def test_a_damaged_document_is_skipped(desk, caplog):
    """A day's unreadable document leaves a gap in the report; a line names its place."""
    asyncio.run(recorded(desk))
    with redis.Redis.from_url(desk.url) as register:
        (key,) = register.keys("rf:enforced:*KH/scam*:by:TH")
        before = desk.report("th-kh", "--period", desk.period)
        register.hset(key, desk.days[3].isoformat(), b"{")
    said = desk.report("th-kh", "--period", desk.period)
    gap = f"Thailand did not report on KH/scam on 1 day ({desk.days[3]:%-d %B %Y})"
    assert gap in said
    assert gap not in before
    assert f"{key.decode()} {desk.days[3]}: skipped" in caplog.text


def test_without_agreements_there_is_no_report(tmp_path, redis_url):
    """Where no folder of agreements is named, that is what is said."""
    office = Office(tmp_path, redis_url)
    assert "[agreements] dir names no folder" in office.types("report", "th-kh", code=1)
