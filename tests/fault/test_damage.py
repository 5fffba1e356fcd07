"""Damage in the state directory, through the real engine: named, counted, and made good.

That each kind of damage is found is tested where it is found: in tests/unit/lists/follower
test_snapshot_directory.py and test_change_log.py, in tests/unit/core/filters test_snapshot.py and
test_bloom.py (flipped bits, half-written folders, headers that lie), in tests/integration
test_refresh.py and test_list_store.py (in Redis).
"""

import asyncio
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from stream.core.filters.snapshot import FILTER_PART, MANIFEST_PART
from tests.fault.engine import Engine
from tests.fault.site import INNOCENT, LIST, LISTED, Site
from tests.fault.traffic import decided

pytestmark = [
    pytest.mark.apache_kafka,
    # A start for each file that is damaged.
    pytest.mark.campaign,
    pytest.mark.expects_errors("Group Coordinator Request failed"),
]

REFUSED = {"event": "snapshot_refused"}
FIRST, SECOND = LISTED[:3000], LISTED[:5000]
"""The content of the list's two generations."""
ONLY_IN_SECOND = LISTED[4000]


def flipped(path: Path) -> None:
    """One bit of the middle byte."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 4
    path.write_bytes(data)


def halved(path: Path) -> None:
    """As if the machine had died while it was written."""
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def noise(path: Path) -> None:
    """Any bytes."""
    path.write_bytes(bytes(range(256)) * 4)


DAMAGES: dict[str, tuple[str, Callable[[Path], None]]] = {
    "a flipped bit in the filter": (FILTER_PART, flipped),
    "half of a column": ("expires_at", halved),
    "a part that is gone": ("category", Path.unlink),
    "any bytes as manifest": (MANIFEST_PART, noise),
}


def generations(site: Site) -> list[Path]:
    """The list's folders of snapshots, oldest first."""
    folder = site.state_dir / "lists" / LIST
    return sorted(path for path in folder.iterdir() if path.name.isdigit())


async def with_two_generations(site: Site, engine: Engine) -> Path:
    """Fill the state directory by a run with two bases; a copy of it."""
    await site.make_list(FIRST)
    await engine.ready()
    await site.make_list(SECOND)
    await engine.until(lambda: len(generations(site)) == 2, "to keep two generations")
    await engine.until(
        lambda: engine.metric("ringfence_list_entries", list=LIST) == len(SECOND), "to swap"
    )
    assert await engine.stop() == 0
    kept = site.folder / "kept"
    shutil.copytree(site.state_dir, kept)
    return kept


def restored(site: Site, kept: Path) -> None:
    """The state directory as it was."""
    shutil.rmtree(site.state_dir)
    shutil.copytree(kept, site.state_dir)


async def test_damage_without_the_register(own_site, own_redis):
    """The generation before stands in, the place is named and counted; Redis gives the rest.

    Where no generation is good, nothing is decided until Redis is there.
    """
    site = own_site
    with site.engine() as engine:
        kept = await with_two_generations(site, engine)
        for title, (part, damage) in DAMAGES.items():
            restored(site, kept)
            newest = generations(site)[-1]
            damage(newest / part)
            await asyncio.to_thread(own_redis.stop)
            await engine.ready()
            assert engine.metric("ringfence_list_events_total", **REFUSED) == 1, title
            (line,) = engine.said("snapshot_refused")
            assert str(newest) in line, (title, line)
            assert engine.metric("ringfence_list_entries", list=LIST) == len(FIRST), title
            assert await decided(site, engine, LISTED[0], INNOCENT[0]) == ["block", "allow"]
            await asyncio.to_thread(own_redis.start)
            await engine.until(
                lambda: engine.metric("ringfence_list_entries", list=LIST) == len(SECOND),
                f"to fetch the list again after {title}",
            )
            assert await decided(site, engine, ONLY_IN_SECOND, LISTED[0]) == ["block", "block"]
            assert await engine.stop() == 0
        # Nothing good is left: no call is decided without lists, and it says what it waits for.
        restored(site, kept)
        for folder in generations(site):
            flipped(folder / FILTER_PART)
        await asyncio.to_thread(own_redis.stop)
        engine.start()
        await engine.logged("register_down")
        await engine.until(lambda: engine.readiness()[0] == 503, "to say that it is not ready")
        assert engine.metric("ringfence_list_events_total", **REFUSED) == 2
        for folder in generations(site):
            assert engine.said(f"snapshot_refused.*{folder}")
        await asyncio.to_thread(own_redis.start)
        await engine.until(lambda: engine.readiness()[0] == 200, "to be ready")
        assert await decided(site, engine, ONLY_IN_SECOND, INNOCENT[0]) == ["block", "allow"]


async def test_damage_with_the_register(site):
    """With Redis there, whatever is damaged is fetched again before the first call is decided, and
    is made good on the disk: the next start finds only what was damaged since.
    """
    lists = site.state_dir / "lists" / LIST
    # Each place, and the refusals that it costs. A table is a cache: it is compiled again, and
    # nobody has to know.
    places: dict[str, tuple[Callable[[], Sequence[Path]], Callable[[Path], None], int]] = {
        "snapshots": (lambda: [one / FILTER_PART for one in generations(site)], flipped, 2),
        "changes": (lambda: [lists / "changes.jsonl"], noise, 1),
        "sync state": (lambda: [site.state_dir / "register.json"], noise, 1),
        "table": (lambda: [*(site.state_dir / "tables").glob("*.table")], flipped, 0),
        "nothing": (list, noise, 0),
    }
    with site.engine() as engine:
        await with_two_generations(site, engine)
        for title, (found, damage, refused) in places.items():
            for path in found():
                damage(path)
            await engine.ready()
            assert engine.metric("ringfence_list_events_total", **REFUSED) == refused, title
            assert len(engine.said(f"snapshot_refused.*{site.state_dir}")) == refused, title
            assert await decided(site, engine, ONLY_IN_SECOND, INNOCENT[0]) == ["block", "allow"]
            assert await engine.stop() == 0
