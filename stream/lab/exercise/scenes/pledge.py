"""The gang changes to numbers of a country that has only pledged something yet."""

import time
from dataclasses import replace

from stream.lab.exercise import checks
from stream.lab.exercise.people import GANG
from stream.lab.exercise.scenes import Scene
from stream.lab.exercise.scenes.moves import blocked, puts_on
from stream.lab.exercise.story import Story
from stream.lab.exercise.training import HOME, PLEDGED, Training

SIGNED_S_AGO = 1


async def play(training: Training, story: Story) -> None:
    """MM's list is known and only observed, until the pledge is confirmed: then it acts."""
    th, mm = training[HOME], training[PLEDGED]
    pledge = training.between(HOME, PLEDGED)
    rule = f"agreement:{pledge.id}"
    numbers = mm.people.take(GANG)
    said = await puts_on(story, mm, numbers, "the gang of the raid in KH")
    story.check(checks.command(said, 0, f"{GANG} added", "MM's register has them"))
    row = await th.until(numbers[0], lambda answer: mm.list in answer.lists)
    expected = f"TH knows them from {mm.list}, and only observes"
    story.check(checks.became(row, "allow", await mm.changed_ms(), expected))
    observed = await th.call(numbers)
    expected = f"all ring, and each decision names {rule} as what keeps the list from acting"
    story.check(checks.all_get(observed, "allow", expected, rule=rule, named=mm.list))
    said = await story.does(th, "agreements", "explain", mm.list)
    story.quotes(said.text)
    story.check(checks.command(said, 0, "may only be observed", "`explain` says the same"))
    before = th.pids()
    signed_s = int(time.time()) - SIGNED_S_AGO
    confirmed = replace(pledge, confirmed=signed_s)
    training.sign(confirmed)
    line = next(line for line in confirmed.text().splitlines() if line.startswith("confirmed"))
    story.edits(th, f"Myanmar signs; a line more in agreements/{pledge.id}.toml: {line}")
    row = await th.until(numbers[0], blocked)
    story.check(checks.became(row, "block", signed_s * 1000, "TH blocks the first of them"))
    stopped = await th.call(numbers)
    expected = f"TH blocks all of them, by {rule}"
    story.check(checks.all_get(stopped, "block", expected, rule=rule, named=mm.list))
    expected = "nothing was restarted in TH"
    story.check(checks.same_processes(before, th.pids(), expected))


SCENE = Scene(
    "pledge",
    "The gang changes to Myanmar's numbers; Myanmar's pledge becomes an agreement",
    "Under a pledge TH reads MM's list and acts on nothing. Then Myanmar signs.",
    frozenset({HOME, PLEDGED}),
    play,
)
