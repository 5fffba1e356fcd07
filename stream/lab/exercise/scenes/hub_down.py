"""The hub is switched off: nothing stops, and news come late only to who goes through it."""

import time
from datetime import datetime

import msgspec

from stream.lab.exercise import expect
from stream.lab.exercise.scenes.scene import Scene, blocked, feed_of, puts_on
from stream.lab.exercise.story import Story
from stream.lab.exercise.training import HOME, SOURCE, Training

HOUR_S = 3600
FAILURES = "ringfence_feed_consecutive_failures"


class _Role(msgspec.Struct):
    expires_at: datetime


class _Verified(msgspec.Struct):
    """The part of `exchange verify --json` that is read."""

    roles: list[_Role]


async def play(training: Training, story: Story) -> None:
    """All countries go on deciding; news come by KH's own server at once, by the hub later."""
    kh, hub = training[SOURCE], training.hub
    await _an_hour(training, story)
    await hub.goes_down()
    story.edits(hub, "switched off: its web server and its program")
    (number,) = kh.people.take(1)
    await puts_on(story, kh, (number,))
    row = await training[HOME].until(number, blocked)
    expected = "TH, which follows KH's own server, blocks it"
    story.check(expect.became(row, "block", await kh.changed_ms(), expected))
    for iso in training.by_hub:
        await _goes_on(training, story, iso, number)
    await hub.comes_back()
    back_ms = round(time.time() * 1000)
    story.edits(hub, "switched on again")
    for iso in training.by_hub:
        row = await training[iso].until(number, blocked)
        expected = f"{iso} gets by itself what it has missed, and blocks it"
        story.check(expect.became(row, "block", back_ms, expected))


async def _an_hour(training: Training, story: Story) -> None:
    """The outage lasts seconds here. An hour is no other case as long as nothing in use expires
    within it. This is read from the signed metadata and the settings.
    """
    story.tells(
        "The outage is of some seconds. That an hour would be no other is looked up: nothing that "
        "a country uses may run out within one."
    )
    follower = training[training.by_hub[0]]
    root = follower.roots / f"{SOURCE.lower()}.json"
    url = training.hub.carried(SOURCE)
    words = ("exchange", "verify", url, "--root", str(root), "--json")
    said = await story.does(
        follower, *words, shown="exchange verify HUB/countries/KH --root roots/kh.json --json"
    )
    expected = "no signature of KH's that the hub carries ends within the hour"
    story.check(expect.lasts(_expiries(said.text), int(time.time()), HOUR_S, expected))
    said = await follower.command("check-config")
    expected = "and a list without news goes on acting (age_s_max = 0)"
    story.check(expect.command(said, 0, "age_s_max = 0", expected))


def _expiries(printed: str) -> list[int]:
    try:
        roles = msgspec.json.decode(printed, type=_Verified).roles
    except msgspec.MsgspecError:
        return []
    return [int(role.expires_at.timestamp()) for role in roles]


async def _goes_on(training: Training, story: Story, iso: str, number: str) -> None:
    """A follower through the hub keeps its last good list, and gets no news."""
    kh, ringfence = training[SOURCE], training[iso]
    feed = {"feed": feed_of(kh.list)}
    with story.waiting(f"{iso} looks for news at the hub ..."):
        failed = await ringfence.metric_reaches(FAILURES, feed, 1.0)
    stopped = await ringfence.call(kh.people.listed[:10])
    expected = f"{iso}, which follows through the hub, reports it, and its last good list acts"
    story.check(expect.reached(failed, 1.0, expected, FAILURES))
    story.check(expect.all_get(stopped, "block", f"{iso} blocks as before", named=kh.list))
    waits = await ringfence.call([number])
    expected = f"{iso} does not have what is new: that waits for the hub"
    story.check(expect.nobody_stopped(waits, expected))


HUB_DOWN = Scene(
    "hub-down",
    "The hub goes down, and nothing stops",
    "The secretariat's machine is switched off. TH follows KH's own server; the others go through "
    "the hub.",
    frozenset({HOME, SOURCE, "PH"}),
    play,
)
