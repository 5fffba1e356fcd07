"""A stolen timestamp key serves an old list as the newest one; the key is replaced."""

import shutil
import time
from pathlib import Path

from tuf.api.metadata import Metadata, Timestamp

from stream.exchange.repository_files import read
from stream.exchange.signing import moment
from stream.exchange.signing_keys import HeldKey, KeyRing
from stream.lab.exercise import expect
from stream.lab.exercise.scenes.scene import Scene, blocked, feed_of, puts_on
from stream.lab.exercise.story import Story
from stream.lab.exercise.training import HOME, SOURCE, Training

AHEAD = 1000
"""So much higher is the version that is claimed: nobody takes a lower one."""
VALID_S = 6 * 3600


class Thief:
    """`key` is the stolen file, `den` an empty folder for what shall be served."""

    def __init__(self, key: Path, den: Path) -> None:
        self._pockets = den / "keys"
        self._pockets.mkdir(parents=True, mode=0o700)
        shutil.copy2(key, self._pockets)
        self.copy = den / "repository"
        self._name = key.stem

    def copies(self, repository: Path) -> None:
        """Keep a repository as it is now."""
        shutil.rmtree(self.copy, ignore_errors=True)
        shutil.copytree(repository, self.copy)

    def signs(self, newest: int, now_s: int) -> None:
        """Sign the copy's timestamp, as if it were newer than version `newest`, good from now."""
        path = self.copy / "metadata" / "timestamp.json"
        metadata = Metadata[Timestamp].from_bytes(path.read_bytes())
        metadata.signed.version = newest + AHEAD
        metadata.signed.expires = moment(now_s + VALID_S)
        metadata.sign(self._held().signer)
        path.write_bytes(metadata.to_bytes())

    def _held(self) -> HeldKey:
        key = KeyRing([self._pockets]).named(self._name)
        assert key is not None, "it was copied"
        return key


def version_of(repository: Path) -> int:
    """The version of a repository's timestamp."""
    return read(repository).read_timestamp().version


KEY = "timestamp-1"
TRIES = "ringfence_feed_fetches_total"


async def play(training: Training, story: Story) -> None:
    """The old state is refused, the last good list stays, and with a new key all goes on."""
    th, kh = training[HOME], training[SOURCE]
    thief = Thief(kh.folder / "exchange" / "keys" / f"{KEY}.pem", training.folder / "thief")
    thief.copies(kh.repository)
    story.tells(f"Somebody has copied {KEY} of KH, and KH's repository as it is now.")
    number, later, last = kh.people.take(3)
    await puts_on(story, kh, (number,))
    row = await th.until(number, blocked)
    story.check(expect.became(row, "block", await kh.changed_ms(), "TH blocks it"))
    thief.signs(version_of(kh.repository), int(time.time()))
    kh.web.folder = thief.copy
    story.tells("KH's web server now gives the old copy, signed again with that key as the newest.")
    await _caught(training, story, number, "rollback")
    words = ("exchange", "serve-check")
    said = await story.does(kh, *words, kh.web.url, shown="exchange serve-check URL")
    expected = "KH sees that its web server gives something else"
    story.check(expect.command(said, 1, "was published", expected))
    await _ahead(training, story, thief)
    await _replaced(training, story, later)
    thief.copies(kh.repository)
    thief.signs(version_of(kh.repository), int(time.time()))
    kh.web.folder = thief.copy
    story.tells("The thief tries again, with the old key and the newest list.")
    await _caught(training, story, number, "unknown_key")
    kh.web.folder = kh.repository
    await puts_on(story, kh, (last,))
    row = await th.until(last, blocked)
    expected = "KH's own server is back, and TH follows it"
    story.check(expect.became(row, "block", await kh.changed_ms(), expected))


async def _ahead(training: Training, story: Story, thief: Thief) -> None:
    """The worst that the key can do: the owner's own news look old to all who took that version."""
    th, kh = training[HOME], training[SOURCE]
    feed = feed_of(kh.list)
    thief.copies(kh.repository)
    thief.signs(version_of(kh.repository), int(time.time()))
    story.tells("Then it gives KH's newest list, under a timestamp that is 1,000 versions ahead.")
    looks, refusals = ({"feed": feed, "result": name} for name in ("unchanged", "rollback"))
    seen = await th.metric_reaches(TRIES, looks, 0.0) or 0.0
    kh.web.folder = thief.copy
    with story.waiting("TH looks for news of KH ..."):
        taken = await th.metric_reaches(TRIES, looks, seen + 2)
    story.check(expect.reached(taken, seen + 2, "TH takes it: nothing in it is false", TRIES))
    seen = await th.metric_reaches(TRIES, refusals, 0.0) or 0.0
    kh.web.folder = kh.repository
    with story.waiting("KH's own server is back; TH looks for news ..."):
        refused = await th.metric_reaches(TRIES, refusals, seen + 1)
    expected = "KH's own server is back, and what it gives looks old to TH: rollback"
    story.check(expect.reached(refused, seen + 1, expected, TRIES))


async def _caught(training: Training, story: Story, number: str, reason: str) -> None:
    """TH refuses what is served for `reason`, tells its operator, and its list stays."""
    th, kh = training[HOME], training[SOURCE]
    feed = feed_of(kh.list)
    with story.waiting("TH looks for news of KH ..."):
        times = await th.metric_reaches(TRIES, {"feed": feed, "result": reason}, 1.0)
    story.check(expect.reached(times, 1.0, f"TH refuses it: {reason}", TRIES))
    said = await story.does(th, "feeds", "show", feed)
    line = next((one for one in said.text.splitlines() if f"  {reason}:" in one), "")
    story.quotes(line, 1)
    story.check(expect.command(said, 0, f"{reason}:", "and tells its operator what to do"))
    numbers = (number, *kh.people.listed[:10])
    stopped = await th.call(numbers)
    expected = "the last good list acts in TH, the newest number too"
    story.check(expect.all_get(stopped, "block", expected, named=kh.list))


async def _replaced(training: Training, story: Story, later: str) -> None:
    """KH's people bring their sticks, and the key is good for nothing any more."""
    th, kh = training[HOME], training[SOURCE]
    before = th.pids()
    said = await story.does(
        kh, "exchange", "key", "rotate", KEY, *kh.keys(),
        shown=f"exchange key rotate {KEY} --keys stick-a --keys stick-b",
    )  # fmt: skip
    story.check(expect.command(said, 0, "signs for timestamp", "KH's timestamp has another key"))
    (kh.folder / "exchange" / "keys" / f"{KEY}.pem").unlink()
    await puts_on(story, kh, (later,))
    row = await th.until(later, blocked)
    expected = "TH follows again by itself: it blocks what KH lists now"
    story.check(expect.became(row, "block", await kh.changed_ms(), expected))
    far = training[training.by_hub[0]]
    row = await far.until(later, blocked)
    expected = f"and so does {far.name}, by the hub"
    story.check(expect.became(row, "block", await kh.changed_ms(), expected))
    story.check(expect.same_processes(before, th.pids(), "nothing was restarted in TH"))


STOLEN_KEY = Scene(
    "stolen-key",
    "A stolen key serves Cambodia's old list",
    "Who has KH's timestamp key and its web server can say which state is the newest, no more.",
    frozenset({HOME, SOURCE, "PH"}),
    play,
)
