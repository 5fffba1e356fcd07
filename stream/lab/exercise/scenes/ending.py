"""A country leaves: its agreement ends by the clock, and its list stops acting."""

import asyncio
import time
from dataclasses import replace
from datetime import UTC, date, datetime

import msgspec

from stream.lab.exercise import expect
from stream.lab.exercise.papers import moment
from stream.lab.exercise.scenes.scene import Scene
from stream.lab.exercise.story import Story
from stream.lab.exercise.training import HOME, SOURCE, Training

NOTICE_S = 6
"""From the note to the end: long enough for an agreement's file to be read again before."""


async def play_leaving(training: Training, story: Story) -> None:
    """The last country to join leaves; at the end of the agreement TH acts on its list no more."""
    th, leaver = training[HOME], training[training.isos[-1]]
    agreement = training.between(HOME, leaver.name)
    rule, number = f"agreement:{agreement.id}", leaver.people.listed[0]
    listed = await th.call(leaver.people.listed)
    expected = f"as long as it is in force, TH stops all of {leaver.list}, by {rule}"
    story.check(expect.all_get(listed, agreement.action, expected, rule=rule, named=leaver.list))
    before = th.pids()
    end_s = int(time.time()) + NOTICE_S
    training.sign(replace(agreement, until=end_s))
    line = f"valid_until = {moment(end_s)}"
    story.edits(th, f"{leaver.name} gives notice; a line in agreements/{agreement.id}.toml: {line}")
    row = []
    with story.waiting("until then, and two seconds more ..."):
        while time.time() < end_s + 2:
            row += await th.until(number, lambda _: True)
            await asyncio.sleep(0.1)
    expected = f"TH stops its number until {moment(end_s)[11:19]}, and not after it"
    story.check(expect.ended_on_time(row, end_s * 1000, expected))
    listed = await th.call(leaver.people.listed)
    expected = "all of its list rings, as no agreement lets it act"
    story.check(expect.all_get(listed, "allow", expected, rule="no_agreement", named=leaver.list))
    others = await th.call(training[SOURCE].people.listed)
    if leaver.name != SOURCE:
        expected = "the others' lists act as before"
        story.check(expect.all_get(others, "block", expected, named=training[SOURCE].list))
    story.check(expect.same_processes(before, th.pids(), "nothing was restarted in TH"))


LEAVING = Scene(
    "leaving",
    "A country leaves, and its list stops acting",
    "Its agreement with TH gets an end; nobody touches a machine when that moment comes.",
    frozenset({HOME, SOURCE}),
    play_leaving,
)


class _Value(msgspec.Struct):
    value: float | None


class _Figures(msgspec.Struct):
    blocked: _Value


class _Pair(msgspec.Struct):
    list: str
    country: str
    figures: _Figures


class _Report(msgspec.Struct):
    """The part of `ringfence report --json` that is read."""

    lists: list[_Pair]


async def play_reporting(training: Training, story: Story) -> None:
    """TH tells what it did, KH reads it, and the report says what the exercise counted itself."""
    th, kh = training[HOME], training[SOURCE]
    await story.does(th, "enforcement", "publish")
    said = await story.does(kh, "enforcement", "import", HOME)
    story.check(expect.command(said, 0, HOME, "KH reads what TH has done by its list"))
    agreement = training.between(HOME, SOURCE).id
    page, figures = (training.folder / f"report-{agreement}.{kind}" for kind in ("html", "json"))
    period = _period(training.began, datetime.now(UTC).date())
    said = await story.does(
        kh, "report", agreement, "--period", period, "--out", str(page), "--json", str(figures),
        shown=f"report {agreement} --period {period} --out {page.name} --json {figures.name}",
    )  # fmt: skip
    story.quotes(said.text)
    story.check(expect.command(said, 0, agreement, "a page for the next meeting is written"))
    placed = th.stopped(kh.list, "block")
    told = _blocked(figures.read_bytes() if figures.exists() else b"", kh.list)
    expected = "it says how many calls TH has blocked by KH's list: as many as were placed here"
    story.check(expect.equal(told, placed, expected))


def _period(first: date, last: date) -> str:
    """The day of the exercise; both, where it was played over midnight."""
    return f"{first}" if first == last else f"{first}..{last}"


def _blocked(report: bytes, list_name: str) -> float | None:
    """Calls that were blocked in TH by a list, as the report says; None: it does not."""
    try:
        pairs = msgspec.json.decode(report, type=_Report).lists
    except msgspec.MsgspecError:
        return None
    found = (one for one in pairs if (one.list, one.country) == (list_name, HOME))
    return next((one.figures.blocked.value for one in found), None)


REPORTING = Scene(
    "report",
    "What Thailand did by Cambodia's list, in Cambodia's report",
    "At the end the figures come home: signed by TH, read by KH.",
    frozenset({HOME, SOURCE}),
    play_reporting,
)
