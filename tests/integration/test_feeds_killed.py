"""kill -9 of the process that applies a version, at every step: the next run goes on, once."""

import contextlib
from pathlib import Path

import pytest

from stream.core.model.errors import Fault
from stream.lists.store.heads import By
from stream.lists.store.list_content import entries_of
from tests.integration.test_killed_versions import Killed, killed_after
from tests.support.builders import entry
from tests.support.feeds import LIST, Partner, kh

STEPS_MAX = 80
BEFORE, AFTER = kh(*range(30)), kh(*range(5, 35))
OTHERS = kh(99)[0]


async def on_list(partner: Partner) -> dict[str, str]:
    _, columns = await entries_of(partner.register, LIST, b"")
    entries = [columns.entry(row) for row in range(len(columns))]
    return {str(one.number): one.source for one in entries}


@pytest.mark.parametrize(
    ("judged", "changes_max"),
    [
        ("accepted", 5000),
        # A whole version again for each command: the other two ways are the campaign's.
        pytest.param("accepted", 0, marks=pytest.mark.campaign),
        pytest.param("held", 5000, marks=pytest.mark.campaign),
    ],
    ids=["as changes", "as a base", "held"],
)
async def test_killed_at_every_command(tmp_path, redis_url, raw, monkeypatch, judged, changes_max):
    """After whichever command it dies, the next run ends where an undisturbed one would have.

    The list never holds less than what both versions have, others' reports stay, and the audit
    reports the version once.
    """
    monkeypatch.setattr("stream.feeds.store.CHANGES_MAX", changes_max)
    monkeypatch.setattr("stream.lists.snapshot.build.TRIED", 1 << 10)
    said = AFTER if judged == "accepted" else AFTER[:3]
    for commands in range(STEPS_MAX):
        folder = tmp_path / f"{commands}"
        folder.mkdir()
        raw.flushdb()
        async with Partner(folder, redis_url) as partner:
            await partner.said(BEFORE)
            await partner.register.add(LIST, [entry(OTHERS, source="police")], By("police"))
            ended = await _dies(folder, redis_url, said, commands, partner.now_s)
            now = await on_list(partner)
            assert now[OTHERS] == "police"
            assert set(now) >= set(BEFORE) & set(AFTER)
            again = await partner.said(said)
            assert again.verdict in ({judged, "same"} if judged == "accepted" else {judged})
            wanted = said if judged == "accepted" else BEFORE
            assert await on_list(partner) == {**dict.fromkeys(wanted, "kh-scam"), OTHERS: "police"}
            told = [one async for one in partner.register.past.audit()]
            assert [one.op for one in told if one.op.startswith("feed_")] == [
                f"feed_{judged}",
                "feed_accepted",
            ]
            kept = {place.name for place in (folder / "state/feeds/kh-scam/versions").iterdir()}
            state = await partner.state()
            assert kept == {one.id for one in (state.accepted, state.held) if one is not None}
        if ended:
            break
    assert ended, "more commands than expected"
    assert commands > 5


async def _dies(folder: Path, url: str, said: list[str], commands: int, now_s: int) -> bool:
    """One more run that dies after so many commands; whether it came to its end before."""
    dying = Partner(folder, url)
    dying.now_s = now_s
    ended = False
    with contextlib.suppress(Killed, Fault), killed_after(commands):
        async with dying:
            await dying.said(said)
            ended = True
    return ended
