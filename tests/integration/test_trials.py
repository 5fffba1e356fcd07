"""From trial into force and back, as an operator does it, beside a running engine."""

import asyncio
import json
from pathlib import Path

import pytest

from stream.core.model.errors import ChangeConflict
from stream.core.model.on_trial import Target, TrialKind, TrialStatus, Turned
from stream.lab.embedded.guarded_server import free_ports
from stream.lists.follower.follow_promotions import PromotionFollower
from stream.lists.follower.list_events import EventKind
from stream.lists.store import redis_keys
from stream.lists.store.list_store import ListStore
from stream.lists.store.promotions import TrialStore
from stream.lists.store.settings import ListStoreSettings
from tests.integration.test_redress_cli import call, typed
from tests.support.builders import entry
from tests.support.engine import LISTED, Deployment
from tests.support.lists import BY
from tests.support.waiting import Patience

SCAM = "KH/scam"
ON_TRIAL = f'policy.lists."{SCAM}".simulate = true\n'


async def verdict_after(here: Deployment, sent: int, wanted: str) -> int:
    """Send calls of the listed number until one gets the verdict; how many were sent by then."""
    patience = Patience(f"a call that gets {wanted}")
    while True:
        await here.send([call(LISTED, f"c-{sent}")])
        sent += 1
        found = {one["call_id"]: one for one in await here.decided(sent)}
        if found[f"c-{sent - 1}"]["verdict"] == wanted:
            return sent
        patience.check()


@pytest.mark.apache_kafka
async def test_a_trial_is_promoted_in_a_running_engine_and_outlives_it(
    tmp_path: Path, kafka, redis_url: str, register: ListStore
) -> None:
    """One command puts a list in force in the engine that runs, with who, why and what the trial
    came to in the audit; after kill -9 and without Redis the next start still has it; and
    `demote` puts it back.
    """
    here = Deployment(tmp_path, kafka, redis_url, ON_TRIAL)
    await register.create(SCAM, "plain", BY)
    await register.add(SCAM, [entry(LISTED)], BY)
    assert (await typed(here.config, "topics", "create")).code == 0
    with here.engine() as engine:
        await asyncio.to_thread(engine.until_ready)
        await here.send([call(LISTED, "c-0"), call(LISTED, "c-1")])
        first = await here.decided(2)
        assert {(one["verdict"], one["simulated"], one["would"]) for one in first} == {
            ("allow", True, "block")
        }
        done = await typed(here.config, "promote", f"list:{SCAM}", "--reason", "a week without")
        assert (done.code, f"list:{SCAM} is in force" in done.out) == (0, True), done.err
        sent = await verdict_after(here, 2, "block")
        again = await typed(here.config, "promote", f"list:{SCAM}", "--reason", "x")
        assert (again.code, "in force already" in again.err) == (1, True), again.err
        (step,) = [one async for one in register.past.audit() if one.op == "promote"]
        assert (step.actor, step.reason, step.list_name) == ("malee", "a week without", SCAM)
        assert "trial to force; would_block 2" in step.detail
        told = json.loads((await typed(here.config, "simulate", "ls", "--json")).out)
        (one,) = told["trials"]
        assert (one["thing"], one["standing"], one["settings_say"]) == (
            f"list:{SCAM}", "force", "trial",
        )  # fmt: skip
        assert (one["would_block"], one["numbers"], one["by"]) == (2 + sent - 3, 1, "malee")
        assert one["remarks"] == ["the settings say trial; the promotion overrides them"]
        why = json.loads((await typed(here.config, "why", LISTED, "--json")).out)
        (turned,) = why["lists"][0]["turned"]
        assert (turned["what"], turned["reason"]) == (f"list:{SCAM}", "a week without")
        engine.kill()
    text = here.config.read_text()
    here.config.write_text(text.replace(redis_url, f"redis://127.0.0.1:{free_ports(1)[0]}/0"))
    with here.engine() as engine:
        await asyncio.to_thread(engine.until_ready)
        sent = await verdict_after(here, sent, "block")
        assert engine.stop() == 0
    here.config.write_text(text)
    words = ("--reason", "it blocks a bank", "--no-figures")
    done = await typed(here.config, "demote", f"list:{SCAM}", *words)
    assert (done.code, f"list:{SCAM} is on trial" in done.out) == (0, True), done.err
    async with TrialStore.open(ListStoreSettings(redis_url)) as book:
        assert not (await book.read()).trials.turned


async def test_what_can_not_be_turned_is_said(
    tmp_path: Path, kafka, redis_url: str, register: ListStore
) -> None:
    """A word that is no thing, a list that is not there, no reason: nothing is changed."""
    here = Deployment(tmp_path, kafka, redis_url, ON_TRIAL)
    for words, code, said in (
        (("KH/scam", "--reason", "x"), 2, "nothing that can be on trial"),
        (("list:XX/none", "--reason", "x"), 1, "there is no list XX/none here"),
        ((f"list:{SCAM}", "--reason", " "), 2, "the audit log has to say why"),
    ):
        done = await typed(here.config, "promote", *words, "--no-figures")
        assert (done.code, said in done.err) == (code, True), done.err
    assert "promote" not in [one.op async for one in register.past.audit()]


async def test_a_register_that_lost_data_changes_nothing_until_somebody_says_it_again(
    tmp_path: Path, redis_url: str, register: ListStore
) -> None:
    """Promotions stay as they were when Redis is empty or restored; said again they are followed;
    of two who turn the same thing at once one is refused.
    """
    settings = ListStoreSettings(redis_url)
    target = Target(TrialKind.LIST, SCAM)
    force = Turned(standing=TrialStatus.FORCE, at_s=1, actor="malee", reason="why")
    told: list[tuple[EventKind, str]] = []
    follower = PromotionFollower(
        settings, tmp_path, lambda kind, _, text: told.append((kind, text))
    )
    async with TrialStore.open(settings) as book:
        follower.load()
        assert not await follower.look()
        await book.turn(target, None, force, BY, "promote", "")
        with pytest.raises(ChangeConflict, match="somebody else"):
            await book.turn(target, None, force, BY, "promote", "")
        assert await follower.look()
        assert follower.current.turned == {target: force}
        restored = await register._redis.dump(redis_keys.IDENTITY) or b""
        await register._redis.flushdb()
        for _ in range(3):
            assert not await follower.look()
        assert follower.current.turned == {target: force}
        assert [kind for kind, _ in told] == [EventKind.TRIALS, EventKind.REGISTER_LOST]
        anew = PromotionFollower(settings, tmp_path, lambda *_: None)
        anew.load()
        assert anew.current == follower.current
        await register._redis.restore(
            redis_keys.IDENTITY, 0, restored
        )  # an older backup, so to say
        assert not await follower.look()
        assert "say again" in told[-1][1]
        await book.turn(target, None, force, BY, "promote", "")
        assert await follower.look()
        assert follower.current.generation > anew.current.generation
