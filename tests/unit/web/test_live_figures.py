"""Figures for all who watch, and what is sent to them; without processes or a browser."""

import asyncio
from dataclasses import replace

import pytest

from stream.config.bundled_files import location
from stream.edge.http.languages import reading
from stream.edge.http.problems import ProblemError
from stream.ops.monitor.collect import Monitor
from stream.ops.monitor.dashboard import (
    FeedOverview,
    ListOverview,
    Overview,
    ProcessState,
    ProcessStatus,
    SinkOverview,
    overview,
)
from stream.ops.monitor.rates import ReadingPair, read
from stream.ops.monitor.targets import ProcessKind
from stream.ops.tasks import running
from stream.web import live_figures as live_module
from stream.web.chart_history import ChartSpan
from stream.web.findings import HEADINGS, findings
from stream.web.live_figures import LiveFigures, tiles, told
from stream.web.pages.overview_pages import anchor
from stream.web.store_watch import StoreFigures
from tests.browser.pictures import Told, busy, place
from tests.support.lists import until

NOW_S = 1_764_000_000.0


class Slow(Told):
    """A watch that counts how often it is asked."""

    looks = 0

    async def look(self) -> Overview:
        self.looks += 1
        await asyncio.sleep(0)
        return await super().look()


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_module, "LOOK_S", 0.02)


async def test_two_hundred_watch_and_one_asks(quick) -> None:
    """However many watch, each look is one; all get the same bytes; one too many is refused."""
    live = LiveFigures(Slow(), 200)
    async with running(live.run(), "live"):
        streams = [live.events("", ChartSpan.HOUR) for _ in range(200)]
        begun = await asyncio.gather(*(anext(stream) for stream in streams))
        assert set(begun) == {b"retry: 3000\n\n"}
        with pytest.raises(ProblemError) as refused:
            await anext(live.events("", ChartSpan.HOUR))
        assert refused.value.status == 503
        await until(lambda: live.seen is not None)
        for _ in range(3):
            parts = await asyncio.gather(*(anext(stream) for stream in streams))
        assert all(b"event: figures" in part for part in parts)
        assert live.watch.looks < 50  # type: ignore[attr-defined]
        for stream in streams:
            await stream.aclose()
    assert live.watchers == 0


async def test_each_language_has_its_own_figures(quick) -> None:
    """Viewers of one language get the same bytes; a viewer of another one gets other texts."""
    live = LiveFigures(Slow(), 3)
    async with running(live.run(), "live"):
        await until(lambda: live.seen is not None)
        made = []
        for language in ("en", "th", "th"):
            with reading(language):
                stream = live.events("", ChartSpan.HOUR)
                await anext(stream)
                made.append((await anext(stream)).decode())
                await stream.aclose()
    assert ["Waiting for a decision" in one for one in made] == [True, False, False]
    assert ["รอคำตัดสิน" in one for one in made] == [False, True, True]


async def test_who_is_slow_gets_the_newest_only(quick) -> None:
    """Events that a viewer did not take in time are not kept for it."""
    live = LiveFigures(Slow(), 2)
    async with running(live.run(), "live"):
        slow, fast = live.events("", ChartSpan.HOUR), live.events("", ChartSpan.HOUR)
        for stream in (slow, fast):
            await anext(stream)
            await anext(stream)
        taken = [await anext(fast) for _ in range(6)]
        late = await anext(slow)
        assert late not in taken[:4]
        await slow.aclose()
        await fast.aclose()


async def test_a_visit_changes_no_interval(monkeypatch: pytest.MonkeyPatch) -> None:
    """Points are as far apart with a viewer as without: none looks at once for a visit."""
    live = LiveFigures(watch := Slow(), 2)
    slept: list[float] = []
    real = asyncio.sleep

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        await real(0)

    monkeypatch.setattr(asyncio, "sleep", sleep)
    monkeypatch.setattr(live_module, "monotonic_s", lambda: 100.0)
    async with running(live.run(), "live"):
        await until(lambda: watch.looks >= 3)
        stream = live.events("", ChartSpan.HOUR)
        await anext(stream)
        before = watch.looks
        await until(lambda: watch.looks >= before + 3)
        await stream.aclose()
    assert {seconds for seconds in slept if seconds > 0.1} == {live_module.LOOK_S}


async def test_a_stop_ends_every_stream(quick) -> None:
    """The server waits for running answers: streams end when it stops."""
    live = LiveFigures(Slow(), 5)
    async with running(live.run(), "live"):
        stream = live.events("nonsense", ChartSpan.DAY)
        await anext(stream)
        await anext(stream)
        live.close()
        assert len([part async for part in stream]) <= 1


def test_nothing_known_is_said_to_be_unknown() -> None:
    """Without any answer no figure is 0, none is wrong, and each says why and where to look."""
    found = tiles(Overview(NOW_S, 0.0, ()), "the list store does not answer")
    assert {tile.value for tile in found} == {"–"}
    assert not [tile for tile in found if tile.mark]
    assert all(tile.more and tile.link for tile in found)
    assert told([]) == []


@pytest.mark.parametrize("state", [ProcessState.UNHEARD, ProcessState.AWAY])
def test_an_engine_that_does_not_answer_has_no_lists_in_force(state: ProcessState) -> None:
    """Its lists are not 0, they are unknown; and no next reading is promised."""
    engine = ProcessStatus(place(ProcessKind.ENGINE, 9464), ProcessKind.ENGINE, state, None)
    found = {tile.key: tile for tile in tiles(Overview(NOW_S, 0.0, (engine,)))}
    assert (found["lists"].value, found["lists"].more) == ("–", "no engine answers")
    assert found["calls"].more == "no engine answers"


def test_the_list_store_has_figures_that_no_process_reports() -> None:
    """An appeal that is due and a feed that is down are shown without a process that says so."""
    feed = FeedOverview("kh-scam", True, False, 12, 40.0, 4.0, 2)
    store = StoreFigures((feed,), {"received": 2, "redressed": 7}, 1)
    seen = store.onto(Overview(NOW_S, 1.0, ()))
    shown = {tile.key: tile for tile in tiles(seen)}
    assert (shown["feeds"].value, shown["feeds"].more) == ("1", "1 has a held version, 1 is down")
    assert (shown["appeals"].value, shown["appeals"].more) == ("2", "1 overdue")
    assert {one.heading for one in findings(seen)} >= {"AppealsOverdue", "FeedHeld", "FeedDown"}
    unread = StoreFigures(fault="away").onto(busy(NOW_S, 1))
    assert unread == busy(NOW_S, 1)


def test_figures_say_what_is_wrong() -> None:
    """Each thing that is wrong is found, the worst first, and what is well is not."""
    seen = busy(NOW_S, 1)
    whats = [one.what for one in findings(seen)]
    marks = [one.mark for one in findings(seen)]
    assert marks == sorted(marks, key=lambda mark: mark != "bad")
    assert "an appeal is overdue" in whats
    assert "a version of feed kh-scam waits for a person" in whats
    assert not [what for what in whats if what.startswith(("engine", "feeds ", "exchange"))]
    well = Overview(NOW_S, 1.0, (), kafka_up=True, register_up=True)
    assert findings(well) == ()
    slow = {one.key: one.value for one in tiles(replace(well, latency_p99_s=1.96))}
    assert slow["latency"] == "1,960"
    worse = replace(
        well,
        processes=(
            ProcessStatus(
                place(ProcessKind.ENGINE, 1),
                ProcessKind.ENGINE,
                ProcessState.UNHEARD,
                None,
                why="refused",
            ),
        ),
        kafka_up=False,
        register_up=False,
        calls_per_s=10.0,
        lag={"calls": 900},
        partitions_stopped=1,
        feeds=(FeedOverview("x", False, True, None, None, None, 3),),
        sinks=SinkOverview(webhooks_failing=("noc",)),
        roles_left_s={"timestamp": -5.0, "root": 9e6},
        appeals_overdue=2,
        lists=(ListOverview("KH/scam", 1, 1.0, 1, 0, 0.0, 0.0, 1200),),
        bare_chance=0.018,
    )
    assert len(findings(worse)) == 12
    whats = [one.what for one in findings(worse)]
    assert "KH/scam matched 1,200 numbers that it may not name" in whats
    assert "lists without entries match 1.8% of all numbers by chance" in whats
    assert [one.mark for one in findings(worse)].count("bad") == 7


def test_the_runbook_has_every_heading_that_the_page_names() -> None:
    """A heading that is renamed in deploy/RUNBOOK.md is renamed in findings.py too."""
    text = location("runbook").read_text("utf-8")
    assert [heading for heading in HEADINGS if f"## {heading}\n" not in text] == []
    assert anchor("A feed's file cannot be used") == "a-feeds-file-cannot-be-used"


def test_a_watch_of_nothing_is_a_picture() -> None:
    """Where no process is named, the page still has something to show."""
    assert asyncio.run(Monitor(()).look()).processes == ()


def test_one_of_a_kind_is_said_in_the_singular() -> None:
    """It was "failed 1 times" and "1 numbers"."""
    one = ListOverview("KH/scam", 1, 1.0, 1, 0, 0.0, 0.0, 1)
    feed = FeedOverview("x", False, False, None, None, None, 1)
    seen = Overview(NOW_S, 1.0, (), feeds=(feed,), lists=(one,), calls_per_s=0.1, lag={"calls": 1})
    said = " ".join(f"{found.what} {found.means}" for found in findings(seen))
    assert "feed x failed once" in said
    assert "KH/scam matched 1 number that it may not name" in said
    assert "1 call, 10 s: blocks come late" in said


def test_lists_in_force_are_those_that_are_there() -> None:
    """A list that was deleted is not counted; of those without series of their own nobody knows."""
    text = 'ringfence_list_generation{list="KH/scam"} 4\nringfence_list_generation{list="TH/x"} 0\n'
    text += 'ringfence_list_generation{list="(others)"} 2\n'
    pair = ReadingPair(None, read(text, at_s=NOW_S, tick_s=1.0))
    engine = ProcessStatus(
        place(ProcessKind.ENGINE, 9464), ProcessKind.ENGINE, ProcessState.READY, NOW_S
    )
    seen = overview(NOW_S, [engine], {"engine": pair})
    assert [one.name for one in seen.lists] == ["(others)", "KH/scam"]
    assert {tile.key: tile.value for tile in tiles(seen)}["lists"] == "1+"
