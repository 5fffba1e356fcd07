"""A list that is shared without its numbers names whom it may, at every door that asks it."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import redis
from prometheus_client import CollectorRegistry

from stream.calls.call_batch import OutOfScope
from stream.calls.lookup import Question
from stream.config.feed_files import read_feed
from stream.config.settings import Settings
from stream.config.settings import load as load_settings
from stream.core.filters.blocklists import Blocklists
from stream.core.model.agreement import Agreements, Shared, Terms
from stream.core.model.decision import Action
from stream.core.policy.list_scope import Scope
from stream.edge.sip.responder import Responder
from stream.engine.decider import CurrentPolicy, Decider, decoder_for, emergency_for
from stream.engine.live_lookup import LiveLookup
from stream.insight.explain.list_answers import answer_for
from stream.insight.replay.candidates import ReplayWorld
from stream.kafka.batch import Partition, RawBatch, Segment
from stream.lists.follower import local_state, snapshot_directory
from stream.lists.follower.list_events import EventKind
from stream.lists.store.heads import By
from stream.lists.store.list_store import ListStore
from stream.lists.store.store_codec import scope_json
from stream.ops.clock import now_ms, now_s
from stream.ops.metrics.http_catalogue import ServeMetrics
from stream.ops.metrics.sip_catalogue import SipMetrics
from stream.ops.tasks import running
from tests.support import lists
from tests.support.agreements import agreement
from tests.support.builders import NOW_S, entry, record_of
from tests.support.exchange import LIST, Country, Lab, lab
from tests.support.feeds import CONTEXT, kh
from tests.support.lists import BASE, BY, NAME, ONE, THREE, TWO, Worker, add, opened, until
from tests.support.sip import code_of, message, sip_settings

KHMER, THAI = kh(1)[0], "+66812345678"
OWN, HELP = "+85523888001", "+85523999999"
ALL = (KHMER, THAI, OWN, HELP)
VERDICTS = {
    KHMER: ("block", f"list:{LIST}"),
    THAI: ("allow", "country_not_allowed"),
    OWN: ("allow", "own_service_number"),
    HELP: ("allow", "emergency_number"),
}
SETTINGS = """
redis.url = "{url}"
lists.state_dir = "{folder}/state"
lists.reconcile_s = 0.1
ops.kernels = "off"
feeds.own_numbers = ["+85523888*"]
[policy.emergency]
KH = ["23999999"]
"""


def settings_at(folder: Path, url: str) -> Settings:
    """Thailand's; its own numbers are Cambodian here, so that the country alone spares none."""
    folder.mkdir(exist_ok=True)
    file = folder / "c.toml"
    file.write_text(SETTINGS.format(url=url, folder=folder))
    return load_settings([file], {})


@asynccontextmanager
async def answering(settings: Settings) -> AsyncIterator[LiveLookup]:
    """Lists, agreements and lookup of a process, kept up."""
    metrics = ServeMetrics(CollectorRegistry())
    memory = LiveLookup(settings, metrics.lookups, metrics.followed, metrics.signatures)
    memory.agreements.start()
    async with running(memory.run(), "lists"):
        await until(lambda: memory.loaded)
        yield memory


async def verdict(memory: LiveLookup, number: str) -> tuple[str, str]:
    said = json.loads(await memory.lookup.one(Question(caller=number), "id"))
    return said["verdict"], said["rule"]


async def verdicts(memory: LiveLookup) -> dict[str, tuple[str, str]]:
    return {number: await verdict(memory, number) for number in ALL}


async def becomes(memory: LiveLookup, wanted: dict[str, tuple[str, str]]) -> None:
    """Wait until every number gets its verdict; the last try tells which does not."""
    deadline = asyncio.get_running_loop().time() + 20
    while await verdicts(memory) != wanted:
        if asyncio.get_running_loop().time() > deadline:
            assert await verdicts(memory) == wanted
        await asyncio.sleep(0.01)


def narrowed(world: Lab, may_list: str = '["KH"]') -> Country:
    """Thailand's feed of the list, which may list so much."""
    country = world.country("th", f'url = "{world.url}"')
    return with_may_list(world, country, may_list)


def with_may_list(world: Lab, country: Country, may_list: str) -> Country:
    file = country.setup.path
    lines = file.read_text().splitlines()
    at = next(place for place, line in enumerate(lines) if line.startswith("may_list"))
    lines[at] = f"may_list = {may_list}"
    file.write_text("\n".join(lines))
    return Country(country.folder, world.urls[1], file)


def stream_says(
    settings: Settings, blocklists: Blocklists
) -> tuple[dict[str, tuple[str, str]], Any]:
    """Return the engine's decisions on calls of the stream, and its counts."""
    emitting = replace(settings, calls=replace(settings.calls, emit="all"))
    records = [record_of(Question(caller=number, call_id=number)) for number in ALL]
    raw = RawBatch(
        values=records,
        offsets=np.arange(len(records)),
        timestamps_ms=np.full(len(records), now_ms()),
        segments=(Segment(Partition("calls", 0), 0, len(records)),),
        epoch=0,
    )
    batch = decoder_for(emitting)(raw)
    outcome = Decider(emitting, lambda: blocklists, Agreements)(batch)
    said = [json.loads(bytes(value)) for value in outcome.values if value is not None]
    return {one["caller"]: (one["verdict"], one["rule"]) for one in said}, outcome.tally


@pytest.mark.parametrize("shares", [Shared.FINGERPRINTS, Shared.FILTER])
async def test_every_door_spares_whom_the_list_may_not_name(tmp_path, urls, shares):
    """The stream, HTTP, SIP, the proxies' keys, `why` and a replay say the same: who is of another
    country, ours, or dialled for help is only observed; also from the disk, with Redis away.
    """
    sure = shares is Shared.FINGERPRINTS
    wanted = VERDICTS if sure else VERDICTS | {KHMER: ("flag", f"list:{LIST}")}
    async with lab(tmp_path, urls, shares) as world:
        await world.kh.add(*ALL)
        await world.kh.publishes()
        assert (await narrowed(world).accepts()).verdict == "accepted"
        settings = settings_at(tmp_path / "engine", urls[1])
        async with answering(settings) as memory:
            await becomes(memory, wanted)
            current = memory.refresher.current
            assert current.scopes == (Scope("kh-scam", frozenset({855})),)
            said, tally = stream_says(settings, current)
            assert said == wanted
            assert tally.outside == {
                OutOfScope(LIST, rule, sure): 1 for _, rule in VERDICTS.values() if ":" not in rule
            }
            sip = Responder(
                sip_settings(),
                memory.lookup,
                settings.trunks_by_name(),
                emergency_for(settings),
                lambda: True,
                SipMetrics(CollectorRegistry()),
            )
            for number in ALL:
                code = 603 if wanted[number][0] == "block" else 404
                assert code_of(message(number), sip) == code
            judge = CurrentPolicy(settings, lambda: current, Agreements)()
            keys = judge.numbers(np.array(ALL, "S16"), now_s())
            assert {ALL[place] for place in keys} == ({KHMER} if sure else set())
            for number, (verdict_, rule) in wanted.items():
                why = answer_for(settings, Agreements(), current, number, None, None, now_ms())
                (held,) = why["lists"]
                assert (why["call"]["verdict"], why["call"]["rule"]) == (verdict_, rule)
                assert held["outside"] == (None if ":" in rule else rule)
                terms = {term["term"]: term for term in held["terms"]}
                if held["outside"]:
                    assert not terms[rule]["holds"]
            side = ReplayWorld(settings, current, Agreements()).side(now_s())
            assert side.rules.policy.scopes.by_list[0].codes == frozenset({855})
        alone = settings_at(tmp_path / "engine", "redis://127.0.0.1:1/0")
        async with answering(alone) as memory:
            assert await verdicts(memory) == wanted
            assert memory.refresher.current.scopes == (Scope("kh-scam", frozenset({855})),)


async def test_changes_after_the_whole_list_are_bounded_too(tmp_path, urls):
    """A number that comes as a change, by its hash, is outside as one of the base is."""
    async with lab(tmp_path, urls, Shared.FINGERPRINTS) as world:
        await world.kh.add(*kh(5))
        await world.kh.publishes()
        th = narrowed(world)
        await th.accepts()
        settings = settings_at(tmp_path / "engine", urls[1])
        async with answering(settings) as memory:
            assert (await verdict(memory, KHMER))[0] == "allow"
            await world.kh.add(*ALL)
            await world.kh.publishes()
            assert not (await th.accepts()).whole
            await becomes(memory, VERDICTS)


async def test_a_feeds_file_that_says_otherwise_counts_at_once(tmp_path, urls):
    """A wider or narrower `may_list` is in force with the next look, without a word of the partner;
    and so it is where Redis forgot it. Until a feed says so, a list names its owner's country.
    """
    async with lab(tmp_path, urls, Shared.FINGERPRINTS) as world:
        await world.kh.add(*ALL)
        await world.kh.publishes()
        th = narrowed(world, '["TH", "KH"]')
        await th.accepts()
        settings = settings_at(tmp_path / "engine", urls[1])
        blocks = VERDICTS | {THAI: ("block", f"list:{LIST}")}
        key = f"rf:list:{{{LIST}}}"
        async with answering(settings) as memory:
            await becomes(memory, blocks)
            for may_list, wanted in (('["KH"]', VERDICTS), ('["*"]', blocks)):
                await with_may_list(world, th, may_list).accepts()
                await becomes(memory, wanted)
            with redis.Redis.from_url(urls[1]) as raw:
                raw.hdel(key, "scope")
                async with opened(urls[1]) as register:
                    await register.add(LIST, [entry(kh(9)[0])], By("x"))
                async with answering(settings_at(tmp_path / "another", urls[1])) as fresh:
                    assert await verdicts(fresh) == VERDICTS
                    assert await with_may_list(world, th, '["*"]').pulls() is None
                    await becomes(fresh, blocks)
                raw.hset(key, "scope", b"\xff")
                async with answering(settings_at(tmp_path / "third", urls[1])) as fresh:
                    assert (await verdict(fresh, KHMER)) == ("allow", "country_not_allowed")
            audit = await _ops(urls[1])
            assert audit.count("scope") >= 4


async def _ops(url: str) -> list[str]:
    async with opened(url) as register:
        return [one.op async for one in register.past.audit()]


async def test_an_agreement_bounds_what_a_list_may_name(tmp_path, urls):
    """The feed may list everybody, the agreement Cambodia's numbers alone: the least counts, and
    `why` names who says so.
    """
    async with lab(tmp_path, urls, Shared.FINGERPRINTS) as world:
        await world.kh.add(*ALL)
        await world.kh.publishes()
        await narrowed(world, '["*"]').accepts()
        settings = settings_at(tmp_path / "engine", urls[1])
        terms = Terms(Action.BLOCK, may_list=frozenset({"KH"}))
        agreed = Agreements((agreement("th-kh", [LIST], terms=terms),))
        async with answering(settings) as memory:
            current = memory.refresher.current
            for number, rule in ((KHMER, "agreement:th-kh"), (THAI, "country_not_allowed")):
                why = answer_for(settings, agreed, current, number, None, None, now_ms())
                assert why["call"]["rule"] == rule
            (held,) = why["lists"]
            term = next(term for term in held["terms"] if not term["holds"])
            assert (term["wants"], term["by"]) == ("a number of +855", "agreement:th-kh")
            judge = CurrentPolicy(settings, lambda: current, lambda: agreed)()
            assert [*judge.numbers(np.array([KHMER, THAI], "S16"), now_s())] == [0]


async def test_a_number_that_somebody_here_put_on_the_list_acts(tmp_path, urls):
    """An operator's entry has its number, and a person's word behind it: no scope stops it; nor
    rows with numbers that a person released at the gate.
    """
    async with lab(tmp_path, urls, Shared.FINGERPRINTS) as world:
        await world.kh.add(*ALL)
        await world.kh.publishes()
        await narrowed(world).accepts()
        settings = settings_at(tmp_path / "engine", urls[1])
        async with answering(settings) as memory:
            await becomes(memory, VERDICTS)
            async with await ListStore.connect(settings.list_store()) as register:
                await register.add(LIST, [entry(THAI, source="operator")], By("somchai", "seen"))
            await becomes(memory, VERDICTS | {THAI: ("block", f"list:{LIST}")})


def test_a_feed_file_says_what_its_hashes_may_name(tmp_path):
    """As the file says; without a word the owner's country, and all for ours and for CERTs."""
    file = tmp_path / "kh.toml"
    for owner, may_list, codes in (
        ("KH", "", {855}),
        ("KH", 'may_list = ["KH", "US"]', {855, 1}),
        ("KH", 'may_list = ["*"]', None),
        ("TH", "", None),
        ("CERT", "", None),
    ):
        file.write_text(
            f'list = "{owner}/x"\nformat = "pybloom"\n{may_list}\n'
            f'samples = ["+85523900001"]\n'
            f'[owner]\nname = "{owner}"\ncontact = "noc@trc.gov.kh"\n'
            f'[from]\nkind = "file"\npath = "{tmp_path}/x"\n'
        )
        scope = read_feed(file, {}, CONTEXT).feed.scope
        assert scope == Scope("kh", None if codes is None else frozenset(codes))


def at_next_start(worker):
    """The list as a start without Redis would enforce it."""
    held, _ = local_state.last_good(worker.state_dir, {"plain": b""}, NOW_S)
    return held[NAME].live


async def test_a_list_with_a_scope_is_read_where_the_disk_takes_none(
    register, load, redis_url, tmp_path
):
    """A scope that is there needs no write. A new one is enforced from memory, and is written
    before the changes that came with it: no start has those without the scope.
    """
    first, other = Scope("th-police", frozenset({66})), Scope("th-police", frozenset({66, 855}))
    await load(register, BASE)
    await register.set_scope(NAME, scope_json(first), BY)
    async with lists.running(Worker(redis_url, tmp_path)) as worker:
        await until(lambda: at_next_start(worker).scope == first)
    lock = snapshot_directory.list_folder(tmp_path, NAME) / ".scope.lock"
    lock.unlink()
    lock.mkdir()  # opened for writing, it is refused as on a read-only disk
    await add(register, ONE)
    async with lists.running(Worker(redis_url, tmp_path)) as worker:
        await until(lambda: worker.listed(ONE))
        await until(lambda: len(at_next_start(worker).overlay) == 1)
    await add(register, TWO)
    await register.set_scope(NAME, scope_json(other), BY)
    async with lists.running(Worker(redis_url, tmp_path)) as worker:
        await until(lambda: worker.listed(TWO))
        assert worker.refresher.current.scopes == (other,)
        await until(lambda: bool(worker.told(EventKind.STATE_DIR_FAILED)))
        held = at_next_start(worker)
        assert (held.scope, len(held.overlay)) == (first, 1)
        lock.rmdir()
        await add(register, THREE)
        await until(lambda: len(at_next_start(worker).overlay) == 3)
        assert at_next_start(worker).scope == other
        assert not worker.told(EventKind.SNAPSHOT_REFUSED)
