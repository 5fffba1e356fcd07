"""`ringfence enforcement` as operators in TH and in KH type it, and as it runs by itself."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from stream.cli.main import app
from stream.ops.clock import now_ms
from stream.ops.tasks import cancelled
from tests.integration.test_enforcement import agreed
from tests.support.decisions import decision
from tests.support.enforcement import World, world
from tests.support.feeds import kh
from tests.support.waiting import HANGS_S, until

_TOML = """
[kafka]
bootstrap_servers = "{bootstrap}"
[redis]
url = "{url}"
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
    """Whoever types commands in KH and in TH."""

    def __init__(self, both: World) -> None:
        self.both = both
        self.th = self._config("TH", both.lab.urls[1])
        self.kh = self._config("KH", both.lab.urls[0])

    def _config(self, home: str, url: str) -> Path:
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
        return path

    async def type(self, config: Path, *words: str, code: int = 0) -> str:
        said = CliRunner()
        done = await asyncio.to_thread(said.invoke, app, [*words, "--config", str(config)])
        if done.exception and not isinstance(done.exception, SystemExit):
            raise done.exception
        assert done.exit_code == code, done.output
        return done.output

    async def ask(self, config: Path, *words: str, code: int = 0) -> Any:
        return json.loads(await self.type(config, *words, "--json", code=code))


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
    said = await operators.type(operators.th, "enforcement", "sight", "KH/scam", *kh(2), *why)
    assert kh(2)[0] not in said
    await operators.type(operators.th, "enforcement", "sight", "KH/scam", "nobody", *why, code=2)
    assert await operators.ask(operators.th, "enforcement", "publish") == {"published": 1}
    assert "nothing is new" in await operators.type(operators.th, "enforcement", "publish")
    assert "is no partner" in await operators.type(
        operators.kh, "enforcement", "import", "PH", code=2
    )
    assert await operators.ask(operators.kh, "enforcement", "import") == {
        "TH": {"taken": 1, "refused": {}, "sightings": 1, "unlisted": 0}
    }
    (shown,) = await operators.ask(operators.kh, "enforcement", "show", "KH/scam", "--by", "TH")
    assert shown["by_category"]["call_centre"]["blocked"] == 3
    (*_, row) = (await operators.type(operators.kh, "enforcement", "show")).splitlines()
    assert row.split()[:2] == ["KH/scam", "TH"]
    (listed,) = (await operators.ask(operators.kh, "why", *kh(2)))["lists"]
    assert "sighting/TH" in json.dumps(listed)
    (file,) = both.repository.folder.rglob("targets/TH/enforcement/KH-scam/*.json")
    (read,) = await operators.ask(operators.kh, "enforcement", "show", "--file", str(file))
    assert read == shown
    file.write_bytes(b"{}")
    said = await operators.type(operators.kh, "enforcement", "show", "--file", str(file), code=2)
    assert "missing required field" in said


async def test_a_partner_that_can_not_be_read(operators):
    """What stands in the way is said, and is an exit code; nothing is refused for it."""
    operators.both.root.write_bytes(b"nothing")
    found = await operators.ask(operators.kh, "enforcement", "import", code=1)
    assert "the root that we trust cannot be read" in found["TH"]["fault"]
    assert await operators.ask(operators.kh, "enforcement", "show", "--refused") == {"TH": {}}


async def test_it_runs_by_itself(operators):
    """What is decided in TH is heard in KH while both run; the process ends in order."""
    both = operators.both
    command = [sys.executable, "-m", "stream", "enforcement", "run", "--config", str(operators.th)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        await both.decide(decision(kh(1)[0], at_ms=now_ms()))
        async with both.kh(read_s=0.2) as owner:
            running = asyncio.create_task(owner.run())

            async def hears() -> bool:
                return any(one.by_category for one in await both.kept(owner))

            await until(hears, "KH to hear of it")
            await cancelled(running)
    finally:
        process.send_signal(signal.SIGTERM)
        said, _ = await asyncio.to_thread(process.communicate, None, HANGS_S)
    assert process.returncode == os.EX_OK, said
    assert "what was counted goes on where it ended" in said
