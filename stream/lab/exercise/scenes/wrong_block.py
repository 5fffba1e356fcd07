"""A wrong block is put right where it was noticed at once, and everywhere once its owner knows."""

import re

from stream.lab.exercise import expect
from stream.lab.exercise.scenes.scene import Scene, blocked, puts_on
from stream.lab.exercise.story import Story
from stream.lab.exercise.training import HOME, SOURCE, Training

_APPEAL = re.compile(r"\bA-[0-9A-Z]{13}\b")
WHY = ("--reason", "a clinic since 2024")


async def play(training: Training, story: Story) -> None:
    """TH lets a clinic's calls through; its document tells KH, and KH lifts the block for all."""
    th, kh = training[HOME], training[SOURCE]
    (number,) = kh.people.take(1)
    await puts_on(story, kh, (number,), "typed from a note")
    others = [training[iso] for iso in training.by_hub]
    for country in (th, *others):
        row = await country.until(number, blocked)
        expected = f"{country.name} blocks a clinic's number, as KH's list says"
        story.check(expect.became(row, "block", await kh.changed_ms(), expected))
    decided = (await th.call([number]))[number]
    decision_id = "" if decided is None else decided.decision_id
    said = await story.does(
        th, "appeals", "create", decision_id, "--reason", "a clinic, says its owner"
    )
    story.quotes(said.text, 3)
    story.check(expect.command(said, 0, "A-", "TH takes the appeal, by what its SIP answer said"))
    said = await story.does(th, "appeals", "redress", _appeal_in(said.text), *WHY)
    expected = "TH puts it right"
    story.check(expect.command(said, 0, "not blocked any more", expected))
    row = await th.until(number, lambda answer: not answer.stopped)
    story.check(expect.became(row, "allow", await th.changed_ms(), "the clinic rings in TH"))
    await _told(training, story)
    lifted_ms = await kh.changed_ms()
    for country in others:
        row = await country.until(number, lambda answer: not answer.stopped)
        expected = f"the clinic rings in {country.name}, where nobody did anything"
        story.check(expect.became(row, "allow", lifted_ms, expected))
    for country in (th, *others):
        rest = await country.call(kh.people.listed[:10])
        expected = f"{country.name} blocks the rest of KH's list as before"
        story.check(expect.all_get(rest, "block", expected, named=kh.list))


async def _told(training: Training, story: Story) -> None:
    """TH's document tells KH by fingerprint, and KH answers for all."""
    th, kh = training[HOME], training[SOURCE]
    said = await story.does(th, "enforcement", "publish")
    story.check(expect.command(said, 0, "published", "TH tells KH, signed"))
    said = await story.does(kh, "enforcement", "import", HOME)
    expected = "KH reads that one of its numbers is no scammer's"
    story.check(expect.command(said, 0, "1 of our numbers", expected))
    said = await story.does(kh, "appeals", "ls")
    story.quotes(said.text, 3)
    story.check(expect.command(said, 0, HOME, "and has it as an appeal"))
    said = await story.does(kh, "appeals", "redress", _appeal_in(said.text), *WHY)
    story.check(expect.command(said, 0, "not blocked any more", "KH takes the number off its list"))


def _appeal_in(printed: str) -> str:
    """The first appeal's id in what a command printed."""
    found = _APPEAL.search(printed)
    return found[0] if found is not None else "none"


WRONG_BLOCK = Scene(
    "appeal",
    "A wrong block is appealed in Thailand, and lifted in Cambodia and the Philippines",
    "A clinic's number was typed onto KH's list by mistake. It asks in TH why its calls fail.",
    frozenset({HOME, SOURCE, "PH"}),
    play,
)
