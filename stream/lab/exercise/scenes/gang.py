"""A gang's numbers, found in one country, stop ringing in the others."""

from stream.lab.exercise import checks
from stream.lab.exercise.people import GANG
from stream.lab.exercise.scenes import Scene
from stream.lab.exercise.scenes.moves import blocked, puts_on
from stream.lab.exercise.story import Story
from stream.lab.exercise.training import HOME, SOURCE, Training


async def play(training: Training, story: Story) -> None:
    """KH lists ten numbers; the others do nothing at all, and block them."""
    kh = training[SOURCE]
    others = [training[iso] for iso in (HOME, *training.by_hub)]
    numbers = kh.people.take(GANG)
    for other in others:
        rang = await other.call(numbers)
        story.check(checks.nobody_stopped(rang, f"before, all ring in {other.name}"))
    said = await puts_on(story, kh, numbers, "handsets of a raid")
    story.check(checks.command(said, 0, f"{GANG} added", "KH's register has them"))
    changed_ms = await kh.changed_ms()
    for other in others:
        way = "KH's own server" if other.name == HOME else "the hub"
        row = await other.until(numbers[0], blocked)
        expected = f"{other.name} blocks the first of them, by way of {way}"
        story.check(checks.became(row, "block", changed_ms, expected))
    for other in others:
        story.check(await _by_agreement(training, other.name, numbers))
        innocent = await other.call(kh.people.innocent)
        expected = f"{other.name} lets KH's other callers ring"
        story.check(checks.nobody_stopped(innocent, expected))


async def _by_agreement(training: Training, iso: str, numbers: tuple[str, ...]) -> checks.Finding:
    """All of them are blocked there, and each decision names the agreement that lets it."""
    pair = (HOME, SOURCE) if iso == HOME else (SOURCE, iso)
    rule = f"agreement:{training.between(*pair).id}"
    stopped = await training[iso].call(numbers)
    expected = f"{iso} blocks all of them, by {rule}"
    return checks.all_get(stopped, "block", expected, rule=rule, named=training[SOURCE].list)


SCENE = Scene(
    "gang",
    "A gang's numbers found in Cambodia stop ringing next door",
    "Police take ten handsets in Sihanoukville. KH puts their numbers on its list; in the other "
    "countries nobody does anything.",
    frozenset({HOME, SOURCE}),
    play,
)
