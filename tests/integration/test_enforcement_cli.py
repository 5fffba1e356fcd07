"""`ringfence enforcement` as operators in TH and in KH type it, and as it runs by itself."""

import asyncio
import json
import os
from collections.abc import AsyncIterator

import pytest

from stream.ops.clock import now_ms
from stream.ops.tasks import cancelled
from tests.integration.test_enforcement import agreed
from tests.support.commands import Operator
from tests.support.decisions import decision
from tests.support.enforcement import World, world
from tests.support.engine import Engine
from tests.support.feeds import kh
from tests.support.waiting import until

_TOML = """
[kafka]
bootstrap_servers = "{bootstrap}"
[redis]
url = "{url}"
[lists]
state_dir = "{state}/{home}"
[calls]
home_country = "{home}"
decisions_topic = "{topic}"
[exchange]
dir = "{folder}"
keys_dir = "{keys}"
state_dir = "{state}"
[ops]
http_host = "127.0.0.1"
[enforcement]
publish_s = 1
read_s = 1
http_port = 0
[enforcement.partners.TH]
url = "{folder}"
root = "{root}"
"""


class Operators:
    """Operators who type commands in KH and in TH."""

    def __init__(self, both: World) -> None:
        self.both = both
        self.th = self._config("TH", both.lab.urls[1])
        self.kh = self._config("KH", both.lab.urls[0])

    def _config(self, home: str, url: str) -> Operator:
        path = self.both.folder / f"{home}.toml"
        text = _TOML.format(
            bootstrap=self.both.calls.bootstrap,
            url=url,
            home=home,
            topic=self.both.calls.topics.decisions,
            folder=self.both.repository.folder,
            keys=self.both.repository.home / "keys",
            state=self.both.folder / "state",
            root=self.both.root,
        )
        path.write_text(text if home == "KH" else text.partition("[enforcement.partners")[0])
        return Operator(path)


@pytest.fixture
async def operators(tmp_path, urls, kafka) -> AsyncIterator[Operators]:
    async with world(tmp_path, urls, kafka, agreed) as both:
        await both.lab.kh.add(*kh(1, 2))
        await both.lab.kh.publishes()
        await both.lab.th.accepts()
        yield Operators(both)


@pytest.mark.apache_kafka
async def test_told_and_heard_by_commands(operators):
    """Published in TH, imported in KH; a number that TH doubts is shown as doubted in KH."""
    both = operators.both
    await both.decide(*(decision(one, at_ms=now_ms()) for one in kh(1, 1, 2)))
    why = ("--reason", "a hospital")
    said = operators.th.types("enforcement", "sight", "KH/scam", *kh(2), *why)
    assert kh(2)[0] not in said
    operators.th.types("enforcement", "sight", "KH/scam", "nobody", *why, code=2)
    assert operators.th.asks("enforcement", "publish") == {"published": 1}
    assert "nothing is new" in operators.th.types("enforcement", "publish")
    assert "is no partner" in operators.kh.types("enforcement", "import", "PH", code=2)
    assert operators.kh.asks("enforcement", "import") == {
        "TH": {"taken": 1, "refused": {}, "sightings": 1, "unlisted": 0}
    }
    (shown,) = operators.kh.asks("enforcement", "show", "KH/scam", "--by", "TH")
    assert shown["by_category"]["call_centre"]["blocked"] == 3
    (*_, row) = operators.kh.types("enforcement", "show").splitlines()
    assert row.split()[:2] == ["KH/scam", "TH"]
    (listed,) = operators.kh.asks("why", *kh(2))["lists"]
    assert "sighting/TH" in json.dumps(listed)
    (file,) = both.repository.folder.rglob("targets/TH/enforcement/KH-scam/*.json")
    (read,) = operators.kh.asks("enforcement", "show", "--file", str(file))
    assert read == shown
    file.write_bytes(b"{}")
    said = operators.kh.types("enforcement", "show", "--file", str(file), code=2)
    assert "missing required field" in said


async def test_a_partner_that_can_not_be_read(operators):
    """The obstacle is printed, with an exit code; nothing is refused for it."""
    operators.both.root.write_bytes(b"nothing")
    found = operators.kh.asks("enforcement", "import", code=1)
    assert "the root that we trust cannot be read" in found["TH"]["fault"]
    assert operators.kh.asks("enforcement", "show", "--refused") == {"TH": {}}


async def test_it_runs_by_itself(operators):
    """Decisions in TH are reported in KH while both run; the process ends in order."""
    both = operators.both
    with Engine(operators.th.config, "enforcement", "run") as process:
        process.start()
        await both.decide(decision(kh(1)[0], at_ms=now_ms()))
        async with both.kh(read_s=0.2) as owner:
            running = asyncio.create_task(owner.run())

            async def hears() -> bool:
                return any(one.by_category for one in await both.kept(owner))

            await until(hears, "KH to hear of it")
            await cancelled(running)
        assert await asyncio.to_thread(process.stop) == os.EX_OK, process.last_words()
        assert "what was counted goes on where it ended" in process.log()
