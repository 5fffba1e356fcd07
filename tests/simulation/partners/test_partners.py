"""Feeds and the exchange in simulated worlds, and the worlds' own parts."""

import os
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from tests.simulation.history import Broken, played
from tests.simulation.loop import BEGIN_S
from tests.simulation.partners.plan import OF_REPOSITORIES, PartnerFaults, PartnerPlan
from tests.simulation.partners.publications import NUMBERS, OURS, Publication, Publications
from tests.simulation.partners.strands import Gone, strand, stranded
from tests.simulation.partners.web import OF_ANSWERS
from tests.simulation.plan import Plan
from tests.simulation.store.ensemble import StorePace
from tests.simulation.world import World

PLAN = PartnerPlan(
    faults=PartnerFaults(),
    pace=StorePace(),
    sentinels=False,
    moods=(),
    summed=True,
    signed=True,
    versions=15,
    seconds=60.0,
)


def plan(seed: int, partners: PartnerPlan) -> Plan:
    """The plan of a seed with these partners."""
    return replace(Plan.of(seed), partners=partners).fitting()


def test_no_way_to_lie_or_to_fail_brings_a_wrong_list():
    """Whatever a server answers and an attacker has kept, the list is a version of its owner."""
    moods = (*OF_ANSWERS, *OF_REPOSITORIES)
    lying = replace(PLAN, moods=moods, faults=PartnerFaults(web_mood=2.0), seconds=120.0)
    assert played(plan(1, lying)).calls


def test_a_publisher_may_be_killed_at_any_write():
    """A partner finds the old publication or the new one, and the newest once faults stop."""
    killed = PartnerFaults(exchange_kill=4.0, exchange_disk=6.0, feeds_kill=8.0)
    assert played(plan(2, replace(PLAN, faults=killed))).calls


def test_keys_are_replaced_while_lists_are_published():
    """Partners follow from each root to the next, also where a replacement is killed halfway."""
    replaced = PartnerFaults(exchange_rotate=3.0, exchange_kill=6.0)
    assert played(plan(2, replace(PLAN, faults=replaced))).calls


def test_a_history_that_breaks_says_how():
    """The timeline ends with what did not hold; here a bound that nobody could keep."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("tests.simulation.partners.watched.SETTLED_S", -1.0)
        with pytest.raises(Broken, match=r"calm GB/robocalls has version -?\d+, and not \d+"):
            played(plan(3, replace(PLAN, signed=False)))


def said(*versions: str) -> Publications:
    """The publications of a partner; each text names numbers by their last digit, x is ours."""
    made = Publications("f", "KH/scam", lambda record: record.id, forgets=False)
    for number, text in enumerate(versions):
        numbers = {OURS if one == "x" else NUMBERS[int(one)] for one in text}
        made.add(Publication(frozenset(numbers), frozenset({str(number)}), number * 10.0))
    return made


@pytest.mark.parametrize(
    ("held", "accepted", "exactly", "right"),
    [
        ("12", 0, True, True),
        ("13", 0, True, False),
        ("12", 0, False, True),
        ("123", 0, False, True),
        ("1", 0, False, True),
        ("12", 1, False, False),
        ("4", 0, False, False),
        ("12x", 0, False, False),
        ("", -1, True, True),
    ],
)
def test_the_reference_sees_what_no_version_says(held, accepted, exactly, right):
    """Another version's number, one that went long ago, one of ours; a list on its way is none."""
    published = said("12", "13", "13x")
    numbers = [OURS if one == "x" else NUMBERS[int(one)] for one in held]
    assert (published.wrong(numbers, accepted, exactly=exactly) == "") is right


def test_the_reference_knows_what_is_due():
    """A version that stood long enough; not one that may not go live, nor one of a moment."""
    published = said("1", "2", "2x")
    assert published.newest == 1
    assert [published.due(21.0, within_s) for within_s in (8.0, 11.0)] == [1, -1]
    assert said("1", "2").due(15.0, 8.0) == 0
    assert published.place("1") == 1
    assert published.place("7") is None
    same = said("1", "1", "2")
    assert [same.place(name) for name in "012"] == [0, 0, 1]


def test_blocking_code_waits_in_virtual_time_and_dies_with_its_process(tmp_path):
    """Each write takes a moment. A killed process stops there, and cleans nothing up."""
    done: list[str] = []

    def write(folder: Path, name: str) -> None:
        try:
            for number in range(3):
                with (folder / f"{name}{number}").open("wb") as file:
                    os.fsync(file.fileno())
                done.append(f"{name}{number}")
        except Gone:
            raise
        except BaseException:
            done.append("unwound")
            raise

    async def main(world: World) -> None:
        loop, wrote = world.loop, list[float]()

        def noted() -> None:
            wrote.append(loop.past_s)
            here = strand()
            assert here is not None
            if len(wrote) == 2:
                world.process("a").kill()
                one.kill()

        with stranded(loop, noted):
            one = world.process("a")
            thread = threading.Thread(target=write, args=(tmp_path, "a"))
            one.context().run(thread.start)
            await loop.run_in_executor(None, write, tmp_path, "b")
        assert len(set(wrote)) == len(wrote)

    World(1).run(main)
    assert [name for name in done if name.startswith("b")] == ["b0", "b1", "b2"]
    assert len(done) < 6
    assert "unwound" not in done
    assert (tmp_path / "b2").stat().st_mtime == pytest.approx(BEGIN_S, abs=5)
