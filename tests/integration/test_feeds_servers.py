"""A feed whose server does everything wrong that servers do, one after the other."""

from pathlib import Path

from stream.config.feed_files import read_feed
from stream.core.model.errors import FeedFault
from stream.feeds.follow.feed_follower import Follower
from stream.lists.store.list_content import entries_of
from tests.support.feeds import CONTEXT, LIST, kh, workplace
from tests.support.lists import opened
from tests.support.scripted_web import ok, scripted_web
from tests.unit.feeds.transports.test_http_get import FAILURES

FEED = """
list = "KH/scam"
format = "text"
[owner]
name = "KH"
contact = "noc@trc.example"
[from]
kind = "http"
url = "{url}"
answer_s = {answer_s}
bytes_max = 1_000_000
"""


async def numbers(redis_url: str) -> list[int]:
    """Return the numbers on the list."""
    async with opened(redis_url) as register:
        _, columns = await entries_of(register, LIST, b"")
    return sorted(columns.number.tolist())


async def test_whatever_a_server_does_the_last_good_list_stays(tmp_path: Path, redis_url: str):
    """Down, half a body, a bomb, a login page, redirects: each has its reason.

    The feed counts as unconfirmed all the while, which its age alarm sees; waits grow; and the
    next good version is taken.
    """
    good = "".join(f"{number}\n" for number in kh(*range(20))).encode()
    async with scripted_web({"/list": ok(good)}) as web:
        file = tmp_path / "servers.toml"
        hasty = tmp_path / "hasty.toml"
        for path, answer_s in ((file, 20.0), (hasty, 0.5)):
            path.write_text(FEED.format(url=web.url("/list"), answer_s=answer_s))
        async with workplace(tmp_path / "state", redis_url) as place:
            follower = Follower(read_feed(file, {}, CONTEXT), place, quiet=True)
            assert await follower.pull() is not None
            first = await place.states.state("servers")
            listed = await numbers(redis_url)
            assert len(listed) == 20
            patient, waits = follower.setup.source.transport(), []
            impatient = read_feed(hasty, {}, CONTEXT).source.transport()
            for number, (answer, reason, text) in enumerate(FAILURES.values(), 1):
                web.answers["/list"] = answer
                transport = impatient if reason is FeedFault.TIMEOUT else patient
                waits.append(await follower._turn(transport))
                state = await place.states.state("servers")
                assert (state.fault, state.failures) == (reason.value, number)
                assert text in state.detail
                assert state.confirmed_at_s == first.confirmed_at_s
                assert state.accepted == first.accepted
            assert await numbers(redis_url) == listed
            assert waits[5] > waits[0]
            web.answers["/list"] = ok(good + f"{kh(99)[0]}\n".encode())
            assert await follower.pull() is not None
            assert (await place.states.state("servers")).failures == 0
    assert len(await numbers(redis_url)) == 21
