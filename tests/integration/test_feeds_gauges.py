"""The gauges of a feed while its versions are refused, held, and good again."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from stream.feeds.follow.feed_follower import Follower
from tests.support.feeds import Partner, kh, workplace

PAGE = b"PK\x03\x04\x00\x00 no list of numbers"


class Watched:
    """A partner whose file is followed, one look at a time, and what the gauges say."""

    def __init__(self, partner: Partner, follower: Follower, registry: CollectorRegistry) -> None:
        self.partner = partner
        self._follower, self._registry = follower, registry

    async def look(self) -> None:
        await self._follower._turn(self.partner.setup.source.transport())

    async def offers(self, content: bytes) -> None:
        self.partner.says_bytes(content)
        await self.look()

    def gauge(self, name: str) -> float | None:
        return self._registry.get_sample_value(f"ringfence_feed_{name}", {"feed": "kh-scam"})


@pytest.fixture
async def watched(tmp_path: Path, redis_url: str) -> AsyncIterator[Watched]:
    registry = CollectorRegistry()
    async with (
        Partner(tmp_path, redis_url) as partner,
        workplace(tmp_path / "state", redis_url, registry) as place,
    ):
        yield Watched(partner, Follower(partner.setup, place, quiet=True), registry)


def lines(*digits: int) -> bytes:
    return "".join(f"{number}\n" for number in kh(*digits)).encode()


async def test_the_good_file_back_is_not_refused_any_more(watched):
    """The partner puts back what it had: nothing new, and nothing refused; the same page again
    is as wrong as it was at first.
    """
    good = lines(*range(20))
    await watched.offers(good)
    assert watched.gauge("refused") == 0
    for _ in range(2):
        await watched.offers(PAGE)
        assert watched.gauge("refused") == 1
        await watched.look()
        assert watched.gauge("refused") == 1
        await watched.offers(good)
        assert watched.gauge("refused") == 0


async def test_what_a_person_decided_is_seen_at_the_next_look(watched):
    """A version waits until somebody refuses it; that is no refusal that anybody has to look at,
    though the partner goes on offering it.
    """
    good = lines(*range(200))
    await watched.offers(good)
    await watched.offers(lines(1))
    assert (watched.gauge("held"), watched.gauge("refused")) == (1, 0)
    await watched.offers(good)
    assert watched.gauge("held") == 1
    await watched.partner.refuse()
    await watched.look()
    assert watched.gauge("held") == 0
    await watched.offers(lines(1))
    assert (watched.gauge("held"), watched.gauge("refused")) == (0, 0)
