"""A country leaves: its agreement ends by the clock, and its list stops acting."""

import asyncio
import time
from dataclasses import replace

from stream.lab.exercise import checks
from stream.lab.exercise.papers import moment
from stream.lab.exercise.scenes import Scene
from stream.lab.exercise.story import Story
from stream.lab.exercise.training import HOME, SOURCE, Training

NOTICE_S = 6
"""From the note to the end: long enough for an agreement's file to be read again before."""


async def play(training: Training, story: Story) -> None:
    """The last country to join leaves; at the end of the agreement TH acts on its list no more."""
    th, leaver = training[HOME], training[training.isos[-1]]
    agreement = training.between(HOME, leaver.name)
    rule, number = f"agreement:{agreement.id}", leaver.people.listed[0]
    listed = await th.call(leaver.people.listed)
    expected = f"as long as it is in force, TH stops all of {leaver.list}, by {rule}"
    story.check(checks.all_get(listed, agreement.action, expected, rule=rule, named=leaver.list))
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
    story.check(checks.ended_on_time(row, end_s * 1000, expected))
    listed = await th.call(leaver.people.listed)
    expected = "all of its list rings, as no agreement lets it act"
    story.check(checks.all_get(listed, "allow", expected, rule="no_agreement", named=leaver.list))
    others = await th.call(training[SOURCE].people.listed)
    if leaver.name != SOURCE:
        expected = "the others' lists act as before"
        story.check(checks.all_get(others, "block", expected, named=training[SOURCE].list))
    story.check(checks.same_processes(before, th.pids(), "nothing was restarted in TH"))


SCENE = Scene(
    "leaving",
    "A country leaves, and its list stops acting",
    "Its agreement with TH gets an end; nobody touches a machine when that moment comes.",
    frozenset({HOME, SOURCE}),
    play,
)
