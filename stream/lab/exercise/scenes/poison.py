"""A partner's machine is broken into, and its list says that every number of ours is a gang's."""

from stream.lab.exercise import expect
from stream.lab.exercise.scenes.scene import Scene, blocked, feed_of, puts_on
from stream.lab.exercise.story import Story
from stream.lab.exercise.training import HOME, POISONED, Training

ALL_OF_IT = tuple(f"+66{digit}*" for digit in range(1, 10))
"""All of +66, in the widest entries that can be made at all; none of its numbers begins with 0."""
HELD = "ringfence_feed_held"
NO_GUARD = "[lists.prefix_digits_min]\nTH = 3\n"
"""The setting with which an attacker on the machine allows a whole country as one prefix."""


async def play(training: Training, story: Story) -> None:
    """All of +66 comes on PH's list: TH's gate holds it, and an operator says no."""
    th, ph = training[HOME], training[POISONED]
    feed = {"feed": feed_of(ph.list)}
    guarded = await puts_on(story, ph, ALL_OF_IT, "-")
    expected = "PH's own Ringfence does not take entries of ten million numbers"
    story.check(expect.command(guarded, 2, "stands for too many numbers", expected))
    no_guard = ph.overlay(NO_GUARD)
    story.edits(ph, "somebody has broken in, and takes that guard away: prefix_digits_min TH = 3")
    poisoned = await puts_on(story, ph, ALL_OF_IT, "-", more=no_guard)
    story.check(expect.command(poisoned, 0, "9 added", "PH's list holds every Thai number"))
    with story.waiting("TH looks at PH's new version ..."):
        held = await th.metric_reaches(HELD, feed, 1.0)
    story.check(expect.reached(held, 1.0, "TH's gate holds that version", HELD))
    said = await story.does(th, "feeds", "held")
    story.quotes(said.text)
    expected = "and tells its operator why"
    story.check(expect.command(said, 1, "prefix_too_short", expected))
    await _nothing_of_it_acts(training, story)
    said = await story.does(
        th, "feeds", "refuse", feed["feed"], "--reason", "PH by telephone: broken into"
    )
    story.check(expect.command(said, 0, "the last good one stays", "TH's operator refuses it"))
    await _clean_again(training, story, no_guard)


async def _nothing_of_it_acts(training: Training, story: Story) -> None:
    th, ph = training[HOME], training[POISONED]
    innocent = await th.call(th.people.innocent)
    expected = "Thai callers ring"
    story.check(expect.nobody_stopped(innocent, expected))
    listed = await th.call(ph.people.listed[:10])
    rule = f"agreement:{training.between(HOME, POISONED).id}"
    expected = "and PH's last good list acts as before"
    story.check(expect.all_get(listed, "block", expected, rule=rule, named=ph.list))


async def _clean_again(training: Training, story: Story, no_guard: tuple[str, ...]) -> None:
    """PH takes it off, and what it lists afterwards is taken as ever."""
    th, ph = training[HOME], training[POISONED]
    said = await story.does(
        ph, "lists", "remove", ph.list, *ALL_OF_IT, "--reason", "broken into", *no_guard,
        shown=f'lists remove {ph.list} "{ALL_OF_IT[0]}" ... --reason "broken into"',
    )  # fmt: skip
    story.check(expect.command(said, 0, "9 removed", "PH has its machine back and takes it off"))
    (number,) = ph.people.take(1)
    await puts_on(story, ph, (number,))
    row = await th.until(number, blocked)
    expected = "what PH lists from then on acts in TH"
    story.check(expect.became(row, "block", await ph.changed_ms(), expected))
    innocent = await th.call(th.people.innocent)
    story.check(expect.nobody_stopped(innocent, "Thai callers still ring"))


POISON = Scene(
    "poison",
    "A partner's poisoned list: every number of Thailand",
    "PH's machine is broken into: its list now names all of +66.",
    frozenset({HOME, POISONED}),
    play,
)
