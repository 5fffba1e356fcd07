"""A gang's numbers, found in one country, stop ringing in the others."""

import time
from dataclasses import replace

from stream.lab.exercise import expect
from stream.lab.exercise.papers import GANG_NUMBERS
from stream.lab.exercise.scenes.scene import Scene, blocked, puts_on
from stream.lab.exercise.story import Story
from stream.lab.exercise.training import HOME, PLEDGED, SOURCE, Training


async def play_gang(training: Training, story: Story) -> None:
    """KH lists ten numbers; the others do nothing at all, and block them."""
    kh = training[SOURCE]
    others = [training[iso] for iso in (HOME, *training.by_hub)]
    numbers = kh.people.take(GANG_NUMBERS)
    for other in others:
        rang = await other.call(numbers)
        story.check(expect.nobody_stopped(rang, f"before, all ring in {other.name}"))
    said = await puts_on(story, kh, numbers, "handsets of a raid")
    story.check(expect.command(said, 0, f"{GANG_NUMBERS} added", "KH's list store has them"))
    changed_ms = await kh.changed_ms()
    for other in others:
        way = "KH's own server" if other.name == HOME else "the hub"
        row = await other.until(numbers[0], blocked)
        expected = f"{other.name} blocks the first of them, by way of {way}"
        story.check(expect.became(row, "block", changed_ms, expected))
    for other in others:
        story.check(await _by_agreement(training, other.name, numbers))
        innocent = await other.call(kh.people.innocent)
        expected = f"{other.name} lets KH's other callers ring"
        story.check(expect.nobody_stopped(innocent, expected))


async def _by_agreement(training: Training, iso: str, numbers: tuple[str, ...]) -> expect.Check:
    """All of them are blocked there, and each decision names the agreement that lets it."""
    pair = (HOME, SOURCE) if iso == HOME else (SOURCE, iso)
    rule = f"agreement:{training.between(*pair).id}"
    stopped = await training[iso].call(numbers)
    expected = f"{iso} blocks all of them, by {rule}"
    return expect.all_get(stopped, "block", expected, rule=rule, named=training[SOURCE].list)


GANG = Scene(
    "gang",
    "A gang's numbers found in Cambodia stop ringing next door",
    "Police take ten handsets in Sihanoukville. KH puts their numbers on its list; in the other "
    "countries nobody does anything.",
    frozenset({HOME, SOURCE}),
    play_gang,
)


SIGNED_S_AGO = 1


async def play_pledge(training: Training, story: Story) -> None:
    """MM's list is known and only observed, until the pledge is confirmed: then it acts."""
    th, mm = training[HOME], training[PLEDGED]
    pledge = training.between(HOME, PLEDGED)
    rule = f"agreement:{pledge.id}"
    numbers = mm.people.take(GANG_NUMBERS)
    said = await puts_on(story, mm, numbers, "the gang of the raid in KH")
    story.check(expect.command(said, 0, f"{GANG_NUMBERS} added", "MM's list store has them"))
    row = await th.until(numbers[0], lambda answer: mm.list in answer.lists)
    expected = f"TH knows them from {mm.list}, and only observes"
    story.check(expect.became(row, "allow", await mm.changed_ms(), expected))
    observed = await th.call(numbers)
    expected = f"all ring, and each decision names {rule} as what keeps the list from acting"
    story.check(expect.all_get(observed, "allow", expected, rule=rule, named=mm.list))
    said = await story.does(th, "agreements", "explain", mm.list)
    story.quotes(said.text)
    story.check(expect.command(said, 0, "may only be observed", "`explain` says the same"))
    before = th.pids()
    signed_s = int(time.time()) - SIGNED_S_AGO
    confirmed = replace(pledge, confirmed=signed_s)
    training.sign(confirmed)
    line = next(line for line in confirmed.text().splitlines() if line.startswith("confirmed"))
    story.edits(th, f"Myanmar signs; a line more in agreements/{pledge.id}.toml: {line}")
    row = await th.until(numbers[0], blocked)
    story.check(expect.became(row, "block", signed_s * 1000, "TH blocks the first of them"))
    stopped = await th.call(numbers)
    expected = f"TH blocks all of them, by {rule}"
    story.check(expect.all_get(stopped, "block", expected, rule=rule, named=mm.list))
    expected = "nothing was restarted in TH"
    story.check(expect.same_processes(before, th.pids(), expected))


PLEDGE = Scene(
    "pledge",
    "The gang changes to Myanmar's numbers; Myanmar's pledge becomes an agreement",
    "Under a pledge TH reads MM's list and acts on nothing. Then Myanmar signs.",
    frozenset({HOME, PLEDGED}),
    play_pledge,
)
