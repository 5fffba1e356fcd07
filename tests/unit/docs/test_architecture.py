"""The architecture page names each place that a call passes, as the code has them."""

import asyncio
import re
import sys
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import Any

import msgspec
import pytest

from stream.calls.call_batch import FEW
from stream.calls.crash_guard import CrashGuard
from stream.calls.crash_notes import CrashLog
from stream.calls.loop import CallsLoop
from stream.calls.publish import OutcomeProducer, Publisher
from stream.calls.settings import LoopSettings, PublishSettings
from stream.config.settings import load
from stream.core import kernels
from stream.core.model.agreement import Agreements
from stream.engine.decider import Decider, decoder_for
from stream.kafka.consumer import KafkaSource
from stream.kafka.settings import KafkaSettings, SourceSettings
from tests.support.builders import blocklists, live
from tests.support.scripted_broker import P0, Cluster, fetching
from tests.support.waiting import HANGS_S
from tests.tools.docs.build import DOCS

ROW = re.compile(r"^\| \d+ \| \[`[^`]+`\]\(\.\./\.\./(stream/[^)]+)\.py\) `(\w+)`", re.MULTILINE)
PLACES_MAX = 25
LISTED = "+447700900101"
KAFKA = KafkaSettings("127.0.0.1:1", "test")
PUBLISH = PublishSettings("decisions", "calls.rejected", "/ringfence", 1000)


class Producer:
    """A producer whose broker has everything at once."""

    async def partitions_for(self, topic: str) -> set[int]:
        return {0, 1}

    async def send_batch(self, batch: Any, topic: str, partition: int) -> "asyncio.Future[None]":
        queued = asyncio.get_running_loop().create_future()
        queued.set_result(None)
        return queued


async def followed(folder: Path) -> list[tuple[str, str]]:
    """The functions of ours that a batch passes from a socket on: module and name, in order."""
    passed: dict[tuple[str, str], None] = {}

    def note(frame: FrameType, event: str, _: object) -> None:
        module = frame.f_globals.get("__name__", "")
        if event == "call" and module.startswith("stream."):
            passed[module, frame.f_code.co_name] = None

    settings = load([], {})
    # A switch's dialect, of whose calls there may be several records.
    settings = replace(settings, calls=replace(settings.calls, topics={"calls": "kamailio"}))
    lists = blocklists(live("KH/scam", LISTED))
    decider = Decider(settings, lambda: lists, lambda: Agreements((), needed=False))
    call = {"callid": "c", "src_user": LISTED, "dst_user": "+66812345678"}
    async with Cluster() as cluster:
        # Few calls take a shorter way to their numbers.
        cluster.records(P0, [msgspec.json.encode(call)] * (FEW + 1))
        async with fetching(cluster) as lab:
            source: Any = KafkaSource(
                KAFKA, SourceSettings(("calls",), "g", "", "earliest", 6000, 30_000), lambda _: None
            )
            source._reader, source._assigned, source._epoch = lab.reader, {P0}, 1
            source._starts, source._taken = {P0: 0}, {P0: 0}
            sink = Publisher(KAFKA, PUBLISH, lambda _: None)
            sink._out = OutcomeProducer(Producer(), PUBLISH, lambda _: None, transactional=False)
            crashes = CrashLog(folder, lambda: 0)
            sys.setprofile(note)
            try:
                guard = CrashGuard(crashes, lambda: source.starts, lambda: False)
                steps = guard.noting(decoder_for(settings), decider)
                loop = CallsLoop(
                    source,
                    *steps,
                    sink,
                    LoopSettings(100, 20, 3_600_000),
                    asyncio.get_running_loop().time,
                    lambda _: loop.stop(),
                )
                loop._settle = lambda: asyncio.sleep(0)  # type: ignore[method-assign]
                async with asyncio.timeout(HANGS_S):
                    await loop.run()
            finally:
                sys.setprofile(None)
                crashes.close()
    return list(passed)


@pytest.mark.skipif(not kernels.compiled(), reason="without kernels a call takes the slow way")
async def test_a_call_passes_the_places_that_the_page_names(tmp_path: Path) -> None:
    """At most 25 from socket to socket; from decoding on in the order in which they stand."""
    page = (DOCS / "understand" / "architecture.md").read_text()
    named = [(path.replace("/", "."), name) for path, name in ROW.findall(page)]
    assert 20 < len(named) < PLACES_MAX
    passed = await followed(tmp_path)
    assert [one for one in named if one not in passed] == []
    decide = named[named.index(("stream.calls.decode", "decode")) :]
    assert [one for one in passed if one in decide] == decide
