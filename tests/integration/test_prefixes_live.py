"""Prefixes and ranges from a file to a call, on a real Redis: listed, carved out, taken off."""

import asyncio
import json
from pathlib import Path

import pytest

from stream.core.model.entry import Category
from stream.core.numbers.prefix_entries import PrefixRules
from stream.feeds.import_file import import_file
from stream.feeds.parse import Defaults
from stream.lists.store.list_content import covering
from tests.support.builders import NOW_S, entry
from tests.support.commands import Operator
from tests.support.lists import (
    BASE,
    BY,
    NAME,
    Worker,
    chained,
    enforced,
    removal,
    request,
    running,
    write,
)
from tests.support.waiting import REDIS_S

IN_RANGE, BESIDE, MOBILE = "+85523900123", "+85523901123", "+66812345678"
RULES = PrefixRules(9, {"KH": 7})
ROWS = ["+8552390####", "+85512345600-+85512345612", "0*", *BASE]


async def test_from_a_file_to_the_worker_and_changed_live(register, redis_url, tmp_path):
    """A base with prefixes is enforced, and so is each change to them, at once and after a restart.

    The number that is reported as legitimate is taken out of its blocked range, the longer prefix
    out of the shorter one; what is taken off leaves nothing behind.
    """
    worker = Worker(redis_url, tmp_path / "state")
    file = write(tmp_path / "numbers", ROWS)
    asked = request(file, defaults=Defaults("file", NOW_S, prefixes=RULES))
    async with running(worker):
        report = await import_file(register, asked, NOW_S)
        assert {wrong.label: count for wrong, count in report.rejected.items()} == {"no_country": 1}
        await enforced(worker, IN_RANGE)
        assert all(worker.listed(f"+855123456{n:02}") is (n <= 12) for n in range(14))
        assert worker.listed(BASE[0])
        assert not worker.listed(MOBILE)

        innocent = entry(IN_RANGE, category=Category.LEGITIMATE)
        await register.add(NAME, [innocent], BY)
        await enforced(worker, IN_RANGE, listed=False)
        assert worker.listed(BESIDE)
        assert await covering(register, NAME, b"", [IN_RANGE, BASE[0]], NOW_S) == {
            IN_RANGE: "+8552390*"
        }

        spared = entry("+85523901*", category=Category.LEGITIMATE)
        await register.add(NAME, [spared, entry("+6681234*")], BY)
        await enforced(worker, MOBILE)
        assert not worker.listed(BESIDE)
        assert await covering(register, NAME, b"", [BESIDE], NOW_S) == {}

    again = Worker(redis_url, tmp_path / "state")
    async with running(again):
        assert (again.listed(MOBILE), again.listed(BESIDE)) == (True, False)
        gone = [removal(text) for text in ("+6681234*", "+8552390*", "+85523901*")]
        await register.remove(NAME, gone, BY)
        await enforced(again, MOBILE, listed=False)
        assert not any(map(again.listed, (IN_RANGE, BESIDE)))
        assert again.listed("+85512345600")
    await chained(register)


async def test_prefixes_are_enforced_from_the_shelf(register, redis_url, tmp_path):
    """Without the register a worker starts with the prefixes that it had, changed ones too."""
    worker = Worker(redis_url, tmp_path / "state")
    asked = request(
        write(tmp_path / "numbers", ROWS), defaults=Defaults("file", NOW_S, prefixes=RULES)
    )
    await import_file(register, asked, NOW_S)
    async with running(worker):
        await register.add(NAME, [entry("+6681234*")], BY)
        await enforced(worker, MOBILE)
        await asyncio.sleep(0.3)  # the journal is written behind
    alone = Worker("redis://127.0.0.1:1/0", tmp_path / "state")
    alone.refresher.load_last_good()
    assert all(map(alone.listed, (IN_RANGE, BESIDE, MOBILE, BASE[0])))


@pytest.fixture
def operator(redis_url: str, tmp_path: Path) -> Operator:
    """An operator with an empty register."""
    config = tmp_path / "ringfence.toml"
    config.write_text(
        f'[redis]\nurl = "{redis_url}"\ntimeout_s = {REDIS_S}\n'
        f'[lists]\nstate_dir = "{tmp_path}/state"\n'
    )
    return Operator(config)


def test_as_an_operator_types_them(operator, tmp_path):
    """Added, asked about, exported, imported, carved out and taken off; what is too wide is not."""
    operator.types("lists", "create", "KH/scam")
    said = operator.types("lists", "add", "KH/scam", "+8552390*", "02*", "--region", "TH", code=1)
    assert "prefix_digits_min" in said
    assert "KH/scam: 1 added" in said
    held = operator.asks("why", IN_RANGE)
    assert held["call"]["rule"] == "list:KH/scam"
    (one,) = held["lists"]
    assert (one["state"], one["prefix"]) == ("listed", "+8552390*")
    assert [report["category"] for report in one["reports"]] == ["other"]
    assert "by its entry +8552390*" in operator.types("why", IN_RANGE)

    exported = operator.types("lists", "export", "KH/scam", "--format", "text")
    assert exported.split() == ["+8552390*"]
    csv = tmp_path / "again.csv"
    csv.write_text(operator.types("lists", "export", "KH/scam"))
    operator.types("lists", "create", "KH/again")
    assert "1 added" in operator.types("lists", "import", "KH/again", str(csv))

    operator.types("lists", "add", "KH/scam", IN_RANGE)
    said = operator.types("lists", "remove", "KH/scam", IN_RANGE, "+85500000000", code=1)
    assert f"{IN_RANGE} is still held by +8552390*" in said
    operator.types("lists", "add", "KH/scam", IN_RANGE, "--category", "legitimate")
    operator.types("lists", "remove", "KH/again", "+85523900000-+85523900009", code=1)
    operator.types("lists", "remove", "KH/again", "+8552390*")
    (one,) = json.loads(operator.types("why", IN_RANGE, "--json", code=1))["lists"]
    assert (one["state"], one["prefix"]) == ("legitimate", None)
    operator.types("lists", "remove", "KH/scam", "+8552390*")
    json.loads(operator.types("why", BESIDE, "--json", code=1))
