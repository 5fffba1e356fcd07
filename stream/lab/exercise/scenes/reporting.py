"""The report on an agreement, made by its owner, and its figures against what was really played."""

from datetime import UTC, date, datetime

import msgspec

from stream.lab.exercise import checks
from stream.lab.exercise.scenes import Scene
from stream.lab.exercise.story import Story
from stream.lab.exercise.training import HOME, SOURCE, Training


class _Value(msgspec.Struct):
    value: float | None


class _Figures(msgspec.Struct):
    blocked: _Value


class _Pair(msgspec.Struct):
    list: str
    country: str
    figures: _Figures


class _Report(msgspec.Struct):
    """What is read of `ringfence report --json`."""

    lists: list[_Pair]


async def play(training: Training, story: Story) -> None:
    """TH tells what it did, KH reads it, and the report says what the exercise counted itself."""
    th, kh = training[HOME], training[SOURCE]
    await story.does(th, "enforcement", "publish")
    said = await story.does(kh, "enforcement", "import", HOME)
    story.check(checks.command(said, 0, HOME, "KH reads what TH has done by its list"))
    agreement = training.between(HOME, SOURCE).id
    page, figures = (training.folder / f"report-{agreement}.{kind}" for kind in ("html", "json"))
    period = _period(training.began, datetime.now(UTC).date())
    said = await story.does(
        kh, "report", agreement, "--period", period, "--out", str(page), "--json", str(figures),
        shown=f"report {agreement} --period {period} --out {page.name} --json {figures.name}",
    )  # fmt: skip
    story.quotes(said.text)
    story.check(checks.command(said, 0, agreement, "a page for the next meeting is written"))
    placed = th.stopped(kh.list, "block")
    told = _blocked(figures.read_bytes() if figures.exists() else b"", kh.list)
    expected = "it says how many calls TH has blocked by KH's list: as many as were placed here"
    story.check(checks.equal(told, placed, expected))


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


SCENE = Scene(
    "report",
    "What Thailand did by Cambodia's list, in Cambodia's report",
    "At the end the figures come home: signed by TH, read by KH.",
    frozenset({HOME, SOURCE}),
    play,
)
