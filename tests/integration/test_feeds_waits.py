"""When a feed is asked again: on its schedule, later after a failure, never before it may be."""

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest

from stream.config.feed_files import read_feed
from stream.core.model.allowlist import AllowEntry
from stream.core.model.errors import FeedDown, FeedFault
from stream.feeds.feed import VersionRecord
from stream.feeds.feed_sources import FeedSetup
from stream.feeds.follow.feed_follower import Follower
from stream.feeds.follow.workplace import Workplace
from stream.feeds.formats.change_file import Header, write
from stream.feeds.transports.transport import Fetched, Unchanged
from tests.support.builders import NOW_S, entry
from tests.support.feeds import CONTEXT, HEAD, OPERATOR, Partner, kh, workplace


class Scripted:
    """A transport that answers as told, one after the other."""

    def __init__(self, *answers: Exception | Unchanged | str) -> None:
        self.answers = list(answers)
        self.remembered: list[Mapping[str, str]] = []

    async def fetch(self, remembered: Mapping[str, str], into: Path) -> Fetched | Unchanged:
        self.remembered.append(remembered)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        if isinstance(answer, str):
            into.write_text(f"{answer}\n")
            digest = hashlib.sha256(into.read_bytes()).hexdigest()
            return Fetched(into, into.stat().st_size, digest, {"at": answer}, not remembered)
        return answer


async def waits(tmp_path: Path, url: str, *answers: Exception | Unchanged, **limits: Any):
    """The waits that a follower takes after each answer."""
    partner = Partner(tmp_path, url, tail='[schedule]\nevery = "10m"\njitter = "1m"')
    partner.says(kh(1))
    transport = Scripted(*answers)
    async with workplace(tmp_path / "state", url, **limits) as place:
        follower = Follower(partner.setup, place, quiet=True)
        return [await follower._turn(transport) for _ in answers]


async def test_the_schedule_has_jitter(tmp_path, redis_url):
    """A feed that is well is asked each ten minutes, up to a minute later by chance."""
    (wait_s,) = await waits(tmp_path, redis_url, Unchanged({}))
    assert 600 <= wait_s <= 660


async def test_failures_grow_and_an_answer_ends_them(tmp_path, redis_url):
    """Each failure doubles the wait, up to a limit; after an answer it is the schedule again."""
    down = FeedDown(FeedFault.DOWN, "away")
    limits = {"retry_s_first": 10.0, "retry_s_most": 35.0}
    found = await waits(tmp_path, redis_url, *[down] * 4, Unchanged({}), down, **limits)
    for wait_s, middle in zip(found, (10, 20, 35, 35, 630, 10), strict=True):
        assert middle * 0.79 <= wait_s <= middle * 1.21


async def test_what_the_server_asks_for_is_honoured(tmp_path, redis_url):
    """Retry-After and a minimum wait are kept, even where they are longer than ours."""
    busy = FeedDown(FeedFault.REFUSED_BY_SERVER, "busy", retry_after_s=4000)
    found = await waits(tmp_path, redis_url, busy, Unchanged({}, wait_s_min=5000))
    assert found[0] >= 4000
    assert found[1] >= 5000


async def test_a_bug_in_a_feeds_store_is_no_end(tmp_path, redis_url):
    """Redis away is one more failure: nothing is lost, and it is tried again."""
    (wait_s,) = await waits(tmp_path, "redis://127.0.0.1:1/0", Unchanged({}), retry_s_first=10.0)
    assert wait_s <= 12


async def test_increments_are_followed_by_a_whole_version_in_time(tmp_path, redis_url):
    """Once a day all of it is asked for again, so that what stays with the partner stays live."""
    first, second = kh(1, 2)
    partner = Partner(tmp_path, redis_url, tail='[schedule]\nwhole_every = "1d"')
    transport = Scripted(first, second, first, second)
    async with partner, workplace(tmp_path / "state", redis_url) as place:
        follower = Follower(partner.setup, place, quiet=True)
        assert await follower._turn(transport) > 0  # a whole version: on schedule
        assert await follower._turn(transport) == 0  # an increment: more may wait
        last = await accepted(partner)
        assert last.numbers == 2
        aged = msgspec.structs.replace(last, whole_at_s=last.whole_at_s - 86_400)
        await place.states.accepted(partner.setup.feed, aged, OPERATOR)
        await follower._turn(transport)
        assert transport.remembered == [{}, {"at": first}, {}]
        assert (await accepted(partner)).numbers == 1


async def test_a_clock_that_was_ahead_delays_no_whole_version(tmp_path, redis_url):
    """A whole version that came by a clock days ahead counts as none once it is right."""
    first, second = kh(1, 2)
    partner = Partner(tmp_path, redis_url, tail='[schedule]\nwhole_every = "1d"')
    transport = Scripted(first, second)
    async with partner, workplace(tmp_path / "state", redis_url) as place:
        follower = Follower(partner.setup, place, quiet=True)
        await follower._turn(transport)
        last = await accepted(partner)
        ahead = msgspec.structs.replace(last, whole_at_s=last.whole_at_s + 30 * 86_400)
        await place.states.accepted(partner.setup.feed, ahead, OPERATOR)
        await follower._turn(transport)
        assert transport.remembered == [{}, {}]


async def due_again(
    partner: Partner, place: Workplace, transport: Scripted
) -> tuple[Follower, VersionRecord]:
    """Let a first version in, a day ago: it is due once more."""
    follower = Follower(partner.setup, place, quiet=True)
    await follower._turn(transport)
    last = await accepted(partner)
    aged = msgspec.structs.replace(last, renewed_at_s=last.renewed_at_s - 86_400)
    await place.states.accepted(partner.setup.feed, aged, OPERATOR)
    return follower, aged


@pytest.mark.parametrize("left", ["all", "half", "nothing"])
async def test_a_damaged_file_of_the_live_version_is_not_renewed(tmp_path, redis_url, left):
    """After a power cut it may be short. Then the whole version is asked for once it is due."""
    text = "\n".join(kh(*range(20)))
    partner = Partner(tmp_path, redis_url)
    transport = Scripted(text, Unchanged({"at": text}) if left == "all" else text)
    async with partner, workplace(tmp_path / "state", redis_url) as place:
        follower, aged = await due_again(partner, place, transport)
        file = partner.versions.place(aged.id) / "file"
        if left == "half":
            os.truncate(file, aged.size // 2)
        elif left == "nothing":
            file.unlink()
        await follower._turn(transport)
        assert transport.remembered == [{}, {"at": text} if left == "all" else {}]
        assert file.read_text() == f"{text}\n"
        renewed = await accepted(partner)
        assert (renewed.lost, renewed.numbers) == (0, 20)
        assert renewed.renewed_at_s >= aged.renewed_at_s + 86_400


async def test_a_damaged_file_that_its_source_does_not_send_again_changes_nothing(
    tmp_path, redis_url
):
    """The live version stays as it is: half of it is no renewal."""
    partner = Partner(tmp_path, redis_url)
    transport = Scripted("\n".join(kh(*range(20))), Unchanged({}))
    async with partner, workplace(tmp_path / "state", redis_url) as place:
        follower, aged = await due_again(partner, place, transport)
        os.truncate(partner.versions.place(aged.id) / "file", aged.size // 2)
        await follower._turn(transport)
        assert await accepted(partner) == aged
        assert (await partner.state()).held is None


def drop_folder(folder: Path, form: str) -> FeedSetup:
    """Return a feed of the files in `folder`/drop."""
    (folder / "feeds").mkdir()
    (folder / "drop").mkdir()
    file = folder / "feeds" / "kh-scam.toml"
    settings = HEAD.format(format=form, extra="", path=folder / "drop", tail="settle_s = 0")
    file.write_text(settings.replace('kind = "file"', 'kind = "folder"'))
    return read_feed(file, {}, CONTEXT)


async def test_a_drop_folder_says_that_its_live_file_is_damaged(tmp_path, redis_url):
    """Nobody can be asked for the file again: a fault names it. Moved back, it renews the list."""
    setup = drop_folder(tmp_path, "text")
    folder = tmp_path / "drop"
    (folder / "list.txt").write_text("\n".join(kh(*range(20))))
    async with workplace(tmp_path / "state", redis_url) as place:
        follower = Follower(setup, place, quiet=True)
        await follower.pull()
        last = await accepted(place)
        aged = msgspec.structs.replace(last, renewed_at_s=last.renewed_at_s - 86_400)
        await place.states.accepted(follower.setup.feed, aged, OPERATOR)
        os.truncate(tmp_path / "state/feeds/kh-scam/versions" / last.id / "file", 9)
        with pytest.raises(FeedDown, match=f"of version {last.id} is damaged here.* to {folder}"):
            await follower.pull()
        state = await place.states.state("kh-scam")
        assert (state.fault, state.remembered) == ("missing", last.remember)
        (folder / "done" / "list.txt").rename(folder / "list.txt")
        await follower.pull()
        renewed = await accepted(place)
        assert renewed.numbers == 20
        assert renewed.renewed_at_s > aged.renewed_at_s
        assert await follower.pull() is None


async def accepted(of: Partner | Workplace) -> VersionRecord:
    last = (await of.states.state("kh-scam")).accepted
    assert last is not None
    return last


async def test_changes_in_a_drop_folder_wait_behind_changes_that_wait(tmp_path, redis_url):
    """The later file neither goes live first nor takes the place of the one that waits."""
    setup = drop_folder(tmp_path, "ringfence")
    first, second = tmp_path / "drop" / "1.jsonl", tmp_path / "drop" / "2.jsonl"
    for at, file in enumerate((first, second)):
        header = Header("KH/scam", whole=False, from_generation=at, to=at + 1)
        file.write_text("".join(write(header, [entry(kh(at)[0])], ())))
        os.utime(file, (NOW_S + at, NOW_S + at))
    hospital = AllowEntry(kh(0)[0], "hospital", "somchai", 0)
    partner = Partner(tmp_path, redis_url)
    async with partner, workplace(tmp_path / "state", redis_url) as place:
        await partner.register.allow_add([hospital], OPERATOR)
        follower = Follower(setup, place, quiet=True)
        record = await follower.pull()
        assert record is not None
        assert (record.verdict, record.reason) == ("held", "allow_listed")
        assert await follower.pull() is None
        assert (await partner.state()).held == record
        assert second.exists()
        await partner.register.allow_remove([hospital.text], OPERATOR)
        partner.setup = setup
        assert (await partner.release()).gained == 1
        assert (await follower.pull()) is not None
        assert (await accepted(place)).numbers == 2
